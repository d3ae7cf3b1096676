"""Bands and stretch in the window: chosen in a dialog and a menu, read by the engine, kept in the session."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QDialogButtonBox, QLabel

import fmviz
from fmviz.app import sitting
from fmviz.app.views.bands_dialog import BandsDialog
from fmviz.engine.messages import Export, PictureSource
from fmviz.picture_options import PictureOptions

from tiffs import BLACK_IS_ZERO, tiff  # isort: skip


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bands of 12-bit data: band n is brightest in row n of a raster of eight rows."""
    values = np.zeros((64, 96, 8), np.uint16)
    for band in range(8):
        values[8 * band : 8 * band + 8, :, band] = np.linspace(100, 4095, 96)
    path = tmp_path_factory.mktemp("bands") / "eight.tif"
    path.write_bytes(tiff(values, BLACK_IS_ZERO, extra=[0] * 7))
    return path


@pytest.fixture(scope="module")
def open_eight(open_desk: OpenDesk, eight: Path) -> Desk:
    desk = open_desk([eight])
    desk.settle()
    return desk


def shown_pixels(desk: Desk) -> np.ndarray:
    """The picture in the Input dock, as the engine read it."""
    picture = desk.app.controller.picture(desk.state.shown_source)
    assert picture is not None
    image = picture.image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def about(desk: Desk) -> str:
    return " ".join(label.text() for label in desk.window.input.findChildren(QLabel))


def is_read_with(desk: Desk, path: Path, *bands: int, stretch: bool = True) -> None:
    desk.settle()
    expected = fmviz.read_picture(path, bands=bands, stretch=stretch)
    until(lambda: np.array_equal(shown_pixels(desk), expected.pixels), "the picture is read with these options")
    until(lambda: expected.note in about(desk), "the note is shown")


def test_the_note_says_which_bands_are_shown_and_the_range(open_eight: Desk, eight: Path) -> None:
    is_read_with(open_eight, eight)
    assert "bands 1, 2, 3 of 8 as red, green, blue; values from 0 to 4095 stretched to 0–255" in about(open_eight)
    assert open_eight.window.actions_by_name["bands"].isEnabled()
    assert open_eight.window.actions_by_name["stretch"].isChecked()


def test_bands_are_chosen_in_a_dialog_and_the_network_runs_on_them(
    open_eight: Desk, eight: Path, tmp_path: Path
) -> None:
    desk = open_eight
    before = desk.state.shown.run if desk.state.shown else 0
    desk.do("bands")
    dialog = desk.dialog(BandsDialog)
    assert [box.value() for box in dialog.boxes] == [1, 2, 3]
    assert [box.maximum() for box in (*dialog.boxes, dialog.box)] == [8] * 4
    for box, band in zip(dialog.boxes, (4, 3, 2), strict=True):
        box.setValue(band)
    dialog.buttons.button(QDialogButtonBox.StandardButton.Ok).click()
    is_read_with(desk, eight, 4, 3, 2)
    assert desk.state.shown is not None
    assert desk.state.shown.run > before
    assert len(desk.names) == 1
    desk.do("bands")
    dialog = desk.dialog(BandsDialog)
    assert [box.value() for box in dialog.boxes] == [4, 3, 2]
    dialog.grey.setChecked(True)
    dialog.box.setValue(7)
    dialog.buttons.button(QDialogButtonBox.StandardButton.Ok).click()
    is_read_with(desk, eight, 7)
    facts = exported_facts(desk, tmp_path)
    assert facts["picture"]["bands"] == [7]
    assert facts["picture"]["stretched_from"] == [0, 4095]
    desk.do("bands")
    desk.dialog(BandsDialog).buttons.button(QDialogButtonBox.StandardButton.RestoreDefaults).click()
    is_read_with(desk, eight)


