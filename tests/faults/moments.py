"""Exports of a small capture, something that befalls them at a chosen moment, and what must be true of a folder after.

As a program it is a warm process that has torch, and forks: each line that it reads is an export that is killed, and each
line that it writes says how one ended.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import PIL.Image
import torch

import fmviz
from fmviz.capture import Activation, Capture, Layer
from fmviz.exporting import export

EXPORTS = (("maps", ["half"]), ("npz", ["stem", "half"]), ("safetensors", ["stem"]), ("grid", ["half"]))
ASIDE = ".part"

_OURS = str(Path(fmviz.__file__).parent)
_WATCHED = (*(os.path.join(_OURS, name) for name in ("writing.py", "strays.py", "arrays.py")), zipfile.__file__)


def capture_of(seed: int) -> Capture:
    """Three small layers; another seed is another generation, under the same names."""
    torch.manual_seed(seed)
    shapes = {"stem": (1, 4, 16, 24), "half": (1, 3, 9, 7), "fc": (1, 10)}
    return Capture([Activation(Layer(name), "Conv2d", torch.randn(shape)) for name, shape in shapes.items()], taps={})


def export_all(seed: int, folder: Path) -> None:
    """Every form of file, of one generation."""
    capture = capture_of(seed)
    facts: dict[str, Any] = {"network": "tiny", "seed": seed, "picture": {"name": "cat.png"}}
    for form, layers in EXPORTS:
        for _ in export(capture, facts, layers=layers, folder=folder, form=form):  # type: ignore[arg-type]
            pass


class Steps:
    """Counts the calls into C that the writing of files makes, before and after each; at step `at` calls `blow`."""

    def __init__(self, at: int = 0, blow: Callable[[], object] | None = None) -> None:
        self.count = 0
        self._at, self._blow = at, blow
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event in ("c_call", "c_return") and frame.f_code.co_filename in _WATCHED:
            with self._lock:
                self.count += 1
                if self.count == self._at and self._blow:
                    self._blow()

    def __enter__(self) -> Steps:
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


def content(data: bytes, name: str) -> Any:
    """What is in a file, decoded to its last byte; an exception where it is not whole."""
    if name.endswith(".png"):
        with PIL.Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.size, image.tobytes(), image.getpalette(), json.loads(image.text["fmviz"])
    if name.endswith(".npz"):
        # The file also has the time at which it was made.
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {key: (file[key].dtype.str, file[key].tobytes()) for key in file.files}
    return data


@dataclasses.dataclass(frozen=True)
class Generations:
    """What each name may hold: the whole old file, where there was one, or the whole new one."""

    old: dict[str, bytes]
    new: dict[str, Any]

    @classmethod
    def made(cls, place: Path) -> Generations:
        """Every second name has an old file."""
        for seed in (1, 2):
            export_all(seed, place / str(seed))
        old = {name: (place / "1" / name).read_bytes() for name in sorted(os.listdir(place / "1"))[::2]}
        new = {name: content((place / "2" / name).read_bytes(), name) for name in os.listdir(place / "2")}
        return cls(old, new)

    def put(self, folder: Path) -> None:
        """The old files, and nothing else."""
        folder.mkdir(exist_ok=True)
        for name in os.listdir(folder):
            (folder / name).unlink()
        for name, data in self.old.items():
            (folder / name).write_bytes(data)

    def check(self, folder: Path, *, besides: str = "") -> None:
        """Each name holds a whole file; what was there is there."""
        names = {name for name in os.listdir(folder) if not name.endswith(ASIDE)} - {besides}
        assert names <= set(self.new), names - set(self.new)
        assert set(self.old) - {besides} <= names, set(self.old) - names
        for name in names:
            data = (folder / name).read_bytes()
            assert data == self.old.get(name) or content(data, name) == self.new[name], f"{name} is neither old nor new"

    def check_new(self, folder: Path) -> None:
        """All names, all new, and nothing besides."""
        assert sorted(os.listdir(folder)) == sorted(self.new), set(os.listdir(folder)) ^ set(self.new)
        for name, wanted in self.new.items():
            assert content((folder / name).read_bytes(), name) == wanted, f"{name} is not new"


def _in_a_child(folder: Path, at: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        with Steps(at, lambda: os.kill(os.getpid(), signal.SIGKILL)) if at else Steps():
            export_all(2, folder)
        os._exit(0)
    finally:
        os._exit(9)


def main() -> None:
    """A line is a folder, and when to kill: at a step (0 for never), after some seconds (0 for never)."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        export_all(2, Path(folder))
    for line in sys.stdin:
        folder, at, seconds = json.loads(line)
        child = _in_a_child(Path(folder), at)
        if seconds:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
