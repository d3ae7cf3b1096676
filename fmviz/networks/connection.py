"""An answer over HTTPS, read in a thread of its own: whoever waits for it can leave at any moment.

Looking up a name, connecting and reading all block, and none of them can be interrupted where it runs.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import ipaddress
import queue
import re
import socket
import ssl
import struct
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import fmviz
from fmviz.errors import Cancelled

CHUNK = 1 << 16
"""Bytes that are read at once, at most."""

REDIRECTS = 10
"""How often a server may point to another address."""

POLL = 0.05
"""Seconds between two looks at whether the user has cancelled."""

_REDIRECTS = (301, 302, 303, 307, 308)
_OFFLINE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
_REFUSALS = {
    401: "wants a name and a password",
    403: "does not allow it",
    404: "does not have it",
    407: "wants a name and a password for the proxy",
    410: "does not have it any more",
    429: "has been asked too often",
    500: "has a fault",
    502: "has a fault",
    503: "is overloaded",
    504: "has a fault",
}
_LATER = "try again later, or open a file that you have"
_CONNECT = "connect to a network and fetch it again, or open a file that you have"


class NotServed(Exception):  # noqa: N818 (named for what happened, as its kinds are)
    """A file that did not come.

    Attributes:
        reason: why, as a clause.
        remedy: what to do, as a clause.
    """

    def __init__(self, reason: str, remedy: str = _LATER) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Unreachable(NotServed):
    """There is no way to the server: no use to try again at once, unless it was there a moment ago."""


class Broken(NotServed):
    """The connection was cut or fell silent: a second one may fare better."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds.

    Attributes:
        connect: until a server must have taken the connection.
        silence: how long a server may send nothing.
    """

    connect: float = 15.0
    silence: float = 30.0


@dataclass(frozen=True, slots=True)
class Head:
    """What a server says before it sends.

    Attributes:
        status: 200, 206, or 416.
        start: the byte of the file that it begins with.
        total: bytes of the whole file, where it says so.
        version: its mark for this version of the file, for `If-Range`; "" where it has none.
    """

    status: int
    start: int
    total: int | None
    version: str


def check_address(url: str, *, before: str = "") -> None:
    """Refuses what others on the way could read or change: all but HTTPS, and HTTP within this computer.

    Args:
        url: an absolute address.
        before: the address that led here; from HTTPS no way leads back to HTTP, not even within this computer.

    Raises:
        NotServed: it is such an address.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and not before.startswith("https:") and _is_loopback(parts.hostname or ""):
        return
    led = f"{_host(before)} points to" if before else "it is at"
    raise NotServed(
        f"{led} {parts.scheme}://{parts.hostname or ''}, which is not safe as https is", "open a file that you have"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Connection:
    """A request for a file, or for the rest of it. Must be closed."""

    def __init__(self, url: str, *, start: int = 0, version: str = "", timeouts: Timeouts) -> None:
        """Asks at once.

        Args:
            url: where the file is.
            start: the byte from which on it is wanted.
            version: a `Head.version`: where the file is another by now, all of it is sent.
            timeouts: how long to wait.

        Raises:
            NotServed: the address is not safe.
        """
        check_address(url)
        self._headers = {"User-Agent": f"fmviz/{fmviz.__version__}", "Accept-Encoding": "identity"}
        if start:
            self._headers["Range"] = f"bytes={start}-"
            if version:
                self._headers["If-Range"] = version
        self._url = url
        self._timeouts = timeouts
        self._sockets: list[socket.socket] = []
        self._left = threading.Event()
        self._came: queue.Queue[Head | bytes | Exception] = queue.Queue(maxsize=16)
        threading.Thread(target=self._work, name="fmviz fetch", daemon=True).start()

    def head(self, cancelled: Callable[[], bool]) -> Head:
        """What the server says.

        Raises:
            Unreachable, Broken: there is no connection, or no more.
            NotServed: the server or a proxy refuses, or points to an unsafe address.
            Cancelled: `cancelled` became true.
        """
        came = self._next(cancelled)
        assert isinstance(came, Head)
        return came

    def chunks(self, cancelled: Callable[[], bool]) -> Iterator[bytes]:
        """What the server sends, until it ends or is cut off: who knows how much there should be compares.

        Raises:
            Broken: the connection broke before that.
            Cancelled: `cancelled` became true.
        """
        while came := self._next(cancelled):
            assert isinstance(came, bytes)
            yield came

    def close(self) -> None:
        """Lets go of it, whatever it is doing."""
        self._left.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                # A server that goes on sending hears of it at once, and not when the system forgets the connection.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Not SSLSocket's own, which would first take the encryption away from under the thread that reads.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _next(self, cancelled: Callable[[], bool]) -> Head | bytes:
        while not cancelled():
            with contextlib.suppress(queue.Empty):
                came = self._came.get(timeout=POLL)
                if isinstance(came, Exception):
                    raise came
                return came
        raise Cancelled

    # In the thread

    def _work(self) -> None:
        try:
            with self._answer() as answer:
                self._put(_head(answer, self._url))
                while chunk := answer.read1(CHUNK):
                    self._put(chunk)
            self._put(b"")
        except Exception as error:
            with contextlib.suppress(Cancelled):
                self._put(_in_words(error, self._url, connected=bool(self._sockets)))

    def _put(self, item: Head | bytes | Exception) -> None:
        """Hands `item` over; raises `Cancelled` where nobody waits any more, which ends the thread."""
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                return self._came.put(item, timeout=POLL)
        raise Cancelled

    def _answer(self) -> http.client.HTTPResponse:
        opener = self._opener()
        for _ in range(REDIRECTS + 1):
            request = urllib.request.Request(self._url, headers=self._headers)
            answer: http.client.HTTPResponse = opener.open(request, timeout=self._timeouts.connect)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            with answer:
                there = urllib.parse.urljoin(self._url, target)
                check_address(there, before=self._url)
                self._url = there
        raise NotServed(f"{_host(self._url)} points from one address to the next without end")

    def _opener(self) -> urllib.request.OpenerDirector:
        """urllib's with the environment's proxies, without its ways to files and FTP. It hands on whatever is answered."""
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(functools.partial(_PlainConnection, self._take)),
            _Https(functools.partial(_SafeConnection, self._take)),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        return opener

    def _take(self, connected: socket.socket) -> None:
        """From here on it is the silence that counts."""
        self._sockets.append(connected)
        connected.settimeout(self._timeouts.silence)
        if self._left.is_set():
            raise Cancelled


class _PlainConnection(http.client.HTTPConnection):
    def __init__(self, take: Callable[[socket.socket], None], host: str, *, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._take = take

    def connect(self) -> None:
        super().connect()
        self._take(self.sock)


class _SafeConnection(http.client.HTTPSConnection):
    def __init__(self, take: Callable[[socket.socket], None], host: str, *, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=ssl.create_default_context())
        self._take = take

    def connect(self) -> None:
        super().connect()
        self._take(self.sock)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, connect: Callable[..., http.client.HTTPConnection]) -> None:
        super().__init__()
        self._connect = connect

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, connect: Callable[..., http.client.HTTPConnection]) -> None:
        super().__init__()
        self._connect = connect

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


