"""What a network can run on here: found by name, listed, and told in words."""

from __future__ import annotations

import torch

from fmviz.errors import DeviceError


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
