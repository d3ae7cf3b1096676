"""`fmviz table`: every layer of a network with its shape, parameters, costs and receptive field; or two networks compared."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fmviz.errors import BackboneError
from fmviz.model_options import add_model_options, network_of

if TYPE_CHECKING:
    from fmviz.table import LayerTable
    from fmviz.timing import Timing

FORMATS = ("text", "csv", "markdown", "latex", "latex-compact", "json")
SORTED_BY = (
    "layer",
    "kind",
    "input",
    "output",
    "stride",
    "field",
    "parameters",
    "own",
    "MACs",
    "other",
    "bytes",
    "calls",
    "time",
)


class Formatted(Protocol):
    """What can be printed in each form: a table, or a comparison."""

    def to_text(self) -> str: ...
    def to_csv(self) -> str: ...
    def to_markdown(self) -> str: ...
    def to_latex(self) -> str: ...
    def to_latex_compact(self) -> str: ...
    def to_json(self) -> str: ...


def in_form(what: Formatted, form: str) -> str:
    """`what` in one of `FORMATS`."""
    written: Mapping[str, Callable[[], str]] = {
        "text": what.to_text,
        "csv": what.to_csv,
        "markdown": what.to_markdown,
        "latex": what.to_latex,
        "latex-compact": what.to_latex_compact,
        "json": what.to_json,
    }
    return written[form]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz table",
        description="Print every layer of a network with its shape, parameters, costs and receptive field. Needs neither "
        "weights nor a picture. MACs are multiplications that are added up; other operations are counted apart.",
        epilog="Examples: fmviz table vgg16 --compare resnet50; fmviz table resnet50 --kind conv2d --sort MACs",
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("backbone", metavar="BACKBONE", nargs="?", help="a network that `fmviz backbones` lists")
    add_model_options(parser, network)
    parser.add_argument(
        "--size",
        metavar="N|HxW",
        type=_size,
        help="side of the input in pixels, or its height and width (default: the only one that it takes, else 224)",
    )
    parser.add_argument(
        "--channels", metavar="N", type=_channels, help="channels of the input (default: those that the network takes)"
    )
    parser.add_argument(
        "--input-shape",
        metavar="C,H,W",
        type=_input_shape,
        help="shape of any input, without the batch: 3,224,320 for a picture, 2,100 for a one-dimensional network",
    )
    parser.add_argument(
        "--compare", metavar="BACKBONE", help="print what this one has and costs beside that one, by stage"
    )
    rows = parser.add_argument_group("which rows")
    rows.add_argument(
        "--filter", metavar="WORDS", default="", help="those with all these words in path, kind or details"
    )
    rows.add_argument("--kind", metavar="CLASS", default="", help="those of this class, such as conv2d")
    rows.add_argument("--only-size-changes", action="store_true", help="those that put out another height and width")
    rows.add_argument("--leaves", action="store_true", help="those with no module in them")
    rows.add_argument("--depth", metavar="N", type=_count, help="those in no more than N other modules")
    rows.add_argument(
        "--sort", choices=SORTED_BY, help="the largest first, names from A (default: as the network has them)"
    )
    parser.add_argument("--time", action="store_true", help="measure how long each takes, with random weights")
    parser.add_argument("--device", default="cpu", help="where that is measured: cpu, cuda, mps, auto (default: cpu)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="for reading (text, the default), for a spreadsheet, a paper, or a program; latex-compact fits one column of a "
        "paper: layer, output, parameters, MACs, receptive field",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead")
    return parser


def _run(options: argparse.Namespace) -> int:
    if fault := _usage_fault(options):
        print(f"fmviz table: {fault}", file=sys.stderr)
        return 2
    name = network_of(options)
    assert name is not None
    if options.sort == "time" and not options.time:
        raise BackboneError("Layers can be sorted by time once it is measured: add --time.")
    try:
        what: Formatted = _compared(name, options) if options.compare else _table(name, options)
    except BackboneError as error:
        raise BackboneError(_in_options(str(error))) from error
    written = in_form(what, options.format)
    if options.output:
        _write(Path(options.output), written)
    else:
        print(written.rstrip("\n"))
    return 0


def _in_options(sentence: str) -> str:
    """A sentence of the library's with the options of the command in place of Python's arguments."""
    shape = re.sub(r"give input_shape=\(([^)]*)\)", lambda found: f"give --input-shape {_option(found[1])}", sentence)
    return re.sub(
        r"give (example_input=.*)\.$", r"the command gives one picture: call fmviz.layer_table(…, \1) in Python.", shape
    )


def _option(shape: str) -> str:
    """ "3, length" as the value of an option: "3,LENGTH"."""
    return shape.replace(" ", "").rstrip(",").upper()


def _usage_fault(options: argparse.Namespace) -> str:
    """A sentence on options that exclude each other; "" if there are none such."""
    if options.input_shape and (options.size or options.channels):
        return "--input-shape has the channels and the size in it: leave --channels and --size out."
    if options.time and (options.input_shape or options.channels):
        return "--time measures with a picture of three channels: leave --channels and --input-shape out."
    return ""


def _compared(name: str, options: argparse.Namespace) -> Formatted:
    from fmviz.comparing import compare

    return compare(_whole_table(name, options), _whole_table(options.compare, options))


def _table(name: str, options: argparse.Namespace) -> LayerTable:
    from fmviz.table_choice import Choice, chosen

    table = _whole_table(name, options)
    if options.time and table.input_size:
        table = table.timed(_timing(name, table.input_size, options.device))
    choice = Choice(
        options.filter, options.kind, options.only_size_changes, options.depth, options.sort, options.leaves
    )
    return table if choice == Choice() else table.of(chosen(table, choice))


def _whole_table(name: str, options: argparse.Namespace) -> LayerTable:
    from fmviz.table import layer_table

    return layer_table(name, options.size, input_shape=options.input_shape, channels=options.channels)


def _timing(name: str, size: tuple[int, int], device: str) -> Timing:
    from fmviz.session import Session

    def progress(done: int, of: int) -> None:
        print(f"\rmeasuring, round {done} of {of}", end="" if done < of else "\n", file=sys.stderr, flush=True)

    session = Session(name, weights="random", device=device)
    return session.time_layers(size, progress=progress if sys.stderr.isatty() else lambda done, of: None)


def _write(path: Path, text: str) -> None:
    from fmviz.writing import write_whole

    write_whole(path, lambda file: file.write(text.encode()))


def _size(text: str) -> int | tuple[int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text} is no size: give a number of pixels, or a height and a width as in 224x320"
        )
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _channels(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of channels: give a whole number of 1 or more")
    return int(text)


def _input_shape(text: str) -> tuple[int, ...]:
    parts = text.lower().replace("×", ",").replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is no shape: give channels, height and width as in 3,224,320")
    return tuple(int(part) for part in parts)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of modules")
    return int(text)


COMMAND = (_parser, _run)
