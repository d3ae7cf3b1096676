"""Find the running average of a network in a checkpoint, by the conventions of the program that wrote it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

_AVERAGED = re.compile(
    r"(^|[._])(ema|ewma|swa|averaged?|avg|teacher|polyak|moving_average|shadow|shadow_params)([._]|$)"
)
"""Names of the running average of a network over its training: what its makers test and publish."""

_POOLING = re.compile(
    r"(?<![a-z])(averaged?|avg)_pool(s|ed|er|ing)?(?![a-z])|(?<![a-z])pool(s|ed|er|ing)?_(averaged?|avg)(?![a-z])"
)
"""Names of average pooling, a layer of a network: "avg_pool", "global_average_pooling", "pool_avg"."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

_COUNTERS = ("decay", "num_updates", "n_averaged", "steps")
"""What writers of averages keep next to them."""

_LEAST = 0.5
"""Share of a network's tensors that an average of its parameters alone has at least."""

_DEEPEST = 3
_MOST_ROOTS = 24

Tensors = Mapping[str, Tensor]


def is_averaged(place: str) -> bool:
    """Return whether what lies under this name is a running average ("model_ema", "teacher.backbone.", "emaModel")."""
    words = _POOLING.sub("pool", _CAMEL.sub("_", place).casefold())
    return _AVERAGED.search(words) is not None


def swapped(content: Mapping[object, object]) -> dict[str, bool]:
    """Return what the names in a checkpoint mean where they do not mean what they say: name -> whether it is the average.

    mmengine's `EMAHook` swaps the two before it saves: `state_dict` is the average, `ema_state_dict` the network.
    Lightning's `WeightAveraging` saves the average as `state_dict` and the network as `current_model_state`.
    """
    main = content.get("state_dict")
    other = content.get("ema_state_dict")
    if not isinstance(main, dict):
        return {}
    if isinstance(other, dict) and _is_of_mmengine(content, other):
        return {"state_dict": True, "ema_state_dict": False}
    if isinstance(content.get("current_model_state"), dict):
        return {"state_dict": True, "current_model_state": False}
    return {}


def _is_of_mmengine(content: Mapping[object, object], ema: Mapping[object, object]) -> bool:
    if "message_hub" in content:
        return True
    # Its `AveragedModel` wraps the network as `module`, and counts its steps.
    keys = [key for key in ema if isinstance(key, str) and key != "steps"]
    wrapped = bool(keys) and all(key.startswith("module.") for key in keys)
    return wrapped and (isinstance(content.get("meta"), dict) or "steps" in ema)


def named_shadow(shadow: Sequence[Tensor], network: Tensors) -> dict[str, Tensor] | None:
    """Return the network with the average's values, given as a list of parameters without names, or None.

    torch_ema and diffusers' `EMAModel` keep such lists, in the order of `network.parameters()`. That is the order of the
    keys of its state dict without the buffers.
    """
    seen: set[int] = set()
    keys = []
    for key, tensor in network.items():
        # A parameter that is in the network twice is in the list once.
        if tensor.is_floating_point() and not key.endswith(_STATISTICS) and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr() if tensor.numel() else -1)
            keys.append(key)
    shapes = [tensor.shape for tensor in shadow]
    if not shadow or [network[key].shape for key in keys] != shapes:
        return None
    values = {network[key].data_ptr(): tensor for key, tensor in zip(keys, shadow, strict=True)}
    named = dict(zip(keys, shadow, strict=True))
    return {key: named.get(key, values.get(tensor.data_ptr(), tensor)) for key, tensor in network.items()}


