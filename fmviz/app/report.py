"""What to send to the developers after a fault of ours: versions and where it happened, and nothing of the user's.

No path of the user's is in it and no name of a file: neither of a picture, nor of weights, nor of a model.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import fmviz
from fmviz.app.state import ViewState

_LIBRARIES = ("torch", "torchvision", "PySide6-Essentials", "pyqtgraph", "numpy", "Pillow")
_PACKAGES = (
    *("PySide6", "shiboken6", "pyqtgraph", "superqt", "qtpy", "msgspec", "numpy", "PIL", "isal", "platformdirs"),
    *("safetensors", "tqdm", "torch", "torchvision", "typing_extensions"),
)
"""Import names of the libraries whose files a report may name."""

_START = r"(?:[A-Za-z]:[\\/]|\\\\|~?/)"
_QUOTED_PATH = re.compile(rf"\"{_START}[^\"\n]*\"|'{_START}[^'\n]*'|“{_START}[^”\n]*”")
_PATH = re.compile(r"(?:[A-Za-z]:\\|\\\\|~?/)[^\s\"'“”<>|:;,]*[^\s\"'“”<>|:;,.)]")
_FRAME = re.compile(r'(?P<before>\b[Ff]ile )"(?P<path>.*)"(?P<after>, (?:line|at) )')
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_WITHOUT_FILE = re.compile(r"<(?:frozen [\w.]+|string|stdin|unknown)>")
_INSTALLED = ("site-packages", "dist-packages")


def of_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, names: Iterable[str] = ()
) -> str:
    """The report of an exception.

    Args:
        names: what must not be in it: names of the user's files.
    """
    known = _known_folders()
    frames = traceback.extract_tb(trace)
    lines = [f"{_place(frame.filename, known)}:{frame.lineno} in {frame.name}" for frame in frames]
    told = without_files(f"{kind.__name__}: {error}", names)
    return "\n".join([*_about(), "", *lines, told])


def of_crash(text: str, names: Iterable[str] = ()) -> str:
    """The report of a crash, `text` as Python's `faulthandler` wrote it."""
    known = _known_folders()

    def shown(frame: re.Match[str]) -> str:
        return f'{frame["before"]}"{_place(frame["path"], known)}"{frame["after"]}'

    lines = (
        _FRAME.sub(shown, line) if _FRAME.search(line) else without_files(line, names) for line in text.splitlines()
    )
    return "\n".join([*_about(), "", *lines])


def without_files(text: str, names: Iterable[str]) -> str:
    """`text` with a word in the place of each path and of each of these names."""
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = text.replace(name, "(a file)")
    # A path in quotes may have spaces in it.
    text = _QUOTED_PATH.sub(lambda found: f"{found[0][0]}(a path){found[0][-1]}", text)
    return _PATH.sub("(a path)", text)


def names_of_files(state: ViewState) -> set[str]:
    """The names and paths that are in the state."""
    shown = (state.shown_source,) if state.shown_source else ()
    paths = {source.path for source in (*state.sources, *shown)}
    paths |= {setup.partition(":")[2] or setup for setup in (state.setup.backbone, state.setup.weights, *state.recent)}
    names = {re.split(r"[/\\]", path)[-1] for path in paths if "/" in path or "\\" in path}
    return {path for path in paths if "/" in path or "\\" in path} | names | {source.name for source in state.sources}


def _about() -> list[str]:
    # Slow to be imported, and seldom needed.
    from importlib import metadata

    versions = []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} is not installed")
    # `platform.platform` would name the machine's kernel build; its name is not in it.
    return [
        f"fmviz {fmviz.__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{platform.machine()}",
        ", ".join(versions),
        f"Qt platform: {_platform_name()}",
    ]


def _platform_name() -> str:
    from PySide6.QtGui import QGuiApplication

    return str(QGuiApplication.platformName())


def _known_folders() -> list[tuple[Path, str]]:
    """Return the real folders of fmviz, its libraries and Python's standard library, each with the name to show for it."""
    import sysconfig

    packages = [(name, _package_folder(name)) for name in _PACKAGES]
    known = [(Path(os.path.realpath(fmviz.__file__)).parent, "fmviz")]
    known += [(folder, name) for name, folder in packages if folder is not None]
    # Without them, the second is a virtual environment's folder.
    bases = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    libraries = {os.path.realpath(sysconfig.get_path(name, vars=bases)) for name in ("stdlib", "platstdlib")}
    return known + [(Path(folder), "") for folder in sorted(libraries)]


def _package_folder(name: str) -> Path | None:
    """Return the real folder of an installed package, without importing it; None if it is not installed or is one file."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations or not spec.origin:
        return None
    return Path(os.path.realpath(spec.origin)).parent


def _place(path: str, known: Sequence[tuple[Path, str]]) -> str:
    """Return where a line of code is, from its package on ("fmviz/app/main.py"), or "(a file)" if it may be the user's.

    Only the real location counts: the user's folders may be called fmviz, site-packages or lib/python3 as well.
    """
    if _WITHOUT_FILE.fullmatch(path):
        return path
    # faulthandler writes characters outside of ASCII as escapes.
    return _below(path, known) or _below(_ESCAPED.sub(_character, path), known) or "(a file)"


def _below(path: str, known: Sequence[tuple[Path, str]]) -> str:
    """Return `path` from the known folder on that holds it, with forward slashes; "" if none does."""
    try:
        real = Path(os.path.realpath(path))
    except (OSError, ValueError):
        return ""
    for folder, name in known:
        if not real.is_relative_to(folder):
            continue
        inner = real.relative_to(folder)
        # The standard library's folder also holds installed packages, which can be the user's.
        if inner.parts and (name or inner.parts[0] not in _INSTALLED):
            return "/".join((name, *inner.parts) if name else inner.parts)
    return ""


def _character(escape: re.Match[str]) -> str:
    code = int(next(digits for digits in escape.groups() if digits), 16)
    return chr(code) if code < 0x110000 else escape[0]
