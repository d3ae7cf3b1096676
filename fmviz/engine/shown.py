"""The run that the window looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmviz.engine.messages import PictureSource, Setup
from fmviz.pictures import Picture

if TYPE_CHECKING:
    from torch import Tensor

    from fmviz.capture import Capture
    from fmviz.layers import Layer
    from fmviz.maps import Statistics
    from fmviz.session import Session
    from fmviz.statistics import Parts
    from fmviz.table import LayerTable

Ask = Callable[[], bool]
"""Whether the request that is being worked on is no longer wanted."""


@dataclass(slots=True)
class Shown:
    """The run that the window looks at. Its capture is gone while another one runs, and made again when asked for.
    `stamp` tells whether the files that its network came from are still the same. `table` is its layer table at this input,
    or why there is none, and `largest` of each layer the largest magnitude, as soon as somebody has asked for them.
    `foreseen` is a layer whose statistics are being found out, as far as that is done, before anybody asks for them.
    `levels` are the levels last made of the capture by a pyramid in training, with the file of that pyramid."""

    run: int
    source: PictureSource
    picture: Picture
    setup: Setup
    session: Session
    capture: Capture | None
    stamp: tuple[tuple[int, int], ...] = ()
    statistics: dict[str, Statistics] = field(default_factory=dict)
    foreseen: tuple[str, Parts] | None = None
    table: LayerTable | str | None = None
    largest: dict[Layer, float] | None = None
    levels: tuple[str, dict[str, Tensor]] = ("", {})
