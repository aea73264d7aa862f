"""One question to a workload, by http, tcp, exec or grpc: an empty text for yes, a sentence for no.

Every question has a timeout around it and its own connection, so one that hangs delays nobody but itself.
Addresses that belong to the machine's own surroundings (link-local, where clouds serve credentials) are refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping

from plum_schemas.probes import GrpcAction, HttpAction, Probe, TcpAction

Execute = Callable[[tuple[str, ...], float], Awaitable[int]]
"""Runs a program beside the workload: (command, timeout) -> exit code."""

MAX_HEADER_BYTES = 65536
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
    """The host to connect to. Raises `ValueError` for link-local addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or LOCAL
    if address.is_link_local or address.is_multicast:
        raise ValueError(f"probes to {host} are refused; it is a link-local or multicast address")
    return host


async def _ask_tcp(action: TcpAction, ports: Mapping[str, int]) -> str:
    _, writer = await _connect(action.host, port_of(action.port, ports))
    writer.transport.abort()
    return ""


async def _connect(host: str, port: int, secure: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = None
    if secure:
        import ssl

        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(check_host(host), port, ssl=context, limit=MAX_HEADER_BYTES)
    peer = writer.get_extra_info("peername")
    try:
        check_host(str(peer[0]) if peer else LOCAL)  # a name may resolve to what its text does not show
    except ValueError:
        writer.transport.abort()
        raise
    return reader, writer


async def ask_http(action: HttpAction, ports: Mapping[str, int]) -> str:
    """A GET; only the status line is read."""
    port = port_of(action.port, ports)
    reader, writer = await _connect(action.host, port, action.scheme == "https")
    try:
        headers = {"Host": f"{action.host or LOCAL}:{port}", "User-Agent": "plum-probe", "Accept": "*/*", "Connection": "close"}
        headers |= action.headers
        lines = [f"GET {action.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("the probe's path or headers hold a line break")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status_line = (await reader.readline()).decode("latin-1")
    finally:
        writer.transport.abort()
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isdigit():
        return f"port {port} does not speak HTTP: {status_line[:80].strip()!r}"
    return "" if 200 <= int(parts[1]) < 400 else f"GET {action.path or '/'} answered {parts[1]}"


async def _ask_grpc(action: GrpcAction, ports: Mapping[str, int]) -> str:
    from plum_agent.grpc_health import check_health  # h2 is loaded by the first gRPC probe only

    reader, writer = await _connect("", port_of(action.port, ports))
    try:
        return await check_health(reader, writer, action.service)
    finally:
        writer.transport.abort()
