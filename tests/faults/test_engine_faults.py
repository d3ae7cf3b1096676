"""The engine is killed, has no memory left, meets models that misbehave: one banner, the state before, nothing else lost."""

from __future__ import annotations

import os
import random
import resource
import signal
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from fmviz import own_model, trust
from fmviz.assets import asset
from fmviz.engine import answers
from fmviz.engine.falling_back import run_with_less
from fmviz.errors import DeviceError, ForwardError
from fmviz.failures import is_device_lost
from fmviz.session import Session

CAT = asset("samples/chelsea.png")


@pytest.mark.timeout(7200)
def test_killed_at_any_moment_of_a_session(open_desk: OpenDesk, long: bool) -> None:
    desk = open_desk([asset("samples/coffee.png"), CAT])
    desk.settle()
    rng = random.Random(4)
    at_the_end: list[object] = []
    desk.app.link.lost.connect(lambda *_: at_the_end.append(desk.state.shown_source))
    layers = [layer.name for layer in desk.state.shown.layers if layer.spatial]  # type: ignore[union-attr]
    for _ in range(200 if long else 4):
        for _ in range(rng.randrange(1, 12)):
            step = rng.randrange(5)
            if step == 0:
                desk.do("next" if desk.state.current == 0 else "previous")
            elif step == 1:
                desk.app.presenter.choose_layer(rng.choice(layers))
            elif step == 2:
                desk.app.store.update(colour_map=rng.choice(["viridis", "grey", "magma"]))
            elif step == 3:
                desk.app.store.update(normalisation=rng.choice(["map", "layer", "symmetric"]))
            else:
                desk.app.store.update(pin=(rng.uniform(0, 300), rng.uniform(0, 200)))
            QTest.qWait(rng.randrange(0, 40))
        before, maps = desk.state, desk.maps
        process = desk.app.link.process_id
        assert process
        os.kill(process, signal.SIGKILL)
        until(lambda process=process: desk.app.link.process_id not in (0, process), "another engine")
        assert desk.window.maps.has_maps
        assert maps is not None
        (problem,) = desk.state.problems
        assert problem.place == "maps"
        assert "ended unexpectedly" in problem.message
        until(lambda: desk.state.activity is None and not desk.app.link._open, "what was shown is made again")
        after = desk.state
        for field in (
            "sources",
            "layer",
            "colour_map",
            "normalisation",
            "pin",
            "order",
            "appearance",
        ):
            assert getattr(after, field) == getattr(before, field), field
        assert after.shown is not None
        assert (after.source, after.setup) == (after.shown_source, after.shown.setup), "what is chosen is what is shown"
        # The run that was under way is lost, and only that: it is offered to be made again.
        # What had come to its end by then counts as shown, even where its reply was still on its way.
        assert after.shown_source in (at_the_end[-1], before.source)
        desk.do("retry")
        desk.settle()
        assert desk.state.shown_source == before.source
        desk.app.controller.problems.dismiss("maps")
        # A person would not kill three engines in ten seconds.
        desk.app.controller._short_lives = 0
    # Until then the maps may be those of the picture before, of the layer of the same name.
    until(lambda: not desk.app.link._open, "the maps of what was run last are there")
    pixels, process = desk.maps.pixels.array.copy(), desk.app.link.process_id
    shown = (desk.maps.layer, desk.state.layer, desk.state.shown_source, desk.state.normalisation)
    os.kill(process, signal.SIGKILL)
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    desk.app.presenter.choose_layer(layers[0] if desk.state.layer != layers[0] else layers[1])
    desk.settle()
    desk.app.presenter.choose_layer(shown[0])
    desk.settle()
    until(lambda: not desk.app.link._open, "the maps are there")
    assert (desk.maps.layer, desk.state.layer, desk.state.shown_source, desk.state.normalisation) == shown
    assert np.array_equal(desk.maps.pixels.array, pixels)
    desk.close()


