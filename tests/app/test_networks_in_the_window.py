"""The list of networks, weights that are fetched, and files of weights and of code: from the click to the map."""

from __future__ import annotations

import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from driving import Desk, until
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialogButtonBox, QMessageBox, QPushButton
from safetensors.torch import save_file

from fmviz.app.views.network_list import NAME_ROLE
from fmviz.app.views.proposals_dialog import ProposalsDialog
from fmviz.app.views.trust_dialog import TrustDialog
from fmviz.app.views.weights_page import WeightsPage
from fmviz.networks.catalog import backbone

OWN = """\
from torch import nn


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, {channels}, 3, stride=2, padding=1)
        self.second = nn.ReLU()
        self.last = nn.Linear(7, 3)

    def forward(self, x):
        x = self.second(self.first(x))
        return {returned}


def build():
    return Half()
"""


# The list


def names(desk: Desk) -> list[str]:
    """The networks that the list shows now."""
    model = desk.chooser.tree.model()
    groups = [model.index(row, 0) for row in range(model.rowCount())]
    return [model.index(row, 0, group).data(NAME_ROLE) for group in groups for row in range(model.rowCount(group))]


def test_the_list_finds_all_words_in_any_order(desk: Desk) -> None:
    QTest.mouseClick(desk.window.setup_bar.backbone, Qt.MouseButton.LeftButton)
    assert desk.chooser.tree.currentIndex().data(NAME_ROLE) == "efficientnet_lite0_fpn"
    everything = names(desk)
    assert {"vgg19", "inception_v1", "article/vgg19", "torchvision/swin_t"} <= set(everything)
    QTest.keyClicks(desk.chooser.field, "2015 resnet")
    found = set(names(desk))
    assert {"resnet18", "resnet152"} <= found
    assert not found & {"vgg19", "resnet18_fpn", "efficientnet_lite0"}
    desk.chooser.field.clear()
    QTest.keyClicks(desk.chooser.field, "no such network")
    assert names(desk) == []
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_Return)
    assert desk.chooser.isVisible()
    QTest.keyClick(desk.chooser, Qt.Key.Key_Escape)
    assert not desk.chooser.isVisible()
    assert desk.state.setup.backbone == "efficientnet_lite0_fpn"


def test_a_network_is_chosen_with_the_arrows_and_is_recent_then(desk: Desk) -> None:
    desk.do("choose_network")
    QTest.keyClicks(desk.chooser.field, "resnet18")
    assert desk.chooser.tree.currentIndex().data(NAME_ROLE) == "resnet18"
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_Down)
    chosen = desk.chooser.tree.currentIndex().data(NAME_ROLE)
    assert chosen != "resnet18"
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_Up)
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_Return)
    desk.settle()
    assert desk.state.shown is not None
    assert desk.state.shown.setup.backbone == "resnet18"
    assert desk.state.recent[0] == "resnet18"
    desk.do("choose_network")
    assert names(desk)[0] == "resnet18"
    desk.chooser.hide()


def test_where_weights_are_is_marked(desk: Desk) -> None:
    desk.do("choose_network")
    model = desk.chooser.tree.model()
    marks = {}
    for row in range(model.rowCount()):
        group = model.index(row, 0)
        for place in range(model.rowCount(group)):
            index = model.index(place, 0, group)
            marks[index.data(NAME_ROLE)] = index.siblingAtColumn(4).data()
    desk.chooser.hide()
    assert marks["efficientnet_lite0"].startswith("●")
    assert marks["resnet50"].startswith("↓")
    assert "MB" in marks["resnet50"]
    assert marks["inception_v1"].startswith("○")


# Weights that are fetched


@dataclass
class Shop:
    """A server that sells one file, which it hands out in pieces while `open` is set."""

    content: bytes
    open: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    url: str = ""


