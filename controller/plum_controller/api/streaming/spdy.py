"""SPDY/3.1 frames as far as Kubernetes' clients use them, without any I/O.

    bytes -> FrameReader.feed -> Frame ...        frame functions of `FrameWriter` -> bytes

Header blocks are one zlib stream per direction with a dictionary that the protocol prescribes, so frames must be read and
written in order. Window updates are neither sent nor needed: those clients have no flow control but that of TCP.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
DATA = 0
"""Our number for frames that carry data; the protocol gives them none."""
FIN = 0x01
CANCEL = 5
"""Status of a stream that is not wanted any more."""
MAX_FRAME = 1024 * 1024
"""Bytes of one frame. Clients send at most 64 KiB; more is a mistake or an attack."""
MAX_HEADERS = 64 * 1024
"""Bytes of headers, unpacked."""
_VERSION = 0x8003

_WORDS = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,allow,"
    "authorization,cache-control,connection,content-base,content-encoding,content-language,content-length,content-location,"
    "content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,"
    "if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,proxy-authorization,range,"
    "referer,retry-after,server,te,trailer,transfer-encoding,upgrade,user-agent,vary,via,warning,www-authenticate,method,get,"
    "status,200 OK,version,HTTP/1.1,url,public,set-cookie,keep-alive,origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS.split(",")) + _TAIL.encode()
"""Section 2.6.10.1 of the protocol. Its Adler-32 is e3c6a7c2, which every compressed stream begins with."""


class SpdyError(Exception):
    """The other side does not keep to the protocol: the connection is over."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    type: int
    stream: int = 0
    """Stream it belongs to; for a ping its number."""
    flags: int = 0
    data: bytes = b""
    headers: Mapping[str, str] | None = None

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)


class FrameReader:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises `SpdyError`."""
        self._buffer += data
        frames = []
        position = 0
        while len(self._buffer) - position >= 8:
            first, second = struct.unpack_from(">II", self._buffer, position)
            size = second & 0xFFFFFF
            if size > MAX_FRAME:
                raise SpdyError(f"a frame is {size} bytes long")
            if len(self._buffer) - position < 8 + size:
                break
            body = bytes(self._buffer[position + 8 : position + 8 + size])
            position += 8 + size
            frame = self._frame(first, second >> 24, body)
            if frame is not None:
                frames.append(frame)
        del self._buffer[:position]
        return frames

    def _frame(self, first: int, flags: int, body: bytes) -> Frame | None:
        if not first & 0x8000_0000:
            return Frame(DATA, first, flags, body)
        if first >> 16 != _VERSION:
            raise SpdyError("this is not SPDY/3.1")
        kind = first & 0xFFFF
        heads = {SYN_STREAM: 10, SYN_REPLY: 4, HEADERS: 4, RST_STREAM: 8, PING: 4, GOAWAY: 8}
        if kind not in heads:
            return None  # settings and windows, and what may be ignored because nobody knows it
        if len(body) < heads[kind]:
            raise SpdyError("a frame is too short")
        number = struct.unpack_from(">I", body)[0]
        headers = self._headers(body[heads[kind] :]) if kind in (SYN_STREAM, SYN_REPLY, HEADERS) else None
        return Frame(kind, number if kind == PING else number & 0x7FFF_FFFF, flags, b"", headers)

    def _headers(self, block: bytes) -> Mapping[str, str]:
        try:
            text = self._unpack.decompress(block, MAX_HEADERS)
            if self._unpack.unconsumed_tail:
                raise SpdyError("headers are too long")
            count, position = struct.unpack_from(">I", text)[0], 4
            values: dict[str, str] = {}
            for _ in range(count):
                name, position = _text(text, position)
                values[name.lower()], position = _text(text, position)
            return values
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"headers cannot be read: {error}") from error


def _text(data: bytes, position: int) -> tuple[str, int]:
    size = struct.unpack_from(">I", data, position)[0]
    end = position + 4 + size
    if end > len(data):
        raise SpdyError("headers are too short")
    return data[position + 4 : end].decode("utf-8", "replace"), end


class FrameWriter:
    """Frames as bytes."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(zdict=DICTIONARY)

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        return _control(SYN_STREAM, FIN if fin else 0, struct.pack(">IIH", stream, 0, 0) + self._block(headers))

    def syn_reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        return _control(SYN_REPLY, 0, struct.pack(">I", stream) + self._block(headers or {}))

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        return struct.pack(">II", stream, (FIN if fin else 0) << 24 | len(data)) + data

    def reset(self, stream: int, status: int = CANCEL) -> bytes:
        return _control(RST_STREAM, 0, struct.pack(">II", stream, status))

    def ping(self, number: int) -> bytes:
        return _control(PING, 0, struct.pack(">I", number))

    def go_away(self, last_stream: int) -> bytes:
        return _control(GOAWAY, 0, struct.pack(">II", last_stream, 0))

    def _block(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for word in (text.encode() for pair in headers.items() for text in pair):
            parts += [struct.pack(">I", len(word)), word]
        return self._pack.compress(b"".join(parts)) + self._pack.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">HHI", _VERSION, kind, flags << 24 | len(body)) + body
