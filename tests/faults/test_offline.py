"""Nobody is connected to, and nobody is looked up: from start to export, in the window and in the engine, and in all tests."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import only_loopback
import pytest
from children import environment, ran, visited

from fmviz.assets import asset

NET = re.compile(r"sa_family=AF_INET6?\b")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """The file that has what was tried, as Python's audit hooks hear of it."""
    return tmp_path / "audit.txt"


@pytest.fixture
def traced(tmp_path: Path) -> list[str]:
    """The beginning of a command whose connections, and those of its children, the system writes down; [] where it cannot.

    Libraries that are not Python's are heard so too.
    """
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    command += ["-o", str(tmp_path / "trace.txt")]
    if shutil.which("strace") and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        return command
    return []


def tried(audit: Path, *, processes: int) -> list[str]:
    """All that was tried, in at least so many processes that ran with the hook."""
    lines = audit.read_text().splitlines()
    assert len([line for line in lines if line.startswith("started ")]) >= processes
    trace = audit.with_name("trace.txt")
    traced = trace.read_text().splitlines() if trace.exists() else []
    return [line for line in lines if not line.startswith("started ")] + [line for line in traced if NET.search(line)]


def test_from_the_start_of_the_window_to_an_export(tmp_path, audit, traced):
    place = environment({"QT_QPA_PLATFORM": "offscreen", "FMVIZ_TEST_AUDIT": str(audit)}, home=tmp_path)
    stray = _left_last_time(tmp_path)
    deeds = [["wait"], ["sample"], ["export", str(tmp_path / "out")]]
    done, seen = visited([], deeds, place, before=traced)
    assert done.returncode == 0, done.stderr.decode()
    assert seen["title"].startswith("chelsea.png")
    assert len(list((tmp_path / "out").glob("coffee_*.png"))) == 1, seen
    assert tried(audit, processes=2) == []
    assert not (tmp_path / "torch").exists(), "something was fetched"
    assert os.listdir(stray.parent) == ["mine.part"]


def _left_last_time(home: Path) -> Path:
    """Settings that name the folder of an export which was killed, and what it left there: the next start removes it."""
    stray = home / "last" / f".fmviz-{'a' * 32}.part"
    stray.parent.mkdir()
    stray.write_bytes(b"half")
    (stray.parent / "mine.part").write_bytes(b"mine")
    settings = home / "config" / "fmviz" / "fmviz.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[folder]\nexport={stray.parent}\n")
    return stray


def test_an_export_by_the_command_line(tmp_path, audit, traced):
    place = environment({"FMVIZ_TEST_AUDIT": str(audit)}, home=tmp_path)
    picture, out = asset("samples/chelsea.png"), tmp_path / "out"
    done = ran(["export", picture, "-o", out, "--layers", "P4", "C2"], place, before=traced)
    assert done.returncode == 0, done.stderr.decode()
    assert len(os.listdir(out)) == 2
    assert tried(audit, processes=1) == []


def test_what_listens_would_hear(tmp_path, audit, traced):
    """The same on a download, which the user asks for: it is tried, and heard of."""
    place = environment({"FMVIZ_TEST_AUDIT": str(audit), "https_proxy": "http://127.0.0.1:9"}, home=tmp_path)
    done = ran(["weights", "fetch", "resnet18", "IMAGENET1K_V1"], place, before=traced)
    assert done.returncode == 1
    [complaint] = done.stderr.decode().splitlines()
    assert "127.0.0.1:9 takes no connections" in complaint
    heard = tried(audit, processes=1)
    assert any(line.startswith("socket.connect ") for line in heard)
    assert not traced or any(NET.search(line) for line in heard)


# The tests themselves


@pytest.mark.parametrize(
    "call",
    [
        lambda: socket.create_connection(("192.0.2.1", 443), timeout=0.1),
        lambda: socket.getaddrinfo("fmviz.invalid", 443),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
    ],
    ids=["connected", "looked up", "sent"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_test_that_gets_out_fails(call, request):
    with pytest.raises(OSError, match="stay on this computer"):
        call()
    told = only_loopback.forgive()
    assert told
    assert all(request.node.name in line for line in told)


def test_this_computer_may_be_connected_to():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert not only_loopback.forgive()
