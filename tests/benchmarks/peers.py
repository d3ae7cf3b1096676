"""Capture beside those who do the same: how much longer than a plain forward each takes, and how many captures are untrue.

The truth is what a hook on every call copies at once. What a peer finds is compared with it by module and call; it is
counted as altered where its values are others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from measuring import Figure, Line, Pair, there
from torch import Tensor, nn

Found = Mapping[tuple[str, int], Tensor]
"""(path of the module, which of its calls; 0 is the last) -> what it put out."""


def peers() -> Iterator[Line]:
    from torchvision import models

    # torchvision's own: they work in place, which ours do not.
    nets = {
        "torchvision's resnet50": models.resnet50(weights=None).eval(),
        "torchvision's vgg19": models.vgg19(weights=None, init_weights=False).eval(),
        "torchvision's googlenet": models.googlenet(weights=None, init_weights=False, aux_logits=False).eval(),
    }
    for name, model in nets.items():
        yield from _of(name, model, torch.rand(1, 3, 224, 224))


def _of(name: str, model: nn.Module, x: Tensor) -> Iterator[Line]:
    def plain() -> object:
        with torch.no_grad():
            return model(x)

    truth = _truth(model, x)
    ours: Callable[[], Found] | None = None
    for peer, capture in _ways(model, x):
        found = capture()
        altered, compared = _altered(found, truth)
        note = f"altered: {altered} of {compared}, of {len(truth)} calls"
        yield Figure(f"{name}: what {peer} captured", altered, 0, note=note)
        rounds = 3 if peer == "TorchLens" else 9
        yield Pair(f"{name}: {peer}, beside a plain forward", capture, plain, 1.2, rounds=rounds)
        if ours is None:
            ours = capture
        elif peer == "TorchLens":
            yield Pair(f"{name}: fmviz, beside TorchLens", ours, capture, 0.1, rounds=rounds)


def _ways(model: nn.Module, x: Tensor) -> Iterator[tuple[str, Callable[[], Found]]]:
    from fmviz.capture import capture_activations

    def ours() -> Found:
        capture = capture_activations(model, x)
        return {(layer.path, layer.call): one.tensor for layer, one in capture.items()}

    yield "fmviz", ours
    yield "hooks that keep what they see", lambda: _hooked(model, x, copy=False)
    if there("torchlens"):
        import torchlens

        def torchlens_() -> Found:
            trace = torchlens.trace(model, x)
            return {
                ("" if call.address == "self" else call.address, call.call_index): call.out
                for call in trace.module_calls
            }

        yield "TorchLens", torchlens_
    if there("captum"):
        from captum.attr import LayerActivation

        names = {path: module for path, module in model.named_modules() if path and not list(module.children())}
        ran = {path for path, _ in _truth(model, x)}
        kept = {path: module for path, module in names.items() if path in ran}

        def captum() -> Found:
            outs = LayerActivation(model, list(kept.values())).attribute(x)
            return {(path, 0): out for path, out in zip(kept, outs, strict=True) if isinstance(out, Tensor)}

        yield "captum, leaves only", captum
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    nodes = [node for node in get_graph_node_names(model)[1] if node != "x"]
    extractor = create_feature_extractor(model, nodes).eval()

    def extracted() -> Found:
        with torch.no_grad():
            outs: dict[str, Any] = extractor(x)
        return {_place(node): out for node, out in outs.items() if isinstance(out, Tensor)}

    yield "torchvision's feature extractor", extracted


def _place(node: str) -> tuple[str, int]:
    """A graph's node as a module's call: "layer1.0.relu_1" is the second one."""
    path, mark, number = node.rpartition("_")
    return (path, int(number) + 1) if mark and number.isdigit() else (node, 1)


def _hooked(model: nn.Module, x: Tensor, *, copy: bool) -> dict[tuple[str, int], Tensor]:
    found: dict[tuple[str, int], Tensor] = {}
    calls: Counter[str] = Counter()

    def hook(path: str) -> Callable[..., None]:
        def note(module: nn.Module, args: object, out: object) -> None:
            calls[path] += 1
            if isinstance(out, Tensor):
                found[path, calls[path]] = out.detach().clone() if copy else out.detach()

        return note

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _truth(model: nn.Module, x: Tensor) -> dict[tuple[str, int], Tensor]:
    return _hooked(model, x, copy=True)


def _altered(found: Found, truth: Found) -> tuple[int, int]:
    """How many of those that are in both have other values, and how many are in both."""
    last = dict(truth.keys())
    altered = compared = 0
    for (path, number), tensor in found.items():
        true = truth.get((path, number or last.get(path, 0)))
        if true is None or true.shape != tensor.shape:
            continue
        compared += 1
        altered += not torch.allclose(true, tensor.detach(), rtol=1e-4, atol=1e-5, equal_nan=True)
    return altered, compared
