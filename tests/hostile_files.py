"""Files that call themselves weights, and are not, or want more than to be read: each by name, with what must be said."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

TERABYTE = 2**40


class Call:
    """A pickle that calls `function` with `arguments` where it is read by Python's own reader."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


CALLS = {
    "system": (Call(os.system, "touch was-here"), "posix.system"),
    "exec": (Call(exec, "open('was-here', 'w')"), "builtins.exec"),
    "eval": (Call(eval, "__import__('os').getpid()"), "builtins.eval"),
    "import": (Call(importlib.import_module, "antigravity"), "importlib.import_module"),
    "spawn": (Call(subprocess.Popen, ["touch", "was-here"]), "subprocess.Popen"),
    "hub": (Call(torch.hub.load, "nobody/nothing", "model"), "torch.hub.load"),
    # Pickles name it io.open, and from Python 3.13 on _io.open.
    "open": (Call(open, "was-here", "w"), f"{open.__module__}.open"),
}


def as_torch_zip(pickled: bytes, records: Mapping[str, bytes] | None = None, *, folder: str = "archive") -> bytes:
    """A zip file as torch writes them, around any pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/byteorder", b"little")
        for name, content in (records or {}).items():
            archive.writestr(f"{folder}/{name}", content)
        archive.writestr(f"{folder}/version", b"3\n")
    return buffer.getvalue()


def number(value: int) -> bytes:
    """Pickled as torch pickles it."""
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes([len(digits)]) + digits


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def storage(numel: int, *, kind: str = "FloatStorage", key: str = "0") -> bytes:
    """A reference to a storage of `numel` elements."""
    return (
        b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(numel) + b"tQ"
    )


def tensor(numel: int, size: tuple[int, ...], stride: tuple[int, ...], *, offset: int = 0) -> bytes:
    """A tensor of this size on a storage of `numel` elements."""
    sizes, strides = (b"(" + b"".join(number(side) for side in of) + b"t" for of in (size, stride))
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(numel)
        + number(offset)
        + sizes
        + strides
        + b"\x89"
        + hooks
        + b"tR"
    )


def state(value: bytes, *, key: bytes = text("w")) -> bytes:
    """The pickle of {key: value}."""
    return b"\x80\x02}" + key + value + b"s."


def as_old_format(content: bytes, storages: bytes = b"") -> bytes:
    """torch's older format around the pickle of the content: a number, a version, sizes, the content, its storages."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    version = pickle.dumps(1001, protocol=2)
    sizes = {"short": 2, "int": 4, "long": 4}
    machine = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, protocol=2)
    # Its references to storages have a sixth value, of views, which is none.
    content = content.replace(b"tQ", b"NtQ")
    return magic + version + machine + content + pickle.dumps(["0"], protocol=2) + storages


