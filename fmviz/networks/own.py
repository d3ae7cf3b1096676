"""The user's own networks: a file of Python with a function that makes one, "path/to/mine.py:build".

Code is code: it is run only where the user trusts this file as it is, see `fmviz.own_model`. What is run are the very bytes
whose checksum was trusted, not what the file may hold a moment later. The files that it imports are its own affair.

A file may say more, by names of its own:

    preprocessing = fmviz.Preprocessing(mode="whole", longer_side=512)    # what the network wants to be fed
    classes = ["cat", "dog"]                                              # what its logits stand for
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from torch import nn

from fmviz.errors import BackboneError, FmvizError
from fmviz.failures import one_line
from fmviz.networks.backbone import Backbone, the_tensor_alone
from fmviz.own_model import check, read, split
from fmviz.preprocess import IMAGENET, Preprocessing

FAMILY = "Your own"


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnBackbone(Backbone):
    """A network of the user's.

    Attributes:
        file: where its code lies; None where it is a live model.
        sha256: of that code, in hex.
        classes: what its logits stand for; () where it does not say.
    """

    file: Path | None = None
    sha256: str = ""
    classes: tuple[str, ...] = ()


def backbone(reference: str | os.PathLike[str]) -> OwnBackbone:
    """The network that `reference` ("mine.py:build", with or without "own:") names; the file is run.

    Raises:
        TrustError: the user has not said that they trust this file as it is; nothing of it was run.
        BackboneError: it cannot be read, is no Python, raises, or has no such function; with file and line.
    """
    path, function = split(reference)
    source, sha256 = read(path)
    check(path, sha256)
    maker = _Maker(path, function, _compiled(path, source), sha256)
    file = maker.run()
    return OwnBackbone(
        name=f"own/{path.name}:{function}",
        family=FAMILY,
        paper="",
        year=0,
        build=maker.build,
        parameters=0,
        preprocessing=_preprocessing(path, file),
        find_taps=partial(find_taps, maker.latest, f"own/{path.name}:{function}"),
        group="own",
        about=f"The network that {function} in {path} makes.",
        file=path,
        sha256=sha256,
        classes=_classes(path, file),
    )


def live(
    model: nn.Module,
    *,
    name: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> OwnBackbone:
    """The row of a module that is there already; it is named after its class where `name` is None."""
    name = name or type(model).__name__
    held = weakref.ref(model)
    return OwnBackbone(
        name=name,
        family="Live model",
        paper="",
        year=0,
        build=lambda: _held(held, name),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        preprocessing=preprocessing or IMAGENET,
        find_taps=partial(find_taps, partial(_held, held, name), name),
        group="own",
        about=f"A {type(model).__name__} that lives in the program which shows it.",
    )


def find_taps(model: Callable[[], nn.Module], name: str) -> Mapping[str, str]:
    """C2–C5 by their strides; none where a network that may be anything cannot be measured."""
    try:
        from fmviz.networks.stages import find_stages
        from fmviz.without_values import without_values

        return find_stages(lambda: without_values(model(), name), the_tensor_alone, (IMAGENET.crop, IMAGENET.crop))
    except KeyboardInterrupt:
        raise
    # Somebody else's code: what it does without values is its own affair, and its pictures run all the same.
    except BaseException:
        return {}


def _held(held: weakref.ref[nn.Module], name: str) -> nn.Module:
    model = held()
    if model is None:
        raise BackboneError(f"{name} is there no longer: show the model again.")
    return model


class _Maker:
    """Runs a file, and makes networks with what it defines.

    The first thing that a file imports from its own folder would be found again by the next file's import of the same
    name, and an edited one never be read again: so what earlier files brought in is let go of first.
    """

    def __init__(self, path: Path, function: str, code: CodeType, sha256: str) -> None:
        self._path = path
        self._function = function
        self._code = code
        self._name = f"fmviz_own_{path.stem}_{sha256[:12]}"
        self._file: ModuleType | None = None
        self._latest: weakref.ref[nn.Module] | None = None

    def run(self) -> ModuleType:
        """What the file defines; `BackboneError` where it raises or lacks the function."""
        file = ModuleType(self._name)
        file.__file__ = str(self._path)
        _forget_neighbours()
        # Where dataclasses and pickle look a class's module up.
        sys.modules[self._name] = file
        with _doing(self._path, "ran"), _neighbours(self._path.parent):
            exec(self._code, vars(file))
        if not hasattr(file, self._function):
            raise BackboneError(_no_function(self._path, self._function, file))
        self._file = file
        return file

    def build(self) -> nn.Module:
        """A network of its own, on the ambient device and from the ambient generator."""
        file = self._file
        made = getattr(file, self._function)
        if isinstance(made, nn.Module):
            # The file itself made it: run again, it makes another.
            made = getattr(self.run(), self._function)
        elif callable(made):
            made = self._called(made)
        if not isinstance(made, nn.Module):
            raise BackboneError(
                f"{self._function} in {self._path.name} gives {_a(made)} and not a torch.nn.Module: "
                "let it return the network."
            )
        self._latest = weakref.ref(made)
        return made

    def latest(self) -> nn.Module:
        """The network that was made last, where it is still there."""
        model = self._latest() if self._latest is not None else None
        return model if model is not None else self.build()

    def _called(self, function: Callable[..., Any]) -> object:
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise BackboneError(
                f"{self._function} in {self._path.name} is called without arguments, but has a {error}: "
                "give each a default."
            ) from error
        except ValueError:
            pass  # a function in C, whose arguments nobody knows
        with _doing(self._path, f"called {self._function}"), _neighbours(self._path.parent):
            return function()


_brought_in: set[str] = set()
"""The names in `sys.modules` of what files of the user's imported from their own folders."""


def _forget_neighbours() -> None:
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
        _brought_in.update(name for name in set(sys.modules) - before if _lies_in(folder, name))


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
            f"{path.name} stopped with {one_line(error)} in line {line_of(path, error)} when it was {done}: "
            "mend it, then open it again."
        ) from error


def line_of(path: Path, error: BaseException) -> int:
    """The line of the file at `path` that was running when `error` was raised; 0 where none was."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


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


def _preprocessing(path: Path, file: ModuleType) -> Preprocessing:
    found = getattr(file, "preprocessing", IMAGENET)
    # A function or module of that name is the file's own business.
    if callable(found) or isinstance(found, ModuleType):
        return IMAGENET
    if not isinstance(found, Preprocessing):
        raise BackboneError(f"preprocessing in {path.name} is {_a(found)}: make it a fmviz.Preprocessing.")
    return found


def _classes(path: Path, file: ModuleType) -> tuple[str, ...]:
    found = getattr(file, "classes", ())
    if callable(found) or isinstance(found, ModuleType):
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise BackboneError(f"classes in {path.name} is {_a(found)}: make it a list of names.")
    return tuple(found)


def _a(value: object) -> str:
    """ "a str", "an int", "None" """
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