def with_statistics(average: Tensors, network: Tensors) -> dict[str, Tensor] | None:
    """Return an average of the parameters alone with the network's buffers, under its own keys; None where it is whole.

    Buffers are batch norm's statistics and counts, and tables of whole numbers and masks.
    """
    for inside in (_wrapper(average), ""):
        kept = {key.removeprefix(inside): key for key in average if key not in _COUNTERS}
        for outside in (_wrapper(network), ""):
            theirs = {key.removeprefix(outside): key for key in network if key not in _COUNTERS}
            absent = [key for key in theirs if key not in kept]
            if not absent or not kept.keys() <= theirs.keys():
                continue
            if not all(_is_buffer(network[theirs[key]], key) for key in absent):
                continue
            if len(kept) < _LEAST * sum(not key.endswith("num_batches_tracked") for key in theirs):
                continue
            return dict(average) | {f"{inside}{key}": network[theirs[key]] for key in absent}
    return None


def _is_buffer(tensor: Tensor, key: str) -> bool:
    return key.endswith(_STATISTICS) or not (tensor.is_floating_point() or tensor.is_complex())


def _wrapper(tensors: Iterable[str]) -> str:
    """The first name that all keys share, as "module."; "" where there is none."""
    firsts = {key.partition(".")[0] for key in tensors if key not in _COUNTERS}
    return f"{firsts.pop()}." if len(firsts) == 1 and all("." in key for key in tensors if key not in _COUNTERS) else ""


def flat_copy(tensors: Tensors) -> tuple[dict[str, Tensor], tuple[str, ...], bool] | None:
    """Return the second network of a state dict whose copy has flattened names, or None.

    The values are that network, the keys of the copy in the file, and whether it is the average: CompVis' `LitEma` keeps
    the average as `model_ema.` and names without dots; mmcv's `EMAHook` keeps the network as `ema_` and names with `_`.
    """
    flat = [key for key in tensors if key.startswith("ema_") and "." not in key]
    plain = {key: key for key in tensors if "." in key}
    if found := _unflattened(tensors, {key: key.removeprefix("ema_") for key in flat}, plain, "_"):
        return found, tuple(flat), False
    firsts = {key.partition(".")[0] for key in tensors}
    for prefix in sorted(f"{first}." for first in firsts if is_averaged(first)):
        flat = [key for key in tensors if key.startswith(prefix)]
        names = {key: key.removeprefix(prefix) for key in flat if key.removeprefix(prefix) not in _COUNTERS}
        if any("." in name for name in names.values()):
            continue
        others = [key for key in tensors if not key.startswith(prefix)]
        for root in _roots(others, len(names)):
            plain = {key.removeprefix(root): key for key in others if key.startswith(root)}
            if found := _unflattened(tensors, names, plain, ""):
                return found, tuple(flat), True
    return None


def _roots(keys: Iterable[str], least: int) -> list[str]:
    """The prefixes of up to three names that at least so many keys have, "" first; not more than can be tried."""
    counts: Counter[str] = Counter()
    for key in keys:
        names = key.split(".")[:-1][:_DEEPEST]
        counts.update(".".join(names[:depth]) + "." for depth in range(1, len(names) + 1))
    return ["", *(root for root, count in counts.most_common(_MOST_ROOTS) if count >= least)]


def _unflattened(
    tensors: Tensors, names: Mapping[str, str], plain: Mapping[str, str], joint: str
) -> dict[str, Tensor] | None:
    """The tensors with the values of their flattened copies; None unless all copies, and at least half, are known.

    Args:
        names: Key of a copy -> its name.
        plain: Name of an original -> its key.
        joint: What stands in the place of a dot in a copy's name.
    """
    originals = {name.replace(".", joint): key for name, key in plain.items()}
    if not names or not all(name in originals for name in names.values()) or len(originals) < len(plain):
        return None
    copies = {originals[name]: tensors[key] for key, name in names.items()}
    whole = sum(not key.endswith("num_batches_tracked") for key in plain.values())
    if len(copies) < _LEAST * whole or any(tensors[key].shape != copy.shape for key, copy in copies.items()):
        return None
    return {key: copies.get(key, tensors[key]) for key in plain.values()}