def _head(answer: http.client.HTTPResponse, url: str) -> Head:
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    # A weak mark says that it is alike, not that it is the same byte for byte.
    version = "" if version.startswith("W/") else version
    match answer.status:
        case HTTPStatus.OK:
            return Head(answer.status, 0, answer.length, version)
        case HTTPStatus.PARTIAL_CONTENT:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
            if not found:
                raise NotServed(f"{_host(url)} sends a part and does not say which")
            return Head(answer.status, int(found[1]), None if found[2] == "*" else int(found[2]), version)
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Head(answer.status, 0, None, "")
        case status:
            raise NotServed(f"{_host(url)} {_REFUSALS.get(status, 'sends no file')} (its answer is {status})")


def _in_words(error: Exception, url: str, *, connected: bool) -> Exception:
    """What the one who waits gets to see of an error."""
    if isinstance(error, NotServed | Cancelled):
        return error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    proxy = _proxy(url)
    asked = f"the proxy {proxy}" if proxy else _host(url)
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    match error:
        case ssl.SSLCertVerificationError():
            return NotServed(
                f"{_host(url)} cannot prove that it is who it says ({error.verify_message})",
                "look whether this computer's date is right, and whether a proxy or a virus scanner reads along: "
                "SSL_CERT_FILE can name its certificate",
            )
        case ssl.SSLError() if not connected:
            return NotServed(f"{_host(url)} and this computer find no safe way to talk ({error.reason or said})")
        case socket.gaierror():
            return Unreachable(f"you are offline (there is no address to be had for {asked})", _CONNECT)
        case OSError() if error.errno in _OFFLINE:
            return Unreachable(f"you are offline (there is no way to {asked})", _CONNECT)
        case ConnectionRefusedError():
            return Unreachable(f"{asked} takes no connections")
        case TimeoutError() if not connected:
            return Unreachable(f"{asked} does not answer", _CONNECT)
        case TimeoutError():
            return Broken(f"{asked} has fallen silent")
        case OSError() if said.startswith("Tunnel connection failed"):
            return NotServed(f"{asked} refuses ({said.partition(': ')[2]})", "look at https_proxy in the environment")
        case OSError() | http.client.HTTPException():
            return Broken(f"the connection to {asked} broke ({said})")
        case _:
            return NotServed(f"what {asked} answers cannot be understood ({said})")


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or url


def _proxy(url: str) -> str:
    """Host and port of the proxy that a request goes through, without the password that may be in it; "" for none."""
    parts = urllib.parse.urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "").rpartition("@")[2].rpartition("//")[2].rstrip("/")
