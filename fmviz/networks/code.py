"""A file of Python that makes networks, run from the bytes that it is given; whatever it raises becomes a sentence."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from torch import nn

from fmviz.errors import BackboneError, FmvizError
from fmviz.failures import one_line


class Code:
    """Runs a file, and makes networks with what it defines.

    Args:
        path: where it lies: what it is called in messages, and where its imports are looked for first.
        function: the name of what makes a network: a function or class without arguments, or a module.
        source: its bytes; the file is not read again.
        sha256: of them, in hex.

    Raises:
        BackboneError: it is no Python.
    """

    def __init__(self, path: Path, function: str, source: bytes, *, sha256: str) -> None:
        self._path = path
        self._function = function
        self._code = _compiled(path, source)
        self._name = f"fmviz_own_{path.stem}_{sha256[:12]}"
        self._file: ModuleType | None = None

    def run(self) -> ModuleType:
        """What the file defines; `BackboneError` where it raises or lacks the function."""
        file = ModuleType(self._name)
        file.__file__ = str(self._path)
        _forget_neighbours()
        # Where dataclasses and pickle look a class's module up.
        sys.modules[self._name] = file
        with _doing(self._path, "it was run"), _neighbours(self._path.parent):
            exec(self._code, vars(file))
        if not hasattr(file, self._function):
            raise BackboneError(_no_function(self._path, self._function, file))
        self._file = file
        return file

    def build(self) -> nn.Module:
        """A network of its own, on the ambient device and from the ambient generator."""
        file = self._file or self.run()
        made = getattr(file, self._function)
        if isinstance(made, nn.Module):
            # The file itself made it: run again, it makes another.
            made = getattr(self.run(), self._function)
        elif callable(made):
            made = self._called(made)
        if not isinstance(made, nn.Module):
            raise BackboneError(
                f"{self._function} in {self._path.name} gives {a_kind(made)} and not a torch.nn.Module: "
                "let it return the network."
            )
        return made

    def _called(self, function: Callable[..., Any]) -> object:
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise BackboneError(
                f"{self._function} in {self._path.name} cannot be called without arguments ({error}): "
                "give each a default."
            ) from error
        except ValueError:
            pass  # a function in C, whose arguments nobody knows
        with _doing(self._path, f"{self._function} was called"), _neighbours(self._path.parent):
            return function()


_brought_in: set[str] = set()
"""The names in `sys.modules` of what files of the user's imported from their own folders."""


def _forget_neighbours() -> None:
    """What a file imports from its own folder would be found again by the next file's import of the same name, and an edited
    one never be read again."""
    for name in _brought_in:
        sys.modules.pop(name, None)
    _brought_in.clear()
    importlib.invalidate_caches()


@contextlib.contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Inside, the files beside it can be imported, as they can where Python itself runs a file."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        # What was there before is everybody's, wherever it lies.
        new = {name for name in set(sys.modules) - before if name.partition(".")[0] not in before - _brought_in}
        _brought_in.update(name for name in new if _lies_in(folder, name))


def _lies_in(folder: Path, name: str) -> bool:
    """Whether the module `name` was found in `folder` itself: not in an environment that lies in it as well."""
    top = sys.modules.get(name.partition(".")[0])
    places = [getattr(top, "__file__", None), *getattr(top, "__path__", ())]
    found = [Path(place).parent for place in places if isinstance(place, str)]
    return folder in found and not {"site-packages", "dist-packages"} & set(folder.parts)


@contextlib.contextmanager
def _doing(path: Path, done: str) -> Iterator[None]:
    """Whatever the user's code raises within becomes a sentence, `SystemExit` and `KeyboardInterrupt` too: it is not for a
    file of theirs to end the program that shows it."""
    try:
        yield
    except FmvizError:
        raise
    except SyntaxError as error:
        raise BackboneError(_no_python(path, error)) from error
    except BaseException as error:
        raise BackboneError(
            f"{path.name} stopped with {one_line(error)}{_in_line(path, error)} when {done}: mend it, then open it again."
        ) from error


def _in_line(path: Path, error: BaseException) -> str:
    """ " in line 3": that of the file at `path` which was running when `error` was raised; "" where none was."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""


def _compiled(path: Path, source: bytes) -> CodeType:
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise BackboneError(_no_python(path, error)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise BackboneError(f"{path.name} is no Python file ({one_line(error)}): choose another one.") from error


def _no_python(path: Path, error: SyntaxError) -> str:
    name = Path(error.filename).name if error.filename else path.name
    line = f" in line {error.lineno}" if error.lineno else ""
    return f"{name} is no Python that this version can run: {error.msg}{line}; mend it, then open it again."


def _no_function(path: Path, function: str, file: ModuleType) -> str:
    """The sentence, with what the file has of its own instead."""
    own = [
        name
        for name, value in vars(file).items()
        if isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", "") == file.__name__)
    ]
    others = difflib.get_close_matches(function, own, n=3) or own[:3]
    remedy = f"it has {' and '.join(others)}: write {path.name}:{others[0]}" if others else "define it"
    return f"{path.name} has no {function}; {remedy}."


def a_kind(value: object) -> str:
    """ "a str", "an int", "None" """
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
