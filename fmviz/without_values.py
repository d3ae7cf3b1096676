"""Networks that have shapes and no values, on torch's meta device."""

from __future__ import annotations

import copy
import io
import warnings
from collections import OrderedDict
from typing import Any, Self

import torch
from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.failures import one_line
from fmviz.structures import tensors_in


def without_values(network: nn.Module, name: str) -> nn.Module:
    """A copy of `network` whose tensors are on the meta device, without hooks; no value of a tensor is read or copied.

    Parts that are compiled to TorchScript are the exception: they are saved and read again, each as one layer.
    """
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
        scripts = [module for module in network.modules() if isinstance(module, torch.jit.ScriptModule)]
        within = {id(part) for script in scripts for part in script.modules() if part is not script}
        for script in scripts:
            if id(script) not in within:
                memo[id(script)] = scripted(script)
        for module in network.modules():
            for attribute in () if id(module) in within or id(module) in memo else _HOOKS:
                # A hook is the user's, and may belong to anything: it is neither copied nor called.
                memo[id(vars(module)[attribute])] = OrderedDict()
        return copy.deepcopy(network, memo)
    except Exception as error:
        raise BackboneError(
            f"{name} cannot be copied without its values to be measured ({one_line(error)}): run a picture through it, "
            "and read the shapes off the layers."
        ) from error


class Scripted(nn.Module):
    """A part that is compiled to TorchScript, on the meta device: one layer, since hooks are not called in it."""

    script: torch.jit.ScriptModule

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        # Not as a module of its own: its parts would be rows that are never called.
        vars(self)["script"] = script
        for name, parameter in script.named_parameters():
            self.register_parameter(name.replace(".", "_"), nn.Parameter(parameter.detach(), parameter.requires_grad))
        for name, buffer in script.named_buffers():
            self.register_buffer(name.replace(".", "_"), buffer)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.script(*args, **kwargs)

    def train(self, mode: bool = True) -> Self:
        self.script.train(mode)
        return super().train(mode)

    def extra_repr(self) -> str:
        return "compiled to TorchScript"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(vars(self)["script"], name)


def scripted(script: torch.jit.ScriptModule) -> Scripted:
    """`script` without values, under the class name that it was compiled from."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # That TorchScript is deprecated is known to those who use it.
        warnings.simplefilter("ignore")
        torch.jit.save(script, file)
        file.seek(0)
        read = torch.jit.load(file, map_location="meta")  # type: ignore[no-untyped-call]
    kind = type(str(getattr(script, "original_name", "ScriptModule")), (Scripted,), {})
    made: Scripted = kind(read)
    return made


_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if "hook" in name and isinstance(value, OrderedDict))


def _meta_twin(tensor: Tensor) -> Tensor:
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
