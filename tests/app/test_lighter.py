"""What is loaded when it is first used, and not before: each case in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AT_ONCE = """
import sys, threading
from fmviz.app.lighter import load_later
load_later("slow")
import slow
assert "slow.inner" not in sys.modules
barrier, seen = threading.Barrier(4), []
def look():
    barrier.wait()
    seen.append(slow.value)
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert seen == [[1]] * 4 and all(one is seen[0] for one in seen), seen
import slow as again
assert again.value is slow.value is sys.modules["slow"].value
"""

PACKAGE = """
import sys
from fmviz.app.lighter import load, load_later
load_later("slow", "slow.inner")
import slow.inner as inner
assert "asked for" not in sys.argv
load("slow")
assert "asked for" in sys.argv and sys.modules["slow"].value == [1]
import slow.inner as again
assert again is sys.modules["slow"].inner is sys.modules["slow.inner"]
assert inner.word == again.word == "inner"
"""

INNER_FIRST = """
import sys
from fmviz.app.lighter import load_later
load_later("slow", "slow.inner")
import slow
import slow.inner as inner
assert inner.word == "inner"
assert sys.modules["slow"].inner is sys.modules["slow.inner"]
assert slow.value == [1] and slow.inner.word == "inner"
"""

PYQTGRAPH = """
import sys
import fmviz.app.main
from fmviz.app.lighter import load
assert "numpy._core" not in sys.modules
import pyqtgraph
import numpy.typing
assert numpy.typing.NDArray
"""

PACKAGE_LOADED = """
import sys
import numpy
from fmviz.app.lighter import load_later
load_later("numpy", "numpy.typing", "slow.inner")
import numpy.typing as typing
assert typing.NDArray and numpy.typing is typing is sys.modules["numpy.typing"]
assert "slow.inner" not in sys.modules
"""

LOADED = """
import sys, json
from fmviz.app.lighter import load, load_later
before = json
load_later("json")
load("json")
load("never heard of")
assert sys.modules["json"] is before
"""

MISSING = """
import sys
from fmviz.app.lighter import load_later
load_later("not_there_at_all", "not_there_at_all.inside")
assert not [name for name in sys.modules if "not_there" in name]
try:
    import not_there_at_all
except ModuleNotFoundError as error:
    assert error.name == "not_there_at_all"
else:
    raise AssertionError
"""

ASKED = """
import importlib.util, sys
from fmviz.app.lighter import load_later
load_later("slow", "slow.inner")
assert importlib.util.find_spec("slow").origin.endswith("__init__.py")
import slow
assert "asked for" not in sys.argv, "to ask how it would be imported does not load it"
"""

SOURCES = """
import linecache, os
import fmviz.app.main
folder = os.path.dirname(fmviz.__file__)
read = [name for name in linecache.cache if name.startswith(folder + os.sep)]
assert not read, read
"""

WRONG_ARGUMENTS = """
import sys
import fmviz.app.main
from fmviz.app.lighter import _put_off, fill_pyside
from PySide6.QtCore import QPoint
assert "shibokensupport/signature/errorhandler.py" in _put_off
{first}
assert len(_put_off) == 5 - 3 * bool({first!r})
try:
    QPoint("a", "b")
except TypeError as error:
    assert "PySide6.QtCore.QPoint.__init__(xpos: int, ypos: int, /)" in str(error), error
else:
    raise AssertionError
assert "numpy._core" not in sys.modules
"""


@pytest.fixture
def python(tmp_path: Path):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text(
        'import sys\nsys.argv.append("asked for")\nsum(range(2_000_000))\nvalue = [1]\n'
    )
    (tmp_path / "slow" / "inner.py").write_text("word = 'inner'\n")

    def run(code: str) -> None:
        lines = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"]
        done = subprocess.run(lines, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    return run


@pytest.mark.parametrize(
    "code",
    [AT_ONCE, PACKAGE, INNER_FIRST, PYQTGRAPH, PACKAGE_LOADED, LOADED, MISSING, ASKED],
    ids=["threads", "package", "inner first", "pyqtgraph", "package loaded", "loaded", "missing", "asked"],
)
def test_a_module_is_loaded_when_something_in_it_is_wanted(python, code: str) -> None:
    python(code)


def test_no_source_of_ours_is_read_to_look_for_the_name_of_qt(python) -> None:
    python(SOURCES)


LEFT_ALONE = """
import builtins, linecache, sys
compiler = builtins.compile
{first}
import fmviz.app.main
import PySide6.QtWidgets
assert builtins.compile is compiler
assert builtins.__import__.__name__ != "__feature_import__"
assert "numpy._core" not in sys.modules
assert not [name for name in linecache.cache if "/app/" in name and "lighter" not in name]
"""


@pytest.mark.parametrize("first", ["import fmviz", "import PySide6.QtCore"])
def test_import_is_given_back_and_compiling_too(python, first: str) -> None:
    python(LEFT_ALONE.format(first=first))


@pytest.mark.parametrize("first", ["", "fill_pyside()"])
def test_a_wrong_argument_is_an_error_with_a_sentence_before_numpy_is_loaded_too(python, first: str) -> None:
    """What makes the sentence looks at all modules, and once ended the process where it met one that loads later."""
    python(WRONG_ARGUMENTS.format(first=first))
