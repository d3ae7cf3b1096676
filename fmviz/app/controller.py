"""Listens to views, store and link, and is the only one that talks to all three.

A change of the state is compared with what was asked of the engine last; the difference is asked, and the answers are
pushed into the views. Nothing is asked of a widget, and pushing never loops back.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QImage

import fmviz
from fmviz.app import wording
from fmviz.app.blocks import Block, SharedPixels
from fmviz.app.link import EngineLink
from fmviz.app.looking import Looking
from fmviz.app.problems import Problems
from fmviz.app.qimage import rgb_image
from fmviz.app.state import Activity, Store, ViewState, layer_to_keep
from fmviz.app.wanted import RunWanted, remedies, run_wanted
from fmviz.defaults import BACKBONE
from fmviz.engine.messages import (
    PROTOCOL,
    AnyReply,
    Devices,
    DevicesFound,
    Dropped,
    Failed,
    Hello,
    PictureRead,
    PictureSource,
    Progress,
    Ran,
    ReadPicture,
    Run,
    Setup,
    Welcome,
)
from fmviz.errors import PictureError, WeightsError
from fmviz.picture_options import PictureOptions

PICTURE_LIMIT = 2048
"""No side of the picture on the screen is longer; the network is fed from the original."""
_PICTURES_KEPT = 12
_OF_THE_NETWORK = ("BackboneError", "TrustError", "WeightsError")
"""Errors after which a first run is tried again with the network that always works: nobody is left with an empty window
because a file of last time is gone."""
_CANCEL_PATIENCE_MS = 2000
_PATIENCE_WITH_TORCH = 15
"""Times longer, while it loads torch: an engine hears nothing then, and another one would load it all over again."""
_SHORT_LIFE_S = 10.0
_LONGEST_PAUSE_S = 30
_SILENCE_MS = 3000
_SLOWER = 5
"""How much longer an engine on another computer may take."""
_SILENT = -1
"""The number of no request: of the activity that is told while maps do not come."""


class ShownPicture(msgspec.Struct, frozen=True, eq=False):
    """A picture as the window has it: `size` (height, width) is the original's."""

    image: QImage
    size: tuple[int, int]
    note: str
    bands: int = 3
    """The number of bands that there are to choose from."""


