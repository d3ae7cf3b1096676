"""Every layer at one place of the picture."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor, nn

import fmviz.column
from fmviz.capture import Capture, capture_activations
from fmviz.column import column, largest
from fmviz.errors import LayerError
from fmviz.layers import Layer
from fmviz.session import Session


@pytest.fixture(scope="module")
def capture() -> Capture:
    session = Session("efficientnet_lite0_fpn")
    return session.run(torch.rand(1, 3, 96, 64))


def of_picture(session: Session) -> Capture:
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 255, (80, 120, 3), np.uint8)
    return session.run(pixels, preprocessing=session.preprocessing.whole(96))


def test_values_are_those_of_the_cell_that_the_place_is_in() -> None:
    capture = of_picture(Session("efficientnet_lite0_fpn"))
    assert capture.input is not None
    height, width = capture.input.geometry.input_size
    found = column(capture, width - 0.5, height / 2)
    assert len(found) == sum(1 for activation in capture.values() if not activation.why_no_maps)
    for at in found:
        maps = capture[at.layer].maps
        assert at.cell == (maps.shape[2] // 2, maps.shape[3] - 1)
        assert torch.equal(at.values, maps[0, :, at.cell[0], at.cell[1]])
        assert float(at.values.abs().max()) == abs(float(at.values[at.strongest]))
    order = list(capture)
    assert [order.index(at.layer) for at in found] == sorted(order.index(at.layer) for at in found)


def test_places_that_are_none(capture: Capture) -> None:
    with pytest.raises(LayerError, match="Session"):
        column(capture, 1.0, 1.0)
    of = of_picture(Session("resnet18", weights="random"))
    for x, y in ((-0.1, 0.0), (0.0, 1000.0), (96.0, 0.0)):
        with pytest.raises(LayerError, match="outside"):
            column(of, x, y)


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        put = x[:, :2].clone()
        put[0, 0, 0, 0] = torch.nan
        put[0, 1, 0, 0] = -7.0
        put[0, 1, 1, 1] = torch.inf
        return put


def test_nan_and_infinity_do_not_count() -> None:
    found = largest(capture_activations(Broken(), torch.rand(1, 3, 4, 4)))
    assert found == {Layer(""): 7.0}
    session = Session(model=Broken())
    at = column(session.run("assets/samples/chelsea.png"), 0.0, 0.0)[0]
    assert at.strongest == 1


def test_the_example_runs() -> None:
    assert doctest.testmod(fmviz.column).failed == 0
