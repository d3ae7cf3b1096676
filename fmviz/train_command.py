"""`fmviz train-pyramid`: a pyramid for a backbone, trained on drawn shapes."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fmviz.errors import Cancelled

if TYPE_CHECKING:
    from fmviz.training.measure import Figures
    from fmviz.training.train import Progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz train-pyramid",
        description="Train a feature pyramid for a network on drawn shapes, over its trained and frozen body. "
        "Needs no download and no pictures. Ctrl-C keeps what was learned so far for --resume.",
        epilog="Example: fmviz train-pyramid efficientnet_lite0 --minutes 12 --seed 0 -o pyramid.safetensors",
    )
    parser.add_argument("backbone", metavar="BACKBONE", help="a network of fmviz's own, such as resnet50")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the .safetensors file to write (default: among your pyramids, on offer for this network afterwards)",
    )
    parser.add_argument("--weights", metavar="NAME|FILE", help="the body's (default: the best that are here)")
    parser.add_argument(
        "--minutes", metavar="N", type=_positive, default=12.0, help="how long it may take (default: 12)"
    )
    parser.add_argument("--scenes", metavar="N", type=_count, help="draw so many scenes instead")
    parser.add_argument("--steps", metavar="N", type=_count, help="make so many steps instead")
    parser.add_argument("--seed", metavar="N", type=_seed, default=0, help="of all that is left to chance (default: 0)")
    parser.add_argument("--device", default="auto", help='"cpu", "cuda", "mps", or "auto" (default)')
    parser.add_argument("--resume", action="store_true", help="go on with what an earlier call left behind")
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return number


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed from 0 to 2³¹ − 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 10**7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    from fmviz.networks.pyramids import place_for
    from fmviz.training.train import PARTIAL, Plan, train

    output = Path(options.output) if options.output else place_for(options.backbone)
    output.parent.mkdir(parents=True, exist_ok=True)
    plan = Plan(minutes=options.minutes, scenes=options.scenes, steps=options.steps)
    with _interrupted() as interrupted, _progress() as progress:
        try:
            path, figures = train(
                options.backbone,
                output,
                weights=options.weights,
                seed=options.seed,
                plan=plan,
                device=options.device,
                resume=options.resume,
                progress=progress,
                cancelled=interrupted.is_set,
            )
        except Cancelled as error:
            if not output.with_name(output.name + PARTIAL).is_file():
                raise Cancelled("Cancelled before anything was learned.") from error
            raise Cancelled(f"Cancelled: {output.name}{PARTIAL} keeps what was learned; --resume goes on.") from error
    print(path)
    print(in_words(figures), file=sys.stderr)
    return 0


@contextlib.contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step is not left half made; a second Ctrl-C stops at once."""
    event = threading.Event()

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar with the time left and the figures, on a terminal; says nothing where stderr is none."""
    from tqdm import tqdm

    form = "{desc:9} {bar:20} {n_fmt}/{total_fmt}{postfix}"
    with tqdm(bar_format=form, leave=False, disable=not sys.stderr.isatty()) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.phase, refresh=False)
            bar.total, bar.n = progress.steps or None, progress.step
            bar.set_postfix_str(_words(progress), refresh=False)
            bar.update(0)
            bar.refresh()

        yield show


def _words(progress: Progress) -> str:
    """ "3 min 20 s left, loss 1.234, AP50 .88, level by RMS .79, by objectness .85" """
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    words = [f"{minutes} min {seconds} s left" if minutes else f"{seconds} s left"]
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.3f}")
    if progress.figures is not None:
        words.append(in_words(progress.figures))
    return ", ".join(words)


def in_words(figures: Figures) -> str:
    """ "AP50 0.92, level by RMS 0.82, by objectness 0.87, recall of the smallest 0.85" """
    return (
        f"AP50 {figures.ap50:.3f}, level by RMS {figures.by_rms:.3f}, by objectness {figures.by_objectness:.3f}, "
        f"recall of the smallest {figures.recall[0]:.3f}"
    )


COMMAND: tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]] = (_parser, _run)
"""Its parser, and what it does; an exit code."""
