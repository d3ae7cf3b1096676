"""The columns of the layer table: what stands in a cell, what it is sorted by, and whether there is a bar."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication

from fmviz.app.numbers import bytes_words, shape_words, stride_words, thousands
from fmviz.engine.messages import CallInfo, TableRow

Value = float | str | None


class Line(msgspec.Struct, frozen=True):
    """What a row of the table is about: a module, one call of it, or a group of modules with their sums.

    Attributes:
        row: the module, or the sums of the group.
        label: what stands in the first column.
        call: the call, where it is one.
        seconds: how long it takes; None where that was not measured.
        share: of the whole network's time.
        place: in the order of the network.
    """

    row: TableRow
    label: str
    place: int
    call: CallInfo | None = None
    seconds: float | None = None
    share: float | None = None


class Column(msgspec.Struct, frozen=True):
    """A column.

    Attributes:
        name: what it is kept under in the settings.
        title: what stands at its head.
        text: what stands in a cell.
        value: what is sorted by; None comes last.
        bar: whether there is a bar behind it, the longest for the largest of all layers.
        number: whether it holds numbers, which stand to the right.
        shown: unless the user chose otherwise.
        about: a sentence for the tooltip of its head.
        plain: whether a copy for a spreadsheet has the number itself, and not the words of the cell.
    """

    name: str
    title: object
    text: Callable[[Line], str]
    value: Callable[[Line], Value]
    about: object
    bar: bool = False
    number: bool = True
    shown: bool = True
    plain: bool = False

    @property
    def heading(self) -> str:
        return _translated(self.title)

    @property
    def explained(self) -> str:
        return _translated(self.about)


def _translated(text: object) -> str:
    return QCoreApplication.translate("TableColumns", str(text))


def cost(number: int, row: TableRow) -> str:
    """ "–" of what is never called, "not counted" of what nobody knows, "≥ 1,234" of what is known in part."""
    if not row.calls:
        return "–"
    if not row.not_counted:
        return thousands(number)
    return f"≥ {thousands(number)}" if number else _translated(QT_TRANSLATE_NOOP("TableColumns", "not counted"))


def _elements(shape: tuple[int, ...] | None) -> int | None:
    return None if shape is None else math.prod(shape)


def _macs(line: Line) -> int:
    return line.call.macs if line.call else line.row.macs


def _other(line: Line) -> int:
    return line.call.other_operations if line.call else line.row.other_operations


def _bytes(line: Line) -> int:
    return line.call.activation_bytes if line.call else line.row.activation_bytes


def _count(number: int) -> str:
    return thousands(number) if number else "–"


def _of_module(of: Callable[[TableRow], int]) -> tuple[Callable[[Line], str], Callable[[Line], Value]]:
    """What calls do not have of their own."""
    return (lambda line: "" if line.call else _count(of(line.row))), (lambda line: None if line.call else of(line.row))


_PARAMETERS = _of_module(lambda row: row.parameters)
_OWN = _of_module(lambda row: row.own_parameters)
_TRAINABLE = _of_module(lambda row: row.trainable)
_FROZEN = _of_module(lambda row: row.parameters - row.trainable)
_BUFFERS = _of_module(lambda row: row.buffers)

COLUMNS = (
    Column(
        "layer",
        QT_TRANSLATE_NOOP("TableColumns", "Layer"),
        lambda line: line.label,
        lambda line: line.place,
        QT_TRANSLATE_NOOP("TableColumns", "The module's name. Sorting by it is the order of the network."),
        number=False,
    ),
    Column(
        "kind",
        QT_TRANSLATE_NOOP("TableColumns", "Kind"),
        lambda line: "" if line.call else line.row.kind,
        lambda line: line.row.kind,
        QT_TRANSLATE_NOOP("TableColumns", "The module's class."),
        number=False,
    ),
    Column(
        "output",
        QT_TRANSLATE_NOOP("TableColumns", "Output"),
        lambda line: shape_words((line.call or line.row).output_shape),
        lambda line: _elements((line.call or line.row).output_shape),
        QT_TRANSLATE_NOOP("TableColumns", "Shape of the first tensor that it puts out, the batch left out."),
    ),
    Column(
        "field",
        QT_TRANSLATE_NOOP("TableColumns", "Receptive field"),
        lambda line: (line.call or line.row).field,
        lambda line: None if line.row.field_size is None else math.prod(line.row.field_size),
        QT_TRANSLATE_NOOP(
            "TableColumns",
            "Pixels of the input that a cell can see: away from all borders where that is known, else the largest.",
        ),
    ),
    Column(
        "parameters",
        QT_TRANSLATE_NOOP("TableColumns", "Parameters"),
        *_PARAMETERS,
        QT_TRANSLATE_NOOP(
            "TableColumns",
            "With those of the modules in it, shared ones counted once. "
            "The longest bar is the largest of all layers without others in them.",
        ),
        bar=True,
        plain=True,
    ),
    Column(
        "own",
        QT_TRANSLATE_NOOP("TableColumns", "Own parameters"),
        *_OWN,
        QT_TRANSLATE_NOOP(
            "TableColumns", "Parameters that the module itself holds, without those of the modules in it."
        ),
        bar=True,
        shown=False,
        plain=True,
    ),
    Column(
        "trainable",
        QT_TRANSLATE_NOOP("TableColumns", "Trainable"),
        *_TRAINABLE,
        QT_TRANSLATE_NOOP("TableColumns", "Of the parameters those that require gradients, as the network has it."),
        shown=False,
        plain=True,
    ),
    Column(
        "frozen",
        QT_TRANSLATE_NOOP("TableColumns", "Frozen"),
        *_FROZEN,
        QT_TRANSLATE_NOOP("TableColumns", "Of the parameters those that do not require gradients."),
        shown=False,
        plain=True,
    ),
    Column(
        "buffers",
        QT_TRANSLATE_NOOP("TableColumns", "Buffers"),
        *_BUFFERS,
        QT_TRANSLATE_NOOP("TableColumns", "Numbers that are stored and not trained, such as running means."),
        shown=False,
        plain=True,
    ),
    Column(
        "macs",
        QT_TRANSLATE_NOOP("TableColumns", "MACs"),
        lambda line: cost(_macs(line), line.row),
        _macs,
        QT_TRANSLATE_NOOP(
            "TableColumns",
            "Multiplications that are added up, with those of the modules in it: convolutions and matrix products.",
        ),
        bar=True,
        plain=True,
    ),
    Column(
        "other",
        QT_TRANSLATE_NOOP("TableColumns", "Other operations"),
        lambda line: cost(_other(line), line.row),
        _other,
        QT_TRANSLATE_NOOP(
            "TableColumns", "Functions of elements, normalisation, pooling, softmax, additions, with those in it."
        ),
        bar=True,
        shown=False,
        plain=True,
    ),
    Column(
        "bytes",
        QT_TRANSLATE_NOOP("TableColumns", "Activation"),
        lambda line: bytes_words(_bytes(line)) if _bytes(line) else "–",
        _bytes,
        QT_TRANSLATE_NOOP("TableColumns", "Memory of all that its calls put out."),
        bar=True,
        plain=True,
    ),
    Column(
        "time",
        QT_TRANSLATE_NOOP("TableColumns", "Time"),
        lambda line: "" if line.seconds is None else f"{line.seconds * 1000:.2f} ms",
        lambda line: line.seconds,
        QT_TRANSLATE_NOOP("TableColumns", "How long its calls take, with the modules in it, where that was measured."),
        bar=True,
    ),
    Column(
        "share",
        QT_TRANSLATE_NOOP("TableColumns", "Share"),
        lambda line: "" if line.share is None else f"{line.share:.1%}",
        lambda line: line.share,
        QT_TRANSLATE_NOOP("TableColumns", "Of the time that the whole network takes."),
    ),
    Column(
        "stride",
        QT_TRANSLATE_NOOP("TableColumns", "Stride"),
        lambda line: "" if line.call else stride_words(line.row.stride),
        lambda line: line.row.stride,
        QT_TRANSLATE_NOOP("TableColumns", "Pixels of the input from one cell of its map to the next."),
        shown=False,
    ),
    Column(
        "input",
        QT_TRANSLATE_NOOP("TableColumns", "Input"),
        lambda line: shape_words((line.call or line.row).input_shape),
        lambda line: _elements((line.call or line.row).input_shape),
        QT_TRANSLATE_NOOP("TableColumns", "Shape of the first tensor that it takes, the batch left out."),
        shown=False,
    ),
    Column(
        "calls",
        QT_TRANSLATE_NOOP("TableColumns", "Calls"),
        lambda line: "" if line.call else (thousands(line.row.calls) if line.row.calls else "–"),
        lambda line: line.row.calls,
        QT_TRANSLATE_NOOP("TableColumns", "How often it is called in a forward."),
        shown=False,
        plain=True,
    ),
    Column(
        "detail",
        QT_TRANSLATE_NOOP("TableColumns", "Details"),
        lambda line: "" if line.call else line.row.detail,
        lambda line: line.row.detail,
        QT_TRANSLATE_NOOP("TableColumns", "The module's hyper-parameters."),
        number=False,
    ),
)

TIMES = ("time", "share")
"""Shown only where times were measured."""
