"""Infer the channels of a network's input from the first layer that it executes, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from fmviz.failures import layer_that_ran
from fmviz.recording import not_compiled
from fmviz.shapes import ShapesOnly
from fmviz.structures import tensors_in
from fmviz.table_input import TableInput

USUAL = 3
"""Channels of a picture, tried first."""

_MOST_TRIALS = 12


@dataclass(frozen=True, slots=True)
class Want:
    """What a layer takes.

    Attributes:
        number: Length of the axis `axis`.
        ranks: Numbers of axes that it takes; () if any.
        integers: Whether it takes whole numbers only, such as token ids.
    """

    number: int
    axis: int
    ranks: tuple[int, ...] = ()
    integers: bool = False


@dataclass(frozen=True, slots=True)
class Misfit:
    """A layer, in words, that was given another input than it takes."""

    layer: str
    want: Want
    shape: tuple[int, ...]

    @property
    def of_channels(self) -> bool:
        """Whether it could be one of the number of channels."""
        return not self.want.integers and (not self.want.ranks or len(self.shape) in self.want.ranks)


@dataclass(frozen=True, slots=True)
class Inferred:
    """An input with channels that fit.

    Attributes:
        given: The input.
        misfit: What is wrong with it, if no number of channels fits.
    """

    given: TableInput
    misfit: Misfit | None = None


class _Seen(BaseException):
    """Ends a forward early. No network catches it by `except Exception`."""

    def __init__(self, want: Want | None, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.want, self.shape = want, shape


def infer_channels(
    fresh: Callable[[], nn.Module], make: Callable[[int, str], TableInput], *, whole: bool = False
) -> Inferred:
    """Find channels that the first executed layer with parameters takes, or with `whole` all layers.

    Args:
        fresh: Makes the network anew, on the meta device: a forward may change it.
        make: Makes an input of channels, with a note on where their number comes from.

    Returns:
        The input of `USUAL` channels if nothing contradicts it, or if nothing fits.
    """
    first: Misfit | None = None
    tried: set[int] = set()
    wanted = [(USUAL, "")]
    while wanted and len(tried) < _MOST_TRIALS:
        channels, note = wanted.pop(0)
        if channels in tried or channels < 1:
            continue
        tried.add(channels)
        given = make(channels, note)
        try:
            misfit = first_misfit(fresh(), given, whole=whole)
        except (Exception, SystemExit):
            # It raised before any layer ran, perhaps about the channels.
            wanted += [(number, "channels found by trial") for number in _registered(fresh())]
            continue
        if misfit is None:
            return Inferred(given)
        first = first or misfit
        if misfit.of_channels:
            wanted += [(number, f"channels of {misfit.layer}") for number in _candidates(channels, misfit)]
    return Inferred(make(USUAL, ""), first)


def _candidates(channels: int, misfit: Misfit) -> Iterator[int]:
    """Numbers of input channels that could give the layer what it takes, by how many it got of `channels`."""
    wanted, got = misfit.want.number, misfit.shape[misfit.want.axis]
    # The input was unfolded or repeated, was joined with something, or is what the layer takes.
    if got and not channels * wanted % got:
        yield channels * wanted // got
    yield channels + wanted - got
    yield wanted


def _registered(network: nn.Module) -> list[int]:
    convolutions = [one.in_channels for one in network.modules() if isinstance(one, _ConvNd)]
    return list(dict.fromkeys([*convolutions[:1], 1, 4, 2, *convolutions[1:4]]))


def first_misfit(network: nn.Module, given: TableInput, *, whole: bool = False) -> Misfit | None:
    """Run `network` up to the first layer with parameters, or with `whole` to its end, and compare inputs with layers.

    Raises:
        Exception: The forward raised it before a misfit was seen.
    """

    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        want = want_of(module)
        tensor = next((one for _, one in tensors_in((args, kwargs))), None)
        if want is not None and tensor is not None:
            _check(want, tensor, whole=whole)

    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in network.modules()]
    try:
        _run(network, given, _Checking(whole))
    except _Seen as seen:
        return Misfit(layer_that_ran(network, seen), seen.want, seen.shape) if seen.want else None
    finally:
        for handle in handles:
            handle.remove()
    return None


def runs(network: nn.Module, given: TableInput) -> bool:
    """Whether a forward on the meta device ends without an exception."""
    try:
        _run(network, given, ShapesOnly())
    except (Exception, SystemExit):
        return False
    return True


def _run(network: nn.Module, given: TableInput, shapes: ShapesOnly) -> None:
    with torch.inference_mode(False), torch.no_grad(), not_compiled(), torch.device("meta"), shapes:
        given.run(network)


def _check(want: Want, tensor: Tensor, *, whole: bool) -> None:
    shape = tuple(tensor.shape)
    fits = (
        (not want.integers or not (tensor.is_floating_point() or tensor.is_complex()))
        and (not want.ranks or len(shape) in want.ranks)
        and (want.integers or (len(shape) >= (want.axis + 1 if want.axis >= 0 else -want.axis)))
        and (want.integers or shape[want.axis] == want.number)
    )
    if not fits:
        raise _Seen(want, shape)
    if not whole:
        raise _Seen(None, shape)


class _Checking(ShapesOnly):  # type: ignore[no-untyped-call]
    """Checks convolutions and products that a forward computes with functions."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self._whole = whole

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, transposed, groups = args[0], args[1], args[6], args[8]
            number = weight.shape[0] if transposed else weight.shape[1] * groups
            _check(Want(number, 1, (weight.dim(),)), x, whole=self._whole)
        elif func in _PRODUCTS:
            x, other = args[-2], args[-1]
            if x.shape[-1] != other.shape[-2]:
                raise _Seen(Want(other.shape[-2], -1), tuple(x.shape))
        return super().__torch_dispatch__(func, types, args, kwargs)


_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default)


def want_of(module: nn.Module) -> Want | None:
    """What a layer with parameters takes; None for all others."""
    if isinstance(module, _ConvNd):
        dims = len(module.kernel_size)
        # A picture (1, C, H, W) is no volume without a batch axis, though torch would take it for one.
        return Want(module.in_channels, -dims - 1, (5,) if dims == 3 else (dims + 1, dims + 2))
    if isinstance(module, _InstanceNorm):
        return Want(module.num_features, 1) if module.affine or module.track_running_stats else None
    if isinstance(module, _BatchNorm):
        checked = module.affine or module.track_running_stats
        return Want(module.num_features, 1, _norm_ranks(module)) if checked else None
    if isinstance(module, nn.GroupNorm):
        return Want(module.num_channels, 1)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return Want(module.num_embeddings, -1, integers=True)
    if isinstance(module, nn.RNNBase):
        return Want(module.input_size, -1, (2, 3))
    if isinstance(module, nn.RNNCellBase):
        return Want(module.input_size, -1, (1, 2))
    if isinstance(module, nn.MultiheadAttention):
        return Want(module.embed_dim, -1, (2, 3))
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return Want(module.normalized_shape[-1], -1)
    # Subclasses may turn the axes first.
    return Want(module.in_features, -1) if type(module) is nn.Linear else None


def _norm_ranks(module: nn.Module) -> tuple[int, ...]:
    for kind, ranks in ((nn.BatchNorm1d, (2, 3)), (nn.BatchNorm2d, (4,)), (nn.BatchNorm3d, (5,))):
        if isinstance(module, kind):
            return ranks
    return ()
