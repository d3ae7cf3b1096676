"""What a network that raised was doing, and whether it was the memory that gave out."""

from __future__ import annotations

import functools
import site
import sysconfig
from pathlib import Path

import torch
from torch import nn

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")

_DEVICE_LOST = ("CUDA error", "HIP error")

LONGEST = 300
"""Characters of somebody else's message that fit into a sentence of ours."""


def is_out_of_memory(error: BaseException) -> bool:
    """Also where the CPU's allocator says so, which raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException | None) -> bool:
    """Whether an accelerator failed in a way that this process cannot use it any more: an assertion in a kernel, an illegal
    address, a device that went away."""
    seen = 0
    while error is not None and seen < 10:
        kind = getattr(torch, "AcceleratorError", None)
        if kind is not None and isinstance(error, kind) and not is_out_of_memory(error):
            return True
        if isinstance(error, RuntimeError) and str(error).startswith(_DEVICE_LOST) and not is_out_of_memory(error):
            return True
        error, seen = error.__cause__, seen + 1
    return False


def layer_that_ran(model: nn.Module, error: BaseException) -> str:
    """The innermost module of `model` in whose code `error` was raised, in words: "layer “fc” (Linear)".

    Read from the traceback, so that a forward without an error pays nothing for it.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    running: nn.Module = model
    traceback = error.__traceback__
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in paths:
            running = owner
        traceback = traceback.tb_next
    path, kind = paths[id(running)], type(running).__name__
    return f"layer “{path}” ({kind})" if path else f"the forward of the whole network ({kind})"


def place_of(error: BaseException) -> tuple[str, int] | None:
    """Return the file name and line of the innermost code of the user's that was running when `error` was raised.

    Code of fmviz, of Python's standard library and of installed packages is not the user's to mend. None if nothing else ran.
    """
    place, traceback = None, error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and not any(Path(file).is_relative_to(folder) for folder in _installed()):
            place = Path(file).name, traceback.tb_lineno
        traceback = traceback.tb_next
    return place


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Folders of code that is not the user's."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {
        *map(str, site.getsitepackages())
    }
    return (*map(Path, folders), Path(torch.__file__).parent, Path(__file__).parent)


def one_line(error: BaseException) -> str:
    """The error's class and text as part of a sentence."""
    try:
        text = " ".join(str(error).split()).rstrip(".")
    # A class of another author may fail to describe itself.
    except Exception:
        text = ""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