def handler(shop: Shop) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            shop.asked.append(asked)
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            rest = shop.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", '"one"')
            if start:
                last = len(shop.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(shop.content)}")
            self.end_headers()
            half = len(rest) // 2
            try:
                self.wfile.write(rest[:half])
                self.wfile.flush()
                shop.open.wait(20)
                self.wfile.write(rest[half:])
            except OSError:
                pass  # the customer has left

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    path = tmp_path_factory.mktemp("shop") / "resnet18.pth"
    torch.manual_seed(5)
    torch.save(backbone("resnet18").build().state_dict(), path)
    made = Shop(path.read_bytes())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.open.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_are_fetched_on_a_click_and_used(open_desk: object, shop: Shop) -> None:
    engine = Path(__file__).parent / "engine_with_shop.py"
    sha256 = hashlib.sha256(shop.content).hexdigest()
    command = [sys.executable, str(engine), shop.url, sha256, str(len(shop.content))]
    desk: Desk = open_desk(engine=command)  # type: ignore[operator]
    desk.settle()
    desk.choose_backbone("resnet18")
    desk.settle()
    assert desk.state.shown.weights.name == "random"
    assert not shop.asked, "something was fetched that nobody asked for"
    bar = desk.window.setup_bar
    desk.window.resize(1400, 900)
    until(bar.fetch.isVisible, "the toolbar offers to fetch")
    QTest.mouseClick(bar.fetch, Qt.MouseButton.LeftButton)
    page = desk.dialog(WeightsPage)
    until(lambda: desk.state.fetching.going and (desk.state.fetching.fraction or 0) > 0.1, "some of it comes")
    assert "MB of" in page.told
    maps = desk.maps
    desk.choose_tap("C4")
    assert desk.maps is not maps, "one can look at maps while a file comes"
    QTest.mouseClick(page.cancel, Qt.MouseButton.LeftButton)
    until(lambda: not desk.state.fetching.going, "the download is cancelled")
    assert "Cancelled" in page.told
    assert desk.state.shown.weights.name == "random"
    shop.open.set()
    (button,) = [page.offers.cellWidget(row, 4) for row in range(page.offers.rowCount())]
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    until(lambda: desk.state.shown.weights.name == "IMAGENET1K_V1", "the fetched weights are used")
    desk.settle()
    assert len(shop.asked) == 2
    until(lambda: desk.state.backbone_info.offers[0].here, "the list of networks knows of the file")
    until(lambda: page.files.rowCount() == 1, "the page lists the file")
    remove_it(desk, page)
    page.close()
    desk.close()


def remove_it(desk: Desk, page: WeightsPage) -> None:
    """Take the file out of the cache again; the network that was loaded stays."""
    asked = []

    def answer(*_: object) -> QMessageBox.StandardButton:
        asked.append(True)
        return QMessageBox.StandardButton.Yes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QMessageBox, "question", answer)
        QTest.mouseClick(page.files.cellWidget(0, 3), Qt.MouseButton.LeftButton)
    assert asked
    until(lambda: page.files.rowCount() == 0, "the file is gone from the page")
    until(lambda: not desk.state.backbone_info.offers[0].here, "and from the list")
    assert desk.state.shown.weights.name == "IMAGENET1K_V1"


# Files of weights


