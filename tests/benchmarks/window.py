"""What `the_window.py` measures, in a process of its own: the window never has torch beside it. And the engine's memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measuring import Figure, Line, Worker

from fmviz.app.link import ENVIRONMENT

_MEMORY = """
import sys, torch
from fmviz.networks.catalog import backbone
model = backbone("resnet50").build().eval()
x = torch.rand(1, 3, 480, 640)
weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
from fmviz.session import Session
session = Session("resnet50", weights="random", device="cpu")
def resident():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmRSS:"))
def deed():
    capture = session.run(x)
    return resident() / (float(sys.argv[1]) + (2 * weights + capture.nbytes) / 1e6)
"""

_BARE = """
import torch
torch.nn.Conv2d(3, 64, 3)(torch.rand(1, 3, 64, 64))
def deed():
    return next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmRSS:"))
"""


def lines() -> Iterator[Line]:
    environment = dict(os.environ)
    if not environment.get("DISPLAY") and not environment.get("WAYLAND_DISPLAY"):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    command = [sys.executable, str(Path(__file__).with_name("the_window.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if not text.startswith("{"):
                continue
            told = json.loads(text)
            goal = math.nan if told["goal"] is None else told["goal"]
            yield Figure(told["words"], told["value"], goal, told["unit"], told["note"])
    bare = Worker(_BARE)
    resident = bare()
    bare.end()
    engine = Worker(_MEMORY, [str(resident)], ENVIRONMENT)
    engine()
    words = "memory of an engine after two runs, beside torch, weights and captures"
    yield Figure(words, engine(), 1.15, "×", f"torch alone {resident:.0f} MB; resnet50 480 × 640")
    engine.end()
