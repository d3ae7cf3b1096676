"""An engine behind a command that shares no memory, and behind lines that delay, cut and corrupt what goes through them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtGui import QImage
from safetensors.torch import save_file

from fmviz.engine import serve
from fmviz.engine.framing import Unframer, reply_from
from fmviz.engine.messages import MapsRendered, Pixels
from fmviz.networks.catalog import backbone
from fmviz.session import Session

LINE = Path(__file__).with_name("line.py")


def line(*options: object) -> list[str]:
    return [sys.executable, str(LINE), *map(str, options)]


@pytest.fixture(scope="module")
def far(open_desk: OpenDesk) -> Iterator[Desk]:
    """A window whose engine is behind a line with a delay."""
    desk = open_desk(engine=line("--delay", 2))
    desk.settle()
    assert desk.app.link.remote
    yield desk
    desk.close()


def shown(desk: Desk) -> QImage:
    image = desk.window.maps.canvas.grid_image()
    assert image is not None
    return image


def exported(desk: Desk, folder: Path, **fields: Any) -> list[Any]:
    """Every layer as PNG through the window's own export; what it heard."""
    heard: list[Any] = []
    desk.app.exporting.heard.connect(heard.append)
    chosen = {"form": "grid", "colour_map": "viridis", "normalisation": "map", "size": 0, **fields}
    desk.app.exporting.begin(folder=str(folder), **chosen)
    until(lambda: heard and type(heard[-1]).__name__ in ("Exported", "Failed", "Dropped"), "the export ends")
    desk.app.exporting.heard.disconnect(heard.append)
    return heard


def test_the_maps_are_those_of_an_engine_beside_the_window(far: Desk, open_desk: OpenDesk, tmp_path: Path) -> None:
    near = open_desk()
    near.settle()
    assert not near.app.link.remote
    for tap in ("P3", "C4"):
        for desk in (near, far):
            desk.choose_tap(tap)
            desk.settle()
        assert near.maps is not None
        assert far.maps is not None
        assert np.array_equal(near.maps.pixels.array, far.maps.pixels.array)
        assert np.array_equal(near.maps.limits, far.maps.limits)
        assert shown(near) == shown(far)
    here, there = (
        exported(near, tmp_path / "near", layers=("C*", "P*")),
        exported(far, tmp_path / "far", layers=("C*", "P*")),
    )
    assert here[-1].files == there[-1].files > 5
    assert there[-1].folder == str(tmp_path / "far")
    names = sorted(path.name for path in (tmp_path / "near").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "far").iterdir())
    for name in names:
        with PIL.Image.open(tmp_path / "near" / name) as one, PIL.Image.open(tmp_path / "far" / name) as other:
            assert np.array_equal(np.asarray(one), np.asarray(other))
    near.close()


def test_a_picture_and_weights_of_this_computer_travel(far: Desk, tmp_path: Path) -> None:
    picture = tmp_path / "mine.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)).save(picture)
    torch.manual_seed(5)
    weights = tmp_path / "mine.pth"
    torch.save(backbone("resnet18").build().state_dict(), weights)
    far.app.commands.open_paths([picture])
    assert far.state.source is not None
    assert far.state.source.data
    picture.unlink()
    far.app.controller.set_setup(backbone="resnet18", weights=str(weights))
    until(lambda: far.idle() or far.problem(), "it runs")
    assert not far.problem()
    far.settle()
    kept = tmp_path / "kept.pth"
    shutil.move(weights, kept)
    far.choose_layer("layer1.0.conv2")
    far.settle()
    assert far.state.shown is not None
    assert far.state.shown.weights.name == "mine.pth"
    assert far.state.shown.setup.weights == str(weights)
    session = Session("resnet18", weights=kept, device="cpu")
    from fmviz.pictures import read_picture

    truth = session.run(read_picture(far.state.source.data))["layer1.0.conv2"].maps
    assert far.maps is not None
    np.testing.assert_allclose(far.maps.limits[:, 1], truth.flatten(-2).amax(-1).flatten(), rtol=1e-3, atol=1e-5)


