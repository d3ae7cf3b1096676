"""Hostile places: no home, no locale, no fonts, no GL, names that are no text, a clock set back, a display that goes away.

Nothing crashes, and the exit code is the documented one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from children import ASCII, LIMIT, C, environment, ran, visited

from fmviz.arrays import write_npz
from fmviz.assets import asset

NOWHERE = {"HOME": None, "XDG_CONFIG_HOME": None, "TORCH_HOME": None, "FMVIZ_TEST_PLACE": "unknown"}
"""No home, and a user that the system does not know either, as in many containers."""
MINE = "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n"


def complaints(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The lines on stderr. Never a traceback."""
    text = done.stderr.decode("ascii", "backslashreplace")
    assert "Traceback" not in text, text
    return text.splitlines()


@pytest.fixture
def not_text(tmp_path: Path) -> bytes:
    """A picture whose name is no UTF-8."""
    path = os.path.join(os.fsencode(tmp_path), b"\xff caf\xe9.png")
    try:
        shutil.copyfile(asset("samples/chelsea.png"), path)
    except OSError:
        pytest.skip("there are no such names here")
    return path


# The command line


@pytest.mark.skipif(os.name != "posix", reason="needs names that are bytes")
def test_export_where_nothing_is_as_it_should_be(tmp_path, not_text):
    place = environment({**NOWHERE, **C, "FMVIZ_TEST_PLACE": "unknown past"}, home=tmp_path)
    folder = os.path.join(os.fsencode(tmp_path), b"out\xfe")
    done = ran(
        ["export", not_text, b"\xfe.png", "-o", folder, "--layers", "C5", "--as", "npz", "--weights", "random"], place
    )
    assert done.returncode == 1
    [complaint] = complaints(done)
    assert complaint.startswith("fmviz: ")
    assert ".png" in complaint
    files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    assert len(files) == 1, files
    with open(files[0], "rb") as file, np.load(file) as values:
        assert len(values.files) == 2
    assert not (Path.cwd() / "~").exists()


@pytest.fixture(scope="module")
def warm() -> None:
    """What a list of networks needs, once for all forks."""
    import torchvision.models

    assert torchvision.models


