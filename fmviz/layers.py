"""The name of a layer: one call of one module, and one tensor of what it put out. Needs no torch: the window uses it too."""

from __future__ import annotations

import re

import msgspec

ROOT = "(output)"
"""How the whole network, whose path is empty, is called."""

_ITEM = r"(?:\[(?:[^\[\]\\]|\\.)*\])*"
_TEXT = re.compile(rf"(?P<path>.*?)(?::(?P<call>[1-9][0-9]*))?(?P<item>{_ITEM})", re.DOTALL)


class Layer(msgspec.Struct, frozen=True, order=True, gc=False):
    """One tensor that one call of one module put out.

    Attributes:
        path: the module's, as `named_modules` has it; "" is the whole network.
        call: 1 for its first call in the forward.
        item: where the tensor is in a structured output: "[0]", "[p3]", "[1][boxes]"; "" where the output is a tensor.

    Example:
        >>> str(Layer("layer2.0.relu", call=2)), str(Layer("fpn", item="[p3]")), str(Layer(""))
        ('layer2.0.relu:2', 'fpn[p3]', '(output)')
        >>> Layer.parse("layer2.0.relu:2")
        Layer(path='layer2.0.relu', call=2, item='')
    """

    path: str
    call: int = 1
    item: str = ""

    def __str__(self) -> str:
        call = "" if self.call == 1 else f":{self.call}"
        return f"{self.path or ROOT}{call}{self.item}"

    @classmethod
    def parse(cls, text: str) -> Layer:
        """The layer that prints as `text`; call 1 may be written out, and the whole network be "" as well."""
        match = _TEXT.fullmatch(text)
        # The path matches anything, so there always is a match.
        assert match is not None
        path = match["path"]
        return cls("" if path == ROOT else path, int(match["call"] or 1), match["item"])


def item(key: object) -> str:
    """One step into a structured output: "[0]", "[boxes]"; brackets in the key are escaped."""
    return "[" + re.sub(r"([\[\]\\])", r"\\\1", str(key)) + "]"
