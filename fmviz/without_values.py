"""Networks that have shapes and no values, on torch's meta device."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.failures import one_line
from fmviz.structures import tensors_in


def without_values(network: nn.Module, name: str) -> nn.Module:
    """A copy of `network` whose tensors are on the meta device, without hooks; no value of a tensor is read or copied."""
    if isinstance(network, torch.jit.ScriptModule):
        raise BackboneError(
            f"{name} is compiled to TorchScript, which shows no layers: give the module it was made from."
        )
    # deepcopy takes what it finds in here, by the original's id, for a copy that is made already.
    memo: dict[int, Any] = {}
    try:
        for value in (value for module in network.modules() for value in vars(module).values()):
            for _, tensor in tensors_in(value):
                memo.setdefault(id(tensor), _meta_twin(tensor))
        for module in network.modules():
            for attribute in _HOOKS:
                # A hook is the user's, and may belong to anything: it is neither copied nor called.
                memo[id(vars(module)[attribute])] = OrderedDict()
        return copy.deepcopy(network, memo)
    except Exception as error:
        raise BackboneError(
            f"{name} cannot be copied without its values to be measured ({one_line(error)}): run a picture through it, "
            "and read the shapes off the layers."
        ) from error


_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if "hook" in name and isinstance(value, OrderedDict))


def _meta_twin(tensor: Tensor) -> Tensor:
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
