from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmviz.engine import framing, messages
from fmviz.engine.framing import HEAD, MAXIMUM_LENGTH, ProtocolError, Unframer, pack, reply_from, request_from
from fmviz.engine.messages import Dropped, Failed, PictureSource, Progress, RenderMaps, Run, Setup

REQUESTS = [
    Run(id=1, lane="run", source=PictureSource(name="cat.png", path="/a/cat.png"), setup=Setup(backbone="vgg11")),
    RenderMaps(id=2, run=1, layer="features.0", channels=(3, 5), normalisation="fixed", limits=(-1.0, 2.0), block="/b"),
    Run(
        id=3,
        source=PictureSource(name="\udcff.png", path="/\udc80/é", data=b"\xf4\x8d\xff"),
        setup=Setup(backbone="own:\ud800"),
    ),
]
REPLIES = [
    Progress(id=1, doing="writing", name="\udcff", fraction=0.5),
    Progress(id=1, doing="loading", name="vgg11", fraction=None),
    Failed(id=2, kind="PictureError", message="no"),
    Dropped(id=3),
]


@pytest.mark.parametrize("message", REQUESTS)
def test_a_request_comes_out_as_it_went_in(message):
    assert request_from(pack(message)[HEAD.size :]) == message


@pytest.mark.parametrize("message", REPLIES)
def test_a_reply_comes_out_as_it_went_in(message):
    assert reply_from(pack(message)[HEAD.size :]) == message


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_the_stream_may_be_cut_anywhere(cuts):
    stream = b"".join(pack(message) for message in REQUESTS * 3)
    unframer, bodies, place = Unframer(), [], 0
    for cut in [*cuts, len(stream)]:
        bodies += unframer.feed(stream[place : place + cut])
        place += cut
    assert [request_from(body) for body in bodies] == REQUESTS * 3


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_and_nothing_else(data):
    for read in (request_from, reply_from):
        try:
            read(data)
        except ProtocolError:
            continue
        pytest.fail("garbage was taken for a message")


def test_a_length_beyond_belief_is_refused_before_it_is_awaited():
    with pytest.raises(ProtocolError, match="a message was announced, and"):
        Unframer().feed(HEAD.pack(MAXIMUM_LENGTH + 1, 0, 0))


@pytest.mark.parametrize("tightly", [False, True])
def test_a_bit_that_was_turned_on_its_way_is_noticed(tightly):
    message = messages.FileMade(id=1, name="a.png", data=bytes(range(256)) * 400)
    stream = pack(message, tightly=tightly)
    assert len(stream) < 20_000 or not tightly
    assert reply_from(Unframer().feed(stream)[0]) == message
    for place in (HEAD.size, HEAD.size + 700, len(stream) - 1, 4, 5, 8):
        turned = bytearray(stream)
        turned[place] ^= 4
        with pytest.raises(ProtocolError):
            Unframer().feed(bytes(turned))


def test_a_message_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(framing, "MAXIMUM_LENGTH", 1 << 20)
    body = zlib.compress(bytes(8 << 20))
    with pytest.raises(ProtocolError, match="unpacks to more"):
        Unframer().feed(HEAD.pack(len(body), zlib.crc32(body), 1) + body)


def test_a_field_of_the_wrong_type_is_refused():
    body = msgspec.msgpack.encode({"type": "Cancel", "id": 1, "target": "everything"})
    with pytest.raises(ProtocolError):
        request_from(body)


def test_every_message_is_in_one_of_the_two_unions():
    def leaves(kind):
        below = kind.__subclasses__()
        return {kind} if not below else set().union(*(leaves(child) for child in below))

    known = set(messages.AnyRequest.__args__) | set(messages.AnyReply.__args__)
    assert leaves(messages.Request) | leaves(messages.Reply) == known
