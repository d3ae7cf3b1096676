"""A layer table as text, CSV, Markdown, LaTeX, JSON and HTML."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmviz.table import LayerTable, layer_table
from fmviz.table_choice import COLUMNS, Choice, chosen


def test_text() -> None:
    lines = layer_table("vgg19").to_text().splitlines()
    headings = "layer kind details input output stride field parameters MACs other bytes calls"
    assert lines[0] == "vgg19 at 224×224"
    assert lines[2].split() == headings.split()
    total = next(line for line in lines if line.startswith("total")).split()
    assert total[1:] == ["143,667,240", "19,632,062,464", "21,006,848", "125,140,896", "48"]
    assert lines[4].startswith("(output)")
    ends = {
        line.index(number) + len(number) for line in lines for number in ("2,359,808", "143,667,240") if number in line
    }
    assert len(ends) > 0
    notes = "\n".join(lines[lines.index("") + 1 :])
    assert "143,667,240 trainable, 0 frozen" in notes
    assert "574,668,960 bytes in float32" in notes
    assert "A MAC is one multiplication and one addition" in notes


def test_json_holds_it_all() -> None:
    table = layer_table("resnet18", (64, 96))
    read = json.loads(table.to_json())
    assert (read["network"], read["input_size"]) == ("resnet18", [64, 96])
    assert read["totals"] == json.loads(json.dumps(dataclasses.asdict(table.totals)))
    assert len(read["rows"]) == len(table)
    row, truth = read["rows"][table.index(table.row("layer1"))], table.row("layer1")
    plain = [field.name for field in dataclasses.fields(truth) if field.name not in ("receptive_field", "each_call")]
    assert {name: row[name] for name in plain} == json.loads(json.dumps({name: getattr(truth, name) for name in plain}))
    assert row["receptive_field"] == {"status": "exact", "size": [43, 43], "unbounded": [43, 43], "unknown": ""}
    relu = next(row for row in read["rows"] if row["calls"] > 1)
    assert len(relu["each_call"]) == relu["calls"]


def test_csv_has_plain_numbers() -> None:
    table = layer_table("resnet18", 64)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["path"] for row in rows] == [row.path for row in table]
    conv = rows[1]
    assert (conv["output_shape"], conv["parameters"], conv["stride"]) == ("1x64x32x32", "9408", "2.0")
    assert (conv["macs"], conv["receptive_field"], conv["receptive_field_status"]) == ("9633792", "7x7", "exact")
    assert rows[-1]["stride"] == ""


def test_markdown() -> None:
    lines = layer_table("resnet18", 64).to_markdown().splitlines()
    assert {line.count("|") for line in lines} == {13}
    assert lines[1] == "| --- | --- | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |"
    conv = "| conv1 | Conv2d | 7×7, stride 2, 3 → 64 | 1×3×64×64 | 1×64×32×32 | 2 | 7 × 7 | 9,408 | 9,633,792 | 0 |"
    assert any(line.startswith(conv) for line in lines)


def test_marks_of_a_stranger_stay_marks() -> None:
    class Odd(nn.Module):
        def extra_repr(self) -> str:
            return "a|b, <lambda>, *x*"

        def forward(self, x: Tensor) -> Tensor:
            return x

    assert r" a\|b, \<lambda>, \*x\* " in layer_table(Odd(), 4).to_markdown()
    assert "50\\%" in layer_table(nn.Sequential(Percent()), 4).to_latex()


class Percent(nn.Identity):
    def extra_repr(self) -> str:
        return "50%"


def test_latex() -> None:
    text = layer_table("efficientnet_lite0", 64).to_latex()
    assert r"3$\times$3, stride 2, same padding, 3 $\to$ 32" in text
    assert not set(text) - set(map(chr, range(128)))
    assert text.count(r"\\") == len(layer_table("efficientnet_lite0", 64)) + 2


class Sorting(nn.Module):
    """An operation whose cost nobody knows, before one that is known, and a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.never = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(self.conv(x), dim=-1).values


def test_what_is_not_known_is_said_and_never_0() -> None:
    table = layer_table(Sorting(), 4)
    text = table.to_text()
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "≥ 16" in lines["(output)"]
    assert lines["total"].split()[2:4] == ["≥", "16"]
    assert "Not counted, since nobody knows what they cost: aten.sort." in text
    assert " – " in lines["never"]
    alone = layer_table(nn.Sequential(Sorted()), 4)
    assert "not counted" in alone.to_markdown()
    assert r"$\geq$" in table.to_latex()
    assert alone.row("0").macs == 0


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x).values


class Reader(HTMLParser):
    """Cells by row, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html() -> None:
    table = layer_table("resnet18", 64)
    reader = Reader()
    reader.feed(table._repr_html_())
    assert not reader.open
    assert len(reader.rows) == len(table) + 2
    assert {len(row) for row in reader.rows} == {12}
    assert reader.rows[2][:3] == ["conv1", "Conv2d", "7×7, stride 2, 3 → 64"]

    class Odd(nn.Identity):
        def extra_repr(self) -> str:
            return "<script>&"

    assert "<script>" not in layer_table(nn.Sequential(Odd()), 4)._repr_html_()


# ── A part of the rows ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def resnet() -> LayerTable:
    return layer_table("resnet18", 64)


def test_all_rows_in_their_order(resnet: LayerTable) -> None:
    assert chosen(resnet, Choice()) == list(resnet)


def test_by_words_and_kind(resnet: LayerTable) -> None:
    found = chosen(resnet, Choice(words="layer1 conv", kind="Conv2d"))
    assert [row.path for row in found] == [f"layer1.{block}.conv{number}" for block in (0, 1) for number in (1, 2)]
    assert chosen(resnet, Choice(words="nothing of the kind")) == []
    assert chosen(resnet, Choice(words="conv 3x3")) == chosen(resnet, Choice(words="conv 3×3")) != []
    assert {row.kind for row in chosen(resnet, Choice(kind="relu"))} == {"ReLU"}


def test_only_where_the_size_changes(resnet: LayerTable) -> None:
    found = [row.path for row in chosen(resnet, Choice(only_size_changes=True, kind="Conv2d"))]
    assert found == ["conv1"] + [f"layer{n}.0.{part}" for n in (2, 3, 4) for part in ("conv1", "downsample.0")]


def test_by_depth(resnet: LayerTable) -> None:
    assert {row.depth for row in chosen(resnet, Choice(depth=1))} == {0, 1}


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("layer", "kind")])
def test_sorted_the_largest_first(resnet: LayerTable, column: str) -> None:
    found = chosen(resnet, Choice(sort=column))
    assert sorted(found, key=resnet.index) == list(resnet)
    values = [COLUMNS[column](row) for row in found]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    # What is not known comes last.
    assert values == known + [None] * (len(values) - len(known))