def as_safetensors(header: str | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A header as it is, with the length that it is said to have."""
    encoded = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def entry(shape: list[Any], offsets: list[Any], *, dtype: str = "F32") -> str:
    return json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})


def pickles() -> dict[str, tuple[bytes, str]]:
    """Pickles with code: what each of them asks for is in the sentence."""
    files: dict[str, tuple[bytes, str]] = {}
    for name, (call, wanted) in CALLS.items():
        for protocol in range(6):
            pickled = pickle.dumps({"w": call}, protocol=protocol)
            files[f"{name} {protocol}.pth"] = (pickled, f"asks for {wanted};")
            files[f"{name} {protocol} in a zip.pth"] = (as_torch_zip(pickled), f"asks for {wanted};")
        files[f"{name} in the older format.pt"] = (as_old_format(pickle.dumps(call, protocol=2)), f"asks for {wanted};")
    typed = (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nctorch\nTensor\n(" + text("touch was-here") + b"t}tR"
    )
    files["through a type.pth"] = (as_torch_zip(state(typed)), "asks for posix.system;")
    for module in ("io", "_io"):
        opened = f"c{module}\nopen\n(".encode() + text("was-here") + text("w") + b"tR"
        files[f"{module}.open.pth"] = (as_torch_zip(state(opened)), f"asks for {module}.open;")
    files["a module beside it.pth"] = (as_torch_zip(state(b"chostile_module\nrun\n)R")), "asks for hostile_module.run;")
    codec = b"c_codecs\nencode\n(" + text("x") + text("hostile_module") + b"tR"
    files["a codec.pth"] = (as_torch_zip(state(codec)), "asks for _codecs.encode;")
    many = b"".join(f"cmodule{index}\nrun\n0".encode() for index in range(9))
    files["many.pth"] = (as_torch_zip(b"\x80\x02" + many + b"}."), "module2.run and 6 more;")
    files["a long name.pth"] = (as_torch_zip(state(b"c" + b"m" * 5000 + b"\nrun\n)R")), "mmm…;")
    return files


def greedy() -> dict[str, tuple[bytes, str]]:
    """Files that declare more than they hold: they must be refused before any memory is asked for."""
    broken = "is broken or was cut off"
    made = b"ctorch\nFloatTensor\n(" + number(TERABYTE) + b"tR"
    quantized = b"ctorch._utils\n_rebuild_qtensor\n(" + storage(1) + number(0) + b"(Kdt(K\x01t((tt\x89}tR"
    row = tensor(4, (TERABYTE,), (1,))
    return {
        "a large storage.pth": (as_torch_zip(state(tensor(TERABYTE, (4,), (1,))), {"data/0": bytes(16)}), broken),
        "a large tensor.pth": (as_torch_zip(state(row), {"data/0": bytes(16)}), broken),
        "far away.pth": (as_torch_zip(state(tensor(4, (4,), (TERABYTE,))), {"data/0": bytes(16)}), broken),
        "an offset.pth": (as_torch_zip(state(tensor(4, (4,), (1,), offset=1)), {"data/0": bytes(16)}), broken),
        "no storage.pth": (as_torch_zip(state(tensor(4, (4,), (1,)))), broken),
        "negative.pth": (as_torch_zip(state(tensor(4, (-4,), (1,))), {"data/0": bytes(16)}), broken),
        "a large storage.pt": (as_old_format(state(tensor(TERABYTE, (4,), (1,))), bytes(24)), broken),
        "a large tensor.pt": (as_old_format(state(row), bytes(24)), broken),
        "bytes.pth": (
            as_torch_zip(state(b"cbuiltins\nbytearray\n" + number(TERABYTE) + b"\x85R")),
            "builtins.bytearray",
        ),
        "a tensor's class.pth": (as_torch_zip(state(made)), "torch.FloatTensor"),
        "quantized.pth": (as_torch_zip(state(quantized)), "quantized"),
        "set anew.pth": (
            as_torch_zip(state(tensor(4, (4,), (1,)) + b"(" + storage(4) + number(0) + b"tb"), {"data/0": bytes(16)}),
            broken,
        ),
        "a large tensor.safetensors": (as_safetensors(entry([2**38], [0, TERABYTE]), bytes(16)), broken),
        "a large shape.safetensors": (as_safetensors(entry([2**62, 2**62], [0, 16]), bytes(16)), broken),
        "a large header.safetensors": (as_safetensors("{", b"", length=TERABYTE), broken),
        "a largest header.safetensors": (as_safetensors("{", b"", length=2**64 - 1), broken),
    }


def safetensors_that_lie() -> dict[str, tuple[bytes, str]]:
    broken = "is broken or was cut off"
    two = '{{"a": {{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "{}": {}}}'
    second = '{"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}'
    headers = {
        "overlapping": (two.format("b", second), 12),
        "a gap": (two.format("b", second.replace("4, 12", "12, 20")), 20),
        "twice": (two.format("a", second.replace("4, 12", "0, 8")), 8),
        "out of range": (entry([4], [0, 16]), 8),
        "too much": (entry([4], [0, 16]), 20),
        "backwards": (entry([4], [16, 0]), 16),
        "negative": (entry([-4], [0, -16]), 16),
        "fractions": (entry([4.0], [0.0, 16.0]), 16),
        "another length": (entry([5], [0, 16]), 16),
        "a type that is no name": (entry([4], [0, 16], dtype="f 31"), 16),
        "no type": ('{"w": {"shape": [4], "data_offsets": [0, 16]}}', 16),
        "deep": ('{"w": ' + "[" * 20_000 + "]" * 20_000 + "}", 16),
        "a list": ("{}".replace("{}", '{"w": [1, 2]}'), 16),
        "no JSON": ("{'w': 1}", 16),
        "a number of many digits": (
            '{"w": {"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 16]}}',
            16,
        ),
    }
    files = {
        f"{name}.safetensors": (as_safetensors(header, bytes(length)), broken)
        for name, (header, length) in headers.items()
    }
    files["no text.safetensors"] = (as_safetensors(b"{\xff\xfe\xfd}", bytes(16)), broken)
    files["an unknown type.safetensors"] = (
        as_safetensors(entry([4], [0, 16], dtype="F31"), bytes(16)),
        "is F31, a type",
    )
    files["nothing in it.safetensors"] = (as_safetensors("{}"), "holds no tensors")
    return files


def zips() -> dict[str, tuple[bytes, str]]:
    broken = "is broken or was cut off"
    whole = io.BytesIO()
    torch.save({"w": torch.arange(4.0)}, whole)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    again = io.BytesIO()
    with zipfile.ZipFile(whole) as kept, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in kept.namelist():
            archive.writestr(entry, kept.read(entry))
    arrays = io.BytesIO()
    np.savez(arrays, w=np.zeros(3))
    program = io.BytesIO()
    with zipfile.ZipFile(program, "w") as archive:
        for name in ("program/data.pkl", "program/constants.pkl", "program/code/__torch__.py"):
            archive.writestr(name, b"import os; os.system('touch was-here')")
    twice = as_torch_zip(
        state(tensor(4, (4,), (1,))), {"data/0": bytes(16), "DATA.PKL": pickle.dumps(CALLS["system"][0])}
    )
    elsewhere = as_torch_zip(pickle.dumps(CALLS["system"][0], protocol=2), folder="other")
    lying = bytearray(whole.getvalue())
    # The central directory's sizes of its last record, packed and unpacked.
    at = lying.rfind(b"PK\x01\x02") + 20
    lying[at : at + 8] = struct.pack("<II", 2**31, 2**31)
    return {
        "bomb.pth": (packed.getvalue(), "unfolds to 50 MB from "),
        "packed again.pth": (again.getvalue(), "was packed again"),
        "arrays.npz": (arrays.getvalue(), "is a zip file without weights"),
        "program.pt": (program.getvalue(), "is a TorchScript program"),
        "two of a name.pth": (twice, broken),
        "of another folder.pth": (elsewhere, "asks for posix.system;"),
        "lying about its size.pth": (bytes(lying), broken),
        "cut.pth": (whole.getvalue()[:-60], broken),
        "only its end.pth": (whole.getvalue()[-60:], "is no weights file"),
    }


def others() -> dict[str, tuple[bytes, str]]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("pickle")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    deep_key = b")" + b"\x85" * 1_000_000
    deep_list = b"]" * 20_000 + b"a" * 19_999
    shadowed = b"ccollections\nOrderedDict\n)R}" + text("items") + text("nothing") + b"sb"
    return {
        "empty.pth": (b"", "is empty"),
        "page.pth": (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "is a web page"),
        "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        "garbage.pth": (np.random.default_rng(3).bytes(5000), "is no weights file"),
        "script.pth": (b"#!/bin/sh\ntouch was-here\n", "is no weights file"),
        "module.pth": (b"import os\nos.system('touch was-here')\n", "is no weights file"),
        "legacy.tar": (tar.getvalue(), "is a tar archive"),
        "packed.gz": (b"\x1f\x8b\x08\x00" + bytes(100), "gzip"),
        "array.npy": (b"\x93NUMPY\x01\x00" + bytes(100), "NumPy"),
        "whole.pth": (
            _saved(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1))),
            "asks for torch.nn.modules.container.Sequ",
        ),
        "a deep key.pth": (as_torch_zip(state(b"N", key=deep_key)), "is broken"),
        "a deep list.pth": (as_torch_zip(state(deep_list)), "where only tensors are expected"),
        "shadowed.pth": (as_torch_zip(b"\x80\x02" + shadowed + b"."), "holds no tensors"),
        "a long key.pth": (as_torch_zip(state(b"N", key=text("k" * 100_000))), "…”"),
        "a key of two lines.pth": (as_torch_zip(state(b"N", key=text("a\nb\x1b[31m"))), "as “a?b?[31m”"),
        "endless marks.pth": (as_torch_zip(b"\x80\x02" + b"(" * 50_000), "is broken"),
        "no end.pth": (b"\x80\x02" + b"}" * 1000, "is broken"),
        "a large text.pth": (b"\x80\x02X\xff\xff\xff\xff" + b"abc", "is broken"),
        "a larger text.pth": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f" + b"abc", "is broken"),
    }


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def all_files() -> dict[str, tuple[bytes, str]]:
    """File name -> its bytes, and words of the sentence with which it must be refused."""
    return {**pickles(), **greedy(), **safetensors_that_lie(), **zips(), **others()}
