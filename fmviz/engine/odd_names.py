"""Names of files that are no text, on their way through the pipe.

Where a name is not UTF-8, Python has a lone surrogate for each byte of it that is not, which no UTF-8 can carry. They travel as
characters of the last private plane that are as far from its beginning as the surrogates are from theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_SHIFT = 0x10_0000
_SURROGATES = re.compile("[\ud800-\udfff]")
_STAND_INS = re.compile("[\U0010d800-\U0010dfff]")
_STAND_IN_BYTES = "\U0010d800".encode()[:2]


def may_have_stand_ins(body: bytes) -> bool:
    """Whether it is worth looking into a message for them."""
    return _STAND_IN_BYTES in body


def stood_in(value: Any) -> Any:
    """Dicts, lists and text, without surrogates."""
    return _changed(value, lambda text: _SURROGATES.sub(lambda found: chr(ord(found[0]) + _SHIFT), text))


def restored(value: Any) -> Any:
    """The same as it was before."""
    return _changed(value, lambda text: _STAND_INS.sub(lambda found: chr(ord(found[0]) - _SHIFT), text))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key) if isinstance(key, str) else key: _changed(entry, change) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(entry, change) for entry in value]
    return value
