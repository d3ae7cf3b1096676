"""Modules that load when they are first used: the window is on the screen before numpy is in memory."""

from __future__ import annotations

import contextlib
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands in `sys.modules` for a module; the first look at anything in it loads the real one, in any thread.

    `importlib.util.LazyLoader` would do, were it safe when two threads look at once in every Python from 3.11. It is for
    packages whose modules are looked at through them: `import package.module` as the very first look loads that module twice.
    """

    def __getattr__(self, name: str) -> Any:
        value = getattr(_real(self), name)
        setattr(self, name, value)
        return value


_one_at_a_time = threading.Lock()


def _real(stand_in: _Later) -> ModuleType:
    """The module itself, from now on in `sys.modules`; what is in a package is set there only where it is the real one."""
    own = stand_in.__name__
    load(own.rpartition(".")[0])
    # Whoever comes second must find the first one's module there; it then waits for its import, outside the lock.
    with _one_at_a_time:
        for name, module in list(sys.modules.items()):
            if isinstance(module, _Later) and (module is stand_in or name.startswith(f"{own}.")):
                del sys.modules[name]
    return import_module(own)


def load_later(*names: str) -> None:
    """Have the modules `names` load when they are first used: packages before what is in them, nothing that is loaded, and
    nothing in a package that is."""
    for name in names:
        package, _, own = name.rpartition(".")
        holder = sys.modules.get(package)
        if name not in sys.modules and (not package or isinstance(holder, _Later)):
            stand_in = _Later(name)
            # Whoever asks how it would be imported is answered; of what is in a package, only the package itself knows.
            stand_in.__spec__ = None if package else find_spec(name)
            if not package and stand_in.__spec__ is None:
                continue  # It is not installed, and its import is to say so.
            sys.modules[name] = stand_in
            if holder is not None:
                setattr(holder, own, stand_in)


def load(name: str) -> None:
    """Load module `name` now, where it was to load later."""
    stand_in = sys.modules.get(name)
    if isinstance(stand_in, _Later):
        _real(stand_in)


def trust_modules() -> None:
    """Keep PySide6 from reading the source of every module that is imported after it, in search of its own name.

    It does so for `from __feature__ import …`, which nothing here uses, and takes an eighth of the time of our imports.
    """
    with contextlib.suppress(ImportError, AttributeError):
        import_module("shiboken6")
        vars(import_module("shibokensupport.feature"))["_mod_uses_pyside"] = lambda _module: True
