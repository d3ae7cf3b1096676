"""Found by every Python that a test starts with this folder on its path, the engine's too: makes the place hostile.

`FMVIZ_TEST_PLACE` has words: `unknown` (the system does not know the user), `past` (the clock says that it is 1970). A file
that `FMVIZ_TEST_AUDIT` names gets a line for each look-up and each connection that is tried.
"""

import os
import sys

_place = os.environ.get("FMVIZ_TEST_PLACE", "").split()

if "unknown" in _place:
    import pwd

    def _unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = _unknown  # type: ignore[assignment]

if "past" in _place:
    import time

    _now, _started = time.time, time.time()
    time.time = lambda: _now() - _started - 3600.0
    time.time_ns = lambda: int(time.time() * 1e9)

if _file := os.environ.get("FMVIZ_TEST_AUDIT"):

    def _audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
            with open(_file, "a") as file:
                file.write(f"{event} {arguments!r} in {sys.argv}\n")

    with open(_file, "a") as _started_file:
        _started_file.write(f"started {os.getpid()}\n")
    sys.addaudithook(_audit)
