"""How messages go through a pipe: framed, checked, and packed where the line is slow.

A message is a little-endian uint32, its length in bytes, their CRC-32, a byte that says whether zlib has packed them, then
one msgpack map whose `type` names the struct of `messages.py`.
"""

from __future__ import annotations

import functools
import struct
import zlib
from typing import Any

import msgspec

from fmviz.engine import odd_names
from fmviz.engine.messages import AnyReply, AnyRequest, Message

MAXIMUM_LENGTH = 1 << 30
HEAD = struct.Struct("<IIB")
"""What goes before a message: how many bytes follow, their CRC-32, and 1 where zlib has packed them, else 0."""
WORTH_PACKING = 1 << 14
_MAP_HEADS = (*range(0x80, 0x90), 0xDE)
"""Bytes with which a msgpack map begins, and so every message."""

# Of text that is no UTF-8, and of a thousand brackets, the decoder does not say it in its own errors.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ProtocolError(Exception):
    """What arrived is no message: the stream cannot be trusted from here on."""


def pack(message: Message, *, tightly: bool = False) -> bytes:
    """`message` as it goes through the pipe; `tightly`, where the line is slow and the message long."""
    try:
        body = msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        body = msgspec.msgpack.encode(odd_names.stood_in(msgspec.to_builtins(message, builtin_types=(bytes,))))
    packed = tightly and len(body) >= WORTH_PACKING
    if packed:
        body = zlib.compress(body, 1)
    return HEAD.pack(len(body), zlib.crc32(body), packed) + body


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Made when it is first wanted: the window reads no requests, and the engine no replies."""
    return msgspec.msgpack.Decoder(kind)


def request_from(body: bytes) -> AnyRequest:
    """The request in a message's body; `ProtocolError` where there is none."""
    found: AnyRequest = _read(body, AnyRequest)
    return found


def reply_from(body: bytes) -> AnyReply:
    """The reply in a message's body; `ProtocolError` where there is none."""
    found: AnyReply = _read(body, AnyReply)
    return found


def _read(body: bytes, kind: Any) -> Any:
    try:
        return _restored(body, kind) if odd_names.may_have_stand_ins(body) else _decoder(kind).decode(body)
    except _UNREADABLE as error:
        raise ProtocolError(str(error)) from error


def _restored(body: bytes, kind: Any) -> Any:
    return msgspec.convert(odd_names.restored(msgspec.msgpack.decode(body)), kind, builtin_types=(bytes,))


class Unframer:
    """Cuts a stream of bytes, fed in pieces of any size, into message bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take `data` in; the bodies that are complete now.

        Raises:
            ProtocolError: a length is beyond belief, or what follows one is no message. It is said at once: text (the
                greeting of a login, an error of a shell) taken for a length would be waited for without end.
        """
        self._buffer += data
        bodies, start = [], 0
        while len(self._buffer) - start >= HEAD.size:
            length, checksum, packed = HEAD.unpack_from(self._buffer, start)
            begin, end = start + HEAD.size, start + HEAD.size + length
            if length > MAXIMUM_LENGTH or packed > 1:
                raise ProtocolError(f"a message was announced, and {bytes(self._buffer[start : start + 40])!r} came")
            if not packed and len(self._buffer) > begin and self._buffer[begin] not in _MAP_HEADS:
                raise ProtocolError(f"a message was announced, and {bytes(self._buffer[start : start + 40])!r} came")
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[begin:end])
            if zlib.crc32(body) != checksum:
                raise ProtocolError("a message was changed on its way")
            bodies.append(_unpacked(body) if packed else body)
            start = end
        del self._buffer[:start]
        return bodies


def _unpacked(body: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(body, MAXIMUM_LENGTH)
    except zlib.error as error:
        raise ProtocolError(str(error)) from error
    if not unpacker.eof:
        raise ProtocolError("a message unpacks to more than any message is")
    return unpacked
