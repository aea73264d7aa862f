"""One connection to a port of an instance, as a tunnel stream. Loaded when somebody first asks for one.

controller <-> payload <-> Driver.connect: TCP to 127.0.0.1:PORT     each side may end its half with `eof`
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from plum_schemas.base import Struct

from plum_agent.drivers.base import Driver
from plum_agent.errors import RefusedError
from plum_agent.tunnel import FRAME, StreamRefusedError, TunnelStream
from plum_agent.unit import Unit


class ForwardQuery(Struct):
    """What is wanted; the `params` of the tunnel's `open` message."""

    namespace: str = ""
    instance: str = ""
    port: int = 0


async def serve(stream: TunnelStream, driver: Driver, unit: Unit, query: ForwardQuery) -> None:
    """Carry bytes both ways until both sides have ended. Raises `StreamRefusedError` when nothing listens."""
    record = unit.record.run
    if unit.run is None or record is None or record.handle is None:
        raise StreamRefusedError(409, f"instance {unit.key} is not running")
    try:
        reader, writer = await driver.connect(unit.run, record.handle, query.port)
    except RefusedError as error:
        raise StreamRefusedError(503, f"no connection to port {query.port} of instance {unit.key}: {error}") from error
    inwards = asyncio.get_running_loop().create_task(_give(stream, writer))
    whole = False
    try:
        stream.accept()
        with suppress(ConnectionError):
            while data := await reader.read(FRAME):
                await stream.send(data)
            stream.end_sending()
            await inwards
            whole = True
    finally:
        inwards.cancel()
        if whole:
            writer.close()
        else:
            writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _give(stream: TunnelStream, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while (data := await stream.receive()) is not None:
            writer.write(data)
            await writer.drain()
        writer.write_eof()
