"""Whatever is done in whatever order: what is shown is what the library answers for what the window says that it shows."""

from __future__ import annotations

import functools
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from desks import OpenDesk
from driving import Desk, until
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from PySide6.QtTest import QTest

from fmviz.assets import asset
from fmviz.engine.messages import Setup
from fmviz.render import render
from fmviz.session import Session

PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg", "flower.jpg")
NETWORKS = ("efficientnet_lite0_fpn", "resnet18", "resnet34")
DOCKS = ("maps", "pyramid", "parameters", "channel", "input", "layers", "column")


@functools.cache
def session(backbone: str, weights: str, seed: int) -> Session:
    return Session(backbone, weights=weights or None, seed=seed, device="cpu")


@functools.lru_cache(maxsize=6)
def answer(name: str, backbone: str, weights: str, seed: int) -> Any:
    return session(backbone, weights, seed).run(asset(f"samples/{name}"))


def machine(desk: Desk, folder: Path) -> type[RuleBasedStateMachine]:
    """The rules, over one window that all of their courses share."""

    class Hands(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            for name in PICTURES:
                shutil.copy(asset(f"samples/{name}"), folder / name)
            # Each course begins at the same place.
            until(lambda: desk.app.link.process_id and desk.state.backbones, "an engine runs")
            desk.afresh()

        @rule(name=st.sampled_from(PICTURES))
        def open(self, name: str) -> None:
            desk.app.commands.open_paths([folder / name])

        @rule()
        def drop_ten(self) -> None:
            desk.drop([folder / PICTURES[place % len(PICTURES)] for place in range(10)])

        @rule(name=st.sampled_from(PICTURES))
        def delete_the_file(self, name: str) -> None:
            (folder / name).unlink(missing_ok=True)

        @rule(step=st.sampled_from([-1, 1]))
        def step(self, step: int) -> None:
            desk.do("next" if step > 0 else "previous")

        @rule(name=st.sampled_from(NETWORKS))
        def network(self, name: str) -> None:
            desk.app.controller.set_setup(backbone=name, weights="" if "fpn" in name else "random")

        @rule(share=st.floats(0, 0.999))
        def layer(self, share: float) -> None:
            shown = desk.state.shown
            if shown is not None:
                layers = [layer.name for layer in shown.layers if layer.spatial]
                desk.app.presenter.choose_layer(layers[int(share * len(layers))])

        @rule(channel=st.integers(0, 70), how=st.sampled_from(["map", "layer", "symmetric"]))
        def channel(self, channel: int, how: str) -> None:
            desk.app.store.update(normalisation=how)
            info = desk.state.layer_info
            if info is not None and info.spatial:
                desk.app.store.update(channel=channel % info.shape[1])

        @rule()
        def cancel(self) -> None:
            desk.do("cancel")

        @rule(name=st.sampled_from(DOCKS))
        def close_or_open_a_dock(self, name: str) -> None:
            dock = desk.window.docks[name]
            dock.setVisible(not dock.isVisible())

        @rule(theme=st.sampled_from(["light", "dark", "system"]))
        def theme(self, theme: str) -> None:
            desk.do(f"appearance_{theme}")

        @rule()
        def kill_the_engine(self) -> None:
            if desk.app.link.process_id:
                os.kill(desk.app.link.process_id, signal.SIGKILL)

        @rule(milliseconds=st.integers(0, 300))
        def wait(self, milliseconds: int) -> None:
            QTest.qWait(milliseconds)

        @rule()
        def look(self) -> None:
            check(desk)

        def teardown(self) -> None:
            check(desk)

    return Hands


FOUND: list[str] = []
"""What was wrong first: what an engine does when it is killed is not the same twice, and Hypothesis says so instead."""


def check(desk: Desk) -> None:
    try:
        compare(desk)
    except AssertionError as error:
        FOUND.append(str(error))
        raise


def compare(desk: Desk) -> None:
    for dock in desk.window.docks.values():
        dock.show()
    state = desk.state
    try:
        until(lambda: at_rest(desk), "the window comes to rest")
    except AssertionError as error:
        state = desk.state
        there = desk.maps.layer if desk.maps else None, desk.channel.layer if desk.channel else None
        raise AssertionError(
            f"{error}: {state.problems}, {state.activity}, {state.source}, {state.shown_source}, {state.setup}, "
            f"{state.shown.setup if state.shown else None}, {state.layer}, {state.channel}, {there}, "
            f"{list(desk.app.link._open)}, {desk.app.link.process_id}"
        ) from error
    state = desk.state
    shown, source = state.shown, state.shown_source
    assert shown is not None
    assert source is not None
    if (source, shown.setup) != (state.source, state.setup):
        assert state.problems, "what is wanted is not shown, and nobody says why"
    assert desk.window.windowTitle().startswith(source.name)
    setup: Setup = shown.setup
    capture = answer(source.name, setup.backbone, setup.weights, setup.seed)
    maps, channel = desk.maps, desk.channel
    assert maps is not None
    assert channel is not None
    if desk.app.controller._captured:
        assert maps.layer == channel.layer == state.layer
    else:
        assert state.problems, "the engine cannot make it again, and nobody says why"
    activation = capture[maps.layer]
    scale = state.normalisation
    if not desk.app.controller._captured:
        # Chosen after the engine was lost: the maps are those of the scale before, as their limits say.
        scale = next(
            way for way in ("map", "layer", "symmetric") if fits(maps, render(activation.maps, normalisation=way))
        )
    true = render(activation.maps, normalisation=scale)
    np.testing.assert_allclose(maps.limits, true.limits, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(
        maps.statistics.maximum,
        activation.maps.amax(dim=(1, 2) if activation.maps.dim() == 3 else (0, 2, 3)),
        rtol=2e-3,
        atol=2e-4,
    )
    there = channel.pixels.array[0].astype(int)
    if channel.layer != maps.layer:
        true = render(capture[channel.layer].maps, normalisation=scale)
    wanted = true.pixels[channel.channel].astype(int)
    assert there.shape == wanted.shape
    assert np.abs(there - wanted).max() <= 1


def fits(maps: Any, true: Any) -> bool:
    return maps.limits.shape == true.limits.shape and np.allclose(maps.limits, true.limits, rtol=2e-3, atol=2e-4)


def at_rest(desk: Desk) -> bool:
    state = desk.state
    if state.shown is None or state.activity is not None or not desk.app.link.process_id or not state.backbones:
        return False
    served = (state.shown_source, state.shown.setup) == (state.source, state.setup)
    if not served and not state.problems:
        return False
    layer = state.layer_info
    if layer is None or not layer.spatial or desk.maps is None or desk.channel is None:
        return False
    if not desk.app.controller._captured:
        # A picture that is gone cannot be run again by the next engine: what was shown stays.
        return bool(state.problems) and not desk.app.link._open
    return (
        desk.maps.layer == layer.name == desk.channel.layer
        and desk.channel.channel == min(state.channel, layer.shape[1] - 1)
        and not desk.app.link._open
    )


@pytest.mark.timeout(3000)
def test_what_is_shown_is_what_the_library_answers(open_desk: OpenDesk, tmp_path: Path, long: bool) -> None:
    desk = open_desk()
    desk.settle()
    rules = machine(desk, tmp_path)
    count, steps = (60, 40) if long else (4, 12)
    # One window for all courses: what came before belongs to a finding, and a shorter course might not have it.
    whole = settings(max_examples=count, stateful_step_count=steps, phases=(Phase.generate,), deadline=None)
    try:
        run_state_machine_as_test(rules, settings=whole)
    except Exception as error:
        raise AssertionError(f"{FOUND[:1]}") from error
    desk.close()
