"""A line to an engine that is not a good one: stands between a window and an engine that it starts, and hands bytes on.

    python line.py [--delay MS] [--rate BYTES_A_SECOND] [--cut BYTES] [--turn BYTES] [--once FILE]

Cut: ends after so many bytes from the engine. Turn: turns a bit of the byte at this place. Once: only the first line to be
begun does either, the file tells the others. An engine on the other side of a line cannot reach the window's memory, so
the window lends it none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--delay", type=float, default=0.0)
parser.add_argument("--rate", type=float, default=0.0)
parser.add_argument("--cut", type=int, default=0)
parser.add_argument("--turn", type=int, default=0)
parser.add_argument("--once", type=Path)
options = parser.parse_args()
if options.once is not None:
    try:
        options.once.touch(exist_ok=False)
    except FileExistsError:
        options.cut = options.turn = 0

# What is far away does not share a temporary folder either, nor the working folder.
engine = subprocess.Popen(
    [sys.executable, "-m", "fmviz", "engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/"
)
assert engine.stdin is not None
assert engine.stdout is not None


def there() -> None:
    """From the window to the engine."""
    while data := os.read(0, 1 << 16):
        time.sleep(options.delay / 1000)
        engine.stdin.write(data)
    engine.stdin.close()


threading.Thread(target=there, daemon=True).start()
passed = 0
while data := os.read(engine.stdout.fileno(), 1 << 14):
    time.sleep(options.delay / 1000)
    if options.rate:
        time.sleep(len(data) / options.rate)
    if passed <= options.turn - 1 < passed + len(data):
        turned = bytearray(data)
        turned[options.turn - 1 - passed] ^= 16
        data = bytes(turned)
    if options.cut and passed + len(data) >= options.cut:
        data = data[: options.cut - passed]
    try:
        while data:
            sent = os.write(1, data)
            data, passed = data[sent:], passed + sent
    except OSError:
        break
    if options.cut and passed >= options.cut:
        print("the line was cut", file=sys.stderr, flush=True)
        break
engine.kill()
os._exit(1 if options.cut else 0)
