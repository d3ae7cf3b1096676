"""What the frozen body makes of the scenes: C2–C5, computed once and kept while the pyramid learns from them.

They are kept in files that have no name: however the process ends, nothing is left of them. Every channel has its mean
taken off and is divided by its deviation; `folded` puts that into the laterals when all is learned, so that what comes of
it is a plain pyramid.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.errors import Cancelled, ExportError
from fmviz.training.body import STAGES, Body
from fmviz.training.scenes import SIZE, Scene, draw_scene

BATCH = 8
"""Scenes that a thread draws and runs at once."""

ROOM = 0.8
"""The share of the free disk that may be taken."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of each stage the mean and the deviation of its channels, (channels,) float32 each, on the CPU."""

    means: list[Tensor]
    deviations: list[Tensor]

    def standardised(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """(B, channels, h, w) each"""
        return [
            (stage - mean.to(stage.device)[:, None, None]) / deviation.to(stage.device)[:, None, None]
            for stage, mean, deviation in zip(stages, self.means, self.deviations, strict=True)
        ]

    def folded(self, pyramid: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state of a `FeaturePyramid` that takes the stages as they are, from one's that takes them standardised."""
        state = {key: tensor.detach().cpu().clone() for key, tensor in pyramid.items()}
        for level, (mean, deviation) in enumerate(zip(self.means, self.deviations, strict=True)):
            weight = state[f"inner_blocks.{level}.0.weight"] / deviation[:, None, None]
            state[f"inner_blocks.{level}.0.weight"] = weight
            state[f"inner_blocks.{level}.0.bias"] -= weight.flatten(1) @ mean
        return state


def statistics_of(batches: Iterator[list[Tensor]]) -> Statistics:
    """Of the stages of some scenes."""
    counts, sums, squares = [0] * 4, [torch.zeros(())] * 4, [torch.zeros(())] * 4
    for batch in batches:
        for level, stage in enumerate(batch):
            values = stage.double().cpu()
            counts[level] += values.shape[0] * values.shape[2] * values.shape[3]
            sums[level] = sums[level] + values.sum(dim=(0, 2, 3))
            squares[level] = squares[level] + values.square().sum(dim=(0, 2, 3))
    means = [total / count for total, count in zip(sums, counts, strict=True)]
    variances = [
        (square / count - mean.square()).clamp(min=0)
        for square, mean, count in zip(squares, means, counts, strict=True)
    ]
    # A channel that hardly ever is anything but zero must not become the loudest of all.
    deviations = [torch.maximum(variance.sqrt(), 0.05 * variance.mean().sqrt() + 1e-6) for variance in variances]
    return Statistics([mean.float() for mean in means], [deviation.float() for deviation in deviations])


def stages_of(
    body: Body,
    numbers: Sequence[int],
    seed: int,
    *,
    cancelled: Callable[[], bool],
    parts: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[list[Scene], list[Tensor]]]:
    """The scenes of these numbers (`draw_scene`), `BATCH` at a time and in their order, with C2–C5 of each batch.

    Every thread draws scenes and runs them, one core each: quicker than to share each operation between all cores.

    Raises:
        Cancelled: `cancelled` said so.
    """
    chunks = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    threads = threads or cores()
    before = torch.get_num_threads()

    def run(chunk: Sequence[int]) -> tuple[list[Scene], list[Tensor]]:
        if cancelled():
            raise Cancelled
        scenes = [draw_scene(seed, number, parts=parts) for number in chunk]
        return scenes, body.stages(np.stack([scene.pixels for scene in scenes]))

    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        pending = [pool.submit(run, chunk) for chunk in chunks[: 2 * threads]]
        for index in range(len(chunks)):
            if index + 2 * threads < len(chunks):
                pending.append(pool.submit(run, chunks[index + 2 * threads]))
            yield pending[index].result()
            pending[index] = None  # type: ignore[call-overload]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Cache:
    """C2–C5 of many scenes in float16, standardised, in files without a name. A context manager.

    Attributes:
        boxes, kinds: of each scene, see `Scene`.
    """

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self.boxes: list[npt.NDArray[np.float32]] = []
        self.kinds: list[npt.NDArray[np.int64]] = []
        self._files: list[IO[bytes]] = []
        self._arrays: list[npt.NDArray[np.float16]] = []
        self._shapes: list[tuple[int, ...]] = []

    def __enter__(self) -> Cache:
        self._files = [tempfile.TemporaryFile(prefix="fmviz-") for _ in STAGES]  # noqa: SIM115 (closed by __exit__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._arrays = []
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self.boxes)

    def add(self, scenes: Sequence[Scene], stages: Sequence[Tensor]) -> None:
        """`ExportError` where the disk is full."""
        standardised = self.statistics.standardised(stages)
        self._shapes = [tuple(stage.shape[1:]) for stage in standardised]
        try:
            for file, stage in zip(self._files, standardised, strict=True):
                # Values beyond float16's range are as good as its largest: they are many deviations away.
                file.write(stage.clamp(-6e4, 6e4).half().cpu().contiguous().numpy().data)
        except OSError as error:
            raise ExportError(
                f"The features of the scenes cannot be kept in {tempfile.gettempdir()} ({error.strerror or error}): "
                "make room there, or name another folder in TMPDIR."
            ) from error
        self.boxes += [scene.boxes for scene in scenes]
        self.kinds += [scene.kinds for scene in scenes]

    def close_for_writing(self) -> None:
        """After the last `add`, before the first `stage`."""
        for file, shape in zip(self._files, self._shapes, strict=True):
            file.flush()
            self._arrays.append(np.memmap(file, dtype=np.float16, mode="r", shape=(len(self), *shape)))

    @property
    def cells(self) -> list[tuple[int, int]]:
        """(h, w) of each stage."""
        return [(shape[1], shape[2]) for shape in self._shapes]

    def stage(self, level: int, numbers: Sequence[int]) -> Tensor:
        """(B, channels, h, w) float16 of the scenes with these numbers."""
        return torch.from_numpy(self._arrays[level][np.asarray(numbers)])

    def windows(self, level: int, numbers: Sequence[int], corners: npt.NDArray[np.int64], side: int) -> Tensor:
        """(B, channels, side, side) float16: of each scene the part of its map that begins at row and column `corners`."""
        array: Any = self._arrays[level]
        parts = [
            array[number, :, top : top + side, left : left + side]
            for number, (top, left) in zip(numbers, corners.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(parts))


def room_for(channels: Sequence[int]) -> int:
    """How many scenes' features there is room for on the disk, stages at strides 4, 8, 16 and 32."""
    values = sum(count * (SIZE // stride) ** 2 for count, stride in zip(channels, (4, 8, 16, 32), strict=True))
    return int(ROOM * shutil.disk_usage(tempfile.gettempdir()).free / (2 * values))
