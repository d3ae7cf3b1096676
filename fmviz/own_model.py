"""What is said of a file with a network of the user's before any of it is run: where it is, what it holds, who trusts it.

No torch here: the window and the command line ask this as well. `fmviz.networks.own` runs such a file.
"""

from __future__ import annotations

import os
from pathlib import Path

from fmviz import trust
from fmviz.errors import BackboneError, TrustError

PREFIX = "own:"
"""What the name of such a network begins with where the catalog's are meant as well: "own:/abs/mine.py:build"."""

FUNCTION = "build"
"""What is called where only the file is named."""


def split(name: str | os.PathLike[str]) -> tuple[Path, str]:
    """ "own:models/mine.py:build" or "models/mine.py" -> the file's absolute path, links resolved, and the function's name.

    Raises:
        BackboneError: it names no .py file, or something that can be no function's name.
    """
    text = os.fspath(name).removeprefix(PREFIX)
    path, function = text, FUNCTION
    if not text.lower().endswith(".py"):
        path, _, function = text.rpartition(":")
    if not path.lower().endswith(".py") or not function.isidentifier():
        raise BackboneError(
            f"“{text}” is no model of your own: write the file and its function, as in mine.py:{FUNCTION}."
        )
    return Path(os.path.realpath(os.path.expanduser(path))), function


def reference(name: str | os.PathLike[str]) -> str:
    """The same network's name from any folder, for the catalog: "own:/abs/models/mine.py:build". Raises as `split` does."""
    path, function = split(name)
    return f"{PREFIX}{path}:{function}"


def read(path: Path) -> tuple[bytes, str]:
    """The file's bytes, and their SHA-256 in hex. `BackboneError` where they cannot be read."""
    import hashlib  # the window, which starts at once, has this module too

    try:
        source = path.read_bytes()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be opened ({error.strerror})"
        raise BackboneError(f"{path} {reason}: choose a Python file with a function that makes your model.") from error
    return source, hashlib.sha256(source).hexdigest()


def check(path: Path, sha256: str) -> None:
    """`TrustError` where the user has not said that they trust the file at `path` with this content."""
    if trust.is_trusted(path, sha256):
        return
    edited = trust.edited(path, sha256)
    why = "was edited since you trusted it" if edited else "is code that you have not said you trust"
    raise TrustError(
        f"{path} {why} (SHA-256 {sha256}): it is not run before you do.", path=str(path), sha256=sha256, edited=edited
    )
