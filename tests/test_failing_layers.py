"""A layer or a picture that cannot be exported is one line, and the rest of the batch is exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fmviz
from fmviz.capture import capture_activations
from fmviz.channels import reduce_channels, vector
from fmviz.cli import main
from fmviz.errors import LayerError
from fmviz.exporting import export
from fmviz.session import Session

CAT = Path(__file__).parents[1] / "assets/samples/chelsea.png"

MODEL = """
import torch
from torch import nn


class Broken(torch.Tensor):
    # Every operation on it but a copy fails.
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.to, torch.Tensor.amin, torch.Tensor.double, torch.Tensor.float, torch.Tensor.cpu):
            raise RuntimeError("this tensor\\ncannot be read")
        return super().__torch_function__(func, types, args, kwargs or {})


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.quantized = Function(lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8))
        self.complex = Function(lambda x: torch.fft.fft2(x))
        self.no_channels = Function(lambda x: x[:, :0])
        self.no_cells = Function(lambda x: x[:, :, :0, :0])
        self.meta = Function(lambda x: torch.empty(1, 2, 3, 4, device="meta"))
        self.sparse = Function(lambda x: x[0, 0].to_sparse())
        self.broken = Function(lambda x: x.as_subclass(Broken))
        self.last = nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        for odd in (self.quantized, self.complex, self.no_channels, self.no_cells, self.meta, self.sparse, self.broken):
            odd(x)
        return self.last(x)


def build():
    torch.manual_seed(0)
    return Net()
"""

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")


@pytest.fixture
def model_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.py"
    path.write_text(MODEL)
    return f"{path}:build"


def exported(model_file: str, folder: Path, *more: str) -> int:
    return main(
        [
            "export",
            *more,
            "-o",
            str(folder),
            "--model",
            model_file,
            "--trust",
            "--whole",
            "24",
            "--layers",
            "*",
            "--device",
            "cpu",
        ]
    )


def test_layers_that_cannot_be_drawn_do_not_end_the_export(model_file, tmp_path, capsys):
    assert exported(model_file, tmp_path / "out", str(CAT)) == 1
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.rsplit("_", 1)[1] for name in names] == [
        *("(output).png", "complex.png", "conv.png", "last.png", "quantized.png", "sparse.png")
    ]
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert "broken could not be exported: RuntimeError: this tensor cannot be read." in printed
    for name in ("no_channels", "no_cells", "meta"):
        assert name in printed


def test_values_of_layers_without_values_are_left_out(model_file, tmp_path, capsys):
    code = main(
        [
            "export",
            str(CAT),
            "-o",
            str(tmp_path),
            "--model",
            model_file,
            "--trust",
            "--whole",
            "24",
            "--device",
            "cpu",
            "--as",
            "npz",
            "--layers",
            "conv",
            "quantized",
            "complex",
            "no_channels",
            "meta",
            "sparse",
        ]
    )
    assert code == 0
    (path,) = tmp_path.glob("*.npz")
    with np.load(path) as file:
        assert {"conv", "quantized", "complex", "no_channels", "sparse"} <= set(file.files)
        assert file["quantized"].dtype == np.float32
        assert np.abs(file["quantized"] - file["conv"].clip(-12.8, 12.7)).max() <= 0.0501
        assert file["no_channels"].shape[1] == 0
        assert json.loads(str(file["fmviz"]))["converted"]["quantized"] == "qint8 as float32"
    assert "meta was left out: it is on the meta device and has no values." in capsys.readouterr().err


def test_one_picture_that_fails_unexpectedly_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "picky.py"
    path.write_text(
        "from torch import nn\n"
        "def preprocessing(picture):\n"
        "    import torch\n"
        "    if picture.width > 300:\n"
        "        raise LookupError('too wide for me')\n"
        "    return torch.zeros(1, 3, 8, 8)\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    small = tmp_path / "small.png"
    import PIL.Image

    PIL.Image.new("RGB", (20, 20)).save(small)
    code = main(
        [
            "export",
            str(CAT),
            str(small),
            "-o",
            str(tmp_path / "out"),
            "--model",
            f"{path}:build",
            "--trust",
            "--layers",
            "0",
            "--device",
            "cpu",
        ]
    )
    assert code == 1
    assert len(list((tmp_path / "out/small").iterdir())) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "too wide for me" in line


def test_quantized_activations_are_drawn_by_their_values():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.q(torch.quantize_per_tensor(x, 0.1, 128, torch.quint8)).dequantize()

    x = torch.randn(1, 3, 16, 16)
    activation = capture_activations(Net(), x)["q"]
    assert activation.tensor.is_quantized
    assert activation.why_no_maps == ""
    assert torch.equal(activation.maps, activation.tensor.dequantize())
    assert reduce_channels(activation.maps, "mean").shape == (1, 16, 16)
    assert torch.equal(vector(activation.tensor), activation.tensor.dequantize().flatten())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda x: x[:, :0], "It is empty: its shape is 1 × 0 × 8 × 8."),
        (lambda x: x[..., :0], "It is empty: its shape is 1 × 3 × 8 × 0."),
        (lambda x: torch.empty(1, 3, 8, 8, device="meta"), "It has no values: it is on the meta device"),
        (torch.fft.fft2, "Its values are complex numbers"),
    ],
)
def test_activations_without_maps_give_one_reason(make, reason):
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return make(x)

    activation = capture_activations(Odd(), torch.zeros(1, 3, 8, 8))[""]
    assert activation.why_no_maps.startswith(reason)
    with pytest.raises(LayerError, match="has no maps"):
        _ = activation.maps


def test_a_model_on_the_meta_device_is_refused_in_one_sentence():
    session = Session(model=nn.Conv2d(3, 4, 3, device="meta"))
    with pytest.raises(fmviz.errors.BackboneError, match="on the meta device and have no values: load weights first"):
        session.run(torch.zeros(1, 3, 8, 8))
    assert session.table(8).totals.parameters == 112


def test_omitted_outputs_are_notes_of_an_export(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return nn.ReLU()(self.conv(x))\n"
        "def build():\n"
        "    return Net()\n"
    )
    code = main(
        ["export", str(CAT), "-o", str(tmp_path / "out"), "--model", f"{path}:build", "--trust", "--layers", "conv"]
    )
    assert code == 0
    assert (
        "ReLU was left out: the forward of the network calls a ReLU that is not registered" in capsys.readouterr().err
    )


def test_a_failing_layer_is_told_from_one_without_maps(tmp_path):
    class Broken(Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func in (Tensor.to, Tensor.amin):
                raise RuntimeError("no")
            return super().__torch_function__(func, types, args, kwargs or {})

    class Net(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x, x.as_subclass(Broken), x[:, :0]]

    capture = capture_activations(Net(), torch.rand(1, 3, 8, 8))
    records = list(export(capture, {}, layers="*", folder=tmp_path))
    assert [(record.path is not None, record.failed) for record in records] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert records[1].note == "(output)[1] could not be exported: RuntimeError: no."
