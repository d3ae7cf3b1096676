"""Shows again what earlier windows had open: at once after one that closed in order, else when the user wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject

from fmviz.app import report, sitting
from fmviz.app.controller import Controller
from fmviz.app.keeping import Keeper, Left, stamp
from fmviz.app.sitting import Sitting, Zooms
from fmviz.app.state import Store, ViewState, find_layer
from fmviz.app.views.network_list import shown_name
from fmviz.engine.messages import PictureSource, Setup

_NAMED = 3
"""How many pictures are named in one sentence; of more, the number is given."""


class Returning(QObject):
    """Restores what was open.

    Args:
        keeper: None where nothing is kept.
        bad_settings: The name of a copy of settings that could not be read; "" where there is none.
        zoom: Makes the views look where they looked.
        raise_tabs: Brings docks to the front, by their names.
    """

    def __init__(
        self,
        store: Store,
        controller: Controller,
        keeper: Keeper | None,
        bad_settings: str,
        zoom: Callable[[Zooms], None] | None = None,
        raise_tabs: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        super().__init__(controller)
        self._store = store
        self._controller = controller
        self._keeper = keeper
        self._bad_settings = bad_settings
        self._zoom = zoom
        self._raise_tabs = raise_tabs
        self._left = Left()
        self._told = ""
        self._awaited: Sitting | None = None
        self._another_network = False
        """Whether the caller named another network than that of last time, which need not have its layer."""
        self.was_empty = False
        """Whether a window without pictures was shown again."""
        if keeper is not None:
            keeper.failed.connect(self._could_not_keep)
        store.changed.connect(self._changed)

    def begin(self, *, reopen: bool, setup: Callable[[Setup], Setup], pictures: bool = True) -> None:
        """Begin to keep what is open, and show again what was open when the last window closed in order.

        Args:
            reopen: Whether that is wanted.
            setup: Return the setup to use instead of the one of last time.
            pictures: Whether the pictures of last time are wanted.
        """
        if self._keeper is None:
            return
        self._left = self._keeper.begin(take=reopen)
        kept = self._left.closed
        if kept is None:
            return
        self.was_empty = not kept.pictures and not kept.without_file
        before = kept.setup.backbone
        kept = msgspec.structs.replace(kept, setup=setup(kept.setup))
        self._another_network = kept.setup.backbone != before
        if not pictures:
            kept = msgspec.structs.replace(kept, pictures=(), without_file=0, pin=None, zooms=Zooms())
        self._open(kept)

    def offer(self) -> None:
        """Tell what is there from windows that did not close in order."""
        words, remedies = [], []
        if self._left.sitting is not None:
            words.append(self._sentence(self._left.sitting, crashed=bool(self._left.crash)))
            remedies.append("restore_session")
            words += self._others_words(self._left.others)
        elif self._left.crash:
            words.append(self.tr("fmviz crashed last time."))
        if self._left.crash:
            words.append(self.tr("A report of the crash can be copied; it names none of your files."))
            remedies.append("copy_report")
        if self._left.aside:
            text = self.tr("What was kept of it could not be read and was put aside as {name}.")
            words.append(text.format(name=self._left.aside))
        if self._bad_settings:
            text = self.tr("The settings could not be read: fmviz begins with its own, and kept yours as {name}.")
            words.append(text.format(name=self._bad_settings))
        if words:
            self._told = " ".join(words)
            self._controller.problems.tell("window", self._told, tuple(remedies), until_dismissed=True)
        elif self._keeper is not None:
            self._keeper.discard()

    def restore(self) -> bool:
        """Open what was open; False where there is nothing."""
        kept = self._left.sitting
        if kept is None:
            return False
        # Only once; what it is now is kept from here on.
        self._left = Left(crash=self._left.crash)
        self._another_network = False
        self._controller.problems.dismiss("window")
        self._open(kept)
        return True

    def report(self) -> str:
        """Versions, and the crash of last time where there was one."""
        return report.of_crash(self._left.crash, report.names_of_files(self._store.state))

    # What was open

    def _open(self, kept: Sitting) -> None:
        """Show what was open, and say in one sentence what of it is gone."""
        present, gone = self._present(kept)
        changed = [path for path in present.pictures if path in kept.stamps and stamp(path) != kept.stamps[path]]
        if present.pictures[present.current : present.current + 1] != kept.pictures[kept.current : kept.current + 1]:
            present = msgspec.structs.replace(present, pin=None, zooms=Zooms())
        elif set(changed) & set(present.pictures[present.current : present.current + 1]):
            # Another picture by the same name: a place on the old one is none on the new one.
            present = msgspec.structs.replace(present, pin=None, zooms=Zooms())
        self._tell_what_is_gone(kept, gone, changed, present.setup)
        if self._zoom is not None:
            self._zoom(present.zooms)
        if self._raise_tabs is not None:
            self._raise_tabs(present.tabs)
        changes = sitting.changes(present, lambda path: self._controller.source_of(Path(path)))
        if find_layer(self._store.state.shown, present.layer) is None and not self._is_run_by(changes):
            del changes["layer"]
        elif self._is_run_by(changes):
            self._awaited = present
        self._store.update(**changes)

    def _present(self, kept: Sitting) -> tuple[Sitting, list[str]]:
        """Return `kept` without the files that are gone, and the pictures among these."""
        gone = [path for path in kept.pictures if not os.path.exists(path)]
        here = tuple(path for path in kept.pictures if path not in set(gone))
        # The picture that was shown, or the next that is there, or the last.
        before = sum(path in set(here) for path in kept.pictures[: kept.current])
        setup = kept.setup
        # Where the engine is on another computer, so is the file.
        if os.path.isabs(setup.weights) and not self._controller.link.remote and not os.path.exists(setup.weights):
            setup = msgspec.structs.replace(setup, weights="")
        current = max(0, min(before, len(here) - 1))
        return msgspec.structs.replace(kept, pictures=here, current=current, setup=setup), gone

    def _tell_what_is_gone(self, kept: Sitting, gone: Sequence[str], changed: Sequence[str], setup: Setup) -> None:
        parts = []
        if gone:
            parts.append(self.tr("{pictures} cannot be found").format(pictures=self._named(gone)))
        if changed:
            parts.append(self.tr("{pictures} changed since then").format(pictures=self._named(changed)))
        if kept.without_file == 1:
            parts.append(self.tr("a pasted picture was not kept"))
        elif kept.without_file:
            parts.append(self.tr("{count} pasted pictures were not kept").format(count=kept.without_file))
        if setup.weights != kept.setup.weights:
            text = self.tr("the weights file {name} cannot be found, so {network} has other weights")
            name = Path(kept.setup.weights).name
            parts.append(text.format(name=name, network=shown_name(setup.backbone)))
        if parts:
            self._tell(self.tr("Not everything is as it was last time: {parts}.").format(parts="; ".join(parts)))

    def _named(self, paths: Sequence[str]) -> str:
        if len(paths) > _NAMED:
            return self.tr("{count} pictures").format(count=len(paths))
        return ", ".join(Path(path).name for path in paths)

    def _tell(self, message: str) -> None:
        self._controller.problems.tell("window", message, until_dismissed=True)

    def _is_run_by(self, changes: dict[str, Any]) -> bool:
        """Return whether another run will come of these changes, which may have the layer that is not in the shown one."""
        wanted = msgspec.structs.replace(self._store.state, **changes)
        return (wanted.source, wanted.setup) != (wanted.shown_source, wanted.shown.setup if wanted.shown else None)

    def _look_at_what_was_awaited(self, new: ViewState) -> None:
        """Show layer, channel and pinned cell once the network is there. Another one may have run before, as where the
        file of this one had to be trusted first, and a new picture lets go of the pinned cell.
        """
        kept = self._awaited
        if kept is None or new.shown is None or new.shown.setup.backbone != kept.setup.backbone:
            return
        self._awaited = None
        layer = find_layer(new.shown, kept.layer)
        changes: dict[str, Any] = (
            {"pin": kept.pin} if _path(new.shown_source) in kept.pictures[kept.current :][:1] else {}
        )
        if layer is not None:
            channels = layer.shape[1] if layer.spatial else 1
            changes |= {"layer": layer.name, "channel": max(0, min(kept.channel, channels - 1))}
        self._store.update(**changes)
        if layer is None and kept.layer and not self._another_network:
            text = self.tr("The layer {layer} of last time is not in this {network}: another one is shown.")
            self._tell(text.format(layer=kept.layer, network=shown_name(kept.setup.backbone)))

    def with_awaited(self, kept: Sitting) -> Sitting:
        """Return `kept` with the network of last time, while the user is still asked whether its file may be run."""
        awaited, problem = self._awaited, self._store.state.problem("maps")
        if awaited is None or problem is None or problem.trust is None:
            return kept
        same = kept.pictures[kept.current :][:1] == awaited.pictures[awaited.current :][:1]
        pin = awaited.pin if same else None
        return msgspec.structs.replace(kept, setup=awaited.setup, layer=awaited.layer, channel=awaited.channel, pin=pin)

    # What was not closed in order

    def _sentence(self, kept: Sitting, *, crashed: bool) -> str:
        name = Path(kept.pictures[min(kept.current, len(kept.pictures) - 1)]).name if kept.pictures else ""
        backbone = shown_name(kept.setup.backbone)
        if crashed:
            text = self.tr("fmviz crashed last time, with {picture} in {backbone} open.")
        else:
            text = self.tr("fmviz was ended last time with {picture} in {backbone} open.")
        return text.format(picture=name or self.tr("no picture"), backbone=backbone)

    def _others_words(self, count: int) -> list[str]:
        if count == 0:
            return []
        if count == 1:
            return [self.tr("2 windows were open: the other one is offered at the next start.")]
        text = self.tr("{count} windows were open: the others are offered one by one at the next starts.")
        return [text.format(count=count + 1)]

    def _changed(self, old: ViewState, new: ViewState) -> None:
        """Once the user has dismissed it, or taken it, it is not offered again."""
        if old.shown is not new.shown:
            self._look_at_what_was_awaited(new)
        if self._told and self._keeper is not None and new.problem("window") is None:
            self._told = ""
            self._left = Left(crash=self._left.crash)
            self._keeper.discard()

    def _could_not_keep(self, why: str) -> None:
        text = self.tr("What is open cannot be kept for the next start ({why}): make room on the disk.")
        self._controller.problems.tell("window", text.format(why=why), until_dismissed=True)


def _path(source: PictureSource | None) -> str:
    return source.path if source is not None else ""
