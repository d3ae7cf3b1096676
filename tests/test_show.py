"""`fmviz.show`: a real window, off the screen, on a model that lives here; and the streams between them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Listener, Pipe
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fmviz
from fmviz import relay, showing
from fmviz.assets import asset
from fmviz.engine.framing import Unframer, pack, reply_from
from fmviz.engine.messages import Hello, Welcome
from fmviz.errors import EngineError, PictureError
from fmviz.relay import address_of, address_words
from fmviz.session import Session

LONG = 60.0
"""Seconds after which a test gives up. Nothing that works takes as long."""

CAT = asset("samples/chelsea.png")


class Heard(nn.Module):
    """Says when it runs, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.ran = threading.Event()
        # Attributes of the module itself are restored after a run.
        self.noted = SimpleNamespace(thread="")

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.noted.thread = threading.current_thread().name
        self.ran.set()
        return y


def until(said: Callable[[], object]) -> None:
    """Wait for what comes soon."""
    given_up = time.monotonic() + LONG
    while not said():
        assert time.monotonic() < given_up, "it did not come"
        time.sleep(0.01)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("fmviz")}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch) -> Iterator[None]:
    """The windows keep their settings here; none leaves a thread."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "trust"))
    yield
    until(lambda: not threads())


# A real window


def test_the_window_runs_the_live_model_and_closing_it_from_here_leaves_the_model(tmp_path):
    pytest.importorskip("PySide6")
    model = Heard().train()
    with fmviz.show(model, CAT) as window:
        assert "open" in repr(window)
        assert model.ran.wait(LONG)
        until(lambda: window.capture is not None)
        assert model.noted.thread == "fmviz live model"
        assert window.capture.picture.name == "chelsea.png"
        assert [str(layer) for layer in window.capture] == ["conv", "(output)"]
        assert window.wait(0) is None
        assert not window.closed
    assert window.closed
    assert "closed" in repr(window)
    assert window.wait() == window.process.returncode
    assert model.training
    model(torch.zeros(1, 3, 8, 8)).sum().backward()
    assert model.conv.weight.grad is not None


def test_closing_the_window_ends_the_thread_and_a_picture_from_memory_goes_with_it():
    pytest.importorskip("PySide6")
    model = Heard()
    window = fmviz.show(Session(model=model, name="mine"), np.full((40, 60, 3), 90, np.uint8))
    assert model.ran.wait(LONG)
    until(lambda: window.capture is not None)
    assert window.capture.picture.size == (40, 60)
    assert sorted(path.suffix for path in window._folder.iterdir()) == [".png", ".txt"]
    window.process.kill()
    with pytest.raises(EngineError, match="The window ended with exit code"):
        window.wait(LONG)
    assert "ended with exit code" in repr(window)
    until(lambda: not threads())
    assert not window._folder.exists()


# The program ends, and the window's engine with it


# Without torch, which takes seconds: what ends is the program, not the model.
PROGRAM = """
from types import SimpleNamespace
from fmviz import relay, showing

def opened(self, pictures):
    import subprocess, sys
    address, key = relay.address_words(self._address), self._key.hex()
    print(address, key, self._folder, flush=True)
    return subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)

