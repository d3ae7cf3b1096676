"""The engine, served to over pipes: in a thread where a test must hold the network, and as a real process."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import queue
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import msgspec
import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiffs import BLACK_IS_ZERO, tiff
from torch import nn

import fmviz
from fmviz.assets import asset
from fmviz.capture import Activation
from fmviz.column import column
from fmviz.engine import contents
from fmviz.engine.answers import Answers
from fmviz.engine.blocks import Blocks
from fmviz.engine.framing import Unframer, pack, reply_from
from fmviz.engine.memory import OwnMemory
from fmviz.engine.messages import (
    PROTOCOL,
    AnyRequest,
    Cancel,
    ChannelDescribed,
    ColumnRead,
    Compare,
    Compared,
    DescribeChannel,
    Devices,
    DevicesFound,
    Dropped,
    Export,
    Exported,
    Failed,
    FieldRead,
    FormatTable,
    Hello,
    InputRead,
    LayersTimed,
    MapsRendered,
    PictureRead,
    PictureSource,
    PixelRead,
    Progress,
    Ran,
    ReadColumn,
    ReadField,
    ReadInput,
    ReadPicture,
    ReadPixel,
    ReadValue,
    ReadVector,
    RenderMaps,
    RenderTaps,
    Reply,
    Run,
    Setup,
    TableFormatted,
    Tabulate,
    Tabulated,
    TapsRendered,
    TimeLayers,
    ValueRead,
    VectorRead,
    Welcome,
)
from fmviz.engine.serve import serve
from fmviz.engine.shelf import Aside
from fmviz.errors import Cancelled
from fmviz.networks import catalog
from fmviz.picture_options import PictureOptions
from fmviz.preprocess import preprocess
from fmviz.pyramid import tap_maps
from fmviz.render import render, statistics
from fmviz.session import Session
from fmviz.table import layer_table
from fmviz.trust import trust

LONG = 60.0
"""Seconds after which a test gives up. Nothing that works takes as long."""

TUNED = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
CAT = PictureSource(name="chelsea.png", path=str(asset("samples/chelsea.png")))
BROKEN = PictureSource(name="broken.png", data=b"\x89PNG\r\n\x1a\nand no more")
SMALL = Setup(backbone="efficientnet_lite0_fpn", mode="whole", side=64)


class Client:
    """The window's end of the pipes. `final` waits for the reply that ends a request and keeps all that came before."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._outgoing = outgoing
        self._arrived: queue.Queue[Reply | None] = queue.Queue()
        self._number = 0
        self.replies: list[Reply] = []
        self._reader = threading.Thread(target=self._read, args=(incoming,), daemon=True)
        self._reader.start()

    def _read(self, incoming: BinaryIO) -> None:
        unframer = Unframer()
        while data := incoming.read(1 << 16):
            for body in unframer.feed(data):
                self._arrived.put(reply_from(body))
        self._arrived.put(None)

    def number(self) -> int:
        self._number += 1
        return self._number

    def send(self, kind: Any, **fields: Any) -> int:
        request: AnyRequest = kind(id=self.number(), **fields)
        self._outgoing.write(pack(request))
        return request.id

    def final(self, number: int) -> Any:
        for reply in self.replies:
            if reply.id == number and not isinstance(reply, Progress):
                return reply
        while True:
            reply = self._next()
            assert reply is not None, f"the engine ended before it answered {number}"
            if reply.id == number and not isinstance(reply, Progress):
                return reply

    def ask(self, kind: Any, **fields: Any) -> Any:
        return self.final(self.send(kind, **fields))

    def hear_progress(self, number: int) -> None:
        """Wait until `number` is known to be worked on."""
        while not any(reply.id == number for reply in self.replies):
            assert self._next() is not None

    def close(self) -> None:
        self._outgoing.close()

    def rest(self) -> None:
        """Take in all that still comes, until the engine closes its end."""
        while self._next() is not None:
            pass

    def finals(self, number: int) -> list[Reply]:
        return [reply for reply in self.replies if reply.id == number and not isinstance(reply, Progress)]

    def _next(self) -> Reply | None:
        reply = self._arrived.get(timeout=LONG)
        if reply is not None:
            self.replies.append(reply)
        return reply


class Served:
    """The serving loop in a thread of this process."""

    def __init__(self, answers: Answers | None = None, memory: OwnMemory | None = None) -> None:
        self._memory = memory
        to_engine, to_window = os.pipe(), os.pipe()
        self._incoming = os.fdopen(to_engine[0], "rb", buffering=0)
        self._outgoing = os.fdopen(to_window[1], "wb", buffering=0)
        self._window_end = os.fdopen(to_window[0], "rb", buffering=0)
        self.client = Client(self._window_end, os.fdopen(to_engine[1], "wb", buffering=0))
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: Answers | None) -> None:
        serve(self._incoming, self._outgoing, answers, memory=self._memory)
        self._outgoing.close()

    def end(self) -> None:
        self.client.close()
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        self.client.rest()
        self._window_end.close()
        self._incoming.close()


