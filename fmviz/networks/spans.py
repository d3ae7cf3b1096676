"""Large parts of a file into memory, by several threads: most of the time goes by with finding pages for them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

_PIECE = 16 << 20
"""Bytes that a thread reads at a time."""
_MOST_THREADS = 4


def read_spans(file: io.BufferedReader, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The bytes of each span of a file, by where it begins and how many they are, as `(nbytes,)` uint8 tensors.

    Each has memory of its own, which goes when it does. Where the file stands afterwards is not said.

    Raises:
        EOFError: the file ends before a span does.
        OSError: it cannot be read.
    """
    memories = [torch.empty(nbytes, dtype=torch.uint8, device="cpu") for _, nbytes in spans]
    pieces = [
        (begin + at, memory.numpy().data[at : at + _PIECE])
        for memory, (begin, nbytes) in zip(memories, spans, strict=True)
        for at in range(0, nbytes, _PIECE)
    ]
    threads = min(_MOST_THREADS, os.cpu_count() or 1) if sys.platform != "win32" else 1
    # Dealt out by size, so that each has as much to do.
    pieces.sort(key=lambda piece: len(piece[1]), reverse=True)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_read, file, pieces[first::threads]) for first in range(threads)]:
            done.result()
    return memories


def _read(file: io.BufferedReader, pieces: Sequence[tuple[int, memoryview]]) -> None:
    for begin, into in pieces:
        while into:
            if sys.platform != "win32":
                count = os.preadv(file.fileno(), [into], begin)
            else:
                file.seek(begin)
                count = file.readinto(into)
            if not count:
                raise EOFError("the file ends here")
            begin, into = begin + count, into[count:]
