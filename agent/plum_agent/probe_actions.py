"""One question to a workload, by http, tcp, exec or grpc: an empty text for yes, a sentence for no.

Every question has a timeout around it and its own connection, so one that hangs delays nobody but itself.
Addresses that belong to the machine's own surroundings (link-local, where clouds serve credentials) are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from plum_client import probing
from plum_schemas.probes import GrpcAction, HttpAction, Probe, TcpAction

Execute = Callable[[tuple[str, ...], float], Awaitable[int]]
"""Runs a program beside the workload: (command, timeout) -> exit code."""

LOCAL = "127.0.0.1"


async def ask(probe: Probe, ports: Mapping[str, int], timeout_seconds: float, execute: Execute) -> str:
    """Ask once. Empty when the answer is good, else a sentence that says what was wrong."""
    try:
        if probe.exec is not None:
            code = await execute(tuple(probe.exec.command), timeout_seconds)
            return "" if code == 0 else f"{probe.exec.command[0]} exited with {code}"
        async with asyncio.timeout(timeout_seconds):
            if probe.http is not None:
                return await ask_http(probe.http, ports)
            if probe.tcp is not None:
                return await _ask_tcp(probe.tcp, ports)
            if probe.grpc is not None:
                return await _ask_grpc(probe.grpc, ports)
    except TimeoutError:
        return f"no answer within {timeout_seconds:g} s"
    except (OSError, ValueError, EOFError) as error:
        return str(error) or type(error).__name__
    return ""


def port_of(port: int | str, ports: Mapping[str, int]) -> int:
    """The number of a port given by number or by name. Raises `ValueError`."""
    if isinstance(port, int):
        return port
    if port in ports:
        return ports[port]
    if port.isdigit():
        return int(port)
    raise ValueError(f"port {port!r} is not one of the template's ports ({', '.join(ports) or 'there are none'})")


def check_host(host: str) -> str:
    """The host to connect to; the instance's own if none is named. Raises `ValueError` for link-local addresses."""
    return probing.check_host(host) or LOCAL


async def _ask_tcp(action: TcpAction, ports: Mapping[str, int]) -> str:
    return await probing.ask_tcp(action.host or LOCAL, port_of(action.port, ports))


async def ask_http(action: HttpAction, ports: Mapping[str, int]) -> str:
    """A GET; only the status line is read."""
    return await probing.ask_http(action, action.host or LOCAL, port_of(action.port, ports))


async def _ask_grpc(action: GrpcAction, ports: Mapping[str, int]) -> str:
    from plum_agent.grpc_health import check_health  # h2 is loaded by the first gRPC probe only

    reader, writer = await probing.connect(LOCAL, port_of(action.port, ports))
    try:
        return await check_health(reader, writer, action.service)
    finally:
        writer.transport.abort()