@pytest.mark.timeout(1800)
def test_cancelled_at_any_moment(open_desk: OpenDesk, long: bool) -> None:
    """Esc is heard at once, whatever the engine does, and what is shown is of a run that came to its end."""
    desk = open_desk()
    desk.settle()
    rng = random.Random(7)
    process, ran = desk.app.link.process_id, 0
    for number in range(200 if long else 12):
        shown = desk.state.shown
        desk.app.controller.set_setup(backbone=("resnet18", "resnet34")[number % 2], weights="random", seed=number)
        QTest.qWait(rng.randrange(0, 200))
        under_way = desk.state.activity is not None
        begun = time.perf_counter()
        QTest.keyClick(desk.window, Qt.Key.Key_Escape)
        if under_way:
            assert desk.state.activity is None or desk.state.activity.text == "Cancelling"
            assert time.perf_counter() - begun < 0.1
        until(lambda: desk.state.activity is None and not desk.app.link._open, "it has ended")
        if desk.state.shown is not shown:
            ran += 1
        assert desk.state.shown is not None
        assert desk.state.setup == desk.state.shown.setup
        assert desk.window.maps.has_maps
    assert desk.app.link.process_id == process
    assert ran < (200 if long else 12)
    assert desk.problem() == ""
    desk.close()


# Models that misbehave

HEAD = """
import ctypes, os, sys, time
import torch
from torch import nn
class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        x = self.conv(x)
        {deed}
        return x
def build():
    return Bad().eval()
"""
ENDS = {
    "a segfault": "ctypes.string_at(0)",
    "os._exit": "os._exit(3)",
    "abort": "os.abort()",
    "its own kill": "os.kill(os.getpid(), 9)",
}
STAYS = {
    "prints": "print('x' * 100_000); sys.stdout.flush(); os.write(1, b'garbage' * 1000)",
    "forks": "child = os.fork()\n        if child == 0: os._exit(0)\n        os.waitpid(child, 0)",
    "closes stdin": "os.close(0)",
}
STOPS = {
    "sys.exit": "sys.exit(5)",
    "raises": "raise ValueError('no')",
    "raises in a hook": "self.conv.register_forward_hook(lambda *_: 1 / 0); self.conv(torch.zeros(1, 3, 9, 9))",
    "no memory": "raise MemoryError()",
    "torch has no memory": 'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 9 bytes")',
}


@pytest.fixture(scope="module")
def watched(open_desk: OpenDesk) -> Desk:
    desk = open_desk()
    desk.settle()
    return desk


def run_model(desk: Desk, folder: Path, deed: str) -> None:
    """Asks for a model of the user's own that does this in its forward."""
    desk.app.controller.problems.dismiss("maps")
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(HEAD).format(deed=deed), encoding="utf-8")
    trust.trust(path, own_model.read(path)[1])
    desk.app.controller.set_setup(backbone=f"own:{path}:build", weights="")


def back_to_normal(desk: Desk) -> None:
    desk.app.controller.problems.dismiss("maps")
    desk.app.controller._short_lives = 0
    desk.app.controller.set_setup(backbone="efficientnet_lite0_fpn", weights="")
    desk.settle()


@pytest.mark.parametrize("name", ENDS)
def test_a_model_that_ends_the_engine(watched: Desk, tmp_path: Path, name: str) -> None:
    shown, maps, process = watched.state.shown, watched.maps, watched.app.link.process_id
    run_model(watched, tmp_path, ENDS[name])
    until(lambda: watched.app.link.process_id not in (0, process), "another engine")
    assert len(watched.state.problems) == 1
    assert "It was running chelsea.png through" in watched.problem()
    assert watched.maps is maps
    until(lambda: watched.state.activity is None and not watched.app.link._open, "what was shown is made again")
    assert watched.state.shown is not None
    assert shown is not None
    assert watched.state.shown.setup == shown.setup
    assert len(watched.state.problems) == 1
    back_to_normal(watched)


@pytest.mark.parametrize("name", STAYS)
def test_a_model_that_does_what_it_should_not(watched: Desk, tmp_path: Path, name: str) -> None:
    process = watched.app.link.process_id
    run_model(watched, tmp_path, STAYS[name])
    until(lambda: watched.idle() or watched.problem(), "it runs")
    assert watched.problem() == ""
    assert watched.app.link.process_id == process
    assert watched.state.shown is not None
    assert "mine.py" in watched.state.shown.setup.backbone
    back_to_normal(watched)


