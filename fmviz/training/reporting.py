"""Training in a process of its own, for the window: `python -m fmviz.training.reporting`, a line of JSON for all it says.

It gives way to whatever else wants the processor, and ends when its stdin does: with the engine that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmviz.errors import Cancelled, FmvizError

if TYPE_CHECKING:
    from torch import Tensor

    from fmviz.training.train import Progress

INTERVAL = 0.4
"""Seconds between two lines at least."""

KEPT = 2
"""How many snapshots lie in the folder: the last one, and the one that may be being read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and say how it goes; the exit code. The last line holds the figures, or why there are none."""
    options = _parser().parse_args(arguments)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)
    given_up = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(given_up,), daemon=True).start()
    from fmviz.training.train import Plan, train

    folder = Path(options.folder)
    reporter = _Reporter(folder)
    try:
        path, figures = train(
            options.backbone,
            folder / "pyramid.safetensors",
            weights=options.weights or None,
            seed=options.seed,
            plan=Plan(minutes=options.minutes, scenes=options.scenes, steps=options.steps),
            progress=reporter.tell,
            cancelled=given_up.is_set,
            snapshot=reporter.keep,
        )
    except (Cancelled, BrokenPipeError):
        # Nobody listens any more, or nobody wants it: what is half done is of no use to anyone.
        shutil.rmtree(folder, ignore_errors=True)
        return 1
    except FmvizError as error:
        _say(kind=type(error).__name__, message=str(error))
        return 1
    _say(path=str(path), figures=figures.describe())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fmviz.training.reporting")
    parser.add_argument("backbone")
    parser.add_argument("folder")
    parser.add_argument("--weights", default="")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--steps", type=int)
    return parser


def _wait_for_the_end(given_up: threading.Event) -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    given_up.set()


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


class _Reporter:
    """Says how it goes, but not more often than anybody can look; keeps what was learned so far as a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._snapshots: list[Path] = []
        self._told = 0.0

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told < INTERVAL and progress.step != progress.steps:
            return
        self._told = now
        figures = progress.figures
        _say(
            phase=progress.phase,
            step=progress.step,
            steps=progress.steps,
            left=progress.seconds_left,
            loss=progress.loss,
            matrix=[list(row) for row in figures.rms_matrix] if figures else [],
            by_rms=figures.by_rms if figures else None,
            ap50=figures.ap50 if figures else None,
            snapshot=str(self._snapshots[-1]) if self._snapshots else "",
        )

    def keep(self, tensors: dict[str, Tensor]) -> None:
        import safetensors.torch

        path = self._folder / f"snapshot-{len(self._snapshots)}.safetensors"
        safetensors.torch.save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        self._snapshots.append(path)
        for old in self._snapshots[:-KEPT]:
            old.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