class Child:
    """An engine in a process of its own."""

    def __init__(self, arguments: list[str], errors: Path, *, descriptors: tuple[int, ...] = ()) -> None:
        self._errors = errors
        with open(errors, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                bufsize=0,
                pass_fds=descriptors,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.client = Client(self.process.stdout, self.process.stdin)

    @property
    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8")

    def end(self) -> int:
        try:
            self.client.close()
            return self.process.wait(LONG)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.client._reader.join(LONG)
            self.process.stdout.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[Child]:
    child = Child(["-m", "fmviz", "engine"], tmp_path_factory.mktemp("engine") / "errors")
    yield child
    assert child.end() == 0
    assert child.errors == ""


@pytest.fixture(scope="module")
def client(engine) -> Client:
    return engine.client


@pytest.fixture(scope="module")
def ran(client) -> Ran:
    return client.ask(Run, source=CAT, setup=SMALL)


@pytest.fixture(scope="module")
def capture():
    """What the engine's capture must be equal to."""
    session = Session("efficientnet_lite0_fpn")
    return session.run(CAT.path, preprocessing=session.preprocessing.whole(64))


class Shared:
    """A block as the window lends it: a file that both sides map."""

    def __init__(self, path: Path, size: int) -> None:
        self.name = str(path)
        with open(path, "w+b") as file:
            file.truncate(size)
            self._mapped = mmap.mmap(file.fileno(), size)

    def array(self, shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
        return np.frombuffer(self._mapped, np.uint8, int(np.prod(shape)), offset).reshape(shape)


@pytest.fixture
def block(tmp_path) -> Shared:
    return Shared(tmp_path / "block", 1 << 22)


def carried(pixels) -> np.ndarray:
    return np.frombuffer(pixels.data, np.uint8).reshape(pixels.shape)


# A real process, request by request


def test_the_first_word_says_who_is_there(engine, client):
    welcome = client.ask(Hello)
    assert isinstance(welcome, Welcome)
    assert (welcome.protocol, welcome.process) == (PROTOCOL, engine.process.pid)


def test_devices_and_backbones_are_listed(client):
    found = client.ask(Devices)
    assert isinstance(found, DevicesFound)
    assert found.devices[0] == "cpu"
    assert found.torch == str(torch.__version__)
    assert tuple(row.name for row in found.backbones) == catalog.backbones()
    assert found.backbones[0].pyramid


def test_a_picture_is_read_small_enough_into_a_block_or_into_the_reply(client, block):
    carries = client.ask(ReadPicture, source=CAT, limit=100)
    assert isinstance(carries, PictureRead)
    assert (carries.name, carries.size, max(carries.pixels.shape)) == ("chelsea.png", (300, 451), 100)
    shared = client.ask(ReadPicture, source=CAT, limit=100, block=block.name)
    assert shared.pixels.data == b""
    assert np.array_equal(block.array(shared.pixels.shape), carried(carries.pixels))


def test_a_picture_may_come_as_bytes(client):
    source = PictureSource(name="pasted", data=Path(CAT.path).read_bytes())
    read = client.ask(ReadPicture, source=source, limit=32)
    assert (read.name, read.sha256) == ("pasted", client.ask(ReadPicture, source=CAT, limit=32).sha256)


def test_a_picture_is_read_with_its_options_and_read_again_where_they_change(client, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (60, 80, 8), dtype=np.uint16)
    values[0, 0], values[0, 1] = 0, 4095
    path = tmp_path / "eight.tif"
    path.write_bytes(tiff(values, BLACK_IS_ZERO, extra=[0] * 7))
    notes = {
        PictureOptions(): "bands 1, 2, 3 of 8 as red, green, blue; values from 0 to 4095 stretched to 0–255",
        PictureOptions((4, 3, 2), stretch=False): "bands 4, 3, 2 of 8 as red, green, blue",
    }
    fed_by = Session("efficientnet_lite0_fpn").preprocessing.whole(64)
    for options, note in notes.items():
        source = PictureSource(name="eight.tif", path=str(path), options=options)
        read = client.ask(ReadPicture, source=source, limit=100)
        assert (read.bands, read.note) == (8, note)
        expected = fmviz.read_picture(path, bands=options.bands, stretch=options.stretch)
        assert np.array_equal(carried(read.pixels), expected.pixels)
        ran = client.ask(Run, source=source, setup=SMALL)
        fed = client.ask(ReadInput, run=ran.run)
        assert np.array_equal(carried(fed.pixels), preprocess(expected, fed_by).pixels())


def test_a_run_tells_all_that_the_window_shows_of_it(ran, capture):
    assert isinstance(ran, Ran)
    assert [layer.name for layer in ran.layers] == [str(layer) for layer in capture]
    assert [layer.shape for layer in ran.layers] == [tuple(capture[layer].tensor.shape) for layer in capture]
    named = {tap: layer.name for layer in ran.layers for tap in layer.taps}
    assert named == {tap: str(activation.layer) for tap, activation in capture.taps.items()}
    assert ran.geometry == capture.input.geometry
    assert [name for name, _ in ran.predictions] == [name for name, _ in capture.predictions]
    assert (ran.weights.untrained, ran.weights.trained_on) == ((), "drawn shapes")
    assert ran.setup == SMALL
    strides = {tap: layer.stride for layer in ran.layers for tap in layer.taps}
    assert [strides[f"P{level}"] for level in range(2, 6)] == [4, 8, 16, 32]


def test_omitted_outputs_are_notes_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        for kind in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.ELU):\n"
        "            x = kind()(super().forward(x))\n"
        "        return x\n"
        "def build():\n"
        "    return Net(nn.Conv2d(3, 3, 1))\n"
    )
    trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    served = Served()
    found = served.client.ask(Run, source=CAT, setup=Setup(backbone=f"own:{path}:build", mode="whole", side=32))
    served.end()
    assert isinstance(found, Ran), found
    first, second, more = found.notes
    assert first.startswith("ReLU was left out: the forward of the network calls a ReLU that is not registered")
    assert second.startswith("Tanh was left out")
    assert more.startswith("2 more outputs were left out")


@pytest.mark.parametrize("normalisation", ["map", "layer", "symmetric"])
def test_maps_are_those_that_the_library_renders(client, ran, capture, block, normalisation):
    layer = str(capture.taps["C3"].layer)
    expected = render(capture[layer].tensor, normalisation=normalisation)
    shared = client.ask(RenderMaps, run=ran.run, layer=layer, normalisation=normalisation, block=block.name)
    assert isinstance(shared, MapsRendered)
    assert shared.pixels.data == b""
    assert np.array_equal(block.array(shared.pixels.shape), expected.pixels)
    carries = client.ask(RenderMaps, run=ran.run, layer=layer, normalisation=normalisation)
    assert np.array_equal(carried(carries.pixels), expected.pixels)
    limits = np.frombuffer(carries.limits, "<f8").reshape(-1, 2)
    assert np.array_equal(limits, expected.limits)