showing.Showing._opened = opened
window = showing.Showing(SimpleNamespace(backbone=SimpleNamespace(name="a model")))
input()
"""


def test_where_the_program_ends_the_relay_says_so_and_ends():
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        address, key, folder = program.stdout.readline().split()
        environment = {**os.environ, relay.ADDRESS: address, relay.KEY: key}
        command = [sys.executable, "-m", "fmviz.relay"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, env=environment, bufsize=0, **pipes) as relayed:
            relayed.stdin.write(pack(Hello(id=7)))
            unframer, bodies = Unframer(), []
            while not bodies:
                bodies = unframer.feed(relayed.stdout.read(1 << 16))
            (welcome,) = map(reply_from, bodies)
            assert isinstance(welcome, Welcome)
            assert (welcome.id, welcome.process) == (7, program.pid)
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.wait(LONG) == 0
            assert relayed.wait(LONG) == 1
            assert relay.GONE in relayed.stderr.read().decode()
        assert not Path(folder).exists()
        # A window that starts its engine again hears the same.
        quiet = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": LONG, "check": False}
        again = subprocess.run(command, env=environment, **quiet)
        assert (again.returncode, relay.GONE in again.stderr.decode()) == (1, True)


def test_a_relay_that_nobody_started_says_what_it_is(monkeypatch, capsys):
    monkeypatch.delenv(relay.ADDRESS, raising=False)
    assert relay.main() == 2
    assert "fmviz.show" in capsys.readouterr().err


def test_a_relay_imports_neither_torch_nor_qt():
    code = "import sys, fmviz.relay; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "PySide6", "numpy"} & set(loaded)


# Who may connect, and what passes


def test_who_does_not_know_the_key_is_turned_away_and_the_window_is_still_served(monkeypatch):
    children = []

    def opened(self: showing.Showing, pictures: list[str]) -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE))
        return children[0]

    monkeypatch.setattr(showing.Showing, "_opened", opened)
    window = showing.Showing(Session(model=Heard()))
    with pytest.raises((relay.AuthenticationError, OSError, EOFError)):
        Client(window._address, authkey=b"not the key")
    with Client(window._address, authkey=window._key) as connection:
        connection.send_bytes(pack(Hello(id=1)))
        (body,) = Unframer().feed(connection.recv_bytes())
        assert reply_from(body).process == os.getpid()
    children[0].stdin.close()
    assert window.wait(LONG) == 0
    # Nothing is listening any more.
    with pytest.raises(OSError, match=r".*"):
        Client(window._address, authkey=window._key)


def test_the_key_is_in_no_command_line(monkeypatch):
    started = []
    popen = subprocess.Popen

    def started_instead(command: list[str], env: dict[str, str], **options: object) -> subprocess.Popen[bytes]:
        started.append((command, env))
        return popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)

    monkeypatch.setattr("fmviz.showing.subprocess.Popen", started_instead)
    window = showing.Showing(Session(model=Heard(), name="-odd name"), CAT)
    assert window.wait(LONG) == 0
    ((command, environment),) = started
    key = environment[relay.KEY]
    assert len(bytes.fromhex(key)) == 32
    assert not any(key in word for word in command)
    assert "--backbone=-odd name" in command
    assert command[-1] == str(CAT)


def test_a_stream_over_a_connection_gives_all_bytes_in_pieces_of_any_size():
    ours, theirs = Pipe()
    stream = showing._Stream(ours)
    theirs.send_bytes(b"abcdefg")
    theirs.send_bytes(b"hij")
    assert [stream.read(3), stream.read(3), stream.read(3), stream.read(3)] == [b"abc", b"def", b"g", b"hij"]
    large = os.urandom(showing.CHUNK + 17)
    written = threading.Thread(target=lambda: io.BufferedWriter(stream).write(large))
    written.start()
    assert theirs.recv_bytes() + theirs.recv_bytes() == large
    written.join(LONG)
    theirs.close()
    assert stream.read(3) == b""
    stream.close()
    stream.close()


@pytest.mark.parametrize(
    "address", ["/tmp/with:colon/socket:12", r"\\.\pipe\pyc-12:34", ("127.0.0.1", 5000), "/tmp/plain"]
)
def test_an_address_survives_the_environment(address):
    assert address_of(address_words(address)) == address


def test_where_a_socket_has_too_long_a_path_it_is_loopback(monkeypatch):
    def refuse(address: object = None, *, authkey: bytes) -> Listener:
        if address is None:
            raise OSError("AF_UNIX path too long")
        return Listener(address, authkey=authkey)

    monkeypatch.setattr(showing, "Listener", refuse)
    with showing._listener(b"key") as listener:
        assert listener.address[0] == "127.0.0.1"


# What goes wrong before there is a window


def test_where_qt_is_missing_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PySide6", None)
    with pytest.raises(EngineError, match="PySide6-Essentials"):
        fmviz.show(nn.Identity())


def test_a_window_that_cannot_open_says_why(monkeypatch):
    pytest.importorskip("PySide6")
    monkeypatch.setenv("QT_QPA_PLATFORM", "none_such")
    window = fmviz.show(Heard())
    with pytest.raises(EngineError, match="none_such"):
        window.wait(LONG)
    assert "none_such" in repr(window)
    window.close()


def test_a_picture_that_cannot_be_read_opens_no_window(tmp_path, monkeypatch):
    monkeypatch.setattr(showing.Showing, "_opened", lambda *args: pytest.fail("a window was opened"))
    with pytest.raises(PictureError, match=r"none\.png"):
        showing.Showing(Session(model=Heard()), tmp_path / "none.png")


def test_what_a_session_has_is_not_given_twice():
    pytest.importorskip("PySide6")
    with pytest.raises(TypeError, match="Session has its own"):
        fmviz.show(Session(model=Heard()), classes=["cat"])


def test_a_variable_that_holds_no_model_opens_no_window(monkeypatch):
    pytest.importorskip("PySide6")
    monkeypatch.setattr(showing.Showing, "_opened", lambda *args: pytest.fail("a window was opened"))
    with pytest.raises(TypeError, match="not a NoneType"):
        fmviz.show(None)
