"""What the commands about networks and weights do: the chooser, the page of weights, files of weights and of code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from fmviz.app import wording
from fmviz.app.controller import Controller
from fmviz.app.preferences import Preferences
from fmviz.app.shelf import Shelf
from fmviz.app.state import Learning, Store, ViewState
from fmviz.app.teaching import Teaching, obstacle
from fmviz.app.views.chooser import Chooser
from fmviz.engine.messages import Proposed, TrustWanted
from fmviz.networks.shards import INDEX_PATTERNS, WEIGHTS_SUFFIXES
from fmviz.own_model import PREFIX

if TYPE_CHECKING:
    from fmviz.app.views.learning_page import LearningPage
    from fmviz.app.views.weights_page import WeightsPage
    from fmviz.app.window import MainWindow


class NetworkCommands(QObject):
    """Dialogs about networks; loaded and made when they are first wanted, so that the window starts sooner."""

    def __init__(
        self,
        store: Store,
        controller: Controller,
        shelf: Shelf,
        teaching: Teaching,
        preferences: Preferences,
        window: MainWindow,
    ) -> None:
        super().__init__(window)
        self._store = store
        self._controller = controller
        self._shelf = shelf
        self._teaching = teaching
        self._preferences = preferences
        self._window = window
        self._page: WeightsPage | None = None
        self._learning_page: LearningPage | None = None
        self._said = ""
        self._asked_for = ""
        """The network out of a file of code that the user chose and that has not run yet."""
        self.chooser = Chooser(window)
        self.chooser.network_chosen.connect(self._choose)
        self.chooser.model_wanted.connect(self.open_model)
        self.chooser.weights_wanted.connect(self.show_weights)
        self.chooser.opened.connect(shelf.look_further)
        self.chooser.closed.connect(window.view_focus.give_back)
        bar = window.setup_bar
        bar.chooser_wanted.connect(self.choose)
        bar.weights_file_wanted.connect(self.open_weights)
        bar.weights_page_wanted.connect(self.show_weights)
        bar.fetch_wanted.connect(self.fetch)
        window.pyramid.train_wanted.connect(self.train_pyramid)
        window.pyramid.fetch_wanted.connect(self.fetch)
        shelf.proposed.connect(self._ask_which_network)
        controller.trust_wanted.connect(self._trust_wanted)
        store.changed.connect(self._changed)

    def choose(self) -> None:
        """Open the list of networks."""
        state = self._store.state
        self.chooser.set_networks(state.networks, state.recent, state.setup.backbone)
        self.chooser.open_below(self._window.setup_bar.backbone)

    def _choose(self, name: str) -> None:
        """Choose a network, and ask about its file of code where that is not trusted."""
        self._asked_for = name
        self._shelf.choose(name)

    def _changed(self, old: ViewState, new: ViewState) -> None:
        if old.shown is not new.shown:
            self._asked_for = ""
        if old.backbones != new.backbones and self.chooser.isVisible():
            self.chooser.set_networks(new.networks, new.recent, new.setup.backbone)
        if self._page is not None and (old.backbones, old.setup, old.shown) != (new.backbones, new.setup, new.shown):
            self._page.set_network(new.backbone_info, _loaded(new))
        if self._page is not None and old.fetching != new.fetching:
            self._show_fetching(new)

        if self._learning_page is not None and _about_learning(old) != _about_learning(new):
            self._show_learning(self._learning_page, new)
        if self._learning_page is not None and old.learning != new.learning:
            self._tell_of_learning(self._learning_page, new.learning)

    # A pyramid that is trained

    def train_pyramid(self) -> None:
        """Open the page of training."""
        state = self._store.state
        info = state.backbone_info
        if (info is None or not info.pyramid) and not (state.learning is not None and state.learning.going):
            told = self.tr("This network has no pyramid to train: choose one whose name ends in _fpn.")
            self._window.statusBar().showMessage(told, 6000)
            return
        page = self._learning_page or self._made_learning_page()
        self._window.statusBar().clearMessage()
        self._show_learning(page, state)
        page.show()
        page.raise_()
        page.activateWindow()
        self._window.raise_dock("pyramid")

    @staticmethod
    def _show_learning(page: LearningPage, state: ViewState) -> None:
        page.set_learning(state.learning, state.setup.backbone, obstacle=obstacle(state))

    def _tell_of_learning(self, page: LearningPage, learning: Learning | None) -> None:
        """In the status line, where the page is closed meanwhile."""
        if learning is not None and not page.isVisible():
            text = wording.learning_unseen(learning.text) if learning.going else learning.text
            bar = self._window.statusBar()
            # What is said there for some seconds is not wiped out by it.
            if bar.currentMessage() in ("", self._said):
                bar.showMessage(text, 0 if learning.going else 10_000)
                self._said = text

    def _made_learning_page(self) -> LearningPage:
        from fmviz.app.views.learning_page import LearningPage

        self._learning_page = page = LearningPage(self._window)
        page.begin_wanted.connect(lambda minutes, seed: self._teaching.begin(minutes=minutes, seed=seed))
        page.cancel_wanted.connect(self._teaching.cancel)
        page.keep_wanted.connect(self._teaching.keep)
        page.throw_wanted.connect(self._teaching.throw_away)
        page.finished.connect(self._page_closed)
        return page

    def _page_closed(self) -> None:
        learning = self._store.state.learning
        if self._learning_page is not None and learning is not None and learning.going:
            self._tell_of_learning(self._learning_page, learning)

    # Weights

    def show_weights(self) -> None:
        """Open the page of weights."""
        page = self._page or self._made_page()
        state = self._store.state
        page.set_network(state.backbone_info, _loaded(state))
        self._show_fetching(state)
        self._shelf.list_cache()
        page.show()
        page.raise_()
        page.activateWindow()

    def _made_page(self) -> WeightsPage:
        from fmviz.app.views.weights_page import WeightsPage

        self._page = page = WeightsPage(self._window)
        page.fetch_wanted.connect(self._shelf.fetch)
        page.use_wanted.connect(lambda name: self._controller.set_setup(weights=name))
        page.cancel_wanted.connect(self._shelf.cancel)
        page.remove_wanted.connect(lambda name: self._shelf.list_cache(remove=name))
        self._shelf.cache_listed.connect(page.set_cache)
        self._shelf.cache_failed.connect(lambda words: page.show_fetching(words, None))
        return page

    def _show_fetching(self, state: ViewState) -> None:
        fetching = state.fetching
        if self._page is None:
            return
        if fetching is None:
            self._page.show_fetching("", None)
        else:
            self._page.show_fetching(fetching.text, fetching.fraction, going=fetching.going)

    def fetch(self, weights: str) -> None:
        """Fetch these weights of the chosen network; the page shows how it goes."""
        self.show_weights()
        self._shelf.fetch(self._store.state.setup.backbone, weights)

    def open_weights(self) -> None:
        """Ask for a file of weights. The toolbar shows again what is chosen, whatever comes of it."""
        from PySide6.QtWidgets import QFileDialog

        now = self._store.state.setup.weights
        name, _ = QFileDialog.getOpenFileName(
            self._window,
            self.tr("Open weights"),
            os.path.dirname(now) if os.path.isabs(now) else self._preferences.folder("weights"),
            self.tr("Weights ({patterns});;All files (*)").format(
                patterns=" ".join((*(f"*{suffix}" for suffix in WEIGHTS_SUFFIXES), *INDEX_PATTERNS))
            ),
        )
        state = self._store.state
        self._window.setup_bar.set_choices(state.setup, state.networks, state.devices, state.fetching)
        if name:
            self._preferences.save_folder("weights", str(Path(name).parent))
            self._shelf.open_weights(name)

    def _ask_which_network(self, proposed: Proposed) -> None:
        from fmviz.app.views.proposals_dialog import ProposalsDialog

        dialog = ProposalsDialog(proposed.path, proposed.proposals, self._window)
        dialog.chosen.connect(self._shelf.load)
        dialog.open()

    # Models of the user's own

    def open_model(self) -> None:
        """Ask for a file of code that builds a network."""
        from PySide6.QtWidgets import QFileDialog

        name, _ = QFileDialog.getOpenFileName(
            self._window,
            self.tr("Open model: a Python file with a function build()"),
            self._preferences.folder("model"),
            self.tr("Python (*.py)"),
        )
        if name:
            self._preferences.save_folder("model", str(Path(name).parent))
            self.take_model(Path(name))

    def take_model(self, path: Path) -> None:
        """The network that this file builds. It is not run before the user trusts it."""
        name = f"{PREFIX}{path}:build"
        self._asked_for = name
        if name == self._store.state.setup.backbone:
            self._controller.retry()
        else:
            self._shelf.choose(name)

    def ask_in_the_banner(self) -> None:
        """Ask about the file of code that is chosen in the banner only, where the rest of the window can be used."""
        self._asked_for = ""

    def _trust_wanted(self, wanted: TrustWanted) -> None:
        """Ask at once where the user has just chosen this file; else the banner asks."""
        path, asked_for = os.path.realpath(wanted.path), self._asked_for
        self._asked_for = ""
        if asked_for.startswith(PREFIX) and os.path.realpath(asked_for.removeprefix(PREFIX).rpartition(":")[0]) == path:
            self._ask_for_trust(wanted)

    def trust_model(self) -> None:
        """Ask again about the file that the banner is about."""
        problem = self._store.state.problem("maps")
        if problem is not None and problem.trust is not None:
            self._ask_for_trust(problem.trust)

    def _ask_for_trust(self, wanted: TrustWanted) -> None:
        from fmviz.app.views.trust_dialog import TrustDialog

        dialog = TrustDialog(wanted, self._window)
        dialog.trusted.connect(self._shelf.trust)
        dialog.open()


def _loaded(state: ViewState) -> str:
    """The name of the weights that the chosen network has now; "" before it has run."""
    shown = state.shown
    return shown.weights.name if shown is not None and shown.setup.backbone == state.setup.backbone else ""


def _about_learning(state: ViewState) -> tuple[object, ...]:
    """What the page of a training depends on."""
    return state.learning, state.setup, state.backbones, state.shown
