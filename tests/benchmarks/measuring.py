"""How the benchmarks measure: pairs in turn, workers in processes of their own, and lines of one table."""

from __future__ import annotations

import gc
import importlib.util
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Deed = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """What fmviz does and what it is compared with. A deed that returns a float has measured its seconds itself.

    Attributes:
        goal: the ratio that is aimed at.
        rounds: how often at most, where the usual number would take too long.
    """

    words: str
    ours: Deed
    theirs: Deed
    goal: float
    rounds: int = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that has no partner in the same line."""

    words: str
    value: float
    goal: float = math.nan
    unit: str = ""
    note: str = ""


Line = Pair | Figure


def shown(line: Line, rounds: int) -> str:
    """The line as it is printed; a pair is measured now."""
    if isinstance(line, Figure):
        goal = "" if math.isnan(line.goal) else f"{line.goal:.3g}"
        return f"{line.words:74} {line.value:8.3g} {goal:>7} {line.unit} {line.note}".rstrip()
    found, ours, theirs = ratio(line, min(rounds, line.rounds))
    return f"{line.words:74} {found:8.3f} {line.goal:7.3g} {ours * 1000:9.1f} ms {theirs * 1000:9.1f} ms"


def ratio(pair: Pair, rounds: int) -> tuple[float, float, float]:
    """The median of the rounds' ratios, and the medians of both in seconds; the first round is not counted."""
    times = [(seconds(pair.ours), seconds(pair.theirs)) for _ in range(rounds + 1)][1:]
    return (
        statistics.median(a / b for a, b in times),
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
    )


def seconds(deed: Deed) -> float:
    """How long it takes, once."""
    gc.collect()
    # The threads of whoever ran before spin for a while, in other processes as well.
    time.sleep(0.1)
    begun = time.perf_counter()
    told = deed()
    taken = time.perf_counter() - begun
    return told if isinstance(told, float) else taken


def there(module: str) -> bool:
    """Whether a peer is installed; said where it is not."""
    found = importlib.util.find_spec(module) is not None
    if not found:
        print(f"  {module} is not installed and is left out")
    return found


class Worker:
    """A process that does one thing as often as it is asked to, and says how many seconds it took.

    Args:
        code: Python that defines `deed()`; what it needs is made before the first time.
        environment: on top of this process's own, which is taken for that of a process as it comes.
    """

    def __init__(self, code: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + _LOOP, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


_LOOP = """
import sys, time
for _ in sys.stdin:
    begun = time.perf_counter()
    told = deed()
    print(told if isinstance(told, float) else time.perf_counter() - begun, flush=True)
"""


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of log(value) against log(size), by least squares: 1 is linear."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
