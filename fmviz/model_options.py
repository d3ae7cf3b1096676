"""The options of the command line that name a network: one of those that there are, or a file of the user's own."""

from __future__ import annotations

import argparse


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
