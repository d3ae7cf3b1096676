"""Weights files of any intent: each is refused with a sentence, and nothing that is in it happens."""

from __future__ import annotations

import ast
import io
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hostile_files import all_files, as_old_format, as_safetensors, as_torch_zip, entry, greedy, state, tensor, text

import fmviz
from fmviz.errors import WeightsError
from fmviz.networks import checkpoints
from fmviz.networks.checkpoints import read_checkpoint, read_tensors
from fmviz.networks.proposing import propose

FILES = all_files()

WATCHED = """
import json, os, resource, sys
from pathlib import Path

import torch
import fmviz
from fmviz.errors import FmvizError
from fmviz.networks.checkpoints import read_tensors
from fmviz.networks.proposing import propose

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
WAYS = {
    "read_tensors": read_tensors,
    "propose": propose,
    "Session": lambda path: fmviz.Session("resnet18", weights=path),
}

seen, watching = [], False

def watch(event, arguments):
    if not watching:
        return
    first = arguments[0] if arguments else None
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writes:
            return
    elif not event.startswith((
        "exec", "compile", "import", "os.", "subprocess.", "socket.", "ctypes.", "marshal.", "shutil.", "pty.", "webbrowser.",
        "pickle.find_class", "tempfile.", "urllib.", "sqlite3.", "code.",
    )) or event in ("os.listdir", "os.scandir"):
        return
    seen.append(f"{event} {first!r:.80}")

def tried(way, path):
    try:
        WAYS[way](path)
    except FmvizError as error:
        return [type(error).__name__, str(error)]
    except BaseException as error:
        return [type(error).__name__, repr(error)]
    return ["", ""]

# What a first use imports is no concern of the files': Python's readers of pickles and of zip files take these codecs.
for codec in ("raw-unicode-escape", "cp437"):
    "x".encode(codec)
for good in ("good.pth", "good.safetensors", "good.pt"):
    for way in WAYS:
        tried(way, folder / good)
tried("propose", folder / "resnet18.pth")
tried("Session", folder / "resnet18.pth")
sys.addaudithook(watch)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
watching = True
control = read_tensors(folder / "good.pth")
refusals = {}
for name in json.loads((folder / "names.json").read_text()):
    refusals[name] = {way: tried(way, folder / name) for way in WAYS}
calm = list(seen)
try:
    import fmviz_asks_for_what_is_not_there
except ImportError:
    pass
watching = False
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
good = control["w"].tolist()
print(json.dumps({"refusals": refusals, "seen": calm, "all": seen, "grown": grown, "good": good}))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All files tried in all ways in one process that notes what Python is asked to do."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "hostile_module.py").write_text("open('was-here', 'w')\n", encoding="utf-8")
    os.mkfifo(folder / "pipe.pth")
    (folder / "folder.pth").mkdir()
    (folder / "dangling.pth").symlink_to(folder / "nowhere")
    (folder / "device.pth").symlink_to("/dev/zero")
    (folder / "loop.pth").symlink_to(folder / "loop.pth")
    good = {"w": torch.arange(4.0)}
    torch.save(good, folder / "good.pth")
    torch.save(good, folder / "good.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(good, folder / "good.safetensors")
    from fmviz.networks.catalog import backbone

    with torch.device("cpu"):
        torch.save(backbone("resnet18").build().state_dict(), folder / "resnet18.pth")
    names = [*FILES, "pipe.pth", "folder.pth", "dangling.pth", "device.pth", "loop.pth"]
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        cwd=folder,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(ran.stdout)
    found["left"] = (folder / "was-here").exists()
    return found


def test_nothing_in_a_file_happens(watched: dict[str, Any]) -> None:
    assert watched["good"] == [0.0, 1.0, 2.0, 3.0]
    assert watched["seen"] == []
    assert not watched["left"]
    # The hook was there to see it.
    assert any("fmviz_asks_for_what_is_not_there" in event for event in watched["all"])


def test_no_file_takes_memory(watched: dict[str, Any]) -> None:
    """In kilobytes; the largest file unfolds to fifty megabytes, and others declare a terabyte."""
    assert watched["grown"] < 400_000


def check(refusals: dict[str, list[str]], name: str, words: str) -> None:
    """In whatever way the file came in, it is refused in one sentence that names it."""
    assert set(refusals) == {"read_tensors", "propose", "Session"}
    for kind, message in refusals.values():
        assert kind == "WeightsError", message
        assert name in message
        assert words in message
        assert message.endswith(".")
        assert message.isprintable()
        assert len(message) < 500


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_refused_in_a_sentence(name: str, watched: dict[str, Any]) -> None:
    check(watched["refusals"][name], name, FILES[name][1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pipe.pth", "is a pipe or a device"),
        ("device.pth", "is a pipe or a device"),
        ("folder.pth", "is a folder"),
        ("dangling.pth", ""),
        ("loop.pth", ""),
    ],
)
def test_what_is_no_file_is_refused_in_a_sentence(name: str, words: str, watched: dict[str, Any]) -> None:
    check(watched["refusals"][name], name, words)


@pytest.mark.parametrize("name", greedy())
def test_what_declares_more_than_it_holds_never_reaches_the_reader(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object, **__: object) -> None:
        raise AssertionError("was read")

    monkeypatch.setattr(checkpoints.torch, "load", reached)
    monkeypatch.setattr(checkpoints, "read_spans", reached)
    path = tmp_path / name
    path.write_bytes(greedy()[name][0])
    with pytest.raises(WeightsError):
        read_checkpoint(path)


HONEST = {
    "zip.pth": as_torch_zip(state(tensor(4, (2, 2), (2, 1))), {"data/0": np.arange(4, dtype=np.float32).tobytes()}),
    "old.pth": as_old_format(
        state(tensor(4, (2, 2), (2, 1))), struct.pack("<q", 4) + np.arange(4, dtype=np.float32).tobytes()
    ),
    "view.pth": as_torch_zip(
        state(tensor(6, (2, 2), (2, 1), offset=2)), {"data/0": np.arange(-2, 4, dtype=np.float32).tobytes()}
    ),
    "header.safetensors": as_safetensors(entry([2, 2], [0, 16]), np.arange(4, dtype=np.float32).tobytes()),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_file_that_is_made_in_the_same_way_is_read(name: str, tmp_path: Path) -> None:
    """It is for their content that the others are refused."""
    path = tmp_path / name
    path.write_bytes(HONEST[name])
    assert read_tensors(path)["w"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


ODD = {
    "another tensor in its place": b"}" + text("data") + tensor(4, (2,), (1,)) + b"s",
    "methods of its own": b"}" + text("detach") + text("nothing") + b"s",
}


@pytest.mark.parametrize("kind", ODD)
def test_what_a_tensor_says_of_itself_is_not_asked(kind: str, tmp_path: Path) -> None:
    """Attributes out of a file lie over a tensor's methods."""
    hooks = b"ccollections\nOrderedDict\n)R"
    rebuilt = (
        b"ctorch._utils\n_rebuild_parameter_with_state\n(" + tensor(4, (4,), (1,)) + b"\x89" + hooks + ODD[kind] + b"tR"
    )
    path = tmp_path / "odd.pth"
    path.write_bytes(as_torch_zip(state(rebuilt), {"data/0": bytes(16)}))
    found = read_tensors(path)["w"]
    assert type(found) is torch.Tensor
    assert not vars(found)
    assert found.untyped_storage().nbytes() == 16


