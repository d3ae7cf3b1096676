"""A backbone, ready to be looked into: the only place where the steps meet.

The engine, the command line and notebooks all call this; it needs neither Qt nor a second process.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import fmviz
from fmviz.capture import ANOTHER_INPUT, Capture, Layer, capture_activations
from fmviz.defaults import BACKBONE
from fmviz.devices import device_words, find_device
from fmviz.errors import BackboneError, ForwardError, PictureError
from fmviz.failures import place_of
from fmviz.networks import catalog, own
from fmviz.networks.backbone import Backbone
from fmviz.networks.origin import Weights
from fmviz.networks.own import LIVE, OwnBackbone, own_weights
from fmviz.networks.weights import best_here, load
from fmviz.picture_options import picture_options
from fmviz.pictures import Picture, read_picture
from fmviz.preprocess import NetworkInput, Preprocessing, PreprocessingFunction
from fmviz.preprocess import preprocess as network_input
from fmviz.tokens import Finder

if TYPE_CHECKING:
    import PIL.Image

    from fmviz.table import LayerTable
    from fmviz.timing import Timing


class Session:
    """A network with its weights on a device, in eval mode, to run pictures through; or a model that is there already.

    Args:
        backbone: a name of `fmviz.backbones()`, or a file of your own and its function, "own:mine.py:build", which
            `fmviz.trust.trust` must know.
        weights: a name on offer for this backbone, the path of a `.safetensors` or `.pth` file, or "random". None takes
            the best on offer that needs no download.
        device: "cpu", "cuda", "cuda:1", "mps", …; "auto" takes the accelerator where there is one. None is the CPU.
        seed: for whatever is initialised at random.
        preprocessing: other than the weights' own, for every picture.
        model: a module to look into instead. It is used as it is and where it is; only a `device` that is given moves it.
            It is in eval mode while a picture runs and else in its own; `paused` keeps runs away from a step of training.
        preprocess: how `model` wants its pictures: a `Preprocessing` (ImageNet's where None), or a function from a PIL
            image to a tensor (1, 3, h, w).
        classes: what the logits stand for, in their order, where the weights do not say.
        name: what to call `model`; its class where None.
        bands: Bands of pictures to show, as `fmviz.read_picture` takes them.
        stretch: Whether data of few values are stretched, as `fmviz.read_picture` takes it.

    Raises:
        BackboneError, WeightsError, DeviceError, TrustError: in one sentence each; nothing is left half loaded.

    Example:
        >>> session = Session("efficientnet_lite0_fpn")
        >>> capture = session.run("assets/samples/coffee.png")
        >>> capture.predictions[0][0]
        'espresso'
        >>> tuple(capture.taps["P3"].tensor.shape)
        (1, 64, 28, 28)
    """

    def __init__(
        self,
        backbone: str | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str | None = None,
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
        model: nn.Module | None = None,
        preprocess: Preprocessing | Callable[[PIL.Image.Image], Any] | None = None,
        classes: Sequence[str] | None = None,
        name: str | None = None,
        bands: Sequence[int] = (),
        stretch: bool = True,
    ) -> None:
        self.picture_options = picture_options(bands, stretch=stretch)
        if model is not None and (backbone is not None or weights is not None):
            raise TypeError("a model that is given has its weights: give no backbone and no weights beside it")
        if model is not None and not isinstance(model, nn.Module):
            raise TypeError(f"a model is a torch.nn.Module and not a {type(model).__name__}")
        if not hasattr(seed, "__index__"):
            raise TypeError(f"a seed is a whole number and not {seed!r}")
        if preprocess is not None and not isinstance(preprocess, Preprocessing):
            if not callable(preprocess):
                raise TypeError(f"preprocess is a Preprocessing or a function and not a {type(preprocess).__name__}")
            preprocess = PreprocessingFunction(function=preprocess)
        self._latest: weakref.ref[Capture] | None = None
        self._one_at_a_time = threading.RLock()
        self._stages: Mapping[str, str] = {}
        self.backbone: Backbone
        self.model: nn.Module
        self.weights: Weights
        self.device: torch.device
        if model is None:
            self._load(backbone or BACKBONE, weights, find_device(device or "cpu"), seed)
        else:
            self._take(model, device, name, preprocess or preprocessing)
        if classes is not None:
            self.weights = replace(self.weights, classes=tuple(classes))
        self.preprocessing: Preprocessing = (
            preprocess or preprocessing or self.weights.preprocessing or self.backbone.preprocessing
        )

    def _load(self, name: str, weights: str | os.PathLike[str] | None, device: torch.device, seed: int) -> None:
        self.backbone, self.device = catalog.backbone(name), device
        self.model, self.weights = load(self.backbone, weights or best_here(self.backbone), seed=seed)
        self.model.to(self.device)
        if isinstance(self.backbone, OwnBackbone):
            self.weights = own_weights(self.backbone, self.weights, seed)

    def _take(
        self, model: nn.Module, device: str | None, name: str | None, preprocessing: Preprocessing | None
    ) -> None:
        self.model, self.backbone = model, own.live(model, name=name, preprocessing=preprocessing)
        self.weights = Weights(name=LIVE, notes=("The model is the one of the program that shows it, as it is now.",))
        if device is not None:
            model.to(find_device(device))
        self.device = _device_of(model)

    def to(self, device: torch.device) -> None:
        """Run on this device from now on."""
        self.model.to(device)
        self.device = device

    def paused(self) -> AbstractContextManager[object]:
        """Inside, no picture runs through the model: other threads that ask for it wait. For a step of training."""
        return self._one_at_a_time

    @property
    def latest(self) -> Capture | None:
        """What the last run left behind, as long as somebody holds it."""
        return self._latest() if self._latest is not None else None

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
            return self._run(picture, None, None, keep, cancelled)
        read = self.read(picture)
        fed = network_input(read, preprocessing or self.preprocessing)
        self.check_size(fed.geometry.input_size)
        return self._run(fed.tensor, read, fed, keep, cancelled)

    def read(
        self, picture: str | os.PathLike[str] | PIL.Image.Image | np.ndarray[Any, Any] | bytes | Picture
    ) -> Picture:
        """Return the picture, read with the session's bands and stretch; a `Picture` as it is."""
        options = self.picture_options
        return read_picture(picture, bands=options.bands, stretch=options.stretch)

    def table(self, size: int | tuple[int, int] | None = None) -> LayerTable:
        """The layer table of this network for an input of `size` (height, width); the crop's where None."""
        from fmviz.table import tabulated

        # Itself, for another one might be made differently: a pyramid's weights may bring another width, and a head.
        return tabulated(self.backbone.name, self.model, self.backbone, size or self.preprocessing.crop)

    def time_layers(
        self,
        picture: str | os.PathLike[str] | PIL.Image.Image | np.ndarray[Any, Any] | Picture | tuple[int, int],
        *,
        rounds: int = 11,
        preprocessing: Preprocessing | None = None,
        cancelled: Callable[[], bool] | None = None,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Timing:
        """How long each module takes on this device, see `fmviz.timing.time_layers`.

        Args:
            picture: as `run` takes it; or the size (height, width) of an input of noise.
        """
        from fmviz.timing import time_layers

        if isinstance(picture, tuple):
            self.check_size(picture)
            generator = torch.Generator().manual_seed(0)
            tensor = torch.randn(1, 3, *picture, generator=generator)
        else:
            fed = network_input(self.read(picture), preprocessing or self.preprocessing)
            self.check_size(fed.geometry.input_size)
            tensor = fed.tensor
        with self.paused():
            given = self._arguments(tensor)
            return time_layers(self.model, *given, rounds=rounds, cancelled=cancelled, progress=progress)

    def input_size(self, picture: Picture) -> tuple[int, int]:
        """(height, width) of what the network would be fed of `picture`."""
        if isinstance(self.preprocessing, PreprocessingFunction):
            return network_input(picture, self.preprocessing).geometry.input_size
        return self.preprocessing.geometry(picture.size).input_size

    def check_size(self, size: tuple[int, int]) -> None:
        """`BackboneError` where the network cannot run on an input of `size` (height, width): too small, most of all."""
        if why := self.backbone.why_not(size):
            raise BackboneError(why)

    def facts(self, capture: Capture) -> dict[str, Any]:
        """What it takes to make a figure of `capture` again, as JSON values; never a path."""
        weights = self.weights
        facts: dict[str, Any] = {
            "fmviz": fmviz.__version__,
            "network": self.backbone.name,
            **({"paper": f"arXiv {self.backbone.paper}"} if self.backbone.paper else {}),
            "weights": {"name": weights.name, "sha256": weights.sha256, "seed": weights.seed},
            "untrained": list(weights.untrained),
            **({"trained_on": weights.trained_on} if weights.trained_on else {}),
            "torch": str(torch.__version__),
            "device": device_words(self.device),
        }
        if isinstance(self.backbone, OwnBackbone) and self.backbone.file is not None:
            facts["code"] = {"name": self.backbone.file.name, "sha256": self.backbone.sha256}
        if capture.picture is not None:
            facts["picture"] = capture.picture.facts()
        if capture.input is not None:
            facts["preprocessing"] = capture.input.preprocessing.describe()
            facts["input_size"] = list(capture.input.geometry.input_size)
        return facts

    def _check_tensor(self, tensor: Tensor) -> None:
        # What channels a model of the user's takes is its own affair.
        channels = tensor.shape[1] if tensor.dim() == 4 and self.backbone.group == "own" else 3
        if tensor.dim() != 4 or tensor.shape[:2] != (1, channels) or not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise PictureError(
                f"A tensor of shape {tuple(tensor.shape)} and type {kind} is not what {self.backbone.name} takes: "
                "give one picture as (1, 3, h, w) in floating point, normalised as the weights want it."
            )
        self.check_size((tensor.shape[2], tensor.shape[3]))

    def _run(
        self,
        tensor: Tensor,
        picture: Picture | None,
        fed: NetworkInput | None,
        keep: Callable[[Layer], bool] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Capture:
        """What a forward that raised half way had put out by then is handed on as a whole run's is."""
        inputs = self._arguments(tensor)
        size = (tensor.shape[2], tensor.shape[3])
        if any(one.is_meta for part in (self.model.parameters(), self.model.buffers()) for one in part):
            raise BackboneError(
                f"{self.backbone.name} cannot run, because its parameters are on the meta device and have no values: load "
                "weights first, or ask for the layer table, which needs none."
            )
        grid_at = own.token_layout(self.model) if self.backbone.group == "own" else self.backbone.token_grid
        tokens = grid_at(size) if grid_at else None
        try:
            with self._one_at_a_time:
                capture = capture_activations(self.model, *inputs, keep=keep, cancelled=cancelled)
        except ForwardError as error:
            partial = error.capture if isinstance(error.capture, Capture) else Capture(())
            raise ForwardError(
                self._stopped(error), self._annotated(partial, size, picture, fed, tokens)
            ) from error.__cause__
        return self._annotated(capture, size, picture, fed, tokens)

    def _arguments(self, tensor: Tensor) -> tuple[Any, ...]:
        """What the model is called with, where it is and as it has its numbers."""
        if self.weights.name == LIVE:
            self.device = _device_of(self.model)  # which its owner may have moved
        return self.backbone.arguments(tensor.to(self.device, _dtype_of(self.model)))

    def _stopped(self, error: ForwardError) -> str:
        """The sentence; for the user's own network, which they can mend, with the file and the line to do it in."""
        place = place_of(error.__cause__) if error.__cause__ is not None and self.backbone.group == "own" else None
        if place is None:
            return str(error)
        return f"{str(error).removesuffix(ANOTHER_INPUT)}: mend it in {place[0]}, line {place[1]}."

    def _annotated(
        self,
        capture: Capture,
        size: tuple[int, int],
        picture: Picture | None,
        fed: NetworkInput | None,
        tokens: Finder | None,
    ) -> Capture:
        annotated = capture.annotated(
            taps=self._taps(size, whole=capture.output is not None),
            predictions=self._predictions(capture.output),
            picture=picture,
            input=fed,
            tokens=tokens,
        )
        self._latest = weakref.ref(annotated)
        return annotated

    def _taps(self, size: tuple[int, int], *, whole: bool) -> Mapping[str, str]:
        """Those of a network of the user's are looked for at a size that it has run at as a whole."""
        if self.backbone.group != "own":
            return self.backbone.taps
        if whole and not self._stages:
            self._stages = own.find_taps(self.model, self.backbone.name, size)
        return self._stages

    def _predictions(self, output: object) -> list[tuple[str, float]]:
        classes = self.weights.classes
        logits = output.get("logits") if isinstance(output, Mapping) else output
        if not classes or not isinstance(logits, Tensor) or logits.shape != (1, len(classes)):
            return []
        probabilities = torch.softmax(logits[0].float(), dim=0).cpu()
        values, indices = probabilities.topk(min(5, len(classes)))
        return [(classes[i], float(p)) for p, i in zip(values, indices.tolist(), strict=True)]


def _device_of(model: nn.Module) -> torch.device:
    """Where its first parameter or buffer is; the CPU where it has none."""
    tensors = (tensor for part in (model.parameters(), model.buffers()) for tensor in part)
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _dtype_of(model: nn.Module) -> torch.dtype:
    """The precision of its first parameter that is no integer."""
    return next((one.dtype for one in model.parameters() if one.is_floating_point()), torch.float32)
