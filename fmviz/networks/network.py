"""What every network of ours is: built quickly, initialised as its paper says, and open to other people's key names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

N = TypeVar("N", bound="Network")


class Network(nn.Module, ABC):
    """A network that works out of place, so that every layer's output stays as the layer put it out.

    Attributes:
        parts: what a weights file may lack as a whole: "classifier", "pyramid" -> the path of that module.
    """

    parts: Mapping[str, str]

    @abstractmethod
    def initialise(self, part: nn.Module) -> None:
        """Random values for every parameter of `part`, as training would begin; batch norm's statistics are reset.

        Args:
            part: this network or a module of it, with real (not meta) parameters.
        """

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`state` under this network's own keys, where it has those that others gave the same network."""
        return state


class StagedNetwork(Network):
    """A classifier that runs stage by stage, so that a pyramid can be put on its stages.

    Attributes:
        stage_channels: channels of C2–C5.
    """

    stage_channels: tuple[int, ...]

    @abstractmethod
    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name, at strides 4, 8, 16 and 32."""

    @abstractmethod
    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, h, w) -> (B, classes) logits; in training some networks give those of auxiliary classifiers as well."""
        return self.classify(self.stages(x)["C5"])


def build(make: Callable[[], N]) -> N:
    """The network that `make` makes, initialised once; on the meta device, where there are no values, not at all.

    torch's modules initialise themselves when they are made, only for the network to do it again: half of the second
    that a VGG19 takes. On the meta device the same calls import torch._dynamo, which takes another second.
    """
    with WithoutInitialisation():
        network = make()
    if not any(parameter.is_meta for parameter in network.parameters()):
        network.initialise(network)
    return network


def initialise_convolution(convolution: nn.Conv2d) -> None:
    """He's normal initialisation (1502.01852) by fan-out, a group at a time; the bias zero.

    Equal to `kaiming_normal_(mode="fan_out", nonlinearity="relu")` where there is one group. For a depthwise
    convolution that function counts the channels of all groups, and the signal dies away.
    """
    height, width = convolution.kernel_size
    fan_out = height * width * convolution.out_channels / convolution.groups
    nn.init.normal_(convolution.weight, 0.0, (2.0 / fan_out) ** 0.5)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class WithoutInitialisation(TorchFunctionMode):
    """While it is entered, the functions of `torch.nn.init` and random values leave tensors as they are; in this thread only.

    Not all of those functions can be told from within: of He's, only the random values that they end with.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in (Tensor.normal_, Tensor.uniform_):
            # Zeros, not what was in memory: `trunc_normal_` draws again until all lie within its bounds.
            return args[0] if args[0].is_meta else args[0].zero_()
        return func(*args, **kwargs)


def initialise_modules(part: nn.Module) -> None:
    """He's normal for the convolutions of `part`, torch's own for its fully connected layers, batch norm reset."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            initialise_convolution(module)
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()
