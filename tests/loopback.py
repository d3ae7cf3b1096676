"""Servers on this computer that behave as badly as a test wants them to."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import random
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from email.message import Message

from fmviz.networks.offers import Offer

CONTENT = random.Random(0).randbytes(1 << 18)
"""A quarter of a megabyte, no piece of which can be taken for another."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server's `answer` says, and notes what was asked for."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers)
        self.server.paths.append(self.path)
        self.server.answer(self)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""

    def start(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()

    def wanted(self) -> int:
        """The first byte that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


class Server(http.server.ThreadingHTTPServer):
    """Serves by `answer` until it is closed; `silence` is set then, so that an answer may wait for it and say nothing."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Handler], None], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.asked: list[Message] = []
        self.paths: list[str] = []
        self.silence = threading.Event()
        self.context = context
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_port}/weights.pth"

    def finish_request(self, request, client_address) -> None:
        if self.context is None:
            return super().finish_request(request, client_address)
        with self.context.wrap_socket(request, server_side=True) as safe:
            super().finish_request(safe, client_address)
        return None

    def handle_error(self, request, client_address) -> None:
        """Who asked has gone away: that is what these tests are about."""


@contextlib.contextmanager
def serving(answer: Callable[[Handler], None], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()


def offer(url: str, content: bytes = CONTENT, **changes: object) -> Offer:
    """Weights of this content."""
    facts = {
        "name": "TINY",
        "url": url,
        "file_name": "weights.pth",
        "sha256": hashlib.sha256(content).hexdigest()[:8],
        "nbytes": len(content),
    }
    return Offer(**{**facts, **changes})


# Answers


def whole(handler: Handler, content: bytes = CONTENT) -> None:
    """All of it, whatever was asked for."""
    handler.start(Content_Length=len(content))
    handler.send(content)


def ranged(handler: Handler, content: bytes = CONTENT, upto: int | None = None) -> None:
    """What was asked for, as a good server gives it; cut off after byte `upto` of the file."""
    start = handler.wanted()
    if start >= len(content):
        return handler.start(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
    length = len(content) - start
    if start:
        handler.start(
            206, Content_Length=length, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", ETag='"1"'
        )
    else:
        handler.start(200, Content_Length=length, ETag='"1"')
    handler.send(content[start:upto])
    return None
