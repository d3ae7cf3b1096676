"""The serving loop: requests from one stream of bytes, replies to another, until the first one ends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from fmviz.engine.answers import Answers
from fmviz.engine.framing import ProtocolError, Unframer, pack, request_from
from fmviz.engine.mailbox import Mailbox
from fmviz.engine.memory import OwnMemory
from fmviz.engine.messages import AnyRequest, Doing, Dropped, Failed, FileMade, Progress, Reply, TrustWanted
from fmviz.engine.shelf import Aside, Tell
from fmviz.errors import Cancelled, DeviceError, FmvizError, TrustError

_PIPE = 1 << 18
"""Bytes that a reply may wait in on its way to a window that is painting: the numbers of two thousand channels are 150,000."""
_TELLING = 2 * _PIPE
"""Bytes that do not fit into the pipe: what is over takes as long as the line does."""
_SLOW = 60e6
"""Bytes a second of a line that is slower than packing what goes through it."""

GRACE = 0.7
"""Seconds that an engine without a window has to end in good order: a file is closed, a layer comes to its end."""


REST = 60.0
"""Seconds without a request after which an engine that is a process of its own gives the memory of former runs back."""


def serve(
    incoming: BinaryIO,
    outgoing: BinaryIO,
    answers: Answers | None = None,
    *,
    ended: Callable[[], None] | None = None,
    memory: OwnMemory | None = None,
) -> None:
    """Answer the requests that arrive on `incoming` until it ends, or until `outgoing` takes no more.

    Both are binary streams; `incoming` is read in a thread of its own, which ends with the stream. That thread calls
    `ended` as its last deed, when all that still runs has been told to stop. `memory` is given where the process serves
    nothing else.
    """
    out = _Outbox(outgoing)
    mailbox = Mailbox(dropped=lambda number: out.send(Dropped(id=number)))
    threading.Thread(target=_read, args=(incoming, mailbox, ended), name="fmviz mailbox", daemon=True).start()
    _Loop(mailbox, out, answers or Answers(), memory).work()


def serve_standard_streams() -> None:
    """Serve on the process's stdin and stdout, which are taken over: what anyone prints from now on goes to stderr, and
    who reads stdin finds it empty."""
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # Linux alone has this, and only for pipes.
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(outgoing.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
    serve(incoming, outgoing, ended=_end_anyway, memory=OwnMemory())


def _end_anyway() -> None:
    """End the process, if it is still there after a moment. A layer that computes for a minute, or an import that hangs,
    hears of nothing. As the thread that this runs in is a daemon, it keeps no process alive that ends by itself."""
    time.sleep(GRACE)
    os._exit(0)


class _Outbox:
    """Sends replies, from any thread, each whole. Who listens no more is found out once, and then nothing is sent."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._slow = False
        self.broken = False

    def send(self, reply: Reply) -> None:
        data = memoryview(pack(reply, tightly=self._slow))
        with self._lock:
            begun, length = time.perf_counter(), len(data)
            try:
                while data and not self.broken:
                    data = data[self._stream.write(data) or 0 :]
            except (OSError, ValueError):
                self.broken = True
            # What is short goes into the system's buffers, and tells nothing of the line.
            if length >= _TELLING:
                self._slow = (length - _PIPE) / max(time.perf_counter() - begun, 1e-9) < _SLOW


def _read(incoming: BinaryIO, mailbox: Mailbox, ended: Callable[[], None] | None) -> None:
    unframer = Unframer()
    read: Callable[[int], bytes] = getattr(incoming, "read1", incoming.read)
    try:
        while data := read(1 << 16):
            for body in unframer.feed(data):
                mailbox.put(request_from(body))
    except ProtocolError as error:
        print(f"fmviz engine: what came in is not the protocol ({error}); ending.", file=sys.stderr)
    except (OSError, ValueError):
        pass  # the stream was closed under the reader: the same as its end
    finally:
        mailbox.close()
        if ended is not None:
            ended()


class _Loop:
    """Works off the mailbox; a long answer that comes in steps (an export) is worked on while nothing else waits, and what
    will be asked for next while there is nothing to do at all."""

    def __init__(self, mailbox: Mailbox, out: _Outbox, answers: Answers, memory: OwnMemory | None) -> None:
        self._mailbox = mailbox
        self._out = out
        self._answers = answers
        self._memory = memory
        self._steps: list[tuple[AnyRequest, Iterator[Reply]]] = []

    def work(self) -> None:
        idle, rested = False, self._memory is None
        while not (self._mailbox.closed or self._out.broken):
            request = self._mailbox.take(wait=idle and not self._steps, seconds=None if rested else REST)
            if request is not None:
                self._start(request)
                idle, rested = False, self._memory is None
            elif self._steps:
                self._step()
            elif not idle:
                idle = not self._answers.foresee()
                if idle and self._memory is not None:
                    self._memory.idle()
            elif self._memory is not None and not self._mailbox.closed:
                self._memory.rest()
                rested = True

    def _start(self, request: AnyRequest) -> None:
        with self._told(request):
            answer = self._answers.to(
                request, progress=self._telling(request.id), cancelled=lambda: self._mailbox.is_cancelled(request.id)
            )
            if isinstance(answer, Reply):
                self._finish(request, answer)
            elif isinstance(answer, Aside):
                threading.Thread(target=self._aside, args=(request, answer), name="fmviz aside", daemon=True).start()
            else:
                self._steps.append((request, answer))

    def _telling(self, number: int) -> Tell:
        def tell(doing: Doing, name: str, fraction: float | None, /, **more: Any) -> None:
            self._out.send(Progress(id=number, doing=doing, name=name, fraction=fraction, **more))

        return tell

    def _step(self) -> None:
        request, steps = self._steps[0]
        reply: Reply | None = None
        with self._told(request):
            reply = next(steps)
        if isinstance(reply, Progress | FileMade):
            self._out.send(reply)
            return
        del self._steps[0]
        if reply is not None:
            self._finish(request, reply)

    def _aside(self, request: AnyRequest, answer: Aside) -> None:
        """In a thread of its own: what waits for a network, or computes for itself, keeps nobody from looking at maps."""
        with self._told(request):
            self._finish(request, answer())

    def _finish(self, request: AnyRequest, reply: Reply) -> None:
        self._mailbox.finished(request.id)
        self._out.send(reply)

    @contextlib.contextmanager
    def _told(self, request: AnyRequest) -> Iterator[None]:
        """Whatever goes wrong within becomes the request's final reply. The reply is made after the `except` block, whose
        traceback would keep the tensors of a failed run alive."""
        failure: Reply | None = None
        try:
            yield
        except Cancelled:
            failure = Dropped(id=request.id)
        except TrustError as error:
            wanted = TrustWanted(path=str(error.path), sha256=error.sha256, edited=error.edited)
            failure = Failed(id=request.id, kind=TrustError.__name__, message=str(error), trust=wanted)
        except FmvizError as error:
            failure = Failed(id=request.id, kind=type(error).__name__, message=str(error))
        except Exception as error:
            failure = _unexpected(request.id, error)
        if failure is not None:
            self._finish(request, failure)


def _unexpected(number: int, error: Exception) -> Failed:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        message = "There is not enough memory left on the device: choose a smaller size, or another device."
        return Failed(id=number, kind=DeviceError.__name__, message=message, details=traceback.format_exc())
    message = f"Something went wrong in the engine: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return Failed(id=number, kind="Unexpected", message=message, details=traceback.format_exc())