# Mutants


def original(form: str) -> bytes:
    saved = {"conv.weight": torch.arange(24.0).view(2, 3, 2, 2), "bn.bias": torch.zeros(2, dtype=torch.float16)}
    if form == "safetensors":
        return safetensors.torch.save(saved)
    buffer = io.BytesIO()
    torch.save(saved, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


def mutant(content: bytes, chance: random.Random) -> bytes:
    """A few bits turned over, bytes cut out or put in, or a piece of the file copied to another place."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data)), chance.randint(1, 64)
        match chance.randrange(5):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = chance.randbytes(length)
            case 3:
                other = chance.randrange(len(data))
                data[at : at + length] = data[other : other + length]
            case _:
                data[at : at + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f"])
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_a_mutant_is_read_or_refused(form: str, tmp_path: Path) -> None:
    content, chance = original(form), random.Random(5)
    path = tmp_path / f"mutant.{form}"
    read, refusals = 0, []
    for _ in range(300):
        path.write_bytes(mutant(content, chance))
        try:
            tensors = read_tensors(path)
        except WeightsError as error:
            refusals.append(str(error))
            continue
        read += 1
        # All of them are there to be touched, and no larger than the file.
        assert sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) <= len(content) + 256
        assert all(isinstance(tensor.double().sum().item(), float) for tensor in tensors.values())
    assert read > 10
    assert len(refusals) > 10
    assert all(refusal.endswith(".") and refusal.isprintable() for refusal in refusals)


def test_a_mutant_is_proposed_or_refused(tmp_path: Path) -> None:
    content, chance = original("zip"), random.Random(6)
    path = tmp_path / "mutant.pth"
    refused = 0
    for _ in range(20):
        path.write_bytes(mutant(content, chance))
        try:
            assert propose(path) == ()
        except WeightsError:
            refused += 1
    assert refused > 0


# The rule


def test_there_is_no_way_to_load_code() -> None:
    """No call, no option and no default: `weights_only` is written once in all of fmviz, and it is True."""
    words = []
    for path in Path(fmviz.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "weights_only":
                words.append((path.name, ast.unparse(node.value)))
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            # Reads the bytes to which it has itself written a part of a network that is running already.
            assert name != "torch.jit.load" or path.name == "without_values.py", path
            assert name not in (
                "torch.hub.load",
                "torch.serialization.add_safe_globals",
                "torch.serialization.safe_globals",
                "pickle.Unpickler",
                "pickle.load",
                "pickle.loads",
            ), path
            if isinstance(node, ast.arg | ast.Name):
                assert getattr(node, "arg", getattr(node, "id", "")) != "weights_only", path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, path
    assert words == [("checkpoints.py", "True")]
