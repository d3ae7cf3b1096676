"""What the state wants of the engine, and which layer of a new run is shown."""

from __future__ import annotations

import msgspec

from fmviz.app.state import Store, ViewState, layer_to_keep
from fmviz.app.views.grid_layout import GridView
from fmviz.app.wanted import MapsWanted, channel_wanted, maps_wanted, remedies, run_wanted, taps_wanted, vector_wanted
from fmviz.engine.messages import LayerInfo, PictureSource, Ran, Setup, WeightsInfo
from fmviz.geometry import Geometry


def layer(name: str, stride: float | None, taps: tuple[str, ...] = ()) -> LayerInfo:
    edge = int(64 / stride) if stride else 1
    shape = (1, 8, edge, edge) if stride else (1, 10)
    return LayerInfo(
        name=name,
        path=name,
        call=1,
        item="",
        kind="Conv2d",
        shape=shape,
        stride=stride,
        spatial=bool(stride),
        taps=taps,
    )


def ran(*layers: LayerInfo) -> Ran:
    return Ran(
        id=1,
        run=3,
        setup=Setup(backbone="net"),
        picture_name="a.png",
        geometry=Geometry((64, 64), (64, 64), (0, 0), (64, 64)),
        preprocessing="",
        layers=layers,
        weights=WeightsInfo(name="random", seed=0, untrained=(), notes=()),
        predictions=(),
        seconds=0.1,
        bytes=1,
        device="cpu",
    )


OLD = ran(layer("a", 4.0, ("C2",)), layer("b", 8.0, ("C3",)), layer("c", 8.0), layer("head", None))


def looking_at(name: str) -> ViewState:
    return ViewState(shown=OLD, layer=name)


def test_the_same_name_stays() -> None:
    assert layer_to_keep(looking_at("c"), ran(layer("b", 8.0, ("C3",)), layer("c", 16.0))) == "c"


def test_else_the_same_tap() -> None:
    new = ran(layer("x", 4.0), layer("y", 8.0), layer("z", 8.0, ("C3",)), layer("end", 8.0))
    assert layer_to_keep(looking_at("b"), new) == "z"


def test_else_a_level_at_the_same_stride() -> None:
    new = ran(layer("x", 8.0, ("C3",)), layer("y", 16.0, ("C4",)), layer("z", 16.0), layer("[boxes.P5]", 8.0))
    assert layer_to_keep(looking_at("c"), new) == "x"
    old = ran(layer("conv", 16.0))
    assert layer_to_keep(ViewState(shown=old, layer="conv"), new) == "y"


def test_else_c3_or_the_first_level() -> None:
    old = ViewState(shown=ran(layer("conv", 1.0)), layer="conv")
    boxes = (layer("(output)[boxes.P4]", 16.0), layer("(output)[boxes.P5]", 1.0))
    assert layer_to_keep(old, ran(layer("a", 4.0, ("C2",)), layer("b", 8.0, ("C3",)), *boxes)) == "b"
    assert layer_to_keep(old, ran(layer("x", 16.0), layer("a", 16.0, ("C4",)), *boxes)) == "a"
    assert layer_to_keep(old, ran(layer("a", None, ("C5",)), layer("x", 16.0), layer("y", 1.0))) == "y"


def test_without_levels_the_deepest_at_the_same_stride() -> None:
    new = ran(layer("x", 8.0), layer("y", 8.0), layer("z", 16.0))
    assert layer_to_keep(looking_at("c"), new) == "y"


def test_else_a_stage_and_else_whatever_there_is() -> None:
    assert layer_to_keep(ViewState(), ran(layer("x", 4.0), layer("y", 8.0, ("C3",)))) == "y"
    assert layer_to_keep(ViewState(), ran(layer("head", None), layer("x", 4.0))) == "x"
    assert layer_to_keep(ViewState(), ran(layer("head", None))) == "head"
    assert layer_to_keep(ViewState(), ran()) == ""


def test_nothing_is_wanted_where_there_is_nothing() -> None:
    for wanted in (run_wanted, maps_wanted, vector_wanted, channel_wanted, taps_wanted):
        assert wanted(ViewState()) is None


def test_maps_or_a_vector_are_wanted_never_both() -> None:
    for info in OLD.layers:
        state = looking_at(info.name)
        assert (maps_wanted(state) is None) != (vector_wanted(state) is None)
        assert (channel_wanted(state) is None) != info.spatial


def test_colours_order_and_smoothing_want_nothing_new() -> None:
    state = looking_at("b")
    other = msgspec.structs.replace(state, colour_map="inferno", order="mean", smooth=True, opacity=0.3)
    for wanted in (run_wanted, maps_wanted, channel_wanted, taps_wanted):
        assert wanted(state) == wanted(other)


def test_finer_maps_serve_where_coarser_are_wanted() -> None:
    fine, coarse = MapsWanted(1, "a", "map", 1, 100, (10, 10)), MapsWanted(1, "a", "map", 2, 25, (10, 10))
    assert coarse.served_by(fine)
    assert not fine.served_by(coarse)
    assert not coarse.served_by(msgspec.structs.replace(fine, layer="b"))
    assert not coarse.served_by(msgspec.structs.replace(fine, run=2))
    assert not fine.served_by(None)


def test_zooming_in_wants_finer_maps() -> None:
    large = LayerInfo(
        name="l", path="l", call=1, item="", kind="Conv2d", shape=(1, 64, 512, 512), stride=1.0, spatial=True
    )
    state = ViewState(shown=ran(large), layer="l", grid_view=GridView(500, 400, 3, 1.0))
    near = msgspec.structs.replace(state, grid_view=GridView(500, 400, 3, 8.0))
    far, fine = maps_wanted(state), maps_wanted(near)
    assert far is not None
    assert fine is not None
    assert far.step > fine.step >= 1


def test_the_store_speaks_once_a_change_and_not_without() -> None:
    store, heard = Store(), []
    store.changed.connect(lambda old, new: heard.append((old.channel, new.channel)))
    store.update(channel=2)
    store.update(channel=2)
    assert heard == [(0, 2)]


def test_the_picture_that_is_wanted_with_its_setup() -> None:
    source = PictureSource(name="a.png", path="a.png")
    wanted = run_wanted(ViewState(sources=(source,), setup=Setup(backbone="net")))
    assert wanted is not None
    assert (wanted.source, wanted.setup.backbone) == (source, "net")


def test_every_error_has_a_remedy_that_is_an_action() -> None:
    from fmviz.app.actions import ACTIONS

    names = {row.name for row in ACTIONS}
    for kind in ("PictureError", "WeightsError", "BackboneError", "DeviceError", "EngineError", "Unexpected"):
        for device in ("cpu", "cuda:0"):
            found = remedies(kind, Setup(backbone="net", device=device))
            assert found
            assert set(found) <= names
