"""The command line: starts the window or the engine, or calls a Session.

Exit codes: 0 all done; 1 some or all failed, each named in one line on stderr; 2 wrong usage; 3 a file of code that the user
has not said they trust, and nothing was run.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import io
import os
import shlex
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import fmviz
from fmviz import backbones_command, table_command, train_command, weights_command
from fmviz.errors import ExportError, FmvizError, TrustError
from fmviz.model_options import add_model_options, add_picture_options, network_of

if TYPE_CHECKING:
    from fmviz.batch import PictureExported
    from fmviz.preprocess import Preprocessing

WINDOW_HELP = """\
Open the window on pictures, or on a sample where none is named.

other commands (fmviz COMMAND --help says more):
  export         run pictures through a network and write what its layers made of them
  table          print the layers of a network: shapes, parameters, costs, receptive fields; compare two
  backbones      list the networks that there are, and where their weights are
  weights        list, fetch and remove trained weights
  train-pyramid  train a feature pyramid for a network on drawn shapes
  engine         serve a window on another machine, over stdin and stdout
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _let_everything_be_printed()
    if arguments and arguments[0] in COMMANDS:
        parser, run = COMMANDS[arguments[0]]
        options = parser().parse_args(arguments[1:])
    else:
        run, options = _window, _window_parser().parse_args(arguments)
    try:
        code = run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except TrustError as error:
        _complain(f"{str(error).removesuffix('.')}; --trust says that you do.")
        return 3
    except FmvizError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        sys.stdout = None
        _complain("the disk is full that the output goes to: make room on it, or send it elsewhere.")
        return 1


def _let_everything_be_printed() -> None:
    """A sign that stdout's encoding lacks (× in a Windows code page, a file name that is no text) is escaped, not fatal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    """One line on stderr, whatever is in the names that it quotes."""
    # What steers a terminal is shown and not obeyed: a model's own message may hold anything.
    line = "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in ("Cc", "Cf", "Cs") else letter
        for letter in " ".join(text.splitlines())
    )
    print(f"fmviz: {line}", file=sys.stderr)


# The window


def _window_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz", description=WINDOW_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", help="picture files, or folders of them, to open")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--backbone", metavar="NAME", help="network to look into (default: the one of last time)")
    add_model_options(parser, network)
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE",
        help='weights to start with: a name on offer, "random", a .safetensors or .pth file, or the index or folder of a '
        "checkpoint in parts (default: the best there are)",
    )
    parser.add_argument(
        "--engine",
        metavar="COMMAND",
        help='start the engine by this command instead: "ssh gpu-box fmviz engine" runs the networks on another machine',
    )
    # Without the option, the stretch of the session that is shown again holds.
    add_picture_options(parser, stretch=None)
    parser.add_argument(
        "--new", action="store_true", help="start empty, without the pictures, layer and view that were open last time"
    )
    # The window of `fmviz.show`: neither restores nor replaces what the user's own windows had open.
    parser.add_argument("--live", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"fmviz {fmviz.__version__}")
    return parser


def _window(options: argparse.Namespace) -> int:
    first = options.pictures[0] if options.pictures else ""
    if first and "." not in first and not Path(first).exists():
        print(f"fmviz: “{first}” is neither a command ({', '.join(COMMANDS)}) nor a picture.", file=sys.stderr)
        return 2
    if options.bands and not any(map(_may_be_pictures, options.pictures)):
        print("fmviz: --bands needs pictures: name the files whose bands are to be shown.", file=sys.stderr)
        return 2
    from fmviz.own_model import PREFIX

    # A file is where its engine is. The window asks about one that is not trusted, and shows another network meanwhile.
    far = options.model and options.engine
    backbone = PREFIX + options.model if far else network_of(options, trusted=False) or ""
    with _ctrl_c_ends_at_once():
        return _open_window(options, backbone)


def _may_be_pictures(name: str) -> bool:
    """Return whether a file or folder that the window opens is a picture, or may hold some."""
    from fmviz.networks.shards import WEIGHTS_SUFFIXES, is_index

    return not (name.lower().endswith((".py", *WEIGHTS_SUFFIXES)) or is_index(Path(name)))


def _open_window(options: argparse.Namespace, backbone: str) -> int:
    # What is imported stays: looking through it again and again, while it grows, takes a tenth of the start.
    gc.disable()
    try:
        from fmviz.app.main import run
    except ImportError as error:
        gc.enable()
        print(
            f"fmviz: the window cannot start, because Qt could not be loaded ({error}); install PySide6-Essentials and "
            "the system libraries that the README names, or use the commands of `fmviz --help`, which need no window.",
            file=sys.stderr,
        )
        return 1
    engine = shlex.split(options.engine) if options.engine else None
    pictures = [Path(name) for name in options.pictures]
    return run(
        pictures,
        engine=engine,
        backbone=backbone,
        weights=options.weights or "",
        bands=options.bands,
        stretch=options.stretch,
        new=options.new,
        live=options.live,
    )


_OPACITY = 0.6
"""Of maps over the picture, as in the window."""

_NAMED = 4
"""Layers that were left out are told of one by one up to so many."""


@contextlib.contextmanager
def _ctrl_c_ends_at_once() -> Iterator[None]:
    """Until the window hears of signals itself: `KeyboardInterrupt` in the midst of PySide6's imports becomes another error."""
    in_main = threading.current_thread() is threading.main_thread()
    usual = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


