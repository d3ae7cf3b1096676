"""Hostile and damaged weights files: none of them runs anything, hangs, or ends anything but with a sentence."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from desks import OpenDesk
from driving import until
from hostile_files import CALLS, all_files, as_torch_zip

LOADER = Path(__file__).with_name("a_loader.py")


def hostile() -> dict[str, bytes]:
    """Those of the other tests, and each dangerous call in each protocol, form and place of a file."""
    files = {name: content for name, (content, _) in all_files().items()}
    for name, (call, _) in CALLS.items():
        for protocol in (0, 2, 4):
            pickled = pickle.dumps({"state_dict": {"fc.weight": call}}, protocol)
            files[f"{name} {protocol} plain"] = pickled
            files[f"{name} {protocol} in a zip"] = as_torch_zip(pickled)
            files[f"{name} {protocol} after a good one"] = pickle.dumps({"a": 1}, 2) + pickled
    deep = io.BytesIO()
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("../../archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("/etc/archive/version", b"3\n")
    files["paths out of the archive"] = deep.getvalue()
    return files


@pytest.mark.timeout(1800)
def test_nothing_runs_and_nothing_hangs(tmp_path: Path, long: bool) -> None:
    files = hostile()
    assert len(files) >= 200
    for number, (name, content) in enumerate(files.items()):
        suffix = ".safetensors" if number % 4 == 0 else ".pth"
        clean = "".join(sign if sign.isalnum() else "-" for sign in name)
        (tmp_path / f"hostile {number} {clean}{suffix}").write_bytes(content)
    for seed in range(5 if long else 1):
        command = [sys.executable, str(LOADER), str(tmp_path), "5000", str(seed)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=280)
        lines = ran.stdout.splitlines()
        assert ran.returncode == 0, f"ended with {ran.returncode} at mutant {lines[-1:]}: {ran.stderr[-500:]}"
        told = json.loads(lines[-1])
        assert told["seen"] == []
        assert told["findings"] == []
        assert told["slowest"] < 5
        assert told["hostile"] == len(files)
        assert told["taken"] == []
        assert 500 < told["read"] < 4500
        assert not (tmp_path / "was-here").exists()


def test_the_window_lives_and_keeps_what_it_shows(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = open_desk()
    desk.settle()
    maps, process = desk.maps, desk.app.link.process_id
    for name in ("system 2 in a zip", "exec 0 plain", "paths out of the archive", "hub 4 plain"):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(hostile()[name])
        desk.drop([path])
        until(lambda path=path: path.name in desk.problem() + desk.problem("window"), f"{name} is told")
        assert desk.maps is maps
    assert desk.app.link.process_id == process
    assert not Path("was-here").exists()
    desk.choose_tap("C4")
    desk.close()
