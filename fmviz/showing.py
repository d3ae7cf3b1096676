"""`fmviz.show`: the window on a live model, which stays where it is, in the program that made it.

The engine's loop serves from a thread of that program; the window is a process of its own, and what it starts for an engine
is a relay (`fmviz.relay`) that hands the bytes on. Closing the window ends the thread; the end of the program leaves the
window with what it shows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from fmviz.errors import EngineError
from fmviz.relay import ADDRESS, CHUNK, KEY, address_words

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from torch import nn

    from fmviz.capture import Capture
    from fmviz.pictures import Picture
    from fmviz.preprocess import Preprocessing
    from fmviz.session import Session

ERRORS = "stderr.txt"
"""The file that the window writes its errors to, in a folder that goes with it."""

LONGEST = 400
"""Characters of it that a handle shows."""

PATIENCE = 5.0
"""Seconds that a window has to end when it is asked to; then it is ended."""


def show(
    model: nn.Module | Session,
    picture: str | os.PathLike[str] | PIL.Image.Image | np.ndarray[Any, Any] | Picture | None = None,
    *,
    preprocess: Preprocessing | Callable[[PIL.Image.Image], Any] | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Showing:
    """Open the window on a model of this program, and go on at once.

    The model runs here, on the device where it is, whenever the window asks: after a step of training, run the picture again
    there. While a picture runs the model is in eval mode: train it within `paused()` of the handle, or while nobody looks.

    Args:
        model: a module, or a `Session`.
        picture: to open first: a path, a PIL image, an (H, W, 3) uint8 array or a `Picture`; a sample where None.
        preprocess, classes, name: of a module, as `Session` takes them.

    Returns:
        A handle: `close()` closes the window, `wait()` waits until the user has. The window outlives this program, with what
        it shows.

    Raises:
        EngineError: Qt is not installed, or the window could not be started.
        PictureError: the picture cannot be read.

    Example (not run, for it opens a window):
        showing = fmviz.show(torchvision.models.resnet18(), "cat.png")
        showing.wait()
    """
    from fmviz.session import Session

    if not _has_qt():
        raise EngineError(
            "The window cannot open, because Qt is not installed: install PySide6-Essentials, or look into the model by "
            "fmviz.Session(model=…), which needs no window."
        )
    if model is None:  # which a Session takes for its own default
        raise TypeError("a model is a torch.nn.Module or a Session and not a NoneType")
    if not isinstance(model, Session):
        model = Session(model=model, preprocess=preprocess, classes=classes, name=name)
    elif preprocess is not None or classes is not None or name is not None:
        raise TypeError("preprocess, classes and name are for a module: a Session has its own")
    return Showing(model, picture)


class Showing:
    """A window on a live model.

    Attributes:
        session: the model with what it wants to be fed.
        process: the window's.
    """

    def __init__(self, session: Session, picture: Any = None) -> None:
        self.session = session
        self._asked = False
        self._words = ""
        self._key = secrets.token_bytes(32)
        self._folder = Path(tempfile.mkdtemp(prefix="fmviz-"))
        # Also where this program ends first: a window without a model reads nothing anew.
        self._tidied = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            pictures = [] if picture is None else [self._on_disk(picture)]
            self._bands = session.picture_options.bands if isinstance(picture, str | os.PathLike) else ()
            self._listener = _listener(self._key)
            self._address = self._listener.address
            self.process = self._opened(pictures)
        except BaseException:
            self._tidied()
            raise
        self._server = threading.Thread(target=self._serve, name="fmviz live model", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="fmviz window", daemon=True)
        self._server.start()
        self._watcher.start()

    @property
    def closed(self) -> bool:
        """Whether the window is gone."""
        return self.process.poll() is not None

    @property
    def capture(self) -> Capture | None:
        """What the window shows of the model at present; None before the first run and while another one is made."""
        return self.session.latest

    def paused(self) -> AbstractContextManager[object]:
        """Inside, the window runs no picture through the model but waits: for a step of training."""
        return self.session.paused()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the window is closed, for `timeout` seconds at most; its exit code, None where it is still open.

        Raises:
            EngineError: it was not closed but ended by itself, for there is no display, say.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        if not self.closed:
            return None
        self._join()
        code = self.process.returncode
        if code and not self._asked:
            raise EngineError(
                f"The window ended with exit code {code}; the last that it said was: {self._last_words()}"
            )
        return code

    def close(self) -> None:
        """Close the window, if it is still open. The model goes on living."""
        if not self.closed:
            self._asked = True
            self.process.terminate()
            if self.wait(PATIENCE) is None:
                self.process.kill()
                self.process.wait()
        self._join()

    def _join(self) -> None:
        """The window is gone: its threads end as soon as the layer that runs has come to its end."""
        self._watcher.join(PATIENCE)
        self._server.join(PATIENCE)

    def __enter__(self) -> Showing:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        code = self.process.poll()
        if code is None:
            state = "open; .close() closes it, .capture is what it shows"
        else:
            state = "closed" if self._asked or not code else f"ended with exit code {code}: {self._last_words()}"
        return f"<window on {self.session.backbone.name}: {state}>"

    # The window's process

    def _opened(self, pictures: list[str]) -> subprocess.Popen[bytes]:
        relay = shlex.join((sys.executable, "-m", "fmviz.relay"))
        command = [
            sys.executable,
            "-m",
            "fmviz",
            f"--engine={relay}",
            f"--backbone={self.session.backbone.name}",
            "--live",
        ]
        command += [f"--bands={','.join(map(str, self._bands))}"] if self._bands else []
        command += [] if self.session.picture_options.stretch else ["--no-stretch"]
        environment = {**os.environ, ADDRESS: address_words(self._address), KEY: self._key.hex()}
        try:
            # In a notebook nobody reads the terminal, so what it says of a display that is not there is kept.
            with open(self._folder / ERRORS, "wb") as errors:
                return subprocess.Popen(
                    [*command, "--", *pictures],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stderr=errors,
                    # Ctrl+C, and a notebook's “Interrupt”, are for the program, and the window stays.
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            self._listener.close()
            raise EngineError(f"The window could not be started ({error.strerror or error}): try again.") from error

    def _last_words(self) -> str:
        """The end of what the window wrote to stderr, in one line."""
        with contextlib.suppress(OSError):
            self._words = " ".join((self._folder / ERRORS).read_text(errors="replace").split())[-LONGEST:]
        return self._words

    def _on_disk(self, picture: Any) -> str:
        """The path of a picture that the window can open: what lies nowhere is written to a folder that goes with it."""
        read = self.session.read(picture)
        if isinstance(picture, str | os.PathLike):
            return str(Path(picture).absolute())
        from PIL import Image

        path = self._folder / f"{Path(read.name).stem or 'picture'}.png"
        Image.fromarray(read.pixels).save(path, compress_level=1)
        return str(path)

    # The threads of this process

    def _watch(self) -> None:
        """When the window has closed, the server, which waits for it to connect, is woken."""
        self.process.wait()
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            Client(self._address, authkey=self._key).close()
        self._server.join()
        self._last_words()
        self._tidied()

    def _serve(self) -> None:
        """One engine after the other: the window starts its own anew where it had to break one off."""
        from fmviz.engine.answers import Answers
        from fmviz.engine.serve import serve

        with self._listener:
            while not self.closed:
                try:
                    connection = self._listener.accept()
                except (OSError, EOFError, AuthenticationError):
                    continue  # whoever that was has gone, or did not know the key
                stream = cast(BinaryIO, _Stream(connection))
                if not self.closed:
                    serve(stream, stream, Answers(live=self.session))
                stream.close()


class _Stream(io.RawIOBase):
    """A connection as a stream of bytes, in both directions. Its messages are bytes; nothing is ever unpickled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as there are and fit; 0 at the end."""
        if not self._rest:
            try:
                self._rest = memoryview(self._connection.recv_bytes())
            except (OSError, EOFError):
                return 0
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken

    def write(self, data: Any) -> int:
        part = memoryview(data)[:CHUNK]
        self._connection.send_bytes(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._connection.close()
        super().close()


def _listener(key: bytes) -> Listener:
    """By a socket in a folder that only this user can enter, or a pipe; where its path would be too long, on loopback."""
    try:
        return Listener(authkey=key)
    except OSError:
        return Listener(("127.0.0.1", 0), authkey=key)


def _has_qt() -> bool:
    try:
        return importlib.util.find_spec("PySide6") is not None
    except ValueError:
        return False
