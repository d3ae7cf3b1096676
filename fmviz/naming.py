"""Names for files, from any text: safe on Windows, macOS and Linux, and distinct."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

LONGEST_NAME = 108
"""Characters of a name; with what is appended (a channel, a suffix) it stays within 120."""
_MOST_BYTES = 200
"""File systems allow 255 bytes, and most scripts take more than one a character."""
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def safe_name(text: str) -> str:
    """`text` as a file name without its suffix: for Windows, macOS and Linux, never empty, at most 108 characters.

    The same text always gives the same name. Different texts may give the same one: see `distinct_names`.
    """
    name = "".join(c for c in unicodedata.normalize("NFC", text) if c.isprintable() or _FORBIDDEN.match(c))
    name = _FORBIDDEN.sub("_", name).strip(" ").rstrip(" .") or "_"
    # A leading dot would hide the file, a leading dash would look like an option.
    name = re.sub(r"^[.\-]", "_", name)
    reserved = _RESERVED.match(name)
    if reserved:
        name = f"{name[: reserved.end(1)]}_{name[reserved.end(1) :]}"
    if len(name) > LONGEST_NAME or len(name.encode()) > _MOST_BYTES:
        name = _cut(name, 9) + "-" + _digest(text)
    return name


def distinct_names(texts: Sequence[str]) -> list[str]:
    """A safe name for each of `texts`, no two the same even where upper and lower case are the same.

    The first of those that would clash keeps its name, the others get one that is made from their own text.
    """
    taken: set[str] = set()
    names = []
    for number, text in enumerate(texts):
        name = safe_name(text)
        if _folded(name) in taken:
            name = f"{_cut(name, 9)}-{_digest(text)}"
        if _folded(name) in taken:
            name = f"{_cut(name, 9)}-{_digest(f'{number} {text}')}"
        taken.add(_folded(name))
        names.append(name)
    return names


def _cut(name: str, room: int) -> str:
    """As much of the beginning as leaves room for so many more characters."""
    name = name[: LONGEST_NAME - room]
    while len(name.encode()) > _MOST_BYTES - room:
        name = name[:-1]
    return name.rstrip(" .")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
