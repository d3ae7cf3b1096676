"""The program as it is started on a desktop: on an X server of its own, with a mouse and a keyboard, no window manager."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from driving import alive

from fmviz.assets import asset

LIMIT = 90
"""Seconds that anything may take on a busy machine."""
SAMPLE_TITLE = "chelsea.png – efficientnet_lite0_fpn – fmviz"

DRAGGING = """
import sys
from PySide6.QtCore import QMimeData, QSocketNotifier, Qt, QUrl
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QApplication, QWidget


class Source(QWidget):
    def mousePressEvent(self, event):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(path) for path in sys.argv[1:]])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.actionChanged.connect(lambda action: print(action.name, flush=True))
        print("done", drag.exec(Qt.DropAction.CopyAction).name, flush=True)


application = QApplication(sys.argv[:1])
source = Source(None, Qt.WindowType.FramelessWindowHint)
source.resize(80, 40)
source.show()
# Whoever takes a drop asks for the data when it is over, so the window stays until it is told that it may go.
ends = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read)
ends.activated.connect(application.quit)
print(int(source.winId()), flush=True)
application.exec()
"""


class Lines:
    """What a process prints, a line at a time, so that no wait is without end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""

    def next(self, seconds: float = LIMIT) -> str | None:
        """The next line; None where there is none in `seconds`. AssertionError at the end of the stream."""
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._stream], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            read = os.read(self._stream.fileno(), 4096)
            assert read, "the process ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


@dataclass(frozen=True, slots=True)
class Screen:
    """An X server with its environment, and the hands at it."""

    environment: dict[str, str]

    def xdotool(self, *words: object) -> str:
        """What xdotool prints; it may fail, as where no window is found."""
        command = ["xdotool", *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=LIMIT)
        return done.stdout.decode().strip()

    def place(self, window: int, x: int, y: int) -> None:
        self.xdotool("windowmove", window, x, y, "windowraise", window)


@dataclass(frozen=True, slots=True)
class Running:
    """The program in its window."""

    process: subprocess.Popen[bytes]
    screen: Screen
    said: Path
    """The file that has what it wrote to stderr."""

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until `true()`, while the program runs."""
        end = time.monotonic() + LIMIT
        while not true():
            assert time.monotonic() < end, f"waited in vain: {what}\n{self.said.read_text()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
                raise AssertionError(f"ended with {self.process.returncode} before {what}\n{self.said.read_text()}")

    def windows(self) -> list[int]:
        found = self.screen.xdotool("search", "--all", "--onlyvisible", "--pid", self.process.pid, "--name", "fmviz")
        return [int(line) for line in found.splitlines()]

    def window(self) -> int:
        self.until(self.windows, "its window is there")
        (window,) = self.windows()
        return window

    def shows(self, title: str) -> None:
        window = self.window()
        had: list[str] = []

        def arrived() -> bool:
            had[:] = [self.screen.xdotool("getwindowname", window)]
            return had == [title]

        try:
            self.until(arrived, f"the title is {title}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nit was {had}") from error


def children(process: int) -> list[int]:
    """The processes whose parent `process` is."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while we read.
        with contextlib.suppress(OSError):
            number, _, rest = file.read_text().partition(" (")
            if int(rest.rpartition(")")[2].split()[1]) == process:
                found.append(int(number))
    return found


