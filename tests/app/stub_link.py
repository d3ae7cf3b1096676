"""An engine that answers when the test says so."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from fmviz.app.blocks import Block
from fmviz.app.link import Heard
from fmviz.engine.messages import AnyReply, PictureSource, Request, Run


class Link(QObject):
    """Keeps what was asked, and replies as told."""

    lost = Signal(str, bool)
    running, remote = True, False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[type[Request], Heard, dict[str, Any]]] = []
        self.cancelled: list[int] = []
        self.killed = False

    def ask(self, request: type[Request], heard: Heard, *, block: int = 0, at_once: bool = True, **fields: Any) -> int:
        self.asked.append((request, heard, fields))
        return len(self.asked)

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def program_ended(self, errors: str) -> str:
        return ""

    def kill(self) -> None:
        self.killed = True

    def runs(self) -> list[tuple[int, PictureSource]]:
        """Number and picture of each run that was asked for."""
        every = enumerate(self.asked, start=1)
        return [(number, fields["source"]) for number, (request, _, fields) in every if request is Run]

    def reply(self, reply: AnyReply, block: Block | None = None) -> None:
        self.asked[reply.id - 1][1](reply, block)
