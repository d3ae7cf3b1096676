"""The names of layers: printed, parsed, and the same afterwards."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fmviz.layers
from fmviz.layers import Layer, item

paths = st.text("abc019_.", max_size=12).filter(lambda path: path != "(output)")
keys = st.one_of(st.integers(0, 99), st.text(max_size=6))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Layer("layer2.0.relu"), "layer2.0.relu"),
        (Layer("layer2.0.relu", 2), "layer2.0.relu:2"),
        (Layer("head", 1, "[0]"), "head[0]"),
        (Layer("fpn", 3, "[1][p3]"), "fpn:3[1][p3]"),
        (Layer(""), "(output)"),
        (Layer("", 2, "[boxes]"), "(output):2[boxes]"),
    ],
)
def test_text_of_a_layer(layer: Layer, text: str) -> None:
    assert str(layer) == text
    assert Layer.parse(text) == layer


@pytest.mark.parametrize(("text", "layer"), [("", Layer("")), ("relu:1", Layer("relu")), ("relu:0", Layer("relu:0"))])
def test_text_that_a_person_may_type(text: str, layer: Layer) -> None:
    assert Layer.parse(text) == layer


@given(paths, st.integers(1, 500), st.lists(keys, max_size=3))
@settings(deadline=None)
def test_parsing_undoes_printing(path: str, call: int, steps: list[object]) -> None:
    layer = Layer(path, call, "".join(map(item, steps)))
    assert Layer.parse(str(layer)) == layer


def test_names_need_no_torch() -> None:
    code = "import sys, fmviz.layers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_examples_run() -> None:
    assert doctest.testmod(fmviz.layers).failed == 0