@contextlib.contextmanager
def killed(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Sees that nothing is left of a process and its children."""
    with process:
        try:
            yield process
        finally:
            left = children(process.pid) if process.poll() is None else []
            process.kill()
            for child in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    missing = [name for name in ("Xvfb", "xdotool") if not shutil.which(name)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} cannot be found")
    home = tmp_path_factory.mktemp("home")
    own = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_RUNTIME_DIR": home / "runtime"}
    for folder in own.values():
        folder.mkdir(mode=0o700, exist_ok=True)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told, (home / "xvfb.txt").open("wb") as said:
        with os.fdopen(writing, "wb"):
            server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
                pass_fds=[writing],
                stdout=said,
                stderr=said,
            )
        with killed(server):
            display = Lines(told).next()
            assert display, "Xvfb does not come up"
            yield Screen(
                {
                    **{name: value for name, value in os.environ.items() if name != "WAYLAND_DISPLAY"},
                    **{name: str(folder) for name, folder in own.items()},
                    "DISPLAY": f":{display}",
                    "QT_QPA_PLATFORM": "xcb",
                    "OMP_WAIT_POLICY": "PASSIVE",
                }
            )


@pytest.fixture(scope="module")
def running(screen: Screen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("running")
    with (folder / "stderr.txt").open("wb") as said:
        command = [sys.executable, "-m", "fmviz"]
        process = subprocess.Popen(command, env=screen.environment, stdin=subprocess.DEVNULL, stderr=said)
        with killed(process):
            yield Running(process, screen, folder / "stderr.txt")


@pytest.fixture
def dragging(screen: Screen, tmp_path: Path) -> Iterator[Callable[[Path], Lines]]:
    """Opens a window of another program, from which a file can be dragged; its first line is the window's number."""
    script = tmp_path / "dragging.py"
    script.write_text(DRAGGING)
    with contextlib.ExitStack() as stack:

        def opened(path: Path) -> Lines:
            command = [sys.executable, str(script), str(path)]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, env=screen.environment, stdin=pipe, stdout=pipe)
            stack.enter_context(killed(process))
            assert process.stdout is not None
            return Lines(process.stdout)

        yield opened


def test_it_opens_on_the_sample(running: Running) -> None:
    running.shows(SAMPLE_TITLE)


def test_a_file_is_dragged_in_from_another_program(
    running: Running, dragging: Callable[[Path], Lines], tmp_path: Path
) -> None:
    picture = tmp_path / "a cup – 100 %.png"
    shutil.copyfile(asset("samples/coffee.png"), picture)
    running.shows(SAMPLE_TITLE)
    screen, lines = running.screen, dragging(picture)
    source = int(lines.next() or 0)
    screen.place(running.window(), 0, 0)
    screen.place(source, 1200, 760)
    screen.xdotool("mousemove", 1240, 780, "mousedown", 1)
    for step in range(1, 33):
        screen.xdotool("mousemove", 1240 - step * 20, 780 - step * 12)
    # Let go only where the window has said that it takes the file, and it says so when the mouse moves over it.
    for x in range(600, 600 - LIMIT * 5, -1):
        if lines.next(0.2) == "CopyAction":
            break
        screen.xdotool("mousemove", x, 396)
    else:
        pytest.fail("the window does not take the file")
    screen.xdotool("mouseup", 1)
    while (line := lines.next()) and not line.startswith("done"):
        pass
    assert line == "done CopyAction"
    running.shows(f"{picture.name} – efficientnet_lite0_fpn – fmviz")


def test_the_keys_of_the_export_work_in_a_text_field(running: Running) -> None:
    """With X11's habits a field would take them to go to the end of its line."""
    screen, process = running.screen, running.process.pid
    screen.xdotool("windowfocus", "--sync", running.window(), "key", "ctrl+f", "key", "ctrl+e")

    def dialog() -> str:
        return screen.xdotool("search", "--all", "--onlyvisible", "--pid", process, "--name", "^Export")

    running.until(dialog, "the export dialog")
    screen.xdotool("windowfocus", "--sync", dialog().split()[0], "key", "Escape")
    running.until(lambda: not dialog(), "it is closed again")


def test_it_ends_by_its_key_and_leaves_nothing(running: Running) -> None:
    window = running.window()
    running.until(lambda: children(running.process.pid), "the engine runs")
    engines = children(running.process.pid)
    assert any(b"engine" in Path(f"/proc/{number}/cmdline").read_bytes() for number in engines)
    running.screen.xdotool("windowfocus", "--sync", window, "key", "ctrl+q")
    assert running.process.wait(LIMIT) == 0, running.said.read_text()
    end = time.monotonic() + LIMIT
    while left := [number for number in engines if alive(number)]:
        assert time.monotonic() < end, f"the processes {left} are left"
