"""What to send to the developers after a fault of ours: versions and where it happened, and nothing of the user's.

No path of the user's is in it and no name of a file: neither of a picture, nor of weights, nor of a model.
"""

from __future__ import annotations

import platform
import re
import sys
import traceback
from collections.abc import Iterable
from types import TracebackType

import fmviz
from fmviz.app.state import ViewState

_LIBRARIES = ("torch", "torchvision", "PySide6-Essentials", "pyqtgraph", "numpy", "Pillow")
_OURS = re.compile(r".*[/\\](?:site-packages|dist-packages|lib[/\\]python3[^/\\]*)[/\\]")
_PATH = re.compile(r"(?:[A-Za-z]:\\|\\\\|~?/)[^\s\"'“”<>|:;,]*[^\s\"'“”<>|:;,.)]")
_FRAME = re.compile(r'File "([^"]*)", line')


def of_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, names: Iterable[str] = ()
) -> str:
    """The report of an exception.

    Args:
        names: what must not be in it: names of the user's files.
    """
    frames = traceback.extract_tb(trace)
    lines = [f"{_place(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames]
    told = without_files(f"{kind.__name__}: {error}", names)
    return "\n".join([*_about(), "", *lines, told])


def of_crash(text: str, names: Iterable[str] = ()) -> str:
    """The report of a crash, `text` as Python's `faulthandler` wrote it."""
    frames = _FRAME.sub(lambda found: f'File "{_place(found[1])}", line', text)
    lines = (line if _FRAME.search(line) else without_files(line, names) for line in frames.splitlines())
    return "\n".join([*_about(), "", *lines])


def without_files(text: str, names: Iterable[str]) -> str:
    """`text` with a word in the place of each path and of each of these names."""
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = text.replace(name, "(a file)")
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


def _place(path: str) -> str:
    """Where a line of code is, from its package on: "fmviz/app/main.py"."""
    parts = re.split(r"[/\\]", path)
    if "fmviz" in parts:
        return "/".join(parts[len(parts) - 1 - parts[::-1].index("fmviz") :])
    if _OURS.match(path):
        return "/".join(re.split(r"[/\\]", _OURS.sub("", path)))
    if path.startswith("<"):
        return path
    return "(a file)" if not path.startswith(sys.base_prefix) else parts[-1]
