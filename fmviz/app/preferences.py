"""What survives a restart: where the docks are, and what was chosen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QByteArray, QSettings

from fmviz.app.sitting import setup_is_sound, view_is_sound
from fmviz.app.state import ViewState
from fmviz.engine.messages import Setup

LAYOUT = 2
"""Raised when docks come or go: a layout saved by another version is not restored."""

_PLAIN = ("normalisation", "colour_map", "order", "smooth", "over_picture", "opacity", "appearance", "recent", "boxes")


class Preferences:
    """Reads and writes the user's settings. What is unreadable or from another version is left out, silently."""

    def __init__(self, settings: QSettings) -> None:
        self._settings = settings
        self._kept: Setup | None = None

    def put_aside_if_bad(self) -> str:
        """Where the settings cannot be read, a copy of their file is put beside it and all begins anew: the copy's name.

        "" where they can be read, or are kept in no file.
        """
        texts = ("choices", "columns", "folder/open", "folder/export")
        broken = (
            self._settings.status() == QSettings.Status.FormatError
            or any(not isinstance(self._settings.value(name, ""), str) for name in texts)
            or any(
                not isinstance(self._settings.value(name, QByteArray()), QByteArray) for name in ("geometry", "layout")
            )
            or (bool(self._settings.value("choices", "")) and not self._choices())
            or (self._is_of_text() and _is_no_text(Path(self._settings.fileName())))
        )
        if not broken:
            return ""
        file = Path(self._settings.fileName())
        aside = file.with_name(f"{file.name}.bad")
        try:
            shutil.copyfile(file, aside)
        except OSError:
            aside = Path()
        self._settings.clear()
        self._settings.sync()
        return aside.name

    def _is_of_text(self) -> bool:
        """Whether the settings are kept in an INI file: on macOS it is a binary one, and on Windows none."""
        return self._settings.format() == QSettings.Format.IniFormat or sys.platform not in ("darwin", "win32")

    def keep_setup(self, setup: Setup | None) -> None:
        """Save this setup, whatever is shown; None saves the one that is shown again."""
        self._kept = setup

    def restored(self, state: ViewState) -> ViewState:
        """`state` with the choices of last time."""
        return msgspec.structs.replace(state, **self._choices())

    def _choices(self) -> dict[str, Any]:
        text = self._settings.value("choices", "")
        if not isinstance(text, str) or not text:
            return {}
        try:
            choices = msgspec.json.decode(text.encode(), type=_Choices)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return {}
        if not setup_is_sound(choices.setup) or not view_is_sound(
            choices.normalisation, choices.order, choices.colour_map, choices.opacity
        ):
            return {}
        return {"setup": choices.setup, **{name: getattr(choices, name) for name in _PLAIN}}

    def save_choices(self, state: ViewState) -> None:
        setup = self._kept or (state.shown.setup if state.shown else state.setup)
        choices = _Choices(setup=setup, **{name: getattr(state, name) for name in _PLAIN})
        self._settings.setValue("choices", msgspec.json.encode(choices).decode())
        self._settings.sync()

    def layout(self) -> tuple[QByteArray, QByteArray] | None:
        """(geometry, state) of the window, or None."""
        geometry, state = self._settings.value("geometry"), self._settings.value("layout")
        if isinstance(geometry, QByteArray) and isinstance(state, QByteArray):
            return geometry, state
        return None

    def save_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        self._settings.setValue("geometry", geometry)
        self._settings.setValue("layout", state)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the layer table that the user wants; () where they never said."""
        value = self._settings.value("columns", "")
        return tuple(value.split()) if isinstance(value, str) else ()

    def save_columns(self, names: Sequence[str]) -> None:
        self._settings.setValue("columns", " ".join(names))

    def reopens(self) -> bool:
        """Return whether the next start shows again what was open; True where the user never chose."""
        return self._settings.value("reopen", "yes") != "no"

    def save_reopens(self, *, reopens: bool) -> None:
        """Save whether the next start shows again what was open."""
        self._settings.setValue("reopen", "yes" if reopens else "no")

    def folder(self, purpose: str) -> str:
        """The folder that was used last for "open" or "export"."""
        value = self._settings.value(f"folder/{purpose}", "")
        return value if isinstance(value, str) else ""

    def save_folder(self, purpose: str, folder: str) -> None:
        self._settings.setValue(f"folder/{purpose}", folder)


class _Choices(msgspec.Struct, frozen=True, kw_only=True):
    setup: Setup
    normalisation: str
    colour_map: str
    order: str
    smooth: bool
    over_picture: bool
    opacity: float
    appearance: str
    recent: tuple[str, ...] = ()
    boxes: bool = True


def _is_no_text(file: Path) -> bool:
    """Whether it is something that QSettings never writes, and reads as nothing: what a power cut leaves, for one."""
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        return True
    except OSError:
        return False
    return any(ord(sign) < 32 and sign not in "\r\n\t" for sign in text)
