"""Shared memory that the window lends to the engine: a file, mapped by both, so that no pixel goes through the pipe.

A mapped file rather than `multiprocessing.shared_memory`: before Python 3.13 that one is unlinked by the resource tracker of
whichever process attached to it and ended first.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmviz.engine.messages import Pixels
from fmviz.errors import EngineError


class Blocks:
    """The engine's side: the blocks that it was lent, each opened once."""

    def __init__(self) -> None:
        self._maps: dict[str, mmap.mmap] = {}

    def array(self, block: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """uint8 memory of `shape` to write to: at the start of `block`, or memory of our own where `block` is empty."""
        size = int(np.prod(shape))
        if not block:
            return np.empty(shape, np.uint8)
        mapped = self._mapped(block)
        if size > len(mapped):
            raise EngineError(
                f"The block lent for {size} bytes holds {len(mapped)}: this is a fault in fmviz; report it."
            )
        return np.frombuffer(mapped, np.uint8, size).reshape(shape)

    def _mapped(self, block: str) -> mmap.mmap:
        if block not in self._maps:
            self._forget_removed()
            with open(block, "r+b") as file:
                self._maps[block] = mmap.mmap(file.fileno(), 0)
        return self._maps[block]

    def _forget_removed(self) -> None:
        for name in [name for name in self._maps if not Path(name).exists()]:
            del self._maps[name]


def pixels(array: npt.NDArray[np.uint8], block: str) -> Pixels:
    """What to reply about `array`: its shape, and its bytes where it lies in no block."""
    return Pixels(shape=tuple(array.shape), data=b"" if block else array.tobytes())