# Export


def _export_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz export",
        description="Run pictures through a network and write what its layers made of them.",
        epilog='Example: fmviz export cat.png -o maps --layers "C?" "P?" --as grid',
    )
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="picture files, or folders of them")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="folder to write to; made if missing")
    _add_network_options(parser)
    add_picture_options(parser)
    parser.add_argument(
        "--layers",
        metavar="GLOB",
        nargs="+",
        help="layers by name or pattern, or named maps like P3 (default: all named maps: C2–C5, M2–M5, P2–P6)",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("grid", "maps", "npz", "safetensors"),
        default="grid",
        help="a captioned PNG a layer, a PNG a channel, or the raw values (default: grid)",
    )
    parser.add_argument("--colours", metavar="NAME", default="viridis", help="colour map of PNGs (default: viridis)")
    parser.add_argument(
        "--scale",
        choices=("map", "layer", "symmetric"),
        default="map",
        help="each map on its own scale, all of a layer on one, or one that is symmetric about zero (default: map)",
    )
    parser.add_argument(
        "--size",
        metavar="SIZE",
        type=_size,
        default="map",
        help='size of maps in PNGs: "map" (their own), "picture" (its part that the network saw), or pixels of the longer side',
    )
    parser.add_argument(
        "--over-picture", action="store_true", help="draw each map over the part of the picture that the network saw"
    )
    parser.add_argument(
        "--opacity",
        metavar="FRACTION",
        type=_opacity,
        help=f"of maps over the picture, from 0 (the picture alone) to 1 (the map alone; default: {_OPACITY})",
    )
    return parser


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    from fmviz.defaults import BACKBONE

    network = parser.add_mutually_exclusive_group()
    network.add_argument("--backbone", metavar="NAME", default=BACKBONE, help=f"network (default: {BACKBONE})")
    add_model_options(parser, network)
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE",
        help='a name on offer, "random", a .safetensors or .pth file, or the index or folder of a checkpoint in parts '
        "(default: the best that needs no download)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of whatever is random (default: 0)")
    parser.add_argument("--device", default="auto", help='"cpu", "cuda", "mps", or "auto" (default)')
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--crop", metavar="N", type=_pixels, help="side of the centre crop that the network is fed")
    size.add_argument("--whole", metavar="N", type=_pixels, help="feed the whole picture, its longer side N pixels")


def _size(text: str) -> str | int:
    return text if text in ("map", "picture") else _pixels(text)


