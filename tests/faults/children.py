"""Processes of fmviz in places that a test makes for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fmviz

HERE = Path(__file__).parent
LIMIT = 120
"""Seconds that a process may take on a busy machine."""
C = {"LANG": "C", "LC_ALL": "C", "LANGUAGE": None}
"""The locale of old, as Python takes it: as UTF-8."""
ASCII = {**C, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""The same without what Python does to soften it."""


def environment(changes: Mapping[str, str | None], *, home: Path) -> dict[str, str]:
    """Ours, with a home of its own and with `changes`; None takes a variable away."""
    path = os.pathsep.join([str(HERE / "injected"), str(Path(fmviz.__file__).parents[1])])
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "TORCH_HOME": str(home / "torch")}
    taken = ("FMVIZ_CONFIG_HOME", "FMVIZ_DATA_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
    merged = {name: value for name, value in os.environ.items() if name not in taken}
    given = {**merged, **own, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", **changes}
    return {name: value for name, value in given.items() if value is not None}


def ran(
    arguments: Sequence[str | bytes | Path],
    environment: Mapping[str, str],
    *,
    before: Sequence[str] = (),
    module: Sequence[str] = ("-m", "fmviz"),
) -> subprocess.CompletedProcess[bytes]:
    """`fmviz` with these arguments, to its end; `before` stands before the command."""
    command = [*before, sys.executable, *module, *map(os.fsencode, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=LIMIT)


def visited(
    arguments: Sequence[str | bytes | Path],
    deeds: Iterable[Sequence[Any]],
    environment: Mapping[str, str],
    *,
    before: Sequence[str] = (),
) -> tuple[subprocess.CompletedProcess[bytes], dict[str, Any]]:
    """The window with these arguments, in which these deeds are done, as in `visit.py`; and what was seen."""
    given = {**environment, "FMVIZ_TEST_VISIT": json.dumps(list(deeds))}
    done = ran(arguments, given, before=before, module=[str(HERE / "visit.py")])
    lines = done.stdout.splitlines()
    return done, json.loads(lines[-1]) if lines else {}