def test_some_channels_every_second_pixel_and_a_reduction(client, ran, capture):
    some = client.ask(RenderMaps, run=ran.run, layer="body.stem", channels=(3, 1), step=2)
    expected = render(capture["body.stem"].tensor, channels=(3, 1), step=2)
    assert np.array_equal(carried(some.pixels), expected.pixels)
    assert not some.statistics, "they are those of all channels, and were sent with all"
    one = client.ask(RenderMaps, run=ran.run, layer="body.stem", reduction="max")
    assert np.array_equal(carried(one.pixels), render(capture["body.stem"].tensor, reduction="max").pixels)


def test_the_named_maps_are_packed_one_after_the_other(client, ran, capture, block):
    for wanted in ({"reduction": "l2", "scale": "row"}, {"reduction": None, "channel": 7}):
        reply = client.ask(RenderTaps, run=ran.run, block=block.name, **wanted)
        assert isinstance(reply, TapsRendered)
        expected = tap_maps(capture, **wanted)
        assert [tap.tap for tap in reply.taps] == list(expected)
        for tap in reply.taps:
            assert np.array_equal(block.array(tap.shape, tap.offset), expected[tap.tap].pixels[0])
            assert tap.limits == pytest.approx(tuple(expected[tap.tap].limits[0]), rel=1e-6)
        carries = client.ask(RenderTaps, run=ran.run, **wanted)
        last = carries.taps[-1]
        end = last.offset + int(np.prod(last.shape))
        assert len(carries.data) == end
        assert carries.data == block.array((end,)).tobytes()


def test_a_value_is_the_true_float(client, ran, capture):
    tensor = capture["body.stem"].tensor
    value = client.ask(ReadValue, run=ran.run, layer="body.stem", channel=5, row=3, column=11)
    assert isinstance(value, ValueRead)
    assert value.value == float(tensor[0, 5, 3, 11])
    mean = client.ask(ReadValue, run=ran.run, layer="body.stem", channel=0, row=3, column=11, reduction="mean")
    assert mean.value == pytest.approx(float(tensor[0, :, 3, 11].mean()), rel=1e-5)


@pytest.mark.parametrize(("channel", "row", "column"), [(5, -1, 0), (5, 0, 10_000), (10_000, 0, 0)])
def test_a_place_that_is_not_there_has_no_value(client, ran, channel, row, column):
    failed = client.ask(ReadValue, run=ran.run, layer="body.stem", channel=channel, row=row, column=column)
    assert (type(failed), failed.kind) == (Failed, "LayerError")


def test_a_level_of_a_pyramid_in_training_has_its_own_values(client, ran, capture, tmp_path):
    from fmviz.engine.learning import levels

    path = tmp_path / "snapshot.safetensors"
    state = Session("efficientnet_lite0_fpn").model.fpn.state_dict()
    save_file({f"fpn.{name}": 1.5 * tensor for name, tensor in state.items()}, path)
    place = {"layer": "fpn[P3]", "tap": "P3", "row": 1, "column": 2, "snapshot": str(path)}
    assert isinstance(client.ask(ReadValue, run=ran.run, channel=2, **place), Dropped), "nothing was drawn of it yet"
    assert isinstance(client.ask(RenderTaps, run=ran.run, snapshot=str(path)), TapsRendered)
    made = dict(levels(capture, str(path)))["P3"]
    value = client.ask(ReadValue, run=ran.run, channel=2, **place)
    assert value.value == pytest.approx(float(made[0, 2, 1, 2]), rel=1e-4, abs=1e-5)
    reduced = client.ask(ReadValue, run=ran.run, channel=0, reduction="l2", **place)
    assert reduced.value == pytest.approx(float(made[0, :, 1, 2].norm()), rel=1e-4)
    assert value.value != pytest.approx(float(capture.taps["P3"].tensor[0, 2, 1, 2]), rel=1e-3)


def test_pixels_of_the_picture_and_of_the_input(client, ran, capture):
    for row, across in ((0, 0), (30, 37)):
        pixel = client.ask(ReadPixel, run=ran.run, row=row, column=across, picture=True)
        assert isinstance(pixel, PixelRead)
        assert pixel.values == tuple(map(float, capture.picture.pixels[row, across]))
        fed = client.ask(ReadPixel, run=ran.run, row=row, column=across)
        assert fed.values == tuple(capture.input.tensor[0, :, row, across].tolist())
    failed = client.ask(ReadPixel, run=ran.run, row=0, column=100_000)
    assert (type(failed), failed.kind) == (Failed, "LayerError")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    with PIL.Image.open(CAT.path) as cat:
        cat.convert("RGB").resize((4000, 3000)).save(path)
    return path


def test_pixels_of_a_large_jpeg_are_those_of_the_file(large, tmp_path):
    engine = Child(["-m", "fmviz", "engine"], tmp_path / "errors")
    client = engine.client
    ran = client.ask(Run, source=PictureSource(name=large.name, path=str(large)), setup=SMALL)
    asked = [client.send(ReadPixel, lane="value", run=ran.run, row=row, column=7, picture=True) for row in range(40)]
    answers = [client.final(number) for number in asked]
    assert {type(answer) for answer in answers} <= {Dropped, PixelRead}
    assert answers[-1].values == tuple(map(float, fmviz.read_picture(large).pixels[39, 7]))
    assert engine.end() == 0


def test_a_large_jpeg_is_decoded_next_to_other_requests(large):
    session = Session("efficientnet_lite0_fpn")
    capture = session.run(large, preprocessing=session.preprocessing.whole(64))
    request = ReadPixel(id=1, run=1, row=5, column=7, picture=True)
    shown, wanted = None, [True]
    first = contents.answer(request, shown, capture, Blocks(), lambda: not wanted[0])
    assert isinstance(first, Aside)
    assert not capture.picture.is_decoded
    with capture.picture._decoded._lock:  # as while another thread decodes it
        assert capture.picture.at_least(64).shape[0] < 3000
        wanted[0] = False
        with pytest.raises(Cancelled):
            first()
    wanted[0] = True
    assert first().values == tuple(map(float, capture.picture.pixels[5, 7]))
    again = contents.answer(request, shown, capture, Blocks(), lambda: False)
    assert isinstance(again, PixelRead)


