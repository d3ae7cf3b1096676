"""How long layers take: of the right calls, by medians, and with the model left as it was."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from fmviz.errors import Cancelled, ForwardError
from fmviz.timing import WARM_UP, Timing, time_layers


class Waiting(nn.Module):
    """Takes so long, by the clock that is measured with."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return x


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.once, self.never = Waiting(0.004), Waiting(0.002), Waiting(1.0)
        self.inner = nn.Sequential(Waiting(0.001))

    def forward(self, x: Tensor) -> Tensor:
        put: Tensor = self.inner(self.once(self.twice(self.twice(x))))
        return put


def test_calls_are_summed_and_children_are_in_their_parents() -> None:
    timing = time_layers(Outer(), torch.zeros(1), rounds=5)
    seconds = timing.seconds
    assert set(seconds) == {"", "twice", "once", "inner", "inner.0"}
    assert seconds["twice"] >= 0.008
    assert seconds["once"] >= 0.002
    assert seconds["inner"] >= seconds["inner.0"] >= 0.001
    assert timing.total >= seconds["twice"] + seconds["once"] + seconds["inner"]
    assert timing.rounds == 5
    assert timing.device == "cpu"


def test_what_is_ones_own_is_without_the_children() -> None:
    timing = time_layers(Outer(), torch.zeros(1), rounds=3)
    assert timing.own["inner"] < timing.own["inner.0"]
    assert timing.own[""] < timing.own["twice"]
    assert timing.own["twice"] == timing.seconds["twice"]
    assert sum(map(timing.share, ("twice", "once", "inner"))) <= 1
    assert timing.share("never") == 0


def test_a_slow_round_is_no_median() -> None:
    class Once(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            put: Tensor = Waiting(0.05 if self.calls == WARM_UP + 1 else 0.0)(x)
            return put

    assert time_layers(Once(), torch.zeros(1), rounds=3).total < 0.05


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.ReLU(inplace=True)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(2, 3, 4, 4)
    given = x.clone()
    time_layers(model, x, rounds=2)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(x, given)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_progress_and_cancel() -> None:
    told: list[tuple[int, int]] = []
    model = nn.Sequential(nn.Identity())
    time_layers(model, torch.zeros(1), rounds=3, progress=lambda done, of: told.append((done, of)))
    assert told == [(number + 1, 3 + WARM_UP) for number in range(3 + WARM_UP)]
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 4

    with pytest.raises(Cancelled):
        time_layers(model, torch.zeros(1), rounds=100, cancelled=cancelled)
    assert len(asked) == 5
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_that_raises() -> None:
    with pytest.raises(ForwardError, match="Linear"):
        time_layers(nn.Sequential(nn.Linear(3, 4)), torch.zeros(1, 5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_by_the_devices_clock() -> None:
    timing = time_layers(nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU()).cuda(), torch.zeros(1, 3, 512, 512).cuda())
    assert isinstance(timing, Timing)
    assert 0 < timing.seconds["0"] <= timing.total
