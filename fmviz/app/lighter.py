"""Modules that load when they are first used: the window is on the screen before numpy is in memory."""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
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


_one_at_a_time = threading.RLock()


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
            # PySide6 asks all modules for it before it makes a sentence of wrong arguments, and ends the process where modules
            # come and go meanwhile.
            stand_in.__file__ = stand_in.__spec__.origin if stand_in.__spec__ else None
            sys.modules[name] = stand_in
            if holder is not None:
                setattr(holder, own, stand_in)


def load(name: str) -> None:
    """Load module `name` now, where it was to load later."""
    stand_in = sys.modules.get(name)
    if isinstance(stand_in, _Later):
        _real(stand_in)


def load_pyside() -> None:
    """Load what all of PySide6 stands on, without what takes a fifth of the window's start and is of no use in it.

    It comes with 100 KB of Python in a zip file, which it compiles at each start and needs for sentences about wrong
    arguments: they are compiled when they are first looked at. And it takes the place of `import`, to read the source of
    every module in search of `from __feature__ import …`, which nothing here uses: it is given back.
    """
    usual_compile = builtins.compile

    def compiled_later(source: Any, filename: Any, mode: str, *rest: Any, **named: Any) -> Any:
        if filename not in _ABOUT_ARGUMENTS:
            return usual_compile(source, filename, mode, *rest, **named)
        _put_off[filename] = source
        return usual_compile(_STUB.format(filename=filename), filename, mode, dont_inherit=True)

    if _is_known():
        vars(builtins)["compile"] = compiled_later
    try:
        # Where it is not there, there is no window, and whoever opens it says so.
        with contextlib.suppress(ImportError):
            import_module("shiboken6")
    finally:
        vars(builtins)["compile"] = usual_compile
    names = vars(builtins)
    if names["__import__"] is names.get("__feature_import__") and "__orig_import__" in names:
        # What it would call itself, which knows how its classes are loaded.
        names["__import__"] = names["__orig_import__"]


def _is_known() -> bool:
    """Whether this PySide6 is one that looks for those modules' content in the usual way, as all up to now do."""
    found = find_spec("shiboken6")
    if found is None or found.origin is None:
        return False
    about = os.path.join(os.path.dirname(found.origin), "_config.py")
    with contextlib.suppress(OSError), open(about, encoding="utf-8") as file:
        return re.search(r'^version = "6\.1[012]\.', file.read(), re.MULTILINE) is not None
    return False


def fill_pyside() -> None:
    """Compile what a sentence about wrong arguments needs: where that must be done in the middle of an error, and fails, Qt
    ends the process."""
    for name in ("parser", "layout", "errorhandler"):
        getattr(sys.modules.get(f"shibokensupport.signature.{name}"), "filled", None)


_ABOUT_ARGUMENTS = {
    f"shibokensupport/signature/{name}.py"
    for name in ("errorhandler", "layout", "parser", "lib/enum_sig", "lib/pyi_generator")
}
_STUB = "from fmviz.app.lighter import filled_later\n__getattr__ = filled_later({filename!r}, globals())"
_put_off: dict[str, Any] = {}
"""Sources by their names."""


def filled_later(filename: str, module: dict[str, Any]) -> Callable[[str], Any]:
    """What stands in for all of a module whose source was put off, until something is looked for in it."""

    def found(name: str) -> Any:
        # Whoever walks through all modules asks for such names, and wants nothing of this one.
        if not name.startswith("__"):
            with _one_at_a_time:
                if source := _put_off.pop(filename, None):
                    try:
                        exec(compile(source, filename, "exec", dont_inherit=True), module)
                    except BaseException:
                        _put_off[filename] = source
                        raise
        if name in module:
            return module[name]
        raise AttributeError(f"module {filename!r} has no attribute {name!r}")

    return found
