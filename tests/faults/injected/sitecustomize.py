"""Found by every Python that a test starts with this folder on its path, the engine's too: makes the place hostile.

`FMVIZ_TEST_PLACE` has words: `unknown` (the system does not know the user), `past` (the clock says that it is 1970),
`broken-gpu` and `small-gpu` (there is a device cuda:0, which fails at every forward, or has no memory for any). A file
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

if "broken-gpu" in _place or "small-gpu" in _place:
    from importlib.machinery import PathFinder
    from typing import Any

    def _pretend(session: Any) -> None:
        """A session that asks for cuda:0 gets one that runs on the CPU, as long as it runs at all."""
        import torch

        real = session.Session.__init__

        def fail(model: object, arguments: object) -> None:
            if "broken-gpu" in _place:
                raise RuntimeError("CUDA error: device-side assert triggered")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        def init(self: Any, *given: Any, **named: Any) -> None:
            pretended = named.get("device") == "cuda:0"
            real(self, *given, **{**named, "device": "cpu"} if pretended else named)
            if pretended:
                self.device, self._arguments = torch.device("cuda:0"), lambda tensor: (tensor,)
                hook = self.model.register_forward_pre_hook(fail)
                self.to = lambda device: (hook.remove(), session.Session.to(self, device))

        session.Session.__init__ = init

    class _Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: object = None) -> Any:
            if name != "fmviz.session":
                return None
            spec = PathFinder.find_spec(name, path)
            assert spec is not None
            loader: Any = spec.loader
            run = loader.exec_module
            loader.exec_module = lambda module: (run(module), _pretend(module))
            return spec

    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
