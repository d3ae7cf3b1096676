"""Which files of code the user trusts: by path and SHA-256, several contents for each path.

Kept as JSON in the configuration folder (`FMVIZ_CONFIG_HOME` names another one). Needs neither torch nor Qt.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from fmviz.errors import ExportError
from fmviz.places import config_folder

FILE = "trusted.json"
MOST_CONTENTS = 64
"""Contents that are remembered for each path; trusting one more forgets the one that was trusted longest ago."""
MOST_FILES = 1000
"""Paths that are remembered; trusting one more forgets the one that was trusted longest ago."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_trusted(path: str | os.PathLike[str], sha256: str) -> bool:
    """Return whether the user trusts the file at `path` with this content, given as its SHA-256 in hex."""
    return sha256.lower() in _read().get(_key(path), ())


def edited(path: str | os.PathLike[str], sha256: str) -> bool:
    """Return whether the user trusts other contents of the file at `path`, but not this one."""
    trusted = _read().get(_key(path), ())
    return bool(trusted) and sha256.lower() not in trusted


def trust(path: str | os.PathLike[str], sha256: str) -> None:
    """Remember that the user trusts the file at `path` with this content, in addition to those trusted before.

    Raises:
        ValueError: `sha256` is not a SHA-256 in hex.
        ExportError: The store cannot be written.
    """
    content = sha256.lower()
    if not _SHA256.fullmatch(content):
        raise ValueError(f"{sha256!r} is no SHA-256 in hex")
    files, key = _read(), _key(path)
    before = files.pop(key, ())
    # The newest is last, of the paths and of the contents of each.
    files[key] = (*(one for one in before if one != content), content)[-MOST_CONTENTS:]
    _write(files)


def forget(path: str | os.PathLike[str]) -> None:
    """Trust no content of the file at `path` any more.

    Raises:
        ExportError: The store cannot be written.
    """
    files = _read()
    if files.pop(_key(path), None) is not None:
        _write(files)


def store() -> Path:
    """Return the path of the store, which may not exist yet.

    Raises:
        ExportError: The user has no configuration folder.
    """
    return config_folder() / FILE


def _key(path: str | os.PathLike[str]) -> str:
    """Return one name for each file, whatever link or folder it is reached from; JSON can hold any path's."""
    return os.path.normcase(os.path.realpath(path))


def _read() -> dict[str, tuple[str, ...]]:
    """Return path → contents, oldest first; what is missing, damaged or of an unknown form is left out."""
    try:
        content = json.loads(store().read_bytes())
    except (OSError, ValueError, RecursionError, ExportError):
        return {}
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        return {}
    found = {path: _contents(entry) for path, entry in files.items()}
    return {path: contents for path, contents in found.items() if contents}


def _contents(entry: object) -> tuple[str, ...]:
    """Return the valid SHA-256s of an entry. Earlier versions wrote a single one, not a list."""
    listed = entry if isinstance(entry, list) else [entry]
    valid = (one for one in listed if isinstance(one, str) and _SHA256.fullmatch(one))
    return tuple(dict.fromkeys(valid))[-MOST_CONTENTS:]


def _write(files: dict[str, tuple[str, ...]]) -> None:
    from fmviz.writing import make_folder, write_whole

    path = store()
    make_folder(path.parent)
    kept = dict(list(files.items())[-MOST_FILES:])
    text = json.dumps({"files": kept}, indent=2)
    write_whole(path, lambda file: file.write(text.encode("ascii")))
