"""A pyramid that is trained while one goes on looking: in a process of its own, below all others in rank.

What it has learned so far is a file that maps can be made of; what it has learned in the end is kept when the user says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmviz.engine.messages import Dropped, KeepPyramid, Learn, Learned, LearningInfo, PyramidKept, Reply
from fmviz.engine.shelf import Tell
from fmviz.errors import Cancelled, EngineError, ExportError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from fmviz.capture import Capture

PATIENCE = 3.0
"""Seconds that training has to end in good order."""

_FOLDER = "fmviz-learning-"


def learn(request: Learn, progress: Tell, cancelled: Callable[[], bool]) -> Reply:
    """Train as asked; blocks. The file lies in a folder of its own until `keep` takes it away.

    Raises:
        WeightsError, BackboneError and the like as training raises them, EngineError, Cancelled.
    """
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    try:
        last = _last_words(request, folder, progress, cancelled)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    figures = last["figures"]
    return Learned(
        id=request.id,
        backbone=request.backbone,
        path=last["path"],
        ap50=figures["ap50"],
        by_rms=figures["by_rms"],
        by_objectness=figures["by_objectness"],
        matrix=tuple(tuple(row) for row in figures["rms_matrix"]),
    )


def _last_words(request: Learn, folder: Path, progress: Tell, cancelled: Callable[[], bool]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    with _child(request, folder) as child, _ended_when(cancelled, child):
        assert child.stdout is not None
        for line in child.stdout:
            last = json.loads(line)
            if "phase" in last:
                _tell(progress, request.backbone, last)
    if cancelled():
        raise Cancelled
    if "path" in last:
        return last
    if "message" in last:
        raise WeightsError(last["message"])
    raise EngineError("Training ended unexpectedly: try again, or with fewer minutes.")


def _child(request: Learn, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fmviz.training.reporting", request.backbone, str(folder)]
    command += ["--minutes", str(request.minutes), "--seed", str(request.seed)]
    if request.weights:
        command += ["--weights", request.weights]
    for name, number in (("--scenes", request.scenes), ("--steps", request.steps)):
        if number:
            command += [name, str(number)]
    # The engine's allocator keeps what it once had; here memory is to be given back.
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True, env=environment
    )


class _ended_when:  # noqa: N801 (a context manager that reads like a function)
    """While it is entered, `child` is ended as soon as `cancelled()`: its stdin closes, and after a while it is killed."""

    def __init__(self, cancelled: Callable[[], bool], child: subprocess.Popen[str]) -> None:
        self._cancelled, self._child = cancelled, child
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fmviz training", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            if self._cancelled():
                assert self._child.stdin is not None
                self._child.stdin.close()
                try:
                    self._child.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self._child.kill()
                return


def _tell(progress: Tell, backbone: str, words: dict[str, Any]) -> None:
    steps = words["steps"]
    info = LearningInfo(
        phase=words["phase"],
        step=words["step"],
        steps=steps,
        loss=words["loss"],
        matrix=tuple(tuple(row) for row in words["matrix"]),
        by_rms=words["by_rms"],
        ap50=words["ap50"],
        snapshot=words["snapshot"],
    )
    progress("learning", backbone, words["step"] / steps if steps else None, left=words["left"], learning=info)


def keep(request: KeepPyramid) -> Reply:
    """Move a trained pyramid to where it is to stay, or throw it away. `ExportError` where it cannot be."""
    from fmviz.networks import pyramids
    from fmviz.writing import make_folder, write_whole

    source = Path(request.path)
    if not source.parent.name.startswith(_FOLDER):
        raise ExportError(f"{source.name} is no pyramid that was just trained: train one first.")
    if not request.keep:
        shutil.rmtree(source.parent, ignore_errors=True)
        return Dropped(id=request.id)
    target = Path(request.target) if request.target else pyramids.place_for(request.backbone)
    make_folder(target.parent)
    try:
        trained = source.open("rb")
    except OSError as error:
        raise ExportError(
            f"{source.name} cannot be read ({error.strerror or error}): train the pyramid again."
        ) from error
    with trained:
        write_whole(target, lambda file: shutil.copyfileobj(trained, file))
    shutil.rmtree(source.parent, ignore_errors=True)
    return PyramidKept(id=request.id, backbone=request.backbone, path=str(target))


def levels(capture: Capture, snapshot: str) -> Iterator[tuple[str, Tensor]]:
    """P2–P6 as the pyramid in the file `snapshot` makes them of the capture's C2–C5, each (1, width, h, w)."""
    import torch

    from fmviz.networks.checkpoints import read_tensors
    from fmviz.networks.fpn import FeaturePyramid

    tensors = read_tensors(Path(snapshot))
    state = {key.removeprefix("fpn."): tensor for key, tensor in tensors.items() if key.startswith("fpn.")}
    stages = {tap: capture.taps[tap].maps.float() for tap in ("C2", "C3", "C4", "C5")}
    width = state["inner_blocks.3.0.weight"].shape[0]
    with torch.device("meta"):
        pyramid = FeaturePyramid([stage.shape[1] for stage in stages.values()], width=width)
    pyramid.load_state_dict(state, assign=True)
    with torch.no_grad():
        yield from pyramid.to(stages["C5"].device)(stages).items()
