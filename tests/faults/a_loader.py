"""Reads mutants of weights files, and hostile ones by every way in, while it listens to what Python is asked to do.

    python a_loader.py FOLDER COUNT SEED

prints one line of JSON. Each mutant's number is printed before it is read.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import time
from pathlib import Path

import safetensors.torch
import torch
from mutants import mutants

from fmviz.assets import asset
from fmviz.cli import main
from fmviz.engine.answers import Answers
from fmviz.engine.messages import PictureSource, Run, Setup
from fmviz.errors import FmvizError, WeightsError
from fmviz.networks.checkpoints import read_tensors
from fmviz.networks.proposing import propose
from fmviz.session import Session

folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
seen: list[str] = []
watching = False
DANGEROUS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.spawn",
    "subprocess.",
    "socket.",
    "ctypes.",
    "exec",
    "compile",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.kill",
    "os.putenv",
    "shutil.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
)
LIMIT = 10
"""Seconds that one file may take, one way."""


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if watching and event.startswith(DANGEROUS):
        seen.append(f"{event} {arguments!r:.80}")
    if watching and event == "open" and isinstance(arguments[1], str) and any(sign in arguments[1] for sign in "wax+"):
        seen.append(f"open {arguments!r:.80}")


def originals() -> list[bytes]:
    content = {"conv.weight": torch.arange(24.0).view(2, 3, 2, 2), "bn.bias": torch.zeros(2, dtype=torch.float16)}
    made = [safetensors.torch.save(content)]
    for zipped in (True, False):
        for whole in (content, {"state_dict": content, "epoch": 3, "optimizer": {"lr": 0.1}}):
            stream = io.BytesIO()
            torch.save(whole, stream, _use_new_zipfile_serialization=zipped)
            made.append(stream.getvalue())
    return made


findings: list[str] = []
slowest, read = 0.0, 0


def tried(path: Path, way: object) -> bool:
    """Whether it was read; what is no sentence of ours is a finding."""
    global slowest
    begun = time.perf_counter()
    signal.alarm(LIMIT)
    try:
        way(path)  # type: ignore[operator]
        return True
    except FmvizError as error:
        if "\n" in str(error) or not str(error).endswith("."):
            findings.append(f"{path.name}: no sentence: {error}")
        return False
    except BaseException as error:
        findings.append(f"{path.name}: {type(error).__name__}: {error}")
        return False
    finally:
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - begun)


EXPORT = ["export", str(asset("samples/chelsea.png")), "--backbone", "resnet18", "-o", str(folder), "--weights"]


def hang(*_: object) -> None:
    raise TimeoutError(f"it took more than {LIMIT} s")


def by_the_engine(path: Path) -> None:
    cat = PictureSource(name="chelsea.png", path=str(asset("samples/chelsea.png")))
    request = Run(id=1, source=cat, setup=Setup(backbone="resnet18", weights=str(path)))
    Answers().to(request, progress=lambda *_, **__: None, cancelled=lambda: False)


def by_the_command(path: Path) -> None:
    """The command's own sentence, as the others raise it."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main([*EXPORT, str(path)])
    if code:
        raise WeightsError(told.getvalue().strip().removeprefix("fmviz: "))


WAYS = {
    "read_tensors": read_tensors,
    "propose": propose,
    "Session": lambda path: Session("resnet18", weights=path, device="cpu"),
    "the engine": by_the_engine,
    "the command": by_the_command,
}
signal.signal(signal.SIGALRM, hang)
seeds = originals()
for way in WAYS.values():
    tried(folder / "nothing.pth", way)
findings.clear()
slowest = 0.0
# What a first use imports is no concern of the files': Python's readers of pickles and of zip files take these codecs.
for codec in ("raw-unicode-escape", "cp437", "latin-1", "utf-8-sig"):
    "x".encode(codec)
sys.addaudithook(watch)
hostile = sorted(folder.glob("hostile*"))
taken = []
for path in hostile:
    watching = True
    taken += [f"{path.name} by {name}" for name, way in WAYS.items() if tried(path, way)]
    watching = False
for number, data in mutants(seeds, count, seed):
    print(number, flush=True)
    path = folder / f"mutant{number % 2}.{'pth' if number % 3 else 'safetensors'}"
    path.write_bytes(data)
    watching = True
    read += tried(path, read_tensors)
    watching = False
told = {"hostile": len(hostile), "taken": taken, "findings": findings, "seen": seen, "slowest": slowest, "read": read}
print(json.dumps(told), flush=True)
