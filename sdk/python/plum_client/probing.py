"""One question to an address, by http or tcp: an empty text for yes, a sentence for no. For probes of agents and controllers.

Every question has its own connection, so one that hangs delays nobody but itself; the caller puts a timeout around it.
Addresses that belong to a machine's own surroundings (link-local, where clouds serve credentials) are refused.
"""

from __future__ import annotations

import asyncio
import ipaddress

from plum_schemas.probes import HttpAction

MAX_HEADER_BYTES = 65536


def check_host(host: str) -> str:
    """The host to connect to. Raises `ValueError` for link-local and multicast addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_link_local or address.is_multicast:
        raise ValueError(f"probes to {host} are refused; it is a link-local or multicast address")
    return host


async def connect(host: str, port: int, secure: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a host that may be asked. Raises `OSError`, `ValueError`."""
    context = None
    if secure:
        import ssl

        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(check_host(host), port, ssl=context, limit=MAX_HEADER_BYTES)
    peer = writer.get_extra_info("peername")
    try:
        check_host(str(peer[0]) if peer else host)  # a name may resolve to what its text does not show
    except ValueError:
        writer.transport.abort()
        raise
    return reader, writer


async def ask_tcp(host: str, port: int) -> str:
    """Whether a connection is accepted. Raises `OSError`, `ValueError`."""
    _, writer = await connect(host, port)
    writer.transport.abort()
    return ""


async def ask_http(action: HttpAction, host: str, port: int) -> str:
    """A GET; only the status line is read. `host` and `port`: the action's, resolved. Raises `OSError`, `ValueError`."""
    reader, writer = await connect(host, port, action.scheme == "https")
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "plum-probe", "Accept": "*/*", "Connection": "close"}
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
