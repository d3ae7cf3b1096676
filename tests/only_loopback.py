"""No test gets out of this computer: what tries to is stopped, and fails the test that it came from."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

_LOOKED_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENT_TO = ("socket.connect", "socket.sendto", "socket.sendmsg")
_tried: list[str] = []
_listening = False


def _is_here(host: object) -> bool:
    """Whether a name or a number is this computer's own, without asking anybody."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _LOOKED_UP:
        host = arguments[0]
    elif event in _SENT_TO:
        # UNIX sockets have a path, netlink has numbers alone; the internet's have a host first.
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and isinstance(address[0], str) else None
    else:
        return
    if not _is_here(host):
        what = f"{event} to {host!r} in {os.environ.get('PYTEST_CURRENT_TEST', 'no test')}"
        _tried.append(what)
        raise OSError(f"{what}: tests stay on this computer")


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Fails the test that tried to connect to another computer, or to look one up, whoever caught the error."""
    global _listening
    if not _listening:
        # An audit hook stays for as long as the process.
        sys.addaudithook(_audit)
        _listening = True
    before = len(_tried)
    yield
    tried = _tried[before:]
    assert not tried, f"not on this computer: {tried}"


def forgive() -> list[str]:
    """What was tried so far in this test, which counts no more: for the tests of this file itself."""
    tried = list(_tried)
    _tried.clear()
    return tried
