"""The `requires_grad` of parameters as their network had it, before fmviz froze them to run pictures."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

_TRAINABLE: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()
"""Per frozen module, the names of its own parameters that required gradients."""


def freeze(network: nn.Module) -> nn.Module:
    """Turn gradients off for all parameters, and remember which of them required gradients; return `network`.

    A file of code may return the same network each time: if it is frozen already, it keeps the flags of the first time.
    """
    names = trainable(network)
    for path, module in network.named_modules(remove_duplicate=False):
        own = (name for name, _ in module.named_parameters(recurse=False, remove_duplicate=False))
        _TRAINABLE[module] = frozenset(name for name in own if _joined(path, name) in names)
    return network.requires_grad_(False)


def trainable(network: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that require gradients, as before `freeze`.

    Where a parameter requires gradients now, somebody has changed the flags since: they count as they are.
    """
    now = frozenset(
        name for name, parameter in network.named_parameters(remove_duplicate=False) if parameter.requires_grad
    )
    return now or frozenset(
        _joined(path, name)
        for path, module in network.named_modules(remove_duplicate=False)
        for name in _TRAINABLE.get(module, ())
    )


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
