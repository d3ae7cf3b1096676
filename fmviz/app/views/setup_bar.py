"""The choosers of the toolbar: backbone, weights, size and crop, device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from PySide6.QtCore import Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QToolButton, QWidget

from fmviz.app.numbers import bytes_words
from fmviz.app.state import Fetching
from fmviz.app.views.combo import Combo
from fmviz.app.views.network_list import network_parameters_words, shown_name
from fmviz.engine.messages import BackboneInfo, OfferInfo, Setup
from fmviz.own_model import PREFIX

_FILE = "…file"
_PAGE = "…page"
_SEED_TOP = 2**31 - 1


class SetupBar(QWidget):
    done = Signal()
    """A number was entered: the keys may be for something else again."""
    changed = Signal(object)
    """A dict of the fields of `Setup` that the user changed."""
    chooser_wanted = Signal()
    weights_file_wanted = Signal()
    weights_page_wanted = Signal()
    fetch_wanted = Signal(object)
    """The name of weights that are not on this computer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.backbone = _Chosen(self)
        self.weights = self._combo(self.tr("Weights"), 8)
        self.fetch = QToolButton(self)
        self.mode = self._combo(self.tr("Size"), 4)
        self.side = _Side(self)
        self.seed = QSpinBox(self)
        self._offers: dict[str, OfferInfo] = {}
        self._best = ""
        self._crop = 0
        self.device = self._combo(self.tr("Device"), 4)
        self.mode.addItem(self.tr("crop"), "crop")
        self.mode.addItem(self.tr("whole"), "whole")
        self.mode.setToolTip(self.tr("Crop the middle, as the weights were trained, or take the whole picture"))
        self.side.setToolTip(self.tr("Side of the crop, or the longer side of the whole picture, in pixels"))
        self.seed.setRange(0, _SEED_TOP)
        self.seed.setPrefix(self.tr("seed "))
        self.seed.setKeyboardTracking(False)
        self.seed.setMaximumWidth(90)
        self.seed.setAccessibleName(self.tr("Seed of the random weights"))
        self._lay_out()
        self.backbone.setAccessibleName(self.tr("Backbone"))
        self.backbone.opened.connect(self.chooser_wanted)
        self.fetch.clicked.connect(self._fetch_clicked)
        self.weights.activated.connect(self._weights_chosen)
        self.mode.activated.connect(self._mode_chosen)
        self.device.activated.connect(lambda: self.changed.emit({"device": self.device.currentData()}))
        self.side.valueChanged.connect(lambda value: self.changed.emit({"side": value}))
        self.seed.valueChanged.connect(lambda value: self.changed.emit({"seed": value}))
        for box in (self.side, self.seed):
            box.lineEdit().returnPressed.connect(self.done)
        self._known = False
        self.setEnabled(False)

    def _combo(self, name: str, length: int) -> QComboBox:
        combo = Combo(self)
        combo.setAccessibleName(name)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(length)
        combo.setMaxVisibleItems(30)
        return combo

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 0)
        layout.setSpacing(5)
        groups = (
            (self.tr("Backbone"), (self.backbone,)),
            (self.tr("Weights"), (self.weights, self.fetch, self.seed)),
            (self.tr("Size"), (self.side, self.mode)),
            (self.tr("Device"), (self.device,)),
        )
        for text, widgets in groups:
            label = QLabel(text, self)
            label.setBuddy(widgets[0])
            layout.addWidget(label)
            for widget in widgets:
                layout.addWidget(widget)
            layout.addSpacing(6)

    def set_choices(
        self,
        setup: Setup,
        backbones: Sequence[BackboneInfo],
        devices: Sequence[str],
        fetching: Fetching | None = None,
    ) -> None:
        """What is chosen, what there is to choose from, and what is being fetched."""
        row = next((row for row in backbones if row.name == setup.backbone), None)
        self._known = bool(backbones)
        self._show_backbone(setup, row)
        self._fill_weights(setup, row)
        self._offer_to_fetch(setup, row, fetching)
        self._fill(self.device, [(name, name) for name in devices], setup.device)
        mode, side = row.wants(setup.weights) if row else ("crop", 224)
        if setup.mode == "whole" or setup.side:
            mode = setup.mode
        # Where the weights want the whole picture, a crop needs a size of its own.
        self._crop = 224 if row is not None and row.wants(setup.weights)[0] == "whole" else 0
        self.mode.setCurrentIndex(self.mode.findData(mode))
        self.side.set_quietly(setup.side or side, row.minimum_input if row else 1)
        for widget in (self.side, self.mode):
            widget.setEnabled(not (row and row.only_input))
        self.seed.blockSignals(True)
        self.seed.setValue(setup.seed)
        self.seed.blockSignals(False)
        pyramid = bool(row and row.pyramid)
        self.seed.setVisible((self._chosen(setup, row) == "random" or pyramid) and not _is_live(row))
        self.setEnabled(bool(backbones))

    def _chosen(self, setup: Setup, row: BackboneInfo | None) -> str:
        """The name of the weights; "" as long as nobody knows which there are."""
        return setup.weights or (row.best_here if row else "random" if self._known else "")

    def _show_backbone(self, setup: Setup, row: BackboneInfo | None) -> None:
        self.backbone.set_text(shown_name(setup.backbone))
        if row is None:
            self.backbone.setToolTip(setup.backbone)
            return
        facts = [row.family, str(row.year or ""), f"arXiv {row.paper}" if row.paper else ""]
        facts.append(network_parameters_words(row, setup.weights))
        self.backbone.setToolTip(", ".join(fact for fact in facts if fact) + (f"\n{row.about}" if row.about else ""))

    def _fill_weights(self, setup: Setup, row: BackboneInfo | None) -> None:
        self._offers = {offer.name: offer for offer in (row.offers if row else ())}
        rows = [(_offer_words(offer), offer.name) for offer in self._offers.values()]
        if self._known:
            own = row is not None and row.group == "own"
            rows.append((self.tr("its own") if own else self.tr("random"), "random"))
        chosen = self._chosen(setup, row)
        if chosen not in [data for _, data in rows]:
            rows.append((PurePath(chosen).name or "…", chosen))
        if not _is_live(row):
            rows += [(self.tr("Open file…"), _FILE), (self.tr("All weights…"), _PAGE)]
        self._fill(self.weights, rows, chosen)
        self.weights.setToolTip(chosen)

    def _offer_to_fetch(self, setup: Setup, row: BackboneInfo | None, fetching: Fetching | None) -> None:
        """A button beside random weights: trained ones are a click away."""
        going = fetching is not None and fetching.going
        best = row.offers[0] if row and row.offers and not any(offer.here for offer in row.offers) else None
        self.fetch.setVisible(going or (best is not None and self._chosen(setup, row) == "random"))
        if fetching is not None and going:
            share = f"{fetching.fraction:.0%}" if fetching.fraction is not None else "…"
            self.fetch.setText(f"↓ {share}")
            self.fetch.setToolTip(fetching.text)
        elif best is not None:
            self.fetch.setText(self.tr("↓ {size}").format(size=bytes_words(best.nbytes)))
            self.fetch.setToolTip(self.tr("Fetch the trained weights {name}").format(name=best.name))
        self._best = "" if going or best is None else best.name

    def _fetch_clicked(self) -> None:
        if self._best:
            self.fetch_wanted.emit(self._best)
        else:
            self.weights_page_wanted.emit()

    @staticmethod
    def _fill(combo: QComboBox, rows: Sequence[tuple[str, str]], chosen: str) -> None:
        if [(combo.itemText(place), combo.itemData(place)) for place in range(combo.count())] != list(rows):
            combo.clear()
            for text, data in rows:
                combo.addItem(text, data)
        combo.setCurrentIndex(combo.findData(chosen))

    def _weights_chosen(self) -> None:
        chosen, before = self.weights.currentData(), self.weights.toolTip()
        offer = self._offers.get(chosen)
        if chosen in (_FILE, _PAGE) or (offer is not None and not offer.here):
            # Nothing is chosen yet: the box shows what is there until it is.
            self.weights.setCurrentIndex(self.weights.findData(before))
        if chosen == _FILE:
            self.weights_file_wanted.emit()
        elif chosen == _PAGE:
            self.weights_page_wanted.emit()
        elif offer is not None and not offer.here:
            self.fetch_wanted.emit(chosen)
        else:
            self.changed.emit({"weights": chosen})

    def _mode_chosen(self) -> None:
        mode = self.mode.currentData()
        self.changed.emit({"mode": mode, "side": self._crop if mode == "crop" else max(self.side.value(), 512)})


def _is_live(row: BackboneInfo | None) -> bool:
    """Whether the network lives in a program that shows it: its values are that program's affair."""
    return row is not None and row.group == "own" and not row.name.startswith(PREFIX)


def _offer_words(offer: OfferInfo) -> str:
    """ "IMAGENET1K_V2" where it is here, else with what it takes: "IMAGENET1K_V2  ↓ 98 MB"."""
    return offer.name if offer.here else f"{offer.name}  ↓ {bytes_words(offer.nbytes)}"


class _Chosen(QComboBox):
    """Looks like the other boxes, and opens the list of networks where they open theirs."""

    opened = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(18)
        self.addItem("")

    def set_text(self, name: str) -> None:
        self.setItemText(0, name)

    def showPopup(self) -> None:
        self.opened.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class _Side(QSpinBox):
    """Steps of 32 by the arrows; what is typed counts when it is finished."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(1, 4096)
        self.setSingleStep(32)
        self.setSuffix(" px")
        self.setKeyboardTracking(False)
        self.setAccessibleName(self.tr("Size"))

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def set_quietly(self, value: int, least: int) -> None:
        self.blockSignals(True)
        self.setMinimum(least)
        self.setValue(value)
        self.blockSignals(False)
