"""The flow of training a pyramid: asked of the engine, followed, and kept or thrown away."""

from __future__ import annotations

from pathlib import PurePath

import msgspec
from PySide6.QtCore import QObject

from fmviz.app import wording
from fmviz.app.blocks import Block
from fmviz.app.controller import Controller
from fmviz.app.link import EngineLink
from fmviz.app.shelf import Shelf
from fmviz.app.state import Learning, Store, ViewState
from fmviz.engine.messages import (
    AnyReply,
    BackboneInfo,
    Dropped,
    Failed,
    KeepPyramid,
    Learn,
    Learned,
    LearningInfo,
    Progress,
    PyramidKept,
)


class Teaching(QObject):
    """One training at a time."""

    def __init__(
        self, store: Store, link: EngineLink, controller: Controller, shelf: Shelf, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._store = store
        self._link = link
        self._controller = controller
        self._shelf = shelf
        self._number = 0
        link.lost.connect(self._lost)

    def begin(self, *, minutes: float, seed: int, scenes: int = 0, steps: int = 0) -> None:
        """Train a pyramid for the network that is chosen, over the weights that its body has."""
        state = self._store.state
        if self._number or not self._link.running or obstacle(state):
            return
        setup = state.setup
        weights = body_weights(state)
        self._number = self._link.ask(
            Learn,
            self._heard,
            backbone=setup.backbone,
            weights=weights,
            minutes=minutes,
            seed=seed,
            scenes=scenes,
            steps=steps,
        )
        self._store.update(learning=Learning(setup.backbone, self.tr("Starting …")))

    def cancel(self) -> None:
        if self._number:
            self._link.cancel(self._number)

    def _heard(self, reply: AnyReply, _block: Block | None) -> None:
        learning = self._store.state.learning
        if learning is None:
            return
        if isinstance(reply, Progress):
            if reply.learning is not None:
                self._store.update(learning=_followed(learning, reply, reply.learning))
            return
        self._number = 0
        ended = msgspec.structs.replace(learning, going=False, fraction=None)
        match reply:
            case Learned():
                news = ended.news
                if news is not None:
                    news = _with_figures(news, reply)
                ended = msgspec.structs.replace(ended, text=wording.learned(reply), path=reply.path, news=news)
            case Failed(message=message):
                ended = msgspec.structs.replace(ended, text=message)
            case Dropped():
                ended = msgspec.structs.replace(ended, text=wording.learning_cancelled())
        self._store.update(learning=ended)

    def keep(self, target: str = "") -> None:
        """Keep what was trained as a file, or where it is on offer for its network; it is used at once."""
        self._dispose(keep=True, target=target)

    def throw_away(self) -> None:
        self._dispose(keep=False, target="")

    def _dispose(self, *, keep: bool, target: str) -> None:
        learning = self._store.state.learning
        if learning is not None and learning.path and self._link.running:
            self._link.ask(
                KeepPyramid,
                self._disposed,
                backbone=learning.backbone,
                path=learning.path,
                target=target,
                keep=keep,
            )

    def _disposed(self, reply: AnyReply, _block: Block | None) -> None:
        learning = self._store.state.learning
        if learning is None:
            return
        match reply:
            case PyramidKept(path=path, backbone=backbone):
                told = msgspec.structs.replace(learning, text=wording.learning_kept(path), path="")
                self._store.update(learning=told)
                self._shelf.refresh()
                setup = self._store.state.setup
                if setup.backbone == backbone and setup.weights == path:
                    self._controller.retry()
                elif setup.backbone == backbone:
                    self._controller.set_setup(weights=path)
            case Failed(message=message):
                self._store.update(learning=msgspec.structs.replace(learning, text=message))
            case Dropped():
                told = msgspec.structs.replace(learning, text=wording.learning_dropped(), path="")
                self._store.update(learning=told)

    def _lost(self, _errors: str, _started: bool) -> None:
        learning, self._number = self._store.state.learning, 0
        # What was learned in full is a file, and another engine can keep it.
        if learning is not None and learning.going:
            told = msgspec.structs.replace(learning, going=False, text=wording.learning_lost())
            self._store.update(learning=told)


def body_weights(state: ViewState) -> str:
    """The weights of the body that a pyramid is to be trained over: those that are chosen, where they are a body's."""
    setup, shown = state.setup, state.shown
    body = _body(state)
    if body is not None and body.offer(setup.weights):
        return setup.weights
    is_file = PurePath(setup.weights).is_absolute() and shown is not None and not shown.weights.trained_on
    return setup.weights if is_file else ""


def obstacle(state: ViewState) -> str:
    """Why no pyramid can be trained for the network that is chosen, in words; "" where one can."""
    row = state.backbone_info
    if row is None or not row.pyramid:
        return wording.no_pyramid_to_train()
    body = _body(state)
    if body is not None and body.best_here == "random" and not body_weights(state):
        return wording.no_body_to_train_over(body.name)
    return ""


def _body(state: ViewState) -> BackboneInfo | None:
    name = state.setup.backbone.removesuffix("_fpn")
    return next((row for row in state.backbones if row.name == name), None)


def _followed(learning: Learning, progress: Progress, news: LearningInfo) -> Learning:
    losses = learning.losses if news.loss is None else (*learning.losses, news.loss)
    return msgspec.structs.replace(
        learning, text=wording.learning(progress), fraction=progress.fraction, news=news, losses=losses
    )


def _with_figures(news: LearningInfo, done: Learned) -> LearningInfo:
    return LearningInfo(
        phase=news.phase,
        step=news.step,
        steps=news.steps,
        loss=news.loss,
        matrix=done.matrix,
        by_rms=done.by_rms,
        ap50=done.ap50,
        snapshot=news.snapshot,
    )