@pytest.mark.parametrize("home", ["", "/dev/null", "/proc/none"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["backbones", "vgg"], 0),
        (["weights", "list"], 0),
        (["table", "--model", "mine.py:build"], 3),
        (["table", "--model", "mine.py:build", "--trust"], 1),
        (["--version"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.skipif(os.name != "posix", reason="these are homes of POSIX")
def test_commands_without_a_home(warm, tmp_path, capfd, home, arguments, code):
    """In a fork of this process, as most of what a command takes is to import what it needs."""
    (tmp_path / "mine.py").write_text(MINE)
    child = os.fork()
    if not child:
        ended = 9
        try:
            ended = _command(tmp_path, home, arguments)
        finally:
            os._exit(ended)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    said = capfd.readouterr().err.splitlines()
    # That there are no weights is said there as well.
    assert len(said) == (code != 0 or arguments[0] == "weights"), said
    assert all(line.endswith(".") for line in said)
    assert sorted(os.listdir(tmp_path)) == ["mine.py"]


def _command(folder: Path, home: str, arguments: list[str]) -> int:
    import pwd

    from fmviz.cli import main

    def unknown(number: int) -> None:
        raise KeyError(number)

    pwd.getpwuid = unknown  # type: ignore[assignment]
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TORCH_HOME")
    for name in (*names, "FMVIZ_CONFIG_HOME", "FMVIZ_DATA_HOME"):
        os.environ.pop(name, None)
    if home:
        os.environ["HOME"] = home
    os.chdir(folder)
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def test_a_clock_before_all_files(tmp_path, monkeypatch):
    """What was written in the future is read, replaced and never taken for something else."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    os.utime(path, (4e9, 4e9))
    write_npz(path, {"x": np.zeros(3)}, {})
    with np.load(path) as values:
        assert values["x"].shape == (3,)


def test_a_locale_without_the_letters(tmp_path):
    """Python can be told to take ASCII at its word. What cannot be named then is refused in one sentence."""
    (tmp_path / "Kätzchen.npz").write_bytes(b"old")
    code = "import sys; from fmviz.writing import write_whole; write_whole('K\\xe4tzchen.npz', print)"
    place = environment(ASCII, home=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=place, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("fmviz.errors.ExportError: K")
    assert last.endswith("set LC_ALL to C.UTF-8, or choose another name.")
    assert (tmp_path / "Kätzchen.npz").read_bytes() == b"old"


# The window


@pytest.mark.skipif(os.name != "posix", reason="needs names that are bytes")
def test_the_window_where_nothing_is_as_it_should_be(tmp_path, not_text):
    bare = tmp_path / "fonts.conf"
    bare.write_text('<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig></fontconfig>')
    changes = {
        **NOWHERE,
        **C,
        "FMVIZ_TEST_PLACE": "unknown past",
        "QT_QPA_PLATFORM": "offscreen",
        "FONTCONFIG_FILE": str(bare),
        "QT_QPA_FONTDIR": str(tmp_path / "none"),
        "LIBGL_DRIVERS_PATH": "/dev/null",
        "QT_XCB_GL_INTEGRATION": "none",
        # Where a home is missing the settings would be in the root folder.
        "XDG_CONFIG_HOME": "/dev/null",
    }
    out = tmp_path / "out"
    deeds = [["wait"], ["export", str(out)], ["vanish", not_text.hex(), 128]]
    done, seen = visited([not_text], deeds, environment(changes, home=tmp_path))
    said = complaints(done)
    assert done.returncode == 0, said
    assert "efficientnet_lite0_fpn" in seen["title"]
    assert len(list(out.glob("*.png"))) == 1
    assert "is not there" in seen["problems"][0] or "does not exist" in seen["problems"][0], seen
    assert seen["maps"]


@pytest.mark.parametrize("display", [None, ":4242"], ids=["none", "one that is not there"])
def test_no_display(tmp_path, display):
    changes = {"QT_QPA_PLATFORM": "xcb", "DISPLAY": display, "WAYLAND_DISPLAY": None, "QT_DEBUG_PLUGINS": None}
    done = ran([], environment(changes, home=tmp_path))
    [complaint] = complaints(done)
    assert done.returncode == 1
    assert complaint.startswith("fmviz: the window cannot open: ")
    assert complaint.endswith("or use the commands of `fmviz --help`, which need no window.")


@pytest.fixture
def screen() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An X server, and its name."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb cannot be found")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            name = told.readline().decode().strip()
        assert name, "Xvfb does not come up"
        yield server, f":{name}"
        server.kill()
    for left in (f"/tmp/.X{name}-lock", f"/tmp/.X11-unix/X{name}"):
        Path(left).unlink(missing_ok=True)


def test_the_display_goes_away(tmp_path, screen):
    server, name = screen
    place = environment({"QT_QPA_PLATFORM": "xcb", "DISPLAY": name, "WAYLAND_DISPLAY": None}, home=tmp_path)
    (tmp_path / "config").mkdir()
    with subprocess.Popen([sys.executable, "-m", "fmviz"], env=place, stderr=subprocess.PIPE) as process:
        engines = _children_of(process)
        server.kill()
        said = process.communicate(timeout=LIMIT)[1].decode()
    assert process.returncode == 1, said
    assert said == "fmviz: the display went away, and the window with it: start fmviz again.\n"
    # What was chosen is kept, the engine is gone, and no memory is left.
    assert "choices=" in (tmp_path / "config" / "fmviz" / "fmviz.conf").read_text()
    _until_they_are_gone(engines)
    assert not list(Path("/dev/shm").glob(f"fmviz-blocks-{process.pid}-*"))


def _started(place: dict[str, str]) -> subprocess.Popen[bytes]:
    """A window that hears of signals even where those who run these tests hear of none: in the background, by nohup."""
    return subprocess.Popen(
        [sys.executable, "-m", "fmviz"], env=place, stderr=subprocess.PIPE, preexec_fn=_hear_of_signals
    )


def _hear_of_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_closes_the_window_in_good_order(tmp_path, number):
    place = environment({"QT_QPA_PLATFORM": "offscreen"}, home=tmp_path)
    (tmp_path / "config").mkdir()
    with _started(place) as process:
        engines = _children_of(process)
        _until_it_listens_to(process, number)
        process.send_signal(number)
        said = process.communicate(timeout=LIMIT)[1].decode()
    assert process.returncode == 0, said
    assert [line for line in said.splitlines() if "propagateSizeHints" not in line] == []
    assert "choices=" in (tmp_path / "config" / "fmviz" / "fmviz.conf").read_text()
    _until_they_are_gone(engines)
    # Nothing is left that the next start would offer as lost.
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.crash"))


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_twice_is_one_wish(tmp_path, second):
    """`timeout` ends a process and then its group."""
    place = environment({"QT_QPA_PLATFORM": "offscreen"}, home=tmp_path)
    (tmp_path / "config").mkdir()
    with _started(place) as process:
        _children_of(process)
        _until_it_listens_to(process, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(second)
        said = process.communicate(timeout=LIMIT)[1].decode()
    assert process.returncode == 0, said
    assert not list(tmp_path.rglob("*.json"))


def test_ctrl_c_while_qt_is_loaded_is_no_error(tmp_path):
    place = environment({"QT_QPA_PLATFORM": "offscreen"}, home=tmp_path)
    with _started(place) as process:
        end = time.monotonic() + LIMIT
        while "QtCore" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=LIMIT)[1].decode()
    assert process.returncode in (0, -signal.SIGINT)
    assert [line for line in said.splitlines() if "propagateSizeHints" not in line] == []


def _until_they_are_gone(processes: list[int]) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        left = []
        for process in processes:
            # One whose parent has ended may wait for somebody to ask how it ended.
            with contextlib.suppress(OSError):
                left += [process] if ") Z " not in Path(f"/proc/{process}/stat").read_text() else []
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError("an engine is left")


def _until_it_listens_to(process: subprocess.Popen[bytes], number: int) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        # Python itself catches SIGINT from the start; all three come together.
        if caught >> (signal.SIGTERM - 1) & 1 and caught >> (number - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError("it does not listen")


def _children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Its children, as soon as there are some: the window is painted then, and the engine starts."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            if found := [int(number) for number in listed.read_text().split()]:
                return found
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    raise AssertionError("no engine is started")
