"""How fast fmviz is beside what does the same: ratios, each measured in pairs in one run. Prints; asserts nothing.

    python tests/benchmarks/speed.py [--only GROUP ...] [--rounds 9]

Each line times two ways of coming to the same thing in turn, round after round, and prints the median of the rounds' ratios,
the goal, and the medians of both. Below 1 fmviz is the faster one. Lines without a partner print a number, its goal and what
it is. The groups of the window need a display; without one they are measured offscreen. Peers that are not installed are
named and left out: `pip install torchinfo fvcore torchlens captum` brings them. Where there is CUDA, `cuda` is the same on
the GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator

import core
import growth
import inside_engine
import on_cuda
import peers
import starts
import torch
import window
from measuring import Line, shown

GROUPS: dict[str, Callable[[], Iterator[Line]]] = {
    "capture": core.captures,
    "engine": inside_engine.engine,
    "peers": peers.peers,
    "table": core.tables,
    "weights": core.weights,
    "maps": core.maps,
    "pictures": core.pictures,
    "export": core.exports,
    "starts": starts.starts,
    "window": window.lines,
    "growth": growth.growth,
    "cuda": on_cuda.cuda,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GROUPS, nargs="+", help="these groups of lines")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, {_processor()}")
    for name in options.only or GROUPS:
        print(f"\n{name:74} {'ratio':>8} {'goal':>7} {'fmviz':>12} {'other':>12}")
        for line in GROUPS[name]():
            print(shown(line, options.rounds), flush=True)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