def test_an_engine_whose_child_outlives_it(watched: Desk, tmp_path: Path) -> None:
    """The child holds the engine's ends of the pipes: the end of the engine is seen all the same."""
    process, child = watched.app.link.process_id, tmp_path / "child"
    wait = f"child = os.fork()\n        if child == 0: time.sleep(300)\n        open({str(child)!r}, 'w').write(str(child))"
    run_model(watched, tmp_path, wait)
    until(watched.idle, "it runs")
    assert watched.problem() == ""
    os.kill(process, signal.SIGKILL)
    until(lambda: watched.app.link.process_id not in (0, process), "another engine")
    os.kill(int(child.read_text()), signal.SIGKILL)
    until(lambda: watched.state.activity is None and not watched.app.link._open, "what was shown is made again")
    assert len(watched.state.problems) == 1
    back_to_normal(watched)


@pytest.mark.parametrize("name", STOPS)
def test_a_model_that_stops(watched: Desk, tmp_path: Path, name: str) -> None:
    process = watched.app.link.process_id
    run_model(watched, tmp_path, STOPS[name])
    until(watched.problem, "it is told")
    assert len(watched.state.problems) == 1
    assert watched.problem().endswith(".")
    until(lambda: watched.state.activity is None, "it ends")
    assert watched.app.link.process_id == process
    assert watched.window.maps.has_maps
    back_to_normal(watched)


@pytest.mark.parametrize("deed", ["time.sleep(600)", "while True: x = x + 0"])
def test_a_model_that_blocks_for_ever_can_be_cancelled(watched: Desk, tmp_path: Path, deed: str) -> None:
    maps, process = watched.maps, watched.app.link.process_id
    run_model(watched, tmp_path, f"open({str(tmp_path / 'blocked')!r}, 'w').close()\n        {deed}")
    until((tmp_path / "blocked").exists, "it runs")
    begun = time.perf_counter()
    watched.do("cancel")
    acknowledged = time.perf_counter() - begun
    assert watched.state.activity is not None
    assert watched.state.activity.text == "Cancelling"
    assert acknowledged < 0.1
    until(lambda: watched.app.link.process_id not in (0, process), "the engine is ended by force")
    assert "mine.py" in watched.problem()
    until(lambda: watched.state.activity is None and not watched.app.link._open, "what was shown is made again")
    assert watched.maps is not None
    assert watched.maps.layer == maps.layer  # type: ignore[union-attr]
    back_to_normal(watched)


def test_an_engine_with_no_memory_left_says_so_and_lives(watched: Desk) -> None:
    """Really none: by a limit on its address space."""
    process = watched.app.link.process_id
    held = int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.prlimit(process, resource.RLIMIT_AS)
    resource.prlimit(process, resource.RLIMIT_AS, (held + 150_000_000, hard))
    watched.app.controller.set_setup(backbone="vgg16", weights="random")
    until(watched.problem, "it is told")
    until(lambda: watched.state.activity is None, "it ends")
    assert watched.window.maps.has_maps
    assert len(watched.state.problems) == 1
    if watched.app.link.process_id == process:
        resource.prlimit(process, resource.RLIMIT_AS, (hard, hard))
    back_to_normal(watched)


# CUDA, pretended where there is none


