"""`Picture` -> `NetworkInput`: what the network is fed, and the geometry that leads back to the picture.

Two ways: as the weights were trained (the shorter side resized, a square cut from the middle), equal to torchvision's
`ImageClassification` transform; or the whole picture at its own aspect, since a convolutional backbone takes any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from fmviz.errors import BackboneError
from fmviz.failures import one_line
from fmviz.geometry import Geometry
from fmviz.pictures import Picture

Interpolation = Literal["bilinear", "bicubic"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_LARGEST_RESIZED = 1 << 25
"""Pixels of a picture that is resized whole before the middle is cut from it: 134 MB."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture is made ready for a network.

    Attributes:
        mode: "crop": the shorter side to `resize`, then the middle `crop` × `crop`. "whole": the longer side to
            `longer_side`, nothing cut off.
        resize: pixels of the shorter side before the crop.
        crop: pixels of the crop's sides. Where it is larger than the resized picture, black is put around.
        longer_side: pixels of the longer side in "whole".
        interpolation: Pillow's filter of that name; it averages when it makes smaller.
        mean, std: of red, green and blue in units of 0–1; the network gets (value - mean) / std.

    Raises:
        BackboneError: a size below 1.
    """

    mode: Literal["crop", "whole"] = "crop"
    resize: int = 256
    crop: int = 224
    longer_side: int = 512
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for size in (self.resize, self.crop, self.longer_side):
            if size < 1:
                raise BackboneError(f"A picture cannot be resized to {size} pixels: choose a size of 1 or more.")

    def at(self, size: int) -> Preprocessing:
        """The crop at another size, the resize in proportion, so that it shows about the same part of the picture."""
        return replace(self, mode="crop", resize=max(1, round(self.resize * size / self.crop)), crop=size)

    def whole(self, longer_side: int) -> Preprocessing:
        """The whole picture at its own aspect, made larger or smaller until its longer side is `longer_side`."""
        return replace(self, mode="whole", longer_side=longer_side)

    def describe(self) -> dict[str, str | int | list[float]]:
        """All that is needed to do it again, as JSON takes it: what the mode does not use is left out."""
        sizes = {"longer_side": self.longer_side}
        if self.mode == "crop":
            sizes = {"resize": self.resize, "crop": self.crop}
        return {
            "mode": self.mode,
            **sizes,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def words(self) -> str:
        """For a person: "shorter side 256, centre crop 224, bicubic"."""
        if self.mode == "whole":
            return f"whole picture, longer side {self.longer_side}, {self.interpolation}"
        return f"shorter side {self.resize}, centre crop {self.crop}, {self.interpolation}"

    def geometry(self, picture_size: tuple[int, int]) -> Geometry:
        """Where all would come to lie of a picture of `picture_size` (height, width), without making a pixel."""
        if self.mode == "whole":
            resized = _longer_side_to(picture_size, self.longer_side)
            return Geometry(picture_size, resized, (0, 0), resized)
        height, width = resized = _shorter_side_to(picture_size, self.resize)
        offset = _centred(height, self.crop), _centred(width, self.crop)
        return Geometry(picture_size, resized, offset, (self.crop, self.crop))


IMAGENET = Preprocessing()
"""What torchvision's first weights want: 256 and 224, bilinear, the mean and deviation of ImageNet's colours."""


@dataclass(frozen=True, slots=True)
class PreprocessingFunction(Preprocessing):
    """A function of the user's that makes the network's input, in the place of all else.

    What it does to the picture is not known: where things lie is told as if it had resized the whole of it.

    Attributes:
        function: PIL image in RGB -> (1, channels, h, w) or (channels, h, w), a floating-point tensor or array.
    """

    function: Callable[[Image.Image], Any] = field(kw_only=True)
    mode: Literal["crop", "whole"] = "whole"

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def at(self, size: int) -> Preprocessing:
        """Itself: the size is the function's affair."""
        return self

    def whole(self, longer_side: int) -> Preprocessing:
        """Itself: the size is the function's affair."""
        return self

    def describe(self) -> dict[str, str | int | list[float]]:
        return {"mode": "function", "function": self.name}

    def words(self) -> str:
        return f"by the function {self.name}, taken to resize the whole picture"

    def geometry(self, picture_size: tuple[int, int]) -> Geometry:
        """`BackboneError`: only the input that the function has made tells its size."""
        raise BackboneError(f"What the function {self.name} makes of a picture is not known before it has run.")

    def apply(self, picture: Picture) -> NetworkInput:
        """The function's answer, checked.

        Raises:
            BackboneError: the function raised, or gave something that is no input.
        """
        try:
            made = torch.as_tensor(self.function(Image.fromarray(picture.pixels)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise BackboneError(
                f"The function {self.name}, which prepares pictures, stopped with {one_line(error)}: "
                "let it take a PIL image and give a tensor (1, 3, h, w)."
            ) from error
        tensor = made[None] if made.dim() == 3 else made
        if tensor.dim() != 4 or len(tensor) != 1 or not tensor.numel() or not tensor.is_floating_point():
            raise BackboneError(
                f"The function {self.name}, which prepares pictures, gave a tensor of shape {tuple(made.shape)} and type "
                f"{str(made.dtype).removeprefix('torch.')}: let it give (1, 3, h, w) in floating point."
            )
        size = (tensor.shape[2], tensor.shape[3])
        owned = torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor.detach())
        return NetworkInput(owned, Geometry(picture.size, size, (0, 0), size), self)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInput:
    """What a network is fed.

    Attributes:
        tensor: (1, 3, h, w) float32 on the CPU, contiguous, owned.
        geometry: where its pixels are on the picture.
        preprocessing: how it was made.
    """

    tensor: Tensor
    geometry: Geometry
    preprocessing: Preprocessing

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(h, w, 3) RGB: what the network sees, with mean and std undone.

        What a function made is drawn from its smallest to its largest value, in grey where it has not three channels.
        """
        if isinstance(self.preprocessing, PreprocessingFunction):
            return _stretched(self.tensor[0])
        mean, std = _colour_constants(self.preprocessing)
        values = (self.tensor[0] * std + mean) * 255  # (3, h, w)
        return values.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def preprocess(picture: Picture, preprocessing: Preprocessing) -> NetworkInput:
    """The picture as the network wants it.

    In "crop" equal, bit for bit, to what torchvision's `ImageClassification` makes of the same picture as a PIL image:
    Pillow's resizing, torchvision's rounding and its order of arithmetic. Of a JPEG file that is much larger than what
    is made of it, a smaller version is decoded that has still twice the size: a quarter of the time, and on average less
    than 0.3 of 255 from the other way.

    Raises:
        BackboneError: a function of the user's failed, see `PreprocessingFunction`.
    """
    if isinstance(preprocessing, PreprocessingFunction):
        return preprocessing.apply(picture)
    geometry = preprocessing.geometry(picture.size)
    image = _resized_and_cropped(picture, geometry, _FILTERS[preprocessing.interpolation])
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (3, h, w)
    mean, std = _colour_constants(preprocessing)
    tensor = values.to(torch.float32, memory_format=torch.contiguous_format).div_(255).sub_(mean).div_(std)
    return NetworkInput(tensor[None], geometry, preprocessing)


def _colour_constants(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """mean and std, each (3, 1, 1) float32"""
    mean, std = (
        torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    return mean, std


def _stretched(values: Tensor) -> npt.NDArray[np.uint8]:
    """(channels, h, w) -> (h, w, 3); infinite values are black or white, NaN is black."""
    coloured = values if len(values) == 3 else values.mean(dim=0, keepdim=True).expand(3, -1, -1)
    coloured = coloured.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    finite = coloured[coloured.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 1.0)
    shares = (coloured - low) / max(high - low, 1e-12)
    return (shares.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _resized_and_cropped(picture: Picture, geometry: Geometry, resample: Image.Resampling) -> Image.Image:
    height, width = geometry.resized_size
    top, left = geometry.crop_offset
    crop_height, crop_width = geometry.input_size
    if height * width > _LARGEST_RESIZED and min(top, left) >= 0:
        # A line of a picture: only what is kept of it is resized, or it would take gigabytes.
        box = geometry.input_box()
        inside = (box.left, box.top, box.right, box.bottom)
        return Image.fromarray(picture.pixels).resize((crop_width, crop_height), resample, box=inside)
    image = Image.fromarray(picture.at_least(2 * min(height, width)))
    if image.size != (width, height):
        image = image.resize((width, height), resample, box=_whole(image, picture.size))
    return image.crop((left, top, left + crop_width, top + crop_height))


def _whole(image: Image.Image, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What the pixels of an image cover that was decoded at a fraction of `size` (height, width), rounded up."""
    times = round(max(size) / max(image.size))
    return 0.0, 0.0, size[1] / times, size[0] / times


def _shorter_side_to(size: tuple[int, int], target: int) -> tuple[int, int]:
    """(height, width) with the shorter side `target`, the longer one rounded down as torchvision does."""
    height, width = size
    if width <= height:
        return int(target * height / width), target
    return target, int(target * width / height)


def _longer_side_to(size: tuple[int, int], target: int) -> tuple[int, int]:
    """(height, width) with the longer side `target`, the shorter one to the nearest pixel and never none."""
    longer = max(size)
    height, width = (max(1, round(side * target / longer)) for side in size)
    return height, width


def _centred(length: int, crop: int) -> int:
    """Where the middle `crop` pixels begin, negative by what is put before; rounded as torchvision's `center_crop`."""
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)