def _opacity(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an opacity from 0 to 1")
    return number


def _pixels(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 16384:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 1 to 16384")
    return number


def _sized(options: argparse.Namespace, preprocessing: Preprocessing) -> Preprocessing:
    if options.whole:
        return preprocessing.whole(options.whole)
    return preprocessing.at(options.crop) if options.crop else preprocessing


def _export(options: argparse.Namespace) -> int:
    from fmviz.batch import export_pictures, notes_of_weights
    from fmviz.figure import COLOUR_MAPS
    from fmviz.session import Session

    if options.colours not in COLOUR_MAPS:
        print(f"fmviz export: there is no colour map {options.colours!r}: {', '.join(COLOUR_MAPS)}", file=sys.stderr)
        return 2
    if options.opacity is not None and not options.over_picture:
        print("fmviz export: --opacity needs --over-picture, which draws maps over the picture.", file=sys.stderr)
        return 2
    opacity = _OPACITY if options.opacity is None else options.opacity
    session = Session(
        network_of(options),
        weights=options.weights,
        device=options.device,
        seed=options.seed,
        bands=options.bands,
        stretch=options.stretch,
    )
    session.preprocessing = _sized(options, session.preprocessing)
    for note in notes_of_weights(session, options.weights):
        _complain(note)
    pictures, failed = _with_those_in_folders(options.pictures)
    not_begun = 0
    full = False
    with _progress() as progress, _ended_like_by_ctrl_c():
        for done in export_pictures(
            session,
            pictures,
            Path(options.output),
            progress=progress,
            layers=options.layers,
            form=options.form,
            colour_map=options.colours,
            normalisation=options.scale,
            size=options.size,
            over_picture=opacity if options.over_picture else None,
        ):
            failed += done.error is not None
            if full:
                not_begun += 1
                continue
            _report(done, options.output)
            full = isinstance(done.error, ExportError) and done.error.whole_disk
    if not_begun:
        _complain(f"{not_begun} more {'picture was' if not_begun == 1 else 'pictures were'} not begun.")
    return 1 if failed else 0


def _with_those_in_folders(names: Sequence[str]) -> tuple[list[str], int]:
    """In the place of a folder, the pictures in it; and how many folders have none, which is said."""
    from fmviz.pictures import in_folder

    every: list[str] = []
    without = 0
    for name in names:
        if not os.path.isdir(name):
            every.append(name)
            continue
        try:
            found = [str(path) for path in in_folder(Path(name))]
            if not found:
                _complain(f"{name} is a folder without pictures: choose one that holds some.")
        except OSError as error:
            found = []
            _complain(f"{name} cannot be read ({error.strerror}): choose another folder.")
        every += found
        without += not found
    return every, without


def _report(done: PictureExported, output: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode():
        for note in _in_short(done.notes):
            _complain(f"{done.picture}: {note}")
        if done.error is not None:
            told = str(done.error)
            # Most sentences about a picture begin with its name.
            _complain(told if told.startswith(f"{done.picture} ") else f"{done.picture}: {told}")
            if not done.files:
                return
        count = len(done.files)
        older = f", {done.replaced} in place of older ones" if done.replaced else ""
        print(
            f"{done.picture}: {count} {'file' if count == 1 else 'files'} in "
            f"{done.files[0].parent if count else output}{older}"
        )


def _in_short(notes: Sequence[str]) -> list[str]:
    """The notes, with one line for many layers that were left out each for a reason like the others'."""
    parted = [note.partition(" was left out: ") for note in notes]
    names = [name for name, left_out, _ in parted if left_out]
    if len(names) <= _NAMED:
        return list(notes)
    _, left_out, why = next(parts for parts in parted if parts[1])
    first = f"{names[0]}{left_out}{why}"
    more = f"So were {len(names) - 1} more, for such reasons: {', '.join(names[1:_NAMED])} …"
    return [*("".join(parts) for parts in parted if not parts[1]), f"{first} {more}"]


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Counts files on a terminal; says nothing where stderr is none."""
    from tqdm import tqdm

    with tqdm(unit="file", leave=False, disable=not sys.stderr.isatty()) as bar:

        def done(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield done


@contextlib.contextmanager
def _ended_like_by_ctrl_c() -> Iterator[None]:
    """What a service manager or `kill` ends leaves no file half written either."""
    # Whoever started us may have wished that it is ignored.
    ends = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ends or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # A second one ends us at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# Engine


def _engine_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="fmviz engine",
        description="Serve a window: requests on stdin, replies on stdout, as fmviz/engine/messages.py has them. "
        "The window starts this itself; by hand it is of use on another machine.",
    )


def _engine(options: argparse.Namespace) -> int:
    from fmviz.engine.serve import serve_standard_streams

    serve_standard_streams()
    return 0


COMMANDS: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]] = {
    "export": (_export_parser, _export),
    "table": table_command.COMMAND,
    "backbones": backbones_command.COMMAND,
    "weights": weights_command.COMMAND,
    "train-pyramid": train_command.COMMAND,
    "engine": (_engine_parser, _engine),
}
