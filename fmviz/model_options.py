"""Options of the command line that several commands share: the network, and how pictures are read."""

from __future__ import annotations

import argparse

from fmviz.picture_options import parsed_bands


def add_model_options(parser: argparse.ArgumentParser, network: argparse._MutuallyExclusiveGroup) -> None:
    network.add_argument(
        "--model",
        metavar="FILE[:FUNCTION]",
        help="a network of your own: a Python file and its function that makes it (default: build)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code of that file, and remember that you trust this content of it",
    )


def add_picture_options(parser: argparse.ArgumentParser, *, stretch: bool | None = True) -> None:
    """Add the options with which pictures are read: `bands` and `stretch`.

    Args:
        stretch: The value where neither `--stretch` nor `--no-stretch` is given.
    """
    parser.add_argument(
        "--bands",
        metavar="R,G,B",
        type=_bands,
        default=(),
        help="bands to show as red, green and blue, as 4,3,2, or one as grey (default: the file's colours, or 1,2,3)",
    )
    parser.add_argument(
        "--stretch",
        action=argparse.BooleanOptionalAction,
        default=stretch,
        help="stretch, or do not, data that use less than a quarter of the range of their type, as 12-bit data in a 16-bit "
        "file",
    )


def _bands(text: str) -> tuple[int, ...]:
    try:
        return parsed_bands(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one or three band numbers from 1, with commas between: 4,3,2"
        ) from None


def network_of(options: argparse.Namespace, *, trusted: bool = True) -> str | None:
    """Return the name of the network that is asked for; None where none is.

    Args:
        trusted: Whether a file of code must be trusted. The window asks by itself.

    Raises:
        TrustError: It is a file of code, and the user has not said, now or before, that they trust it.
        BackboneError: It is a file of code that cannot be read.
    """
    from fmviz import own_model, trust

    name: str | None = options.backbone
    if options.model:
        name = own_model.reference(options.model)
    if name and name.startswith(own_model.PREFIX):
        path, _ = own_model.split(name)
        _, sha256 = own_model.read(path)
        if options.trust:
            trust.trust(path, sha256)
        if trusted:
            own_model.check(path, sha256)
    return name
