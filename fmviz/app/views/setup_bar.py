"""The choosers of the toolbar: backbone, weights, size and crop, device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QWidget

from fmviz.engine.messages import BackboneInfo, Setup

_FILE = "…"
_SEED_TOP = 2**31 - 1


class SetupBar(QWidget):
    changed = Signal(object)
    """A dict of the fields of `Setup` that the user changed."""
    weights_file_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.backbone = self._combo(self.tr("Backbone"), 19)
        self.weights = self._combo(self.tr("Weights"), 10)
        self.mode = self._combo(self.tr("Size"), 8)
        self.side = _Side(self)
        self.seed = QSpinBox(self)
        self.device = self._combo(self.tr("Device"), 5)
        self.mode.addItem(self.tr("crop"), "crop")
        self.mode.addItem(self.tr("whole picture"), "whole")
        self.mode.setToolTip(self.tr("Crop the middle, as the weights were trained, or take the whole picture"))
        self.side.setToolTip(self.tr("Side of the crop, or the longer side of the whole picture, in pixels"))
        self.seed.setRange(0, _SEED_TOP)
        self.seed.setPrefix(self.tr("seed "))
        self.seed.setKeyboardTracking(False)
        self.seed.setMaximumWidth(90)
        self.seed.setAccessibleName(self.tr("Seed of the random weights"))
        self._lay_out()
        self.backbone.activated.connect(lambda: self.changed.emit({"backbone": self.backbone.currentData()}))
        self.weights.activated.connect(self._weights_chosen)
        self.mode.activated.connect(self._mode_chosen)
        self.device.activated.connect(lambda: self.changed.emit({"device": self.device.currentData()}))
        self.side.valueChanged.connect(lambda value: self.changed.emit({"side": value}))
        self.seed.valueChanged.connect(lambda value: self.changed.emit({"seed": value}))
        self.setEnabled(False)

    def _combo(self, name: str, length: int) -> QComboBox:
        combo = _Combo(self)
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
            (self.tr("Weights"), (self.weights, self.seed)),
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

    def set_choices(self, setup: Setup, backbones: Sequence[BackboneInfo], devices: Sequence[str]) -> None:
        """What is chosen, and what there is to choose from."""
        row = next((row for row in backbones if row.name == setup.backbone), None)
        self._fill_backbones(setup, backbones)
        self._fill_weights(setup, row.weights if row else ())
        self._fill(self.device, [(name, name) for name in devices], setup.device)
        self.mode.setCurrentIndex(self.mode.findData(setup.mode))
        least = row.minimum_input if row else 1
        self.side.set_quietly(setup.side or (row.crop if row else 224), least)
        self.seed.blockSignals(True)
        self.seed.setValue(setup.seed)
        self.seed.blockSignals(False)
        pyramid = bool(row and row.pyramid)
        weights = setup.weights or (row.weights[0] if row else "")
        self.seed.setVisible(weights == "random" or pyramid)
        self.setEnabled(bool(backbones))

    def _fill_backbones(self, setup: Setup, backbones: Sequence[BackboneInfo]) -> None:
        if self.backbone.count() < len(backbones) or not backbones:
            self.backbone.clear()
            family = None
            for row in backbones:
                if family not in (None, row.family):
                    self.backbone.insertSeparator(self.backbone.count())
                family = row.family
                self.backbone.addItem(row.name, row.name)
                tip = self.tr("{family}, {year}, arXiv {paper}: {count} parameters")
                words = tip.format(family=row.family, year=row.year, paper=row.paper, count=f"{row.parameters:,}")
                self.backbone.setItemData(self.backbone.count() - 1, words, Qt.ItemDataRole.ToolTipRole)
            if not backbones:
                self.backbone.addItem(setup.backbone, setup.backbone)
        self.backbone.setCurrentIndex(self.backbone.findData(setup.backbone))

    def _fill_weights(self, setup: Setup, offers: Sequence[str]) -> None:
        rows = [(name, name) for name in offers]
        chosen = setup.weights or (offers[0] if offers else "")
        if chosen and chosen not in offers:
            rows.append((PurePath(chosen).name, chosen))
        rows.append((self.tr("Open file…"), _FILE))
        self._fill(self.weights, rows, chosen)
        self.weights.setToolTip(chosen)

    @staticmethod
    def _fill(combo: QComboBox, rows: Sequence[tuple[str, str]], chosen: str) -> None:
        if [combo.itemData(place) for place in range(combo.count())] != [data for _, data in rows]:
            combo.clear()
            for text, data in rows:
                combo.addItem(text, data)
        combo.setCurrentIndex(combo.findData(chosen))

    def _weights_chosen(self) -> None:
        if self.weights.currentData() == _FILE:
            self.weights_file_wanted.emit()
        else:
            self.changed.emit({"weights": self.weights.currentData()})

    def _mode_chosen(self) -> None:
        mode = self.mode.currentData()
        self.changed.emit({"mode": mode, "side": 0 if mode == "crop" else max(self.side.value(), 512)})


class _Combo(QComboBox):
    """The wheel passes it by: a turn too far would load another network."""

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
