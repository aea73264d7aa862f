"""The standard gRPC health question over one HTTP/2 connection, without a gRPC library (importing one costs 20 MB).

    POST /grpc.health.v1.Health/Check, one length-prefixed message -> one message and the trailer grpc-status

The two messages are small enough to be written by hand: request field 1 is the service, response field 1 the state.
"""

from __future__ import annotations

import asyncio
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError

SERVING = 1
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_STATUS_NAMES = {"5": "NOT_FOUND: the server does not know this service", "12": "UNIMPLEMENTED: the server has no health service"}


async def check_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str) -> str:
    """Empty when the service is serving, else a sentence. Raises `OSError`, `EOFError` when the connection breaks."""
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "plum-probe"),
    ]
    connection.send_headers(stream, headers)
    connection.send_data(stream, encode_request(service), end_stream=True)
    writer.write(connection.data_to_send())

    answer, status, http_status = b"", "", ""
    while True:
        received = await reader.read(65536)
        if not received:
            raise EOFError("the server closed the connection before it answered")
        try:
            events = connection.receive_data(received)
        except ProtocolError as error:
            return f"the port does not speak gRPC: {error}"
        for event in events:
            if isinstance(event, (ResponseReceived, TrailersReceived)):
                found = {_text(name): _text(value) for name, value in event.headers or ()}
                http_status = found.get(":status", http_status)
                status = found.get("grpc-status", status)
            elif isinstance(event, DataReceived):
                answer += event.data or b""
            elif isinstance(event, (StreamReset, ConnectionTerminated)):
                return "the server reset the connection"
            elif isinstance(event, StreamEnded):
                return judge(http_status, status, answer)
        writer.write(connection.data_to_send())


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def encode_request(service: str) -> bytes:
    """`HealthCheckRequest{service}` with the five bytes gRPC puts before a message."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return struct.pack(">BI", 0, len(message)) + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def judge(http_status: str, grpc_status: str, answer: bytes) -> str:
    """Empty for SERVING, else what was wrong."""
    if http_status and http_status != "200":
        return f"the health service answered HTTP {http_status}"
    if grpc_status != "0":
        return f"the health service answered status {_STATUS_NAMES.get(grpc_status, grpc_status or 'missing')}"
    message = answer[5:]
    state = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    return "" if state == SERVING else f"the service is {_STATES.get(state, state)}"
