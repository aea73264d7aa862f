"""The open connections of nodes, by the certificate that each was opened with: revoking it ends them.

Protocol.connection_made -> add        Token deleted -> close -> the connections end after what is written already
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakSet


class Closable(Protocol):
    """One of uvicorn's HTTP connections."""

    transport: asyncio.Transport


class CertifiedConnections:
    """Holds no connection alive, and forgets those that have ended."""

    def __init__(self) -> None:
        self._by_certificate: dict[str, WeakSet[Closable]] = {}

    def add(self, certificate: str, connection: Closable) -> None:
        """A connection was opened with a certificate."""
        self._by_certificate.setdefault(certificate, WeakSet()).add(connection)

    def close(self, certificate: str) -> None:
        """End all that were opened with it. Safe to repeat, also with one that nobody used."""
        for connection in self._by_certificate.pop(certificate, ()):
            # In the next turn of the loop, so that watches say why they end.
            asyncio.get_running_loop().call_soon(connection.transport.close)