def test_a_channel_is_described_by_its_histogram_and_numbers(client, ran, capture):
    described = client.ask(DescribeChannel, run=ran.run, layer="body.stem", channel=2, bins=16)
    assert isinstance(described, ChannelDescribed)
    values = capture["body.stem"].tensor[0, 2]
    counts, edges = np.frombuffer(described.counts, "<f8"), np.frombuffer(described.edges, "<f8")
    assert counts.sum() == values.numel()
    assert (len(counts), len(edges)) == (16, 17)
    assert described.statistics[:3] == pytest.approx((float(values.min()), float(values.max()), float(values.mean())))


def test_a_layer_without_maps_is_a_vector_with_a_reason(client, ran, capture):
    layer = next(name for name in map(str, capture) if capture[name].tensor.shape == (1, 1000))
    vector = client.ask(ReadVector, run=ran.run, layer=layer)
    assert isinstance(vector, VectorRead)
    assert np.allclose(np.frombuffer(vector.values, "<f8"), capture[layer].tensor[0].numpy())
    assert (vector.count, bool(vector.reason)) == (1000, True)
    failed = client.ask(RenderMaps, run=ran.run, layer=layer)
    assert (type(failed), failed.kind) == (Failed, "LayerError")


def test_what_the_network_was_fed_can_be_looked_at(client, ran, capture, block):
    shared = client.ask(ReadInput, run=ran.run, block=block.name)
    assert isinstance(shared, InputRead)
    assert np.array_equal(block.array(shared.pixels.shape), capture.input.pixels())


def test_a_network_is_tabulated_without_weights(client):
    table = client.ask(Tabulate, backbone="vgg11", size=(64, 64))
    assert isinstance(table, Tabulated)
    assert table.parameters == catalog.backbone("vgg11").parameters
    assert sum(row.own_parameters for row in table.rows) == table.rows[0].parameters == table.parameters


def test_a_table_counts_and_sees_what_the_library_does(client):
    table = client.ask(Tabulate, backbone="resnet18", size=(64, 96))
    truth = layer_table("resnet18", (64, 96))
    assert [row.path for row in table.rows] == [row.path for row in truth]
    assert (table.macs, table.capture_bytes, table.peak_bytes) == (
        truth.totals.macs,
        truth.totals.capture_bytes,
        truth.totals.peak_bytes,
    )
    row = next(row for row in table.rows if row.path == "layer2")
    assert (row.stage, row.macs, row.field, row.field_size) == ("C3", truth.row("layer2").macs, "99 × 99", (99, 99))
    relu = next(row for row in table.rows if row.calls > 1)
    assert [call.macs for call in relu.each_call] == [0] * relu.calls
    text = client.ask(FormatTable, backbone="resnet18", size=(64, 96), form="csv")
    assert (type(text), text.text) == (TableFormatted, truth.to_csv())


def test_two_networks_are_compared(client):
    found = client.ask(Compare, backbone="vgg11", other="resnet18", size=(64, 64))
    assert isinstance(found, Compared)
    whole = {row.quantity: (row.one, row.other) for row in found.rows if not row.stage}
    assert whole["parameters"] == (132863336, 11689512)
    text = client.ask(FormatTable, backbone="vgg11", other="resnet18", size=(64, 64), form="text")
    assert text.text.startswith("vgg11 and resnet18 at 64×64")
    failed = client.ask(Compare, backbone="vgg11", other="resnet18", size=(16, 16))
    assert (type(failed), failed.kind) == (Failed, "BackboneError")


def test_layers_are_timed_on_the_picture_of_the_run(client, ran):
    number = client.send(TimeLayers, run=ran.run, rounds=3)
    timed = client.final(number)
    assert isinstance(timed, LayersTimed)
    seconds = dict(zip(timed.paths, np.frombuffer(timed.seconds, "<f8"), strict=True))
    assert timed.total == seconds[""] > seconds["body.stem"] > 0
    assert (timed.rounds, timed.device) == (3, "cpu")
    told = [reply for reply in client.replies if reply.id == number and isinstance(reply, Progress)]
    assert [reply.doing for reply in told] == ["timing"] * 6
    assert [reply.fraction for reply in told] == [done / 5 for done in range(6)]


def test_what_the_cells_of_a_layer_see(client, ran, capture):
    layer = "body.stage2"
    found = client.ask(ReadField, run=ran.run, layer=layer)
    assert isinstance(found, FieldRead)
    truth = layer_table("efficientnet_lite0_fpn", capture.input.geometry.input_size).row(layer).receptive_field
    assert (found.map_size, found.unbounded, found.unknown) == (truth.map_size, truth.unbounded, "")
    assert np.array_equal(np.frombuffer(found.left, "<i4"), truth.left.ravel())
    assert np.array_equal(np.frombuffer(found.bottom, "<i4"), truth.bottom.ravel())
    assert client.ask(ReadField, run=ran.run, layer="no such").kind == "LayerError"


def test_a_column_through_all_layers(client, ran, capture):
    found = client.ask(ReadColumn, run=ran.run, x=20.5, y=10.0, channel=3)
    assert isinstance(found, ColumnRead)
    truth = column(capture, 20.5, 10.0)
    assert found.layers == tuple(str(at.layer) for at in truth)
    assert found.cells == tuple(at.cell for at in truth)
    strongest = np.frombuffer(found.strongest_channels, "<i4")
    assert strongest.tolist() == [at.strongest for at in truth]
    values = np.frombuffer(found.strongest, "<f8")
    assert values.tolist() == [float(at.values[at.strongest]) for at in truth]
    chosen = np.frombuffer(found.chosen, "<f8")
    assert chosen.tolist() == [float(at.values[3]) for at in truth]
    highest = np.frombuffer(found.largest, "<f8")
    assert (np.abs(values) <= highest).all()
    assert np.isnan(np.frombuffer(client.ask(ReadColumn, run=ran.run, x=0.0, y=0.0, channel=100).chosen, "<f8")[0])
    assert client.ask(ReadColumn, run=ran.run, x=1e4, y=0.0, channel=0).kind == "LayerError"