def test_a_dropped_file_of_weights_finds_its_network(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(backbone("vgg11_bn").build().features.state_dict(prefix="features."), path)
    maps = desk.maps
    desk.drop([path])
    until(lambda: desk.dialog(ProposalsDialog), "the window asks which network")
    dialog = desk.dialog(ProposalsDialog)
    assert dialog.table.item(0, 0).text() == "vgg11_bn"
    assert desk.maps is maps, "what is shown stays until it is known"
    QTest.keyClick(dialog, Qt.Key.Key_Return)
    desk.settle()
    assert desk.state.shown.setup.backbone == "vgg11_bn"
    assert desk.state.shown.weights.name == "mine.safetensors"


def in_parts(folder: Path) -> Path:
    """ResNet-18 in two files with an index, next to a picture; the folder."""
    state = backbone("resnet18").build().state_dict()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    of = {key: names[at >= 60] for at, key in enumerate(state)}
    folder.mkdir()
    for name in names:
        save_file({key: tensor for key, tensor in state.items() if of[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": of}), encoding="utf-8")
    Image.new("RGB", (8, 8)).save(folder / "example.png")
    return folder


@pytest.mark.parametrize("given", ["", "model.safetensors.index.json", "model-00002-of-00002.safetensors"])
def test_dropped_parts_are_joined(given: str, desk: Desk, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    desk.choose_backbone("resnet18")
    desk.settle()
    picture = desk.state.source
    desk.drop([folder / given])
    until(lambda: desk.state.setup.weights == str(folder / given), "the network takes them")
    desk.settle()
    assert desk.state.shown.weights.name == "model.safetensors.index.json"
    assert desk.state.source is picture, "the picture next to the parts is not opened"


def test_a_dropped_folder_with_a_missing_part_is_told(desk: Desk, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    (folder / "model-00002-of-00002.safetensors").unlink()
    maps = desk.maps
    desk.drop([folder])
    until(desk.problem, "the window tells")
    assert "model-00002-of-00002.safetensors is not next to it" in desk.problem()
    assert desk.maps is maps


def test_a_part_that_is_written_anew_is_loaded_anew(desk: Desk, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "parts")
    desk.choose_backbone("resnet18")
    desk.settle()
    desk.drop([folder])
    until(lambda: desk.state.setup.weights == str(folder), "the network takes them")
    desk.settle()
    (folder / "model-00002-of-00002.safetensors").unlink()
    desk.app.controller.retry()
    until(desk.problem, "the engine reads the parts again")
    assert "is not next to it" in desk.problem()


def test_a_file_for_the_network_that_is_shown_is_loaded_at_once(desk: Desk, tmp_path: Path) -> None:
    desk.choose_backbone("resnet18")
    desk.settle()
    path = tmp_path / "resnet.pth"
    torch.save({"state_dict": backbone("resnet18").build().state_dict(), "epoch": 3}, path)
    desk.drop([path])
    until(lambda: desk.state.shown.weights.name == "resnet.pth", "the file is loaded")
    assert desk.dialog(ProposalsDialog) is None


def test_weights_that_hold_nan_leave_no_predictions_and_say_why(desk: Desk, tmp_path: Path) -> None:
    desk.choose_backbone("resnet18")
    desk.settle()
    state = backbone("resnet18").build().state_dict()
    torch.save(state, tmp_path / "good.pth")
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    for name in ("good.pth", "nan.pth"):
        desk.drop([tmp_path / name])
        until(lambda name=name: desk.state.shown.weights.name == name, "the file is loaded")
        desk.settle()
    predictions = desk.window.input.predictions
    assert "NaN" in predictions._reason.text()
    assert not any(widget.isVisible() for row in predictions._rows for widget in row), "of other weights"
    assert "NaN or infinity" in desk.window.input._notes.text()


def test_a_head_that_is_left_out_is_said_and_marked_untrained(desk: Desk, tmp_path: Path) -> None:
    desk.choose_backbone("resnet18")
    desk.settle()
    path = tmp_path / "ten classes.pth"
    state = backbone("resnet18").build().state_dict()
    state |= {"fc.weight": state["fc.weight"][:10].clone(), "fc.bias": state["fc.bias"][:10].clone()}
    torch.save(state, path)
    desk.drop([path])
    until(lambda: desk.dialog(ProposalsDialog), "what is left out is not left out without a word")
    QTest.keyClick(desk.dialog(ProposalsDialog), Qt.Key.Key_Return)
    until(lambda: desk.state.shown.weights.name == path.name, "the file is loaded")
    desk.settle()
    assert "classifier" in desk.window.input._notes.text()
    desk.choose_layer("layer4")
    assert "untrained" not in desk.window.maps._facts.text()
    desk.choose_layer("fc")
    assert "untrained" in desk.window.maps._facts.text()


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"\x80\x05cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_weights_is_refused_and_nothing_is_lost(desk: Desk, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    shown, maps = desk.state.shown, desk.maps
    desk.drop([path])
    until(desk.problem, "the banner says what is wrong")
    assert "weights.pth" in desk.problem()
    assert desk.state.shown is shown
    assert desk.maps is maps


# Code of one's own


def press(dialog: TrustDialog, role: QDialogButtonBox.ButtonRole) -> None:
    (button,) = [button for button in dialog.findChildren(QPushButton) if dialog.buttons.buttonRole(button) == role]
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_code_is_run_only_after_it_was_trusted(desk: Desk, tmp_path: Path) -> None:
    path, trace = tmp_path / "mine.py", tmp_path / "it ran"
    path.write_text(OWN.format(channels=4, returned="x") + f"\nopen({str(trace)!r}, 'w').close()\n")
    maps = desk.maps
    desk.drop([path])
    until(lambda: desk.dialog(TrustDialog), "the window asks")
    press(desk.dialog(TrustDialog), QDialogButtonBox.ButtonRole.RejectRole)
    assert not trace.exists()
    assert "mine.py" in desk.problem()
    assert desk.maps is maps
    desk.do("trust_model")
    press(desk.dialog(TrustDialog), QDialogButtonBox.ButtonRole.AcceptRole)
    until(lambda: "first" in [layer.name for layer in desk.state.shown.layers], "its layers are there")
    desk.settle()
    assert trace.exists()
    assert next(layer for layer in desk.state.shown.layers if layer.name == "first").shape[1] == 4
    assert not desk.problem()
    path.write_text(OWN.format(channels=6, returned="x"))
    desk.drop([path])
    until(lambda: desk.dialog(TrustDialog), "the edited file is asked about again")
    press(desk.dialog(TrustDialog), QDialogButtonBox.ButtonRole.AcceptRole)
    until(lambda: next(layer for layer in desk.state.shown.layers).shape[1] == 6, "the edited network is there")
    desk.settle()


def test_a_file_of_weights_is_for_the_network_that_is_open(desk: Desk, tmp_path: Path) -> None:
    path, weights = tmp_path / "mine.py", tmp_path / "mine.pth"
    path.write_text(OWN.format(channels=7, returned="x"))
    built: dict[str, Callable[[], torch.nn.Module]] = {}
    exec(path.read_text(), built)
    torch.save({"model": {f"module.{key}": value for key, value in built["build"]().state_dict().items()}}, weights)
    desk.drop([path])
    until(lambda: desk.dialog(TrustDialog), "the window asks")
    press(desk.dialog(TrustDialog), QDialogButtonBox.ButtonRole.AcceptRole)
    until(lambda: desk.state.shown.setup.backbone.endswith("mine.py:build"), "the network is there")
    desk.settle()
    desk.drop([weights])
    until(lambda: desk.state.shown.weights.name == "mine.pth", "its weights are loaded at once")
    assert desk.dialog(ProposalsDialog) is None
    desk.do("choose_network")
    assert any(name.endswith("mine.py:build") for name in names(desk))
    desk.chooser.hide()


def test_a_forward_that_raises_half_way_is_shown_up_to_there(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(OWN.format(channels=5, returned="self.last(x)"))
    desk.drop([path])
    until(lambda: desk.dialog(TrustDialog), "the window asks")
    press(desk.dialog(TrustDialog), QDialogButtonBox.ButtonRole.AcceptRole)
    until(lambda: [layer.name for layer in desk.state.shown.layers] == ["first", "second"], "its two layers are there")
    until(desk.problem, "the banner says where it stopped")
    assert "last" in desk.problem()
    desk.choose_layer("second")
    assert desk.maps.pixels.array.shape[0] == 5
