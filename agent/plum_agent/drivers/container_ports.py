"""A connection to a port of a container: on the node where it shares its network, else at an address of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from plum_agent.drivers.base import Handle
from plum_agent.drivers.listening import listens
from plum_agent.drivers.procfs import list_pids
from plum_agent.engine.client import EngineClient
from plum_agent.errors import RefusedError

CONNECT_SECONDS = 5.0


async def connect(client: EngineClient, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises `RefusedError` when it does not listen there, `EngineError`."""
    found = await client.request("GET", f"/containers/{handle.container_id}/json")
    if found["HostConfig"]["NetworkMode"] == "host":
        members = await asyncio.to_thread(members_of, handle.pid)
        addresses = ["127.0.0.1", "::1"] if await asyncio.to_thread(listens, members, port) else []
    else:
        addresses = [one["IPAddress"] for one in found["NetworkSettings"]["Networks"].values() if one.get("IPAddress")]
    for address in addresses:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(address, port)
    raise RefusedError("NotListening", f"nothing of it listens on port {port}")


def members_of(pid: int) -> list[int]:
    """Processes in the same process namespace: all of the container."""
    wanted = _namespace(pid)
    return [one for one in list_pids() if wanted and _namespace(one) == wanted]


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""
