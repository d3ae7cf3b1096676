"""What to do when an accelerator has not enough memory for a capture: keep less, and then run on the CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch

from fmviz.errors import DeviceError

if TYPE_CHECKING:
    from fmviz.layers import Layer
    from fmviz.session import Session

Keep = Callable[["Layer"], bool]
Found = TypeVar("Found")


def run_with_less(session: Session, run: Callable[[Keep | None], Found]) -> tuple[Found, str]:
    """What `run` finds, and a sentence on what had to be done for it; "" where nothing had.

    Args:
        session: where it runs. It is on the CPU afterwards where its own device had no memory for the forward alone.
        run: runs the picture, keeping the layers that its argument says, all where None. Its `DeviceError` means that the
            memory did not do.

    Raises:
        DeviceError: there is not enough memory on the CPU either.
    """
    device = session.device
    try:
        return run(None), ""
    except DeviceError as error:
        if device.type == "cpu":
            raise
        said = str(error)
    # Outside of the except block, whose traceback holds on to tensors.
    _give_back(device)
    stages = {path.partition("[")[0] for path in session.backbone.taps.values()}
    if stages:
        try:
            found = run(lambda layer: layer.path in stages)
            return found, (
                f"There was not enough memory on {device} to keep every layer: "
                "the levels alone are kept; choose a smaller size, or the CPU, for all of them."
            )
        except DeviceError as error:
            said = str(error)
        _give_back(device)
    session.to(torch.device("cpu"))
    return run(None), f"There was not enough memory on {device}, so this ran on the CPU ({said.partition(':')[0]})."


def _give_back(device: torch.device) -> None:
    gc.collect()
    # A device that is only pretended, or has no allocator of its own, has nothing to give.
    if torch.accelerator.is_available() and device.type == "cuda":
        torch.cuda.empty_cache()