def in_parts(folder: Path, network: str) -> dict[str, torch.Tensor]:
    """A network's tensors in two safetensors files with an index, in a new folder."""
    state = {key: torch.rand(like.shape).to(like.dtype) for key, like in backbone(network).build().state_dict().items()}
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    of = {key: names[at >= 60] for at, key in enumerate(state)}
    folder.mkdir()
    for name in names:
        save_file({key: tensor for key, tensor in state.items() if of[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": of}), encoding="utf-8")
    return state


@pytest.mark.parametrize("given", ["", "model.safetensors.index.json", "model-00002-of-00002.safetensors"])
def test_all_parts_of_a_checkpoint_travel(given: str, far: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "far parts"
    in_parts(folder, "resnet18")
    chosen = folder / given
    far.choose_backbone("resnet18")
    far.settle()
    far.app.controller.set_setup(backbone="resnet18", weights=str(chosen))
    far.settle()
    shutil.rmtree(folder)
    # With another seed the engine loads the weights again: from its own copy, for there is no other.
    far.app.controller.set_setup(seed=5)
    until(lambda: far.idle() or far.problem(), "it runs")
    far.settle()
    assert not far.problem(), far.problem()
    assert far.state.shown is not None
    assert far.state.shown.setup.seed == 5
    assert far.state.shown.weights.name == "model.safetensors.index.json"
    assert far.state.shown.setup.weights == str(chosen)


@pytest.mark.parametrize("given", ["", "model-00001-of-00002.safetensors"])
def test_dropped_parts_travel_before_a_network_is_proposed(given: str, far: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "dropped parts"
    in_parts(folder, "resnet18")
    far.choose_backbone("resnet18")
    far.settle()
    far.drop([folder / given])
    until(lambda: far.state.setup.weights, "the network takes them")
    # The engine proposes its own copy.
    assert not far.state.setup.weights.startswith(str(tmp_path))
    far.settle()
    assert not far.problem(), far.problem()
    assert far.state.shown is not None
    assert far.state.shown.weights.name == "model.safetensors.index.json"


def test_what_cannot_be_written_here_is_told(far: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    heard = exported(far, tmp_path / "file", layers=("*",))
    assert heard[-1].kind == "ExportError"
    assert "file" in heard[-1].message


@pytest.mark.parametrize(("fault", "place"), [("--cut", 120_000), ("--turn", 90_000), ("--turn", 60)])
def test_a_line_that_breaks_is_told_once_and_taken_up_again(
    open_desk: OpenDesk, tmp_path: Path, fault: str, place: int
) -> None:
    desk = open_desk(engine=line(fault, place, "--once", tmp_path / "broken"))
    told: list[str] = []
    desk.app.store.changed.connect(
        lambda old, new: told.extend(problem.message for problem in new.problems if problem not in old.problems)
    )
    until(lambda: told, "the break is told")
    desk.settle()
    assert (tmp_path / "broken").exists()
    mended = "The line to the engine broke and was taken up again."
    until(lambda: desk.problem() in ("", mended), "all is well again")
    first, *later = dict.fromkeys(told)
    assert first.startswith("The line to the engine broke")
    assert "It is tried again in 1 s." in first
    # Where another engine made the capture again, it is told that all is well.
    assert later == ([mended] if desk.problem() else [])
    assert desk.state.layer_info is not None
    assert desk.state.layer_info.taps
    desk.choose_tap("C4")
    desk.close()


def test_after_a_break_the_same_layer_is_there_without_a_hand(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = open_desk(engine=line())
    desk.settle()
    desk.choose_tap("P4")
    desk.settle()
    before, maps, process = shown(desk), desk.maps, desk.app.link.process_id
    desk.app.link.kill()
    until(lambda: "line to the engine broke" in desk.problem(), "the break is told")
    assert desk.maps is maps, "what was shown stays"
    until(lambda: desk.app.link.process_id not in (0, process), "another one is begun")
    until(lambda: desk.maps is not maps, "the maps come again")
    desk.settle()
    assert desk.state.layer == desk.tapped("P4")
    # What is told takes some of the room that the maps had.
    desk.app.controller.problems.dismiss("maps")
    until(lambda: shown(desk) == before, "the same maps, as they were")
    desk.close()


def test_the_pauses_grow_and_a_try_may_be_made_at_once(open_desk: OpenDesk) -> None:
    desk = open_desk(engine=[sys.executable, "-c", "import sys; sys.exit('nobody there')"])
    until(lambda: "tried again in 2 s" in desk.problem(), "the second pause")
    assert "nobody there" in desk.problem()
    desk.do("retry")
    until(lambda: "tried again in 4 s" in desk.problem(), "the third pause, without waiting for the second")
    desk.app.controller._pause.stop()
    desk.close()


def test_what_speaks_another_language_is_told(open_desk: OpenDesk) -> None:
    desk = open_desk(engine=[sys.executable, "-c", "import sys; print('Welcome to gpu-box!'); sys.stdin.read()"])
    until(lambda: "does not speak the protocol" in desk.problem(), "it is told")
    desk.app.controller._pause.stop()
    desk.close()


class SlowStream:
    """Takes some bytes at a time, and its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.data = seconds, bytearray()

    def write(self, data: Any) -> int:
        clock[0] += self.seconds * len(data)
        self.data += data
        return len(data)


clock = [0.0]


@pytest.mark.parametrize(("rate", "packs"), [(1e6, True), (1e9, False)])
def test_pixels_are_packed_where_the_line_is_slow(monkeypatch: pytest.MonkeyPatch, rate: float, packs: bool) -> None:
    monkeypatch.setattr(serve.time, "perf_counter", lambda: clock[0])
    stream = SlowStream(1 / rate)
    out = serve._Outbox(stream)  # type: ignore[arg-type]
    lengths = []
    reply = MapsRendered(
        id=1, run=1, layer="x", pixels=Pixels(shape=(1, 1000, 1000), data=bytes(1_000_000)), limits=b"", statistics=b"",
        step=1, channels=None, normalisation="map",
    )  # fmt: skip
    for _ in range(3):
        before = len(stream.data)
        out.send(reply)
        lengths.append(len(stream.data) - before)
    assert lengths[0] > 1_000_000
    assert (lengths[1] < 10_000) is packs
    bodies = Unframer().feed(bytes(stream.data))
    assert [reply_from(body) for body in bodies] == [reply] * 3
