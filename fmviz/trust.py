"""Which files of code the user has said they trust: by path and by content, so that an edited file is asked about again.

Kept as JSON in the user's configuration folder (`FMVIZ_CONFIG_HOME` names another one). Where that file is absent or
broken, nothing is trusted. Neither torch nor Qt is needed here.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from fmviz.errors import ExportError
from fmviz.places import config_folder

FILE = "trusted.json"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_trusted(path: str | os.PathLike[str], sha256: str) -> bool:
    """Whether the user trusts the file at `path` with this content, its SHA-256 in hex."""
    return _read().get(_key(path)) == sha256.lower()


def edited(path: str | os.PathLike[str], sha256: str) -> bool:
    """Whether the user trusts the file at `path`, but with another content."""
    trusted = _read().get(_key(path))
    return trusted is not None and trusted != sha256.lower()


def trust(path: str | os.PathLike[str], sha256: str) -> None:
    """Remember that the user trusts the file at `path` with this content, and no longer with another one.

    Raises:
        ValueError: `sha256` is no SHA-256 in hex.
        ExportError: it could not be written down.
    """
    if not _SHA256.fullmatch(sha256.lower()):
        raise ValueError(f"{sha256!r} is no SHA-256 in hex")
    _write({**_read(), _key(path): sha256.lower()})


def forget(path: str | os.PathLike[str]) -> None:
    """Trust the file at `path` no longer, whatever is in it. `ExportError` where that could not be written down."""
    trusted = _read()
    if trusted.pop(_key(path), None) is not None:
        _write(trusted)


def store() -> Path:
    """The file that it is kept in; it may not exist yet. `ExportError` where there is no place for it."""
    return config_folder() / FILE


def _key(path: str | os.PathLike[str]) -> str:
    """One name for each file: a link, or a path from another folder, is the same file. Any path gives text that JSON takes."""
    return os.path.normcase(os.path.realpath(path))


def _read() -> dict[str, str]:
    """Path -> SHA-256; empty where the store is absent, broken or made of anything else."""
    try:
        content = json.loads(store().read_bytes())
    except (OSError, ValueError, RecursionError, ExportError):
        return {}
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        return {}
    return {path: sha256 for path, sha256 in files.items() if isinstance(sha256, str) and _SHA256.fullmatch(sha256)}


def _write(files: dict[str, str]) -> None:
    from fmviz.writing import make_folder, write_whole

    path = store()
    make_folder(path.parent)
    text = json.dumps({"files": files}, indent=2, sort_keys=True)
    write_whole(path, lambda file: file.write(text.encode("ascii")))