def test_an_export_says_how_far_it_is_and_keeps_its_numbers(client, ran, tmp_path):
    number = client.send(Export, run=ran.run, layers=("C?", "P?"), folder=str(tmp_path), form="grid")
    exported = client.final(number)
    assert isinstance(exported, Exported)
    fractions = [reply.fraction for reply in client.replies if reply.id == number and isinstance(reply, Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert exported.files == len(list(tmp_path.iterdir())) == 9


def test_a_pyramid_is_exported_as_one_file_that_says_how_it_was_made(client, ran, tmp_path):
    exported = client.ask(Export, run=ran.run, layers=(), folder=str(tmp_path), form="grid", pyramid=True)
    (file,) = tmp_path.iterdir()
    assert exported.files == 1
    with PIL.Image.open(file) as image:
        facts = json.loads(image.text["fmviz"])
    assert facts["network"] == "efficientnet_lite0_fpn"
    assert str(tmp_path) not in json.dumps(facts)


def test_an_export_to_where_nothing_can_be_written_fails_with_the_reason(client, ran, tmp_path):
    (tmp_path / "file").write_text("in the way")
    failed = client.ask(Export, run=ran.run, layers=("P3",), folder=str(tmp_path / "file"), form="npz")
    assert (type(failed), failed.kind) == (Failed, "ExportError")


def test_a_block_that_is_too_small_or_gone_is_an_error_and_no_crash(client, ran, tmp_path):
    small = Shared(tmp_path / "small", 16)
    failed = client.ask(RenderMaps, run=ran.run, layer="body.stem", block=small.name)
    assert (type(failed), failed.kind) == (Failed, "EngineError")
    gone = client.ask(RenderMaps, run=ran.run, layer="body.stem", block=str(tmp_path / "gone"))
    assert isinstance(gone, Failed)
    assert isinstance(client.ask(Hello), Welcome)


def test_what_is_asked_of_a_run_that_was_never_made_is_dropped(client, ran):
    for kind, fields in (
        (RenderMaps, {"layer": "body.stem"}),
        (RenderTaps, {}),
        (ReadValue, {"layer": "body.stem", "channel": 0, "row": 0, "column": 0}),
        (ReadInput, {}),
        (Export, {"layers": ("*",), "folder": "nowhere", "form": "npz"}),
    ):
        assert isinstance(client.ask(kind, run=ran.run + 100, **fields), Dropped)


def unfitting(folder: Path) -> str:
    path = folder / "other.pth"
    torch.save({"some.weight": torch.zeros(3)}, path)
    return str(path)


def test_a_run_that_fails_says_why_and_leaves_the_former_one(client, ran, tmp_path):
    before = client.ask(RenderMaps, run=ran.run, layer="body.stem")
    for kind, source, setup in (
        ("PictureError", BROKEN, SMALL),
        ("PictureError", PictureSource(name="no.png", path=str(tmp_path / "no.png")), SMALL),
        ("BackboneError", CAT, Setup(backbone="resnet51")),
        ("WeightsError", CAT, Setup(backbone="resnet18", weights=unfitting(tmp_path))),
        ("DeviceError", CAT, Setup(backbone="resnet18", device="cuda:77")),
        ("BackboneError", CAT, Setup(backbone="vgg11", side=16)),
    ):
        failed = client.ask(Run, source=source, setup=setup)
        assert (type(failed), failed.kind) == (Failed, kind)
        assert failed.message.endswith((".", "?"))
        assert "\n" not in failed.message
    after = client.ask(RenderMaps, run=ran.run, layer="body.stem")
    assert after.pixels.data == before.pixels.data


# Networks that do what a test needs


class Eventful(nn.Module):
    """Two convolutions; `between` is called when the first has run."""

    between = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 6, 3, stride=2)

    def forward(self, x):
        x = self.first(x)
        type(self).between()
        return self.second(x)


TINY = Setup(backbone="eventful", mode="whole", side=16)


@pytest.fixture
def eventful(monkeypatch) -> type[Eventful]:
    row = replace(
        catalog.backbone("resnet18"), name="eventful", build=Eventful, offers=(), find_taps=lambda: {"C2": "second"}
    )
    monkeypatch.setattr(catalog, "_CATALOG", MappingProxyType({**catalog._CATALOG, "eventful": row}))
    monkeypatch.setattr(Eventful, "between", staticmethod(lambda: None))
    return Eventful


@pytest.fixture
def served(eventful) -> Iterator[Served]:
    served = Served()
    yield served
    served.end()


class Gate:
    """Holds a forward between two layers until it is let on."""

    def __init__(self, model: type[Eventful], monkeypatch) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        monkeypatch.setattr(model, "between", staticmethod(self._pass))

    def _pass(self) -> None:
        self._entered.set()
        assert self._open.wait(LONG)

    def reached(self) -> None:
        assert self._entered.wait(LONG)

    def open(self) -> None:
        self._open.set()


def test_a_cancel_in_the_middle_of_a_forward_drops_it_and_the_next_run_works(served, eventful, monkeypatch):
    client, gate = served.client, Gate(eventful, monkeypatch)
    number = client.send(Run, source=CAT, setup=TINY)
    gate.reached()
    assert isinstance(client.ask(Cancel, target=number), Dropped)
    gate.open()
    assert isinstance(client.final(number), Dropped)
    assert isinstance(client.ask(Run, source=CAT, setup=TINY), Ran)


def test_a_cancelled_run_leaves_the_former_one(served, eventful, monkeypatch):
    client = served.client
    first = client.ask(Run, source=CAT, setup=TINY)
    before = client.ask(RenderMaps, run=first.run, layer="second")
    gate = Gate(eventful, monkeypatch)
    number = client.send(Run, source=CAT, setup=replace_setup(TINY, side=24))
    gate.reached()
    client.ask(Cancel, target=number)
    gate.open()
    assert isinstance(client.final(number), Dropped)
    assert client.ask(RenderMaps, run=first.run, layer="second").pixels == before.pixels


def replace_setup(setup: Setup, **changes: Any) -> Setup:
    return Setup(**{name: getattr(setup, name) for name in setup.__struct_fields__} | changes)


def test_the_former_run_is_there_even_when_its_picture_is_not(served, eventful, monkeypatch, tmp_path):
    client, path = served.client, tmp_path / "cat.png"
    shutil.copy(CAT.path, path)
    source = PictureSource(name="cat.png", path=str(path))
    first = client.ask(Run, source=source, setup=TINY)
    before = client.ask(RenderMaps, run=first.run, layer="second")

    def fail(self, x):
        path.write_bytes(b"another program is writing this")
        monkeypatch.undo()
        raise ValueError("not this time")

    with monkeypatch.context() as monkeypatch:
        monkeypatch.setattr(eventful, "forward", fail)
        failed = client.ask(Run, source=source, setup=TINY)
    assert (type(failed), failed.kind) == (Failed, "ForwardError")
    assert client.ask(RenderMaps, run=first.run, layer="second").pixels == before.pixels


def test_a_forward_that_stops_half_way_is_shown_up_to_there(served, eventful, monkeypatch):
    def fail() -> None:
        raise ValueError("no further")

    monkeypatch.setattr(eventful, "between", staticmethod(fail))
    ran = served.client.ask(Run, source=CAT, setup=TINY)
    assert isinstance(ran, Ran)
    assert [layer.name for layer in ran.layers] == ["first"]
    assert "no further" in ran.stopped
    assert isinstance(served.client.ask(RenderMaps, run=ran.run, layer="first"), MapsRendered)


def test_in_a_lane_the_newest_request_wins(served, eventful, monkeypatch):
    client = served.client
    first = client.ask(Run, source=CAT, setup=TINY)
    gate = Gate(eventful, monkeypatch)
    running = client.send(Run, source=CAT, setup=TINY)
    gate.reached()
    wanted = {"run": first.run + 1, "layer": "second"}
    old, older = (client.send(RenderMaps, lane="maps", **wanted) for _ in range(2))
    other = client.send(RenderMaps, lane="channel", **wanted)
    newest = client.send(RenderMaps, lane="maps", **wanted)
    assert isinstance(client.final(old), Dropped)
    assert isinstance(client.final(older), Dropped)
    gate.open()
    assert isinstance(client.final(running), Ran)
    assert isinstance(client.final(newest), MapsRendered)
    assert isinstance(client.final(other), MapsRendered)


def test_a_newer_run_of_a_lane_breaks_the_older_one_off(served, eventful, monkeypatch):
    client, gate = served.client, Gate(eventful, monkeypatch)
    older = client.send(Run, source=CAT, setup=TINY, lane="run")
    gate.reached()
    newer = client.send(Run, source=CAT, setup=replace_setup(TINY, side=20), lane="run")
    # The mailbox has the newer one when what came after it is answered.
    assert isinstance(client.ask(Cancel, target=0), Dropped)
    gate.open()
    assert isinstance(client.final(older), Dropped)
    assert client.final(newer).setup.side == 20


def test_an_export_is_cancelled_between_two_files_and_browsing_goes_on_meanwhile(served, tmp_path, monkeypatch):
    client = served.client
    run = client.ask(Run, source=CAT, setup=TINY).run
    entered, let_on = threading.Event(), threading.Event()
    import fmviz.exporting

    whole = fmviz.exporting.export

    def halting(*args, **options):
        for record in whole(*args, **options):
            yield record
            entered.set()
            assert let_on.wait(LONG)

    monkeypatch.setattr(fmviz.exporting, "export", halting)
    number = client.send(Export, run=run, layers=("*",), folder=str(tmp_path), form="maps", lane="export")
    client.hear_progress(number)
    assert entered.wait(LONG)
    value = client.send(ReadValue, run=run, layer="second", channel=0, row=0, column=0)
    assert isinstance(client.ask(Cancel, target=number), Dropped)
    let_on.set()
    assert isinstance(client.final(number), Dropped)
    assert isinstance(client.final(value), ValueRead)
    written = list(tmp_path.iterdir())
    assert 1 <= len(written) < 4 + 2 * 6
    for path in written:
        with PIL.Image.open(path) as image:
            image.load()


def test_what_nobody_expected_is_told_with_its_traceback_and_the_engine_goes_on(served, monkeypatch):
    def surprise(*args: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(Answers, "_read_picture", surprise)
    failed = served.client.ask(ReadPicture, source=CAT, limit=10)
    assert (type(failed), failed.kind) == (Failed, "Unexpected")
    assert "surprise" in failed.message
    assert "Traceback" in failed.details
    assert isinstance(served.client.ask(Hello), Welcome)


def test_memory_that_gives_out_is_an_error_of_the_device(served, monkeypatch):
    def too_much(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Answers, "_read_picture", too_much)
    failed = served.client.ask(ReadPicture, source=CAT, limit=64)
    assert (type(failed), failed.kind) == (Failed, "DeviceError")


def test_a_run_past_the_memory_budget_is_refused_before_it_begins(served, monkeypatch):
    monkeypatch.setattr("fmviz.memory.free_bytes", lambda device: 1_000_000)
    failed = served.client.ask(Run, source=CAT, setup=Setup(backbone="resnet18", mode="whole", side=2048))
    assert (type(failed), failed.kind) == (Failed, "DeviceError")
    assert "choose a smaller size" in failed.message


def test_a_window_that_hears_no_more_ends_the_loop(eventful):
    to_engine, to_window = os.pipe(), os.pipe()
    with os.fdopen(to_engine[0], "rb", 0) as incoming, os.fdopen(to_window[1], "wb", 0) as outgoing:
        loop = threading.Thread(target=serve, args=(incoming, outgoing), daemon=True)
        loop.start()
        os.close(to_window[0])
        os.write(to_engine[1], pack(Hello(id=1)) + pack(Hello(id=2)))
        loop.join(LONG)
        assert not loop.is_alive()
        os.close(to_engine[1])


# Every request gets exactly one final reply

SOURCES = st.sampled_from([CAT, CAT, BROKEN])
LANES = st.sampled_from(["", "maps", "run"])
RUNS = st.integers(1, 4)
CHANNELS = st.integers(-1, 8)
LAYERS = st.sampled_from(["first", "second", "(output)", "no such"])
SETUPS = st.sampled_from([TINY, replace_setup(TINY, seed=1), replace_setup(TINY, backbone="no such")])
REQUESTS = st.one_of(
    st.builds(Hello, id=st.just(0), lane=LANES),
    st.builds(Run, id=st.just(0), lane=LANES, source=SOURCES, setup=SETUPS),
    st.builds(ReadPicture, id=st.just(0), lane=LANES, source=SOURCES, limit=st.just(20)),
    st.builds(RenderMaps, id=st.just(0), lane=LANES, run=RUNS, layer=LAYERS, step=st.integers(0, 3)),
    st.builds(
        RenderTaps, id=st.just(0), lane=LANES, run=RUNS, channel=CHANNELS, reduction=st.sampled_from([None, "l2"])
    ),
    st.builds(ReadValue, id=st.just(0), run=RUNS, layer=LAYERS, channel=CHANNELS, row=CHANNELS, column=CHANNELS),
    st.builds(DescribeChannel, id=st.just(0), run=RUNS, layer=LAYERS, channel=CHANNELS),
    st.builds(ReadVector, id=st.just(0), run=RUNS, layer=LAYERS),
    st.builds(ReadInput, id=st.just(0), run=RUNS),
    st.builds(ReadField, id=st.just(0), run=RUNS, layer=LAYERS),
    st.builds(ReadColumn, id=st.just(0), run=RUNS, x=st.floats(), y=st.floats(), channel=CHANNELS),
    st.builds(TimeLayers, id=st.just(0), lane=LANES, run=RUNS, rounds=st.integers(-1, 2)),
    st.builds(
        Export, id=st.just(0), lane=LANES, run=RUNS, layers=st.just(("*",)), folder=st.just("?"), form=st.just("maps")
    ),
    st.builds(Cancel, id=st.just(0), target=st.integers(1, 12)),
)


@given(requests=st.lists(REQUESTS, min_size=1, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_request_gets_exactly_one_final_reply(eventful, tmp_path, requests):
    served = Served()
    client = served.client
    numbers = []
    for request in requests:
        fields = {name: getattr(request, name) for name in request.__struct_fields__ if name != "id"}
        if "folder" in fields:
            fields["folder"] = str(tmp_path)
        numbers.append(client.send(type(request), **fields))
    for number in numbers:
        client.final(number)
    served.end()
    assert [len(client.finals(number)) for number in numbers] == [1] * len(numbers)


# A stream that is no protocol, and one that ends

GARBAGE = {
    "text": b"GET / HTTP/1.1\r\n\r\n" * 4,
    "another message": pack(Welcome(id=1, protocol=1, version="", process=1)),
    "no utf-8": (16).to_bytes(4, "little") + b"\x82\xa4type\xa5Hel\xff\xfe\xa2id\x01",
    "a thousand brackets": (5017).to_bytes(4, "little")
    + b"\x83\xa4type\xa5Hello\xa2id\x01\xa1x"
    + b"\x91" * 4999
    + b"\x01",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_the_loop_with_one_line_on_stderr(garbage, capsys):
    outgoing = io.BytesIO()
    serve(io.BytesIO(garbage), outgoing)
    printed = capsys.readouterr()
    assert outgoing.getvalue() == b""
    assert printed.out == ""
    assert printed.err.startswith("fmviz engine: what came in is not the protocol")
    assert printed.err.count("\n") == 1


def test_a_process_that_is_fed_garbage_ends_by_itself(tmp_path):
    child = Child(["-m", "fmviz", "engine"], tmp_path / "errors")
    try:
        child.client._outgoing.write(b"\xff" * 64)
        assert child.process.wait(LONG) == 0
        child.client.rest()
        assert child.client.replies == []
        assert child.errors.count("\n") == 1
        assert "not the protocol" in child.errors
    finally:
        child.end()


STUBBORN = textwrap.dedent("""
    import os, sys, threading
    from dataclasses import replace
    from types import MappingProxyType
    from torch import nn
    from fmviz.networks import catalog
    from fmviz.engine.serve import serve_standard_streams

    class Chatty(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            print("from a model")
            sys.stdout.write("and once more\\n")
            os.write(1, b"from C, straight to the descriptor\\n")
            assert sys.stdin.read() == ""
            return self.first(x)

    class Endless(Chatty):
        def forward(self, x):
            os.write(int(sys.argv[1]), b"!")
            while True:
                self.first(x)

    class Deaf(Chatty):
        def forward(self, x):
            os.write(int(sys.argv[1]), b"!")
            threading.Event().wait(600)

    own = catalog.backbone("resnet18")
    rows = {
        kind.__name__: replace(own, name=kind.__name__, build=kind, offers=(), find_taps=dict)
        for kind in (Chatty, Endless, Deaf)
    }
    catalog._CATALOG = MappingProxyType({**catalog._CATALOG, **rows})
    serve_standard_streams()
""")


def stubborn(tmp_path: Path, signal: int | None = None) -> Child:
    """An engine with these networks; two of them write to the descriptor `signal` when they are in their forward."""
    script = tmp_path / "engine.py"
    script.write_text(STUBBORN, encoding="utf-8")
    signals = () if signal is None else (signal,)
    return Child([str(script), *map(str, signals)], tmp_path / "errors", descriptors=signals)


def test_what_a_model_prints_does_not_break_the_protocol(tmp_path):
    child = stubborn(tmp_path)
    try:
        ran = child.client.ask(Run, source=CAT, setup=Setup(backbone="Chatty", mode="whole", side=16))
        assert isinstance(ran, Ran)
        assert isinstance(child.client.ask(RenderMaps, run=ran.run, layer="first"), MapsRendered)
    finally:
        assert child.end() == 0
    for line in ("from a model", "and once more", "from C, straight to the descriptor"):
        assert line in child.errors


@pytest.mark.parametrize("model", ["Endless", "Deaf"])
def test_the_engine_ends_with_its_window_even_in_the_middle_of_a_layer(tmp_path, model):
    reading, writing = os.pipe()
    child = stubborn(tmp_path, writing)
    os.close(writing)
    try:
        child.client.send(Run, source=CAT, setup=Setup(backbone=model, mode="whole", side=16))
        assert os.read(reading, 1) == b"!"
    finally:
        os.close(reading)
        assert child.end() == 0
    assert "Traceback" not in child.errors


WINDOW = textwrap.dedent("""
    import subprocess, sys
    from fmviz.engine.framing import pack
    from fmviz.engine.messages import Hello
    engine = subprocess.Popen([sys.executable, "-m", "fmviz", "engine"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    engine.stdin.write(pack(Hello(id=1)))
    engine.stdin.flush()
    engine.stdout.read(4)
    print("the engine is there", flush=True)
    engine.wait()
""")


def test_the_engine_ends_when_its_window_is_killed():
    window = subprocess.Popen([sys.executable, "-c", WINDOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert window.stdout is not None
        assert window.stdout.readline() == b"the engine is there\n"
        window.kill()
        # Both have this stderr: it ends when the second of them does.
        assert window.communicate(timeout=LONG)[1] == b""
    finally:
        window.kill()
        window.wait()


def test_what_will_be_asked_for_is_known_before_it_is_asked() -> None:
    """At rest, the engine finds out the numbers of the layers that nobody has looked at."""
    answers = Answers()
    assert not answers.foresee()
    run = Run(id=1, source=CAT, setup=Setup(backbone="resnet18", weights="random"))
    answers.to(run, progress=lambda *_, **__: None, cancelled=lambda: False)
    assert answers.foresee()
    shown = answers._shown
    assert shown is not None
    assert shown.capture is not None
    assert not shown.statistics, "a large layer takes more than one step"
    begun = next(iter(map(str, shown.capture)))
    answers.to(
        RenderMaps(id=2, run=1, layer=begun, normalisation="map"),
        progress=lambda *_, **__: None,
        cancelled=lambda: False,
    )
    while answers.foresee():
        pass
    assert len(shown.statistics) == sum(not found.why_no_maps for found in shown.capture.values()) > 40
    for layer in (begun, "layer2.0.relu:2"):
        known, found = shown.statistics[layer], statistics(shown.capture[layer].maps)
        for one, other in zip(msgspec.structs.astuple(known), msgspec.structs.astuple(found), strict=True):
            np.testing.assert_array_equal(one, other)


def test_at_rest_the_memory_of_former_runs_goes_back_once(monkeypatch) -> None:
    given_back: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr("fmviz.engine.serve.REST", 0.05)

    class Memory(OwnMemory):
        def __init__(self) -> None:
            """The collector of this process, which tests, is left as it is."""

        def idle(self) -> None:
            pass

        def rest(self) -> None:
            given_back.put(1)

    served = Served(memory=Memory())
    given_back.get(timeout=LONG)
    # It waits without a limit from now on: the next comes after the next request, and not before.
    assert given_back.empty()
    served.client.ask(Hello)
    given_back.get(timeout=LONG)
    served.end()
    assert given_back.empty()


def test_what_is_imported_is_not_looked_through_again() -> None:
    code = """
    import gc, sys, types
    from fmviz.engine.memory import OwnMemory
    memory = OwnMemory()
    off = not gc.isenabled()
    memory.idle()
    none = gc.get_freeze_count()
    sys.modules["torch"] = types.ModuleType("torch")
    memory.idle()
    frozen = gc.get_freeze_count()
    young = [[] for _ in range(50)]
    memory.idle()
    print(off, gc.isenabled(), none == 0 and frozen > 1000, gc.get_freeze_count() == frozen)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True"] * 4


def test_what_was_freed_is_given_back() -> None:
    """In a process whose allocator keeps all that it has had, as the engine's does."""
    code = """
    import torch
    from fmviz.engine.memory import OwnMemory
    def held():
        return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty"))
    pieces = [torch.ones(1_000_000) for _ in range(100)]
    last = torch.ones(10)
    before = held()
    del pieces
    kept = held()
    OwnMemory().rest()
    print(before - kept, before - held())
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("the allocator is that of Linux")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GLIBC_TUNABLES": TUNED},
    )
    kept, freed = map(int, ran.stdout.split())
    assert kept < 50_000
    assert freed > 350_000


def test_at_rest_no_layer_is_asked_twice_whether_it_has_maps(monkeypatch) -> None:
    """To say so may take a copy of all of it."""
    answers = Answers()
    run = Run(id=1, source=CAT, setup=Setup(backbone="resnet18", weights="random"))
    answers.to(run, progress=lambda *_, **__: None, cancelled=lambda: False)
    asked: list[Activation] = []
    real = Activation.why_no_maps.fget
    assert real is not None

    def counted(activation: Activation) -> str:
        asked.append(activation)
        return real(activation)

    monkeypatch.setattr(Activation, "why_no_maps", property(counted))
    while answers.foresee():
        pass
    shown = answers._shown
    assert shown is not None
    assert shown.capture is not None
    without = len(shown.capture) - len(shown.statistics)
    assert len(asked) <= len(shown.statistics) * (1 + without) + without
