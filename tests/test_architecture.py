"""The walls: what may import what, held in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fmviz

PACKAGE = Path(fmviz.__file__).parent
QT = ("PySide6", "pyqtgraph", "superqt", "shiboken6")
FREE_OF_TORCH = (
    "app",
    "figure.py",
    "maps.py",
    "geometry.py",
    "errors.py",
    "pictures.py",
    "assets.py",
    "engine/messages.py",
)


def modules(*, app: bool) -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if "__main__" in parts or (parts[0] == "app") is not app:
            continue
        names.append(".".join(("fmviz", *(part for part in parts if part != "__init__"))))
    return names


def loaded_after(code: str, *, block: tuple[str, ...] = ()) -> set[str]:
    """The names in sys.modules after `code` ran in a process of its own, where the modules `block` cannot be imported."""
    preamble = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in block)
    report = "\nprint('\\n'.join(name for name, module in sys.modules.items() if module is not None))"
    ran = subprocess.run(
        [sys.executable, "-c", preamble + code + report], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


def test_the_core_runs_where_qt_is_not_installed():
    code = "\n".join(f"import {name}" for name in modules(app=False))
    assert not {name.split(".")[0] for name in loaded_after(code, block=QT)} & set(QT)


def test_the_window_imports_no_torch():
    code = "\n".join(f"import {name}" for name in modules(app=True))
    loaded = loaded_after(code)
    assert "torch" not in loaded
    assert "torchvision" not in loaded


def test_importing_fmviz_loads_neither_torch_nor_qt_nor_pillow():
    loaded = loaded_after("import fmviz, fmviz.cli")
    assert not loaded & {"torch", "PySide6", "PIL", "numpy"}


def test_importing_the_engine_does_not_load_torch():
    assert "torch" not in loaded_after("import fmviz.engine.serve")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_at_its_top_what_its_wall_keeps_out(path):
    place = path.relative_to(PACKAGE).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    if not place.startswith("app/"):
        assert not names & set(QT)
    if place.startswith("app/") or place in FREE_OF_TORCH:
        assert not names & {"torch", "torchvision"}


def test_only_one_module_opens_checkpoints_and_it_never_unpickles_code():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert path.name == "checkpoints.py", path
                weights_only = [word.value for word in node.keywords if word.arg == "weights_only"]
                assert [ast.unparse(value) for value in weights_only] == ["True"], ast.unparse(node)


def test_all_public_names_are_there():
    assert fmviz.__all__ == sorted(fmviz.__all__)
    for name in fmviz.__all__:
        assert getattr(fmviz, name) is not None
    with pytest.raises(AttributeError):
        fmviz.nonsense