class Pretended:
    """A session that says that it is on a GPU, whose forward fails as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> None:
        self.session = Session("resnet18_fpn", weights="random", device="cpu")
        self.session.device = torch.device("cuda:0")
        self.left = times
        monkeypatch.setattr(self.session, "_arguments", lambda tensor: (tensor,))

        def fail(module: object, args: object) -> None:
            if self.left > 0:
                self.left -= 1
                raise error

        self.session.model.register_forward_pre_hook(fail)


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize(("times", "words"), [(0, ""), (1, "the levels alone are kept"), (2, "this ran on the CPU")])
def test_a_gpu_without_memory_is_survived_with_the_same_values(
    monkeypatch: pytest.MonkeyPatch, times: int, words: str
) -> None:
    truth = Session("resnet18_fpn", weights="random", device="cpu").run(CAT)
    gpu = Pretended(monkeypatch, OUT_OF_MEMORY, times)
    capture, told = run_with_less(gpu.session, lambda keep: gpu.session.run(CAT, keep=keep))
    assert words in told
    assert bool(told) is bool(words)
    assert gpu.session.device.type == ("cpu" if times == 2 else "cuda")
    assert (len(capture) < len(truth)) is (times == 1)
    assert {"P2", "P5"} <= set(capture.taps)
    for layer in capture:
        assert torch.equal(capture[layer].tensor, truth[layer].tensor)


def test_without_memory_anywhere_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Pretended(monkeypatch, OUT_OF_MEMORY, 9)
    with pytest.raises(DeviceError, match="not enough memory"):
        run_with_less(gpu.session, lambda keep: gpu.session.run(CAT, keep=keep))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: the device is unavailable"),
    ],
)
def test_a_gpu_that_fails_ends_its_engine_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    gpu = Pretended(monkeypatch, error, 1)
    with pytest.raises(ForwardError) as caught:
        gpu.session.run(CAT)
    assert is_device_lost(caught.value)

    class Ended(BaseException):
        pass

    def leave(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(answers.os, "_exit", leave)
    with pytest.raises(Ended) as ended:
        answers._end_with_the_device(gpu.session.device, error)
    assert ended.value.args == (answers.DEVICE_LOST,)
    assert "cuda:0 failed and cannot be used by this engine any more (" in capsys.readouterr().err
    assert not is_device_lost(OUT_OF_MEMORY)
    assert not is_device_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def asked_of_a_gpu(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch, kind: str) -> tuple[Desk, Any, int]:
    """A window whose engines find a device cuda:0 of this kind, and that has just been told to use it; the maps and the
    engine from before."""
    path = [str(Path(__file__).with_name("injected")), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("FMVIZ_TEST_PLACE", kind)
    desk = open_desk()
    desk.settle()
    before = desk.maps, desk.app.link.process_id
    desk.app.controller.set_setup(device="cuda:0")
    return desk, *before


def test_a_gpu_that_fails_is_told_in_a_banner_and_left_for_the_cpu(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, maps, process = asked_of_a_gpu(open_desk, monkeypatch, "broken-gpu")
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    (problem,) = desk.state.problems
    assert "cuda:0 failed and cannot be used by this engine any more" in problem.message
    assert problem.remedies == ("retry", "use_cpu")
    assert desk.maps is maps
    until(lambda: desk.state.activity is None and not desk.app.link._open, "what was shown is made again")
    desk.do("use_cpu")
    desk.settle()
    assert desk.problem() == ""
    assert desk.state.shown is not None
    assert desk.state.shown.setup.device == "cpu"
    assert np.array_equal(desk.maps.pixels.array, maps.pixels.array)
    desk.close()


def test_a_gpu_without_memory_gives_the_same_maps_and_says_so(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, maps, process = asked_of_a_gpu(open_desk, monkeypatch, "small-gpu")
    desk.settle()
    assert "There was not enough memory on cuda:0, so this ran on the CPU" in desk.problem()
    assert np.array_equal(desk.maps.pixels.array, maps.pixels.array)
    assert desk.app.link.process_id == process
    desk.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_without_memory() -> None:
    session = Session("resnet18_fpn", weights="random", device="cuda:0")
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(free - 60_000_000, 1), dtype=torch.uint8, device="cuda:0")
    big = torch.rand(1, 3, 2048, 2048)
    capture, told = run_with_less(session, lambda keep: session.run(big, keep=keep))
    assert told
    del hog
    truth = Session("resnet18_fpn", weights="random", device="cpu").run(big)
    for layer in capture:
        torch.testing.assert_close(capture[layer].tensor.cpu(), truth[layer].tensor, rtol=1e-3, atol=1e-3)
