"""SPDY/3.1 frames: what is written is read, in pieces of any size, and nothing that comes can do harm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct
import zlib

import pytest
from plum_controller.api.streaming import spdy_session
from plum_controller.api.streaming.spdy import (
    DATA,
    DICTIONARY,
    MAX_FRAME,
    PING,
    RST_STREAM,
    SYN_STREAM,
    FrameReader,
    FrameWriter,
    SpdyError,
)
from plum_controller.api.streaming.spdy_session import SpdySession, SpdyStream


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)
    assert FrameWriter().syn_reply(1)[12:18].hex() == "78bbe3c6a7c2"


def test_what_is_written_is_read_in_pieces_of_any_size() -> None:
    writer = FrameWriter()
    body = os.urandom(5000)
    sent = b"".join([
        writer.syn_stream(1, {"streamtype": "error", "port": "80"}),
        writer.syn_stream(3, {"streamtype": "data", "ü": "ß"}, fin=True),
        writer.data(1, body),
        writer.ping(7),
        writer.reset(3),
        writer.go_away(3),
        writer.data(1, b"", fin=True),
    ])  # fmt: skip
    reader, frames, random_ = FrameReader(), [], random.Random(1)
    while sent:
        size = random_.randint(1, 700)
        frames += reader.feed(sent[:size])
        sent = sent[size:]

    assert [(frame.type, frame.stream, frame.fin) for frame in frames if frame.type != 7] == [
        (SYN_STREAM, 1, False), (SYN_STREAM, 3, True), (DATA, 1, False), (PING, 7, False),
        (RST_STREAM, 3, False), (DATA, 1, True),
    ]  # fmt: skip
    assert (frames[0].headers, frames[1].headers) == ({"streamtype": "error", "port": "80"}, {"streamtype": "data", "ü": "ß"})
    assert frames[2].data == body


def bomb() -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    text = struct.pack(">I", 1) + struct.pack(">I", 10_000_000) + b"a" * 10_000_000
    block = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">HHIIIH", 0x8003, SYN_STREAM, 10 + len(block), 1, 0, 0) + block


@pytest.mark.parametrize("data", [
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" * 3, id="too long"),
    pytest.param(struct.pack(">HHI", 0x8002, SYN_STREAM, 10) + bytes(10), id="another version"),
    pytest.param(struct.pack(">HHI", 0x8003, SYN_STREAM, 4) + bytes(4), id="too short"),
    pytest.param(struct.pack(">HHI", 0x8003, SYN_STREAM, 20) + bytes(20), id="no headers"),
    pytest.param(struct.pack(">II", 1, MAX_FRAME + 1), id="a frame without end"),
    pytest.param(bomb(), id="headers that unpack to megabytes"),
])  # fmt: skip
def test_what_is_no_spdy_ends_the_connection(data: bytes) -> None:
    with pytest.raises(SpdyError):
        FrameReader().feed(data)


def test_frames_that_nobody_needs_are_passed_over() -> None:
    settings = struct.pack(">HHI", 0x8003, 4, 12) + bytes(12)
    window = struct.pack(">HHI", 0x8003, 9, 8) + bytes(8)

    assert [frame.type for frame in FrameReader().feed(settings + window + FrameWriter().ping(1))] == [PING]


class Wire:
    """A client in memory."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[bytes] = asyncio.Queue()
        self.reader = FrameReader()
        self.taken = 0

    async def read(self) -> bytes:
        data = await self.to_server.get()
        self.taken += len(data)
        return data

    async def write(self, data: bytes) -> None:
        self.reader.feed(data)


@contextlib.asynccontextmanager
async def session(wire: Wire, streams: list[SpdyStream]):  # type: ignore[no-untyped-def]
    task = asyncio.ensure_future(SpdySession(wire, streams.append).run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_data_that_nobody_takes_stops_the_reading_and_not_for_ever() -> None:
    wire, writer, streams = Wire(), FrameWriter(), list[SpdyStream]()
    piece = bytes(65536)
    async with session(wire, streams):
        wire.to_server.put_nowait(writer.syn_stream(1, {}))
        for _ in range(100):
            wire.to_server.put_nowait(writer.data(1, piece))
        wire.to_server.put_nowait(writer.data(1, b"", fin=True))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert wire.taken < spdy_session.MAX_UNREAD + 3 * len(piece)

        size = 0
        async with asyncio.timeout(5):
            while data := await streams[0].read():
                size += len(data)
        assert size == 100 * len(piece)


async def test_a_stream_that_is_reset_gives_back_the_room_it_took() -> None:
    wire, writer, streams = Wire(), FrameWriter(), list[SpdyStream]()
    async with session(wire, streams):
        wire.to_server.put_nowait(writer.syn_stream(1, {}) + writer.syn_stream(3, {}))
        for _ in range(12):
            wire.to_server.put_nowait(writer.data(1, bytes(65536)))
        wire.to_server.put_nowait(writer.data(3, b"after"))
        async with asyncio.timeout(5):
            while len(streams) < 2 or wire.taken < spdy_session.MAX_UNREAD:
                await asyncio.sleep(0)
            await streams[0].reset()
            assert await streams[1].read() == b"after"


async def test_streams_out_of_order_end_the_connection() -> None:
    wire, writer = Wire(), FrameWriter()
    async with session(wire, []) as task:
        wire.to_server.put_nowait(writer.syn_stream(5, {}) + writer.syn_stream(3, {}))
        with pytest.raises(SpdyError):
            await asyncio.wait_for(asyncio.shield(task), 5)
