"""The window's side of shared memory: blocks that are lent to the engine, one request at a time, and used again."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from fmviz.engine.messages import Pixels

_PREFIX = "fmviz-blocks-"
_SHARED = Path("/dev/shm")
_KEPT_FREE = 8


class Block:
    """Memory that both processes see. It goes back to its pool when nobody holds it any more."""

    __slots__ = ("__weakref__", "_mapped", "name", "size")

    def __init__(self, name: str, mapped: mmap.mmap) -> None:
        self.name = name
        self._mapped = mapped
        self.size = len(mapped)

    def array(self, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[np.uint8]:
        """The bytes from `offset` on as uint8 of `shape`, not copied: hold the block as long as the array."""
        return np.frombuffer(self._mapped, np.uint8, int(np.prod(shape)), offset).reshape(shape)


class SharedPixels(msgspec.Struct, frozen=True, eq=False):
    """Pixels in a block (or in memory of their own), with what keeps them alive."""

    array: npt.NDArray[np.uint8]
    block: Block | None = None

    @classmethod
    def of(cls, pixels: Pixels, block: Block | None) -> SharedPixels:
        """What a reply says is in the block that its request lent, or carries itself."""
        if block is not None and not pixels.data:
            return cls(block.array(pixels.shape), block)
        return cls(np.frombuffer(pixels.data, np.uint8).reshape(pixels.shape))


class BlockPool:
    """Lends blocks and takes them back.

    The files lie in a folder named after this process; what a killed one left is removed at the next start.
    """

    def __init__(self) -> None:
        root = _SHARED if _SHARED.is_dir() and os.access(_SHARED, os.W_OK) else Path(tempfile.gettempdir())
        remove_abandoned(root)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))
        self._free: list[tuple[str, mmap.mmap]] = []
        self._count = 0
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, True)

    def lend(self, size: int) -> Block:
        """A block of at least `size` bytes that nobody shows and no open request writes to."""
        fitting = [entry for entry in self._free if size <= len(entry[1]) <= max(4 * size, 1 << 20)]
        if fitting:
            name, mapped = min(fitting, key=lambda entry: len(entry[1]))
            self._free = [entry for entry in self._free if entry[0] != name]
        else:
            name, mapped = self._new(size)
        block = Block(name, mapped)
        weakref.finalize(block, self._take_back, name, mapped)
        return block

    def close(self) -> None:
        """Remove the files. Arrays that are still held stay valid."""
        self._free.clear()
        self._finalizer()

    def _new(self, size: int) -> tuple[str, mmap.mmap]:
        self._count += 1
        path = self._folder / str(self._count)
        room = 1 << max(size - 1, (1 << 16) - 1).bit_length()
        with open(path, "w+b") as file:
            file.truncate(room)
            return str(path), mmap.mmap(file.fileno(), room)

    def _take_back(self, name: str, mapped: mmap.mmap) -> None:
        self._free.append((name, mapped))
        while len(self._free) > _KEPT_FREE:
            gone, _ = self._free.pop(0)
            Path(gone).unlink(missing_ok=True)


def remove_abandoned(root: Path) -> None:
    """Remove the folders in `root` whose process is no more."""
    for folder in _folders(root):
        number = folder.name.removeprefix(_PREFIX).split("-")[0]
        if number.isdigit() and not _alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _folders(root: Path) -> Iterator[Path]:
    try:
        yield from root.glob(f"{_PREFIX}*")
    except OSError:
        return


def _alive(process: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
