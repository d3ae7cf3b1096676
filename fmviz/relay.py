"""Between a window and the program whose live model it shows: bytes from stdin to a connection, and from it to stdout.

The window starts this in the place of an engine (`python -m fmviz.relay`). Where to connect to and the key to prove itself
with are in the environment, which other users of the machine cannot read, as they can a command line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection

ADDRESS = "FMVIZ_RELAY_ADDRESS"
"""Of the environment: a path (a socket's or a pipe's), or "host:port" of this machine's loopback."""

KEY = "FMVIZ_RELAY_KEY"
"""Of the environment: the key that both sides must know, in hex."""

CHUNK = 1 << 20
"""Bytes that are handed on at a time."""

GONE = (
    "The program that showed this model has ended, and the model with it: show it again; what is on the screen stays."
)
"""What the window hears last."""


def address_words(address: str | tuple[str, int]) -> str:
    """An address of `multiprocessing.connection` as the environment takes it."""
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def address_of(words: str) -> str | tuple[str, int]:
    """The address that `address_words` has written."""
    host, colon, port = words.rpartition(":")
    # A path has a separator somewhere, a host has none.
    if colon and port.isdigit() and not {"/", "\\"} & set(host):
        return host, int(port)
    return words


def main() -> int:
    """Relay until either side ends; the exit code."""
    try:
        connection = Client(address_of(os.environ[ADDRESS]), authkey=bytes.fromhex(os.environ[KEY]))
    except (KeyError, ValueError):
        print("fmviz.relay is started by the window that `fmviz.show` opens.", file=sys.stderr)
        return 2
    except (OSError, EOFError, AuthenticationError):
        print(GONE, file=sys.stderr)
        return 1
    threading.Thread(target=_take_in, args=(connection,), daemon=True).start()
    _put_out(connection)
    print(GONE, file=sys.stderr)
    return 1


def _take_in(connection: Connection) -> None:
    """From the window. When it closes its end, all is over: the other thread waits in a read that no close would wake."""
    try:
        while data := os.read(0, CHUNK):
            connection.send_bytes(data)
    except OSError:
        return  # the program has gone: the other thread finds out as well, and says so
    os._exit(0)


def _put_out(connection: Connection) -> None:
    """To the window, until the program closes its end."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            data = memoryview(connection.recv_bytes())
            while data:
                data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