def exported_facts(desk: Desk, folder: Path) -> dict:
    """The facts in a figure that the engine writes of what is shown."""
    heard: list[object] = []
    assert desk.state.shown is not None
    desk.app.link.ask(
        Export,
        lambda reply, _block: heard.append(reply),
        run=desk.state.shown.run,
        folder=str(folder),
        layers=(desk.tapped("C3"),),
        form="grid",
    )
    until(lambda: list(folder.glob("*.png")) and len(heard) > 1, "the figure is written")
    with PIL.Image.open(next(folder.glob("*.png"))) as image:
        image.load()
        return json.loads(image.text["fmviz"])  # type: ignore[attr-defined]


def test_the_stretch_is_switched_for_all_pictures_and_those_opened_later(
    open_eight: Desk, eight: Path, tmp_path: Path
) -> None:
    desk = open_eight
    desk.do("stretch")
    is_read_with(desk, eight, stretch=False)
    assert not desk.window.actions_by_name["stretch"].isChecked()
    other = tmp_path / "other.png"
    PIL.Image.fromarray(np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)).save(other)
    desk.drop([other])
    is_read_with(desk, other, stretch=False)
    desk.do("stretch")
    is_read_with(desk, other)
    desk.do("previous")
    is_read_with(desk, eight)
    desk.do("next")
    desk.do("close_picture")
    desk.settle()


def test_a_file_that_is_opened_again_keeps_its_bands(open_eight: Desk, eight: Path) -> None:
    desk = open_eight
    desk.app.controller.set_bands(desk.state.source, (4, 3, 2))
    is_read_with(desk, eight, 4, 3, 2)
    desk.drop([eight])
    desk.settle()
    assert [source.options for source in desk.state.sources] == [PictureOptions((4, 3, 2))]


def test_a_file_that_changes_is_read_again_with_the_same_bands(
    open_desk: OpenDesk, eight: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changing.tif"
    path.write_bytes(eight.read_bytes())
    desk = open_desk([path])
    desk.settle()
    desk.app.controller.set_bands(desk.state.source, (8, 7, 6))
    is_read_with(desk, path, 8, 7, 6)
    fewer = np.zeros((64, 96, 3), np.uint16)
    fewer[:, :, 0] = 4000
    path.write_bytes(tiff(fewer, BLACK_IS_ZERO, extra=[0, 0]))
    desk.do("retry")
    until(lambda: "changing.tif has 3 bands" in desk.problem(), "the band that is gone is told")
    assert desk.names == ["changing.tif"]
    desk.close()


def test_bands_of_a_grey_picture_cannot_be_chosen(open_desk: OpenDesk, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    PIL.Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(path)
    desk = open_desk([path])
    desk.settle()
    until(lambda: not desk.window.actions_by_name["bands"].isEnabled(), "there are no bands to choose from")
    desk.close()


def test_bands_and_stretch_are_kept_in_a_session(eight: Path) -> None:
    options = PictureOptions((4, 3, 2), stretch=False)
    from fmviz.app.state import Store, ViewState

    sources = tuple(
        PictureSource(name=name, path=f"/x/{name}", options=one)
        for name, one in (("a.tif", options), ("b.tif", PictureOptions(stretch=False)))
    )
    store = Store(ViewState(sources=sources, stretch=False))
    kept = sitting.read(sitting.written(sitting.of_state(store.state)))
    again = Store(ViewState())
    again.update(**sitting.changes(kept, lambda path: PictureSource(name=Path(path).name, path=path)))
    assert (again.state.sources, again.state.stretch) == (sources, False)
    # As an older version wrote it.
    old = json.loads(sitting.written(sitting.of_state(store.state)))
    del old["options"], old["stretch"]
    changes = sitting.changes(
        sitting.read(json.dumps(old).encode()), lambda path: PictureSource(name=Path(path).name, path=path)
    )
    assert [source.options for source in changes["sources"]] == [PictureOptions()] * 2
    for bad in ([{"bands": [1, 2], "stretch": True}], [{"bands": [0], "stretch": True}], [{"bands": ["1"]}], "all"):
        with pytest.raises(ValueError, match="it "):
            sitting.read(json.dumps({**old, "options": bad}).encode())