class Controller(QObject):
    """The flow of runs; `looking` has the flow of maps.

    Args:
        store: the state.
        link: the engine.
    """

    picture_ready = Signal()
    """The image of a picture has come."""
    trust_wanted = Signal(object)
    """A `TrustWanted`: a file of code that the user must be asked about."""

    def __init__(self, store: Store, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self.link = link
        self.problems = Problems(store)
        self.looking = Looking(store, link, self)
        self.looking.failed.connect(self.problems.tell)
        self._asked: RunWanted | None = None
        self._failed: RunWanted | None = None
        self._untrusted: RunWanted | None = None
        self._run_number = 0
        self._given_up = 0
        self._captured = False
        self._holds_nothing = True
        self._pictures: dict[PictureSource, ShownPicture] = {}
        self._started = 0.0
        self._loads_torch = False
        self._short_lives = 0
        self._begun = False
        self._deaf = False
        self._restarting = False
        self._patience_ms = _CANCEL_PATIENCE_MS
        self._impatience = QTimer(self, singleShot=True)
        self._impatience.timeout.connect(self._lose_patience)
        self._pause = QTimer(self, singleShot=True)
        self._pause.timeout.connect(self._take_the_line_up)
        self._breaks = 0
        self._of_the_line = ""
        self._silence_ms = _SILENCE_MS
        self._silence = QTimer(self, singleShot=True)
        self._silence.timeout.connect(self._tell_of_silence)
        self.looking.awaited.connect(self._await_looks)
        store.changed.connect(self._changed)
        link.lost.connect(self._lost)

    # Start

    def start(self) -> None:
        """Start the engine and ask for what the state wants."""
        self._begun = True
        self._started, self._loads_torch = time.monotonic(), False
        self._asked = None
        self.link.start()
        if not self.link.running:
            return  # `lost` says why
        self.link.ask(Hello, self._welcomed)
        self._run_what_is_wanted()
        self.link.ask(Devices, self._devices_found)

    def end(self) -> None:
        """The window is closed: no engine is started any more."""
        self._begun = False
        for timer in (self._impatience, self._pause, self._silence):
            timer.stop()

    def _welcomed(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, Welcome) and reply.protocol != PROTOCOL:
            self.problems.tell(
                "window",
                self.tr(
                    "The engine is fmviz {theirs}, and this window {ours}: install the same one on both sides."
                ).format(theirs=reply.version, ours=fmviz.__version__),
                (),
            )

    def _devices_found(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, DevicesFound):
            self.store.update(backbones=reply.backbones, devices=reply.devices)
        elif isinstance(reply, Failed):
            self.problems.tell("window", reply.message, ("restart_engine",), reply.details)

    # What the user wants

    def open_pictures(self, sources: list[PictureSource]) -> None:
        """Show the first of these; the others are in the strip beside those that are there."""
        if not sources:
            return
        state = self.store.state
        # A file that is open keeps its options.
        sources = [next((old for old in state.sources if old.is_of(new)), new) for new in sources]
        kept = [source for source in state.sources if source not in sources]
        self.store.update(sources=(*kept, *sources), current=len(kept))

    def open_paths(self, paths: list[Path], bands: tuple[int, ...] = ()) -> None:
        """Picture files become a strip; `bands` are shown of them, or those that each file has for colours."""
        options = PictureOptions(bands, self.store.state.stretch)
        self.open_pictures([msgspec.structs.replace(self.source_of(path), options=options) for path in paths])

    def set_bands(self, source: PictureSource, bands: tuple[int, ...]) -> None:
        """Read a picture of the strip again, with other bands."""
        options = msgspec.structs.replace(source.options, bands=bands)
        changed = msgspec.structs.replace(source, options=options)
        sources = self.store.state.sources
        self.store.update(sources=tuple(changed if one.is_of(source) else one for one in sources))

    def set_stretch(self, stretch: bool) -> None:
        """Stretch data of few values, or leave them; all pictures of the strip are read again, each when it is shown."""
        sources = tuple(
            msgspec.structs.replace(one, options=msgspec.structs.replace(one.options, stretch=stretch))
            for one in self.store.state.sources
        )
        self.store.update(sources=sources, stretch=stretch)

    def source_of(self, path: Path) -> PictureSource:
        """A file of this computer as the engine is told of it: by its place, and where it cannot read there as its bytes."""
        path = path.absolute()
        if self.link.remote:
            try:
                return PictureSource(name=path.name, path=str(path), data=path.read_bytes())
            except OSError:
                pass  # the engine says it better: it finds no such file either
        return PictureSource(name=path.name, path=str(path))

    def step_picture(self, step: int) -> None:
        state = self.store.state
        if 0 <= state.current + step < len(state.sources):
            self.store.update(current=state.current + step)

    def close_picture(self, place: int) -> None:
        """Take a picture out of the strip; the last one leaves the window empty."""
        state = self.store.state
        sources = tuple(source for index, source in enumerate(state.sources) if index != place)
        current = state.current - (place < state.current)
        self.store.update(sources=sources, current=max(0, min(current, len(sources) - 1)))
        if not sources:
            self._cancel_run()
            lasting = tuple(problem for problem in state.problems if problem.until_dismissed)
            self.store.update(shown=None, shown_source=None, problems=lasting)

    def set_setup(self, **changes: Any) -> None:
        """Another backbone, weights, size or device."""
        self.store.update(setup=self._changed_setup(self.store.state.setup, changes))

    def _changed_setup(self, setup: Setup, changes: dict[str, Any]) -> Setup:
        """Another network has its own weights, and a size that it can take."""
        if changes.get("backbone", setup.backbone) != setup.backbone:
            changes.setdefault("weights", "")
            row = next((row for row in self.store.state.backbones if row.name == changes["backbone"]), None)
            if row is not None and (row.only_input or 0 < setup.side < row.minimum_input):
                changes.update(mode="crop", side=0)
        return msgspec.structs.replace(setup, **changes)

    def retry(self) -> None:
        """Do again what failed last; or run again what is shown."""
        failed, self._failed = self._failed, None
        # What is shown is run anew as well: its file of code, or of weights, may be another one by now.
        self._asked, self._captured = None, False
        if failed is not None:
            self._want(failed)
        if not self.link.running:
            self._short_lives = 0
            self.start()
        else:
            self._run_what_is_wanted()

    def retry_trusted(self) -> None:
        """Run what was not run before, because its file of code was not trusted."""
        wanted, self._untrusted = self._untrusted, None
        self.problems.dismiss("maps")
        if wanted is not None:
            self._failed = wanted
        self.retry()

    def _want(self, wanted: RunWanted) -> None:
        state = self.store.state
        sources = _with_source(state.sources, wanted.source)
        self.store.update(sources=sources, current=sources.index(wanted.source), setup=wanted.setup)

    def failed_setup(self) -> Setup:
        """The setup that a remedy starts from."""
        failed = self._what_failed()
        return failed.setup if failed else self.store.state.setup

    def _what_failed(self) -> RunWanted | None:
        """What a remedy is for: the run that failed, as long as the user is told so."""
        return self._failed if self.store.state.problem("maps") else None

    def mend(self, **changes: Any) -> None:
        """Do again what failed last, with another setup."""
        failed = self._what_failed()
        state = self.store.state
        if failed is not None and failed.source in state.sources:
            self.store.update(current=state.sources.index(failed.source))
        self._failed = None
        setup = failed.setup if failed else state.setup
        self.store.update(setup=self._changed_setup(setup, changes))
        state = self.store.state
        if not self.link.running:
            self._short_lives = 0
            self.start()
        elif state.shown is not None and (state.shown.setup, state.shown_source) == (state.setup, state.source):
            # There is nothing to do again, and nothing wrong with what is shown.
            self.problems.dismiss("maps")

    def know_picture(self, source: PictureSource, picture: ShownPicture) -> None:
        """An image that the window has without the engine: one of the samples."""
        self._pictures[source] = picture
        self.picture_ready.emit()

    def picture(self, source: PictureSource | None) -> ShownPicture | None:
        """The image of a picture, once the engine has read it."""
        return self._pictures.get(source) if source else None

    # Runs

    def _changed(self, old: ViewState, new: ViewState) -> None:
        if run_wanted(old) != run_wanted(new):
            self._run_what_is_wanted()
        self.looking.ask_for_the_difference()

    def _run_what_is_wanted(self) -> None:
        wanted = run_wanted(self.store.state)
        if wanted is None:
            self._asked = None
        if wanted is None or wanted == self._asked:
            return
        if not self.link.running:
            if self._begun:
                # None was started again after the last ones, or a line is waited for; but this is something else.
                self._short_lives = 0
                self._pause.stop()
                self.start()
            return
        self._asked = wanted
        self._failed = None
        if wanted.source not in self._pictures:
            size = PICTURE_LIMIT * PICTURE_LIMIT * 3
            self.link.ask(
                ReadPicture,
                partial(self._picture_read, wanted.source),
                block=size,
                source=wanted.source,
                limit=PICTURE_LIMIT,
                lane="picture",
            )
        shown = self.store.state.shown
        same = shown is not None and (shown.setup, self.store.state.shown_source) == (wanted.setup, wanted.source)
        if same and self._captured:
            # Wanted again before anything else was shown: what runs is no longer needed.
            if self._run_number:
                self.link.cancel(self._run_number)
            return
        self._run_number = self.link.ask(
            Run, partial(self._ran, wanted), lane="run", source=wanted.source, setup=wanted.setup
        )
        self.store.update(activity=Activity(self._run_number, self.tr("Starting")))

    def _picture_read(self, source: PictureSource, reply: AnyReply, block: Block | None) -> None:
        if isinstance(reply, PictureRead):
            while len(self._pictures) >= _PICTURES_KEPT:
                del self._pictures[next(iter(self._pictures))]
            pixels = SharedPixels.of(reply.pixels, block)
            self._pictures[source] = ShownPicture(rgb_image(pixels.array), reply.size, reply.note, reply.bands)
            self.picture_ready.emit()

    def _ran(self, wanted: RunWanted, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, Progress):
            loads = reply.doing == "loading torch"
            if loads != self._loads_torch and self._impatience.isActive():
                self._impatience.start(self._patience_ms * (_PATIENCE_WITH_TORCH if loads else 1))
            self._loads_torch = loads
            if not self._impatience.isActive():
                self.store.update(activity=Activity(reply.id, wording.doing(reply), reply.fraction))
            return
        if reply.id == self._given_up:
            # It was heard: whatever runs by now was not cancelled.
            self._given_up = 0
            self._impatience.stop()
        if reply.id == self._run_number:
            self._run_number = 0
            self._end_activity(reply.id)
        self._loads_torch = False
        if isinstance(reply, Ran):
            self._commit(wanted, reply)
        elif isinstance(reply, Failed):
            unreadable = reply.kind == PictureError.__name__
            if unreadable and self.store.state.source not in (None, wanted.source):
                # The user has gone on, and is not called back.
                self._leave_out(wanted.source)
                self.problems.tell("maps", reply.message, (), reply.details, outlasts_a_run=True)
                return
            first = self.store.state.shown is None
            self._go_back(without=wanted.source if unreadable else None)
            # After it: without the picture, the next one may be running by now, and the banner is not about that.
            self._failed = wanted
            mended_by = remedies(reply.kind, wanted.setup)
            # What is run next at once must not wipe out what was wrong with this one.
            outlasts = first and (unreadable or reply.kind in _OF_THE_NETWORK)
            message = wording.untrusted(reply.trust) if reply.trust else reply.message
            self.problems.tell("maps", message, mended_by, reply.details, outlasts_a_run=outlasts, trust=reply.trust)
            if reply.trust is not None:
                self._untrusted = wanted
                self.trust_wanted.emit(reply.trust)
            if first and reply.kind == WeightsError.__name__ and wanted.setup.weights:
                self._run_with_other_weights(wanted)
            elif first and reply.kind in _OF_THE_NETWORK and wanted.setup.backbone != BACKBONE:
                self._run_the_usual(wanted)
            self._capture_again_after(wanted)
        elif isinstance(reply, Dropped) and self._run_number == 0:
            self._failed = wanted
            self._go_back()
            if self.store.state.shown is None and self.store.state.source is not None:
                self.problems.tell("maps", self.tr("Cancelled before there was anything to show."), ("retry",))
            self._capture_again_after(wanted)

    def _leave_out(self, source: PictureSource) -> None:
        """A picture that cannot be read leaves the strip, where another one is looked at."""
        state = self.store.state
        sources = tuple(one for one in state.sources if one != source)
        self.store.update(sources=sources, current=sources.index(state.sources[state.current]))

    def _run_with_other_weights(self, failed: RunWanted) -> None:
        """Run the same network with the best weights that are here, instead of a first run whose weights failed."""
        self.set_setup(weights="")
        self._failed = failed

    def _run_the_usual(self, failed: RunWanted) -> None:
        """Instead of a first run that failed; what the banner offers is still for that one."""
        self.set_setup(backbone=BACKBONE)
        self._failed = failed

    def _capture_again_after(self, given_up: RunWanted) -> None:
        """What is shown cannot be looked at further in an engine that was started for something else, which failed."""
        state = self.store.state
        if state.shown is None or state.shown_source is None or not self._holds_nothing or self._run_number:
            return
        if given_up != RunWanted(state.shown_source, state.shown.setup):
            self._capture_again(state.shown_source, state.shown.setup)

    def _commit(self, wanted: RunWanted, ran: Ran) -> None:
        """The network has run: now, and not before, does it replace what is shown."""
        self._short_lives, self._breaks, self._captured, self._holds_nothing = 0, 0, True, False
        state = self.store.state
        if not any(problem.place == "maps" and problem.outlasts_a_run for problem in state.problems):
            self._failed = None
        layer = layer_to_keep(state, ran)
        found = next((info for info in ran.layers if info.name == layer), None)
        channels = found.shape[1] if found is not None and found.spatial else 1
        self.looking.forget()
        self.store.update(
            shown=ran,
            shown_source=wanted.source,
            layer=layer,
            channel=min(state.channel, max(channels - 1, 0)),
            problems=tuple(
                msgspec.structs.replace(problem, outlasts_a_run=False)
                for problem in state.problems
                if problem.outlasts_a_run or problem.until_dismissed
            ),
        )
        self._tell_where_it_stopped(ran)
        if self._asked not in (None, wanted) and not self._run_number:
            # It was given up for what was shown before, and had come to its end by then.
            self._asked = None
            self._run_what_is_wanted()

    def _tell_where_it_stopped(self, ran: Ran) -> None:
        if ran.stopped:
            self.problems.tell("maps", ran.stopped, ("retry",))

    def _go_back(self, *, without: PictureSource | None = None) -> None:
        """What is wanted is what is shown again; a picture that cannot be read leaves the strip."""
        state = self.store.state
        sources = tuple(source for source in state.sources if source != without)
        if state.shown is None or state.shown_source is None:
            self._asked = None if without else self._asked
            self.store.update(sources=sources, current=max(0, min(state.current, len(sources) - 1)))
            return
        self._asked = RunWanted(state.shown_source, state.shown.setup)
        if without is not None and without.is_of(state.shown_source):
            # The same file could not be read with other options.
            sources = state.sources
        sources = _with_source(sources, state.shown_source)
        self.store.update(sources=sources, current=sources.index(state.shown_source), setup=state.shown.setup)

    # Trouble

    def cancel(self) -> None:
        """Give up the run that is under way; by force where the engine does not listen, or has been silent for long."""
        state = self.store.state
        works = any(one is not None and one.going for one in (state.learning, state.fetching))
        if state.activity is None or state.activity.request != _SILENT:
            self._cancel_run()
        elif works:
            # It is slow because of what the user wished for, and that must not be lost for a map.
            self._end_activity(_SILENT)
        else:
            self._lose_patience()

    def _cancel_run(self) -> None:
        if self._run_number:
            self.link.cancel(self._run_number)
            self._given_up = self._run_number
            self._impatience.start(self._patience_ms * (_PATIENCE_WITH_TORCH if self._loads_torch else 1))
            # Said at once: the layer that computes may take its time to come to its end.
            self.store.update(activity=Activity(self._run_number, self.tr("Cancelling")))

    def _lose_patience(self) -> None:
        self._deaf = True
        self.link.kill()

    def _await_looks(self, awaited: bool) -> None:
        if awaited:
            # Over a line, large maps take their time.
            self._silence.start(self._silence_ms * (_SLOWER if self.link.remote else 1))
        else:
            self._silence.stop()
            self._end_activity(_SILENT)

    def _tell_of_silence(self) -> None:
        """Maps or the like were asked for and do not come: what is on the screen is of another layer."""
        if self.store.state.activity is not None:
            self._await_looks(True)
        elif self.link.running:
            self.store.update(activity=Activity(_SILENT, self.tr("Waiting for the engine")))

    def _end_activity(self, number: int) -> None:
        activity = self.store.state.activity
        if activity is not None and activity.request == number:
            self.store.update(activity=None)

    def restart(self) -> None:
        """End the engine and start another, which runs what is wanted: at the user's wish."""
        self._short_lives = 0
        if self.link.running:
            self._restarting = True
            self.link.kill()
        else:
            self._pause.stop()
            self.start()

    def _lost(self, errors: str, started: bool) -> None:
        """The engine is no more. What is on the screen stays; another one is started, and makes the shown capture again."""
        lived = time.monotonic() - self._started
        self._short_lives = self._short_lives + 1 if lived < _SHORT_LIFE_S else 0
        asked, self._asked = self._asked, None
        self._impatience.stop()
        self._given_up = 0
        self._captured, self._holds_nothing = False, True
        number, self._run_number = self._run_number, 0
        self._end_activity(number)
        self.looking.forget()
        restarting, self._restarting = self._restarting, False
        deaf, self._deaf = self._deaf, False
        if restarting and started:
            self.problems.dismiss("maps")
            self.start()
            return
        running = asked if number else None
        # What was given up before is not what the banner is about.
        self._failed = running
        if started and self.link.remote and not deaf:
            self._go_back()
            self._wait_for_the_line(errors)
            return
        gone = self.link.program_ended(errors) if started else ""
        # An engine that was ended because the user wished it has done nothing wrong.
        again = started and not gone and (deaf or self._short_lives < 3)
        if deaf:
            message = wording.ended_by_force(running.setup.backbone if running else "")
        else:
            what = (running.source.name, running.setup.backbone) if running else None
            stays = self.store.state.shown is not None
            message = gone or (wording.obituary(errors, what, again=again, stays=stays) if started else errors)
        state = self.store.state
        setup = running.setup if running else state.setup
        # As after any first run that fails: nobody is left with an empty window because of a network that ends engines.
        instead = again and not deaf and state.shown is None and running is not None and setup.backbone != BACKBONE
        mended_by = ("retry",) if setup.device == "cpu" else ("retry", "use_cpu")
        self.problems.tell("maps", message, () if gone else mended_by, errors, outlasts_a_run=instead)
        if again or gone:
            self._go_back()
        if again:
            self.start_again()
        if instead and running is not None:
            self._run_the_usual(running)

    def _wait_for_the_line(self, errors: str) -> None:
        """A line to another computer breaks and comes back: it is tried after 1, 2, 4 … seconds, 30 at most."""
        seconds = min(2**self._breaks, _LONGEST_PAUSE_S)
        self._breaks += 1
        last = errors.splitlines()[-1][:200] if errors else ""
        broke = self.tr("The line to the engine broke; what is shown stays.")
        parts = [broke if self.store.state.shown is not None else self.tr("The line to the engine broke.")]
        parts += [self.tr("It said: “{words}”.").format(words=last)] if last else []
        parts.append(self.tr("It is tried again in {seconds} s.").format(seconds=seconds))
        self._of_the_line = " ".join(parts)
        self.problems.tell("maps", self._of_the_line, ("retry",), errors)
        self._pause.start(1000 * seconds)

    def _take_the_line_up(self) -> None:
        if self.link.running:
            return
        if self.store.state.shown is None:
            self.start()
        else:
            self.start_again()

    def start_again(self) -> None:
        """A new engine makes what is shown again, so that it can be looked at further."""
        state = self.store.state
        self._started, self._loads_torch = time.monotonic(), False
        self.link.start()
        self.link.ask(Hello, self._welcomed)
        if state.shown is not None and state.shown_source is not None:
            self._capture_again(state.shown_source, state.shown.setup)
        if not state.backbones:
            self.link.ask(Devices, self._devices_found)

    def _capture_again(self, source: PictureSource, setup: Setup) -> None:
        self._asked = wanted = RunWanted(source, setup)
        self._run_number = self.link.ask(
            Run, partial(self._ran_again, wanted), lane="run", source=wanted.source, setup=wanted.setup
        )
        self.store.update(activity=Activity(self._run_number, self.tr("Starting the engine again")))

    def _ran_again(self, wanted: RunWanted, reply: AnyReply, block: Block | None) -> None:
        problems, failed = self.store.state.problems, self._failed
        self._ran(wanted, reply, block)
        if isinstance(reply, Ran):
            # The user has not read it yet: the banner stays until it is dismissed, and with it what it offers.
            self._failed = failed
            mended = self.tr("The line to the engine broke and was taken up again.")
            self.store.update(
                problems=tuple(
                    msgspec.structs.replace(problem, message=mended, remedies=("retry",) if failed else ())
                    if problem.message == self._of_the_line
                    else problem
                    for problem in problems
                )
            )


def _with_source(sources: tuple[PictureSource, ...], source: PictureSource) -> tuple[PictureSource, ...]:
    """`sources` with `source` in the place of the same file with other options, or at the end."""
    if any(one.is_of(source) for one in sources):
        return tuple(source if one.is_of(source) else one for one in sources)
    return (*sources, source)
