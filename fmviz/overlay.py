"""Maps over the picture: the part of it that the network saw, blended with a coloured map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import PIL.Image

from fmviz.colours import Colours
from fmviz.errors import ExportError
from fmviz.figure import resized

if TYPE_CHECKING:
    from fmviz.capture import Capture

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """The ground that maps are blended with.

    Attributes:
        seen: (H, W, 3) RGB, the part of the picture that the network saw, of as many pixels as are drawn at most.
        size: (height, width) of that part in the picture's pixels.
        opacity: Of the maps: 0 shows the picture alone, 1 the map alone.
    """

    seen: Pixels
    size: tuple[int, int]
    opacity: float

    @classmethod
    def of(cls, capture: Capture, opacity: float, *, longer: int | None = None) -> Overlay:
        """Return the overlay for the maps of a capture.

        Args:
            longer: Pixels that the longer side is drawn with, which a large JPEG is decoded for; its own where None.

        Raises:
            ExportError: The capture has no picture, or the opacity is not from 0 to 1.
        """
        if not 0 <= opacity <= 1:
            raise ExportError(f"An opacity of {opacity:g} is not from 0 to 1: choose one such as 0.6.")
        if capture.picture is None or capture.input is None:
            raise ExportError("There is no picture to draw maps over, because the network was fed a tensor.")
        box = capture.input.geometry.input_box()
        picture = capture.picture
        size = max(1, round(box.height)), max(1, round(box.width))
        # Twice as many as are drawn, so that they are averaged and not enlarged.
        share = 1.0 if longer is None else min(1.0, 2 * longer / max(size))
        pixels = picture.at_least(math.ceil(share * min(picture.size)))
        down, across = pixels.shape[0] / picture.size[0], pixels.shape[1] / picture.size[1]
        edges = (box.left * across, box.top * down, box.right * across, box.bottom * down)
        drawn = max(1, round(size[1] * across)), max(1, round(size[0] * down))
        seen = PIL.Image.fromarray(pixels).resize(drawn, PIL.Image.Resampling.BILINEAR, box=edges)
        return cls(np.asarray(seen), size, opacity)

    def blended(self, indices: Pixels, colours: Colours, size: tuple[int, int]) -> Pixels:
        """Return a map (h, w) of indices in its colours over the picture, (height, width, 3) RGB of `size`.

        Cells are enlarged by nearest pixels, the picture smoothly.
        """
        ground = self.seen
        if size != ground.shape[:2]:
            image = PIL.Image.fromarray(self.seen).resize((size[1], size[0]), PIL.Image.Resampling.LANCZOS)
            ground = np.asarray(image)
        front = colours[resized(indices, size)].astype(np.float32)
        return np.rint(self.opacity * front + (1 - self.opacity) * ground).astype(np.uint8)
