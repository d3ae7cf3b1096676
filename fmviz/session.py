"""A backbone, ready to be looked into: the only place where the steps meet.

The engine, the command line and notebooks all call this; it needs neither Qt nor a second process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import fmviz
from fmviz.capture import Capture, Layer, capture_activations
from fmviz.defaults import BACKBONE
from fmviz.errors import BackboneError, DeviceError, PictureError
from fmviz.networks import catalog
from fmviz.networks.backbone import Backbone
from fmviz.networks.weights import Weights, best_here, load
from fmviz.pictures import Picture, read_picture
from fmviz.preprocess import NetworkInput, Preprocessing, preprocess

if TYPE_CHECKING:
    import PIL.Image

    from fmviz.table import LayerTable


class Session:
    """A network with its weights on a device, in eval mode, to run pictures through.

    Args:
        backbone: a name of `fmviz.backbones()`.
        weights: a name on offer for this backbone, the path of a `.safetensors` or `.pth` file, or "random". None takes
            the best on offer that needs no download.
        device: "cpu", "cuda", "cuda:1", "mps", …; "auto" takes the accelerator where there is one.
        seed: for whatever is initialised at random.
        preprocessing: other than the weights' own, for every picture.

    Raises:
        BackboneError, WeightsError, DeviceError: in one sentence each; nothing is left half loaded.

    Example:
        >>> session = Session("efficientnet_lite0_fpn")
        >>> capture = session.run("assets/samples/coffee.png")
        >>> capture.predictions[0][0]
        'espresso'
        >>> tuple(capture.taps["P3"].tensor.shape)
        (1, 256, 28, 28)
    """

    def __init__(
        self,
        backbone: str = BACKBONE,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.backbone: Backbone = catalog.backbone(backbone)
        self.device = find_device(device)
        self.model: nn.Module
        self.weights: Weights
        self.model, self.weights = load(self.backbone, weights or best_here(self.backbone), seed=seed)
        self.model.to(self.device)
        self.preprocessing = preprocessing or self.weights.preprocessing or self.backbone.preprocessing

    def run(
        self,
        picture: str | os.PathLike[str] | PIL.Image.Image | np.ndarray[Any, Any] | Tensor | Picture,
        *,
        preprocessing: Preprocessing | None = None,
        keep: Callable[[Layer], bool] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Capture:
        """One picture through the network; every layer's activation as it was when the layer put it out.

        Args:
            picture: a path, a PIL image, an (H, W, 3) uint8 array, or a (1, 3, h, w) float tensor that is taken as the
                network's input as it is, in the network's own precision.
            preprocessing: other than the session's, for this picture.
            keep: which layers to hold; all where None.
            cancelled: asked between two layers; when it says True, `Cancelled` is raised.

        Raises:
            PictureError (also for a tensor of another shape or kind), BackboneError (too small a picture), ForwardError,
            DeviceError (out of memory), Cancelled.
        """
        if isinstance(picture, Tensor):
            self._check_tensor(picture)
            return self._annotated(self._forward(picture, keep, cancelled), None, None)
        read = read_picture(picture)
        fed = preprocess(read, preprocessing or self.preprocessing)
        self.check_size(fed.geometry.input_size)
        return self._annotated(self._forward(fed.tensor, keep, cancelled), read, fed)

    def table(self, size: int | tuple[int, int] | None = None) -> LayerTable:
        """The layer table of this backbone for an input of `size` (height, width); the crop's where None."""
        from fmviz.table import layer_table

        return layer_table(self.backbone.name, size or self.preprocessing.crop)

    def check_size(self, size: tuple[int, int]) -> None:
        """`BackboneError` where an input of `size` (height, width) is too small for the network."""
        least = self.backbone.minimum_input
        if min(size) < least:
            raise BackboneError(
                f"{self.backbone.name} cannot run on an input of {size[0]} × {size[1]} pixels: "
                f"it needs at least {least} on each side; choose a larger size."
            )

    def facts(self, capture: Capture) -> dict[str, Any]:
        """What it takes to make a figure of `capture` again, as JSON values; never a path."""
        weights = self.weights
        facts: dict[str, Any] = {
            "fmviz": fmviz.__version__,
            "network": self.backbone.name,
            "paper": f"arXiv {self.backbone.paper}",
            "weights": {"name": weights.name, "sha256": weights.sha256, "seed": weights.seed},
            "untrained": list(weights.untrained),
            "torch": str(torch.__version__),
            "device": device_words(self.device),
        }
        if capture.picture is not None:
            facts["picture"] = {"name": capture.picture.name, "sha256": capture.picture.sha256}
        if capture.input is not None:
            facts["preprocessing"] = capture.input.preprocessing.describe()
            facts["input_size"] = list(capture.input.geometry.input_size)
        return facts

    def _check_tensor(self, tensor: Tensor) -> None:
        if tensor.dim() != 4 or tensor.shape[:2] != (1, 3) or not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise PictureError(
                f"A tensor of shape {tuple(tensor.shape)} and type {kind} is not what {self.backbone.name} takes: "
                "give one picture as (1, 3, h, w) in floating point, normalised as the weights want it."
            )
        self.check_size((tensor.shape[2], tensor.shape[3]))

    def _forward(
        self, tensor: Tensor, keep: Callable[[Layer], bool] | None, cancelled: Callable[[], bool] | None
    ) -> Capture:
        own = next(self.model.parameters()).dtype
        return capture_activations(
            self.model, *self.backbone.arguments(tensor.to(self.device, own)), keep=keep, cancelled=cancelled
        )

    def _annotated(self, capture: Capture, picture: Picture | None, fed: NetworkInput | None) -> Capture:
        return capture.annotated(
            taps=self.backbone.taps,
            predictions=self._predictions(capture.output),
            picture=picture,
            input=fed,
        )

    def _predictions(self, output: object) -> list[tuple[str, float]]:
        logits = output.get("logits") if isinstance(output, Mapping) else output
        if not self.weights.classes or not isinstance(logits, Tensor):
            return []
        probabilities = torch.softmax(logits[0].float(), dim=0).cpu()
        values, indices = probabilities.topk(min(5, len(self.weights.classes)))
        return [(self.weights.classes[i], float(p)) for p, i in zip(values, indices.tolist(), strict=True)]


def find_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the accelerator where there is one. `DeviceError` where there is none such."""
    if name == "auto":
        name = devices()[-1]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"“{name}” is no device: choose one of {', '.join(devices())}.") from error
    known = devices()
    if str(device) not in known and f"{device.type}:0" not in known and device.type not in known:
        raise DeviceError(f"There is no {name} on this computer: choose one of {', '.join(known)}.")
    if device.index is not None and device.type != "cpu" and str(device) not in known:
        raise DeviceError(f"There is no {name} on this computer: choose one of {', '.join(known)}.")
    return device


def devices() -> tuple[str, ...]:
    """What a network can run on here: "cpu" first, the fastest last ("cuda:0", "mps")."""
    if not torch.accelerator.is_available():
        return ("cpu",)
    kind = torch.accelerator.current_accelerator()
    if kind is None:
        return ("cpu",)
    count = torch.accelerator.device_count()
    if kind.type == "mps":
        return ("cpu", "mps")
    return ("cpu", *(f"{kind.type}:{index}" for index in reversed(range(count))))


def device_words(device: torch.device) -> str:
    """ "cpu", or the accelerator with its name: "cuda:0 (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
