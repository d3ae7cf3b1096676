"""Two networks side by side."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fmviz.comparing import QUANTITIES, STAGES, WHOLE, Comparison, compare
from fmviz.errors import FmvizError
from fmviz.table import layer_table


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """The lesson of the papers: deeper, and for a quarter of the cost."""
    return compare(layer_table("vgg16"), layer_table("resnet50"))


def test_the_whole(comparison: Comparison) -> None:
    line = comparison.line("parameters")
    assert (line.one, line.other, line.difference) == (138_357_544, 25_557_032, -112_800_512)
    assert line.ratio == pytest.approx(0.1847, abs=1e-4)
    assert comparison.line("MACs").other == 4_089_184_256
    assert [line.quantity for line in comparison if line.stage == WHOLE] == list(QUANTITIES)


def test_stages_are_side_by_side(comparison: Comparison) -> None:
    fields = {stage: comparison.line("receptive field", stage) for stage in STAGES[1:5]}
    assert {stage: (line.one, line.other) for stage, line in fields.items()} == {
        "C2": (16, 35),
        "C3": (44, 91),
        "C4": (100, 267),
        "C5": (212, 427),
    }
    for quantity in ("parameters", "MACs", "other operations", "activation bytes"):
        parts = [line for line in comparison if line.quantity == quantity and line.stage != WHOLE]
        whole = comparison.line(quantity)
        assert sum(line.one or 0 for line in parts) <= (whole.one or 0)
        # What is computed in the network itself, between its stages, belongs to none.
        assert sum(line.other or 0 for line in parts) >= 0.99 * (whole.other or 0)


def test_a_stage_that_one_of_them_has() -> None:
    comparison = compare(layer_table("resnet18", 64), layer_table("resnet18_fpn", 64))
    line = comparison.line("parameters", "pyramid")
    assert (line.one, line.difference, line.ratio) == (None, None, None)
    assert line.other
    assert comparison.line("parameters", "C3").difference == 0
    with pytest.raises(FmvizError, match="choose from"):
        comparison.line("parameters", "C1")


def test_formats_say_the_same(comparison: Comparison) -> None:
    rows = list(csv.reader(io.StringIO(comparison.to_csv())))
    assert rows[0] == ["stage", "quantity", "vgg16", "resnet50", "difference", "ratio"]
    assert len(rows) == len(comparison) + 1
    assert rows[2][:5] == ["", "parameters", "138357544", "25557032", "-112800512"]
    facts = json.loads(comparison.to_json())
    assert facts["lines"][1]["other"] == 25_557_032
    for text in (comparison.to_text(), comparison.to_markdown(), comparison.to_latex()):
        assert "138,357,544" in text
        assert "-112,800,512" in text
    assert r"0.185$\times$" in comparison.to_latex()
    assert comparison.to_markdown().splitlines()[1] == "| --- | --- | --: | --: | --: | --: |"
