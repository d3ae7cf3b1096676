"""The engine as seen from the window: start, ask, hear, start again."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from fmviz.app.blocks import Block, BlockPool
from fmviz.engine.framing import ProtocolError, Unframer, pack, reply_from
from fmviz.engine.messages import AnyReply, Cancel, FileMade, Lend, Progress, Propose, Request, Setup
from fmviz.networks.shards import WEIGHTS_SUFFIXES, files_of, is_index

Heard = Callable[[AnyReply, Block | None], None]
"""What is done with a reply: the reply, and the block that its request lent."""

ENVIRONMENT = {
    # Freed memory is used again, in huge pages, instead of being given back and faulted in anew: captures come at nearly
    # the price of the plain forward. Ignored where there is no glibc.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296"
    ":glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=268435456",
    # torch's threads sleep while they wait for each other. Spinning, as they do by default, makes a forward take half as long
    # again as soon as anything else wants a core, the window for one; but to be woken takes as long as a small layer. GNU's
    # OpenMP, which Linux has, spins a little first: nearly as fast as spinning where cores are free, and beside a busy
    # program no slower than torch as it comes.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "8000",
    "PYTHONUNBUFFERED": "1",
}

RELAY = "fmviz.relay"
"""In the command of an engine that is another program on this machine (`fmviz.show`): memory can be shared with it."""

_ERRORS_KEPT = 8192
_PART = 4 << 20
_AT_A_TIME_S = 0.004


class EngineLink(QObject):
    """One engine process at a time, and the requests that are open with it.

    Args:
        command: what starts an engine; this Python's own where None. Another command, but for the relay to a
            program on this one, is taken for another machine: pixels then come through the pipe.
    """

    lost = Signal(str, bool)
    """The engine ended without being asked to: the end of what it wrote to stderr, and True; or it could not be started:
    a sentence that says why, and False."""

    def __init__(self, command: Sequence[str] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = list(command) if command else [sys.executable, "-m", "fmviz", "engine"]
        self._relayed = RELAY in self._command
        self.remote = command is not None and not self._relayed
        self.gone = ""
        """What to say where the program whose model was shown has ended."""
        self._pool = BlockPool()
        self._process: QProcess | None = None
        self._unframer = Unframer()
        self._open: dict[int, tuple[Heard, Block | None]] = {}
        self._numbers = 0
        self._errors = b""
        self._lent: dict[str, tuple[tuple[str, int, int], ...]] = {}
        self._flushing = False
        self._unheard: deque[AnyReply] = deque()
        self._hear_more = QTimer(self, singleShot=True, interval=0)
        self._hear_more.timeout.connect(self._hear_some)

    def program_ended(self, errors: str) -> str:
        """Where `lost` says that the program whose model was shown has ended: what to tell of it. Else ""."""
        if not self._relayed:
            return ""
        from fmviz.relay import GONE

        self.gone = GONE if GONE in errors else ""
        return self.gone

    @property
    def process_id(self) -> int:
        """0 where no engine runs."""
        return int(self._process.processId()) if self._process else 0

    @property
    def running(self) -> bool:
        """Whether there is an engine to ask; one that is still starting counts."""
        return self._process is not None

    def start(self) -> None:
        """Start an engine; requests may be sent at once."""
        self._unframer, self._errors = Unframer(), b""
        self._lent.clear()
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        for name, value in ENVIRONMENT.items():
            if not environment.contains(name):
                environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._failed_to_start)
        self._process = process
        process.start(self._command[0], self._command[1:])

    def stop(self) -> None:
        """End the engine, on the way out of the window: it ends by itself when its stdin does; by force after a second."""
        process, self._process = self._process, None
        self._open.clear()
        self._unheard.clear()
        if process is not None:
            process.finished.disconnect(self._ended)
            process.errorOccurred.disconnect(self._failed_to_start)
            process.closeWriteChannel()
            if not process.waitForFinished(1000):
                process.kill()
                process.waitForFinished(1000)
            process.deleteLater()
        self._pool.close()

    def kill(self) -> None:
        """End the engine by force, whatever it does; `lost` follows."""
        if self._process is not None:
            self._process.kill()

    def ask(self, request: type[Request], heard: Heard, *, block: int = 0, at_once: bool = True, **fields: Any) -> int:
        """Send a request; `heard` is called with each of its replies, and never where no engine runs. Returns its number.

        Args:
            block: how many bytes of shared memory to lend, 0 for none.
            at_once: whether to send it before the window is painted again, which takes a third of a millisecond.
        """
        if self.remote and self._process is not None:
            self._lend_files(request, fields)
        self._numbers += 1
        if self._process is None:
            return self._numbers
        lent = self._pool.lend(block) if block and not self.remote else None
        if lent is not None:
            fields["block"] = lent.name
        self._open[self._numbers] = (heard, lent)
        self._write(pack(request(id=self._numbers, **fields)))
        if at_once:
            self._flush()
        return self._numbers

    def _lend_files(self, request: type[Request], fields: dict[str, Any]) -> None:
        """Send the weights that a request names, if they are on this computer and were not sent as they are now."""
        setup = fields.get("setup")
        path = setup.weights if isinstance(setup, Setup) else fields["path"] if request is Propose else ""
        if not path or not os.path.isabs(path):
            return
        if not (path.lower().endswith(WEIGHTS_SUFFIXES) or is_index(Path(path)) or os.path.isdir(path)):
            return
        # A checkpoint in parts is sent whole, whichever of its files was chosen.
        files = files_of(path)
        try:
            now = tuple((str(file), status.st_mtime_ns, status.st_size) for file in files if (status := file.stat()))
            if self._lent.get(path) == now:
                return
            for file in files:
                self._lend_file(file, "" if files == (Path(path),) else path, fresh=file == files[0])
        except OSError:
            return  # It is taken for one of the engine's computer, which says it better.
        self._lent[path] = now

    def _lend_file(self, path: Path, of: str, *, fresh: bool) -> None:
        with path.open("rb") as file:
            begin = True
            while (data := file.read(_PART)) or begin:
                self._numbers += 1
                part = Lend(id=self._numbers, path=str(path), data=data, begin=begin, of=of, fresh=begin and fresh)
                self._write(pack(part))
                begin = False

    def cancel(self, number: int) -> None:
        """Ask the engine to give up request `number`, which then hears `Dropped`."""
        self._numbers += 1
        self._write(pack(Cancel(id=self._numbers, target=number)))

    def _write(self, data: bytes) -> None:
        if self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.write(data)

    def _flush(self) -> None:
        """Send what was written. Qt sends it when it next waits for something, which is after the window was painted: the
        engine would have nothing to do meanwhile."""
        if self._process is not None and self._process.state() == QProcess.ProcessState.Running:
            self._flushing = True
            self._process.waitForBytesWritten(0)
            self._flushing = False

    def _read(self) -> None:
        # Qt may find replies as well while it writes; who is asking is not yet ready to hear them.
        if self._flushing:
            QTimer.singleShot(0, self._read)
            return
        if self._process is None:
            return
        data = self._process.readAllStandardOutput().data()
        try:
            bodies = self._unframer.feed(bytes(data))
            self._unheard += [reply_from(body) for body in bodies]
        except ProtocolError as error:
            self._errors += f"\nThe engine does not speak the protocol: {error}".encode()
            self.kill()
            return
        self._hear_some()

    def _hear_some(self) -> None:
        """Hand on the replies, and let the window be painted in between where that takes its time."""
        end = time.perf_counter() + _AT_A_TIME_S
        try:
            while self._unheard and time.perf_counter() < end:
                self._hear(self._unheard.popleft())
        finally:
            if self._unheard:
                self._hear_more.start()

    def _hear(self, reply: AnyReply) -> None:
        entry = self._open.get(reply.id)
        if entry is None:
            return
        if not isinstance(reply, Progress | FileMade):
            del self._open[reply.id]
        entry[0](reply, entry[1])

    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + bytes(self._process.readAllStandardError().data()))[-_ERRORS_KEPT:]

    def _failed_to_start(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            text = self.tr("The engine “{command}” could not be started ({reason}): check the command, then try again.")
            why = text.format(command=" ".join(self._command), reason=self._process.errorString())
            process, self._process = self._process, None
            process.deleteLater()
            self._open.clear()
            # Told later: the caller of `start` is not yet listening.
            QTimer.singleShot(0, lambda: self.lost.emit(why, False))

    def _ended(self) -> None:
        if self._flushing:
            QTimer.singleShot(0, self._ended)
            return
        while self._unheard:
            self._hear(self._unheard.popleft())
        process, self._process = self._process, None
        if process is None:
            return
        self._errors = (self._errors + bytes(process.readAllStandardError().data()))[-_ERRORS_KEPT:]
        process.deleteLater()
        # The engine is gone: nothing writes to the lent blocks any more.
        self._open.clear()
        self.lost.emit(self._errors.decode(errors="replace").strip(), True)
