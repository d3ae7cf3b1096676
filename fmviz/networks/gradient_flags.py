"""The `requires_grad` of parameters as their network had it, before fmviz froze them to run pictures."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

_TRAINABLE: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()
"""Per frozen module, the names of its own parameters that required gradients."""


def freeze(network: nn.Module) -> nn.Module:
    """Turn gradients off for all parameters, and remember which of them required gradients; return `network`."""
    for module in network.modules():
        own = module.named_parameters(recurse=False, remove_duplicate=False)
        _TRAINABLE[module] = frozenset(name for name, parameter in own if parameter.requires_grad)
    return network.requires_grad_(False)


def trainable(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that require gradients, as before `freeze`.

    Where a parameter requires gradients now, somebody has changed the flags since: they count as they are.
    """
    now = frozenset(
        name for name, parameter in network.named_parameters(remove_duplicate=False) if parameter.requires_grad
    )
    return now or frozenset(
        f"{path}.{name}" if path else name
        for path, module in network.named_modules(remove_duplicate=False)
        for name in _TRAINABLE.get(module, ())
    )
