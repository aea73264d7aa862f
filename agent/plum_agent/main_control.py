"""`MAIN_CONTROL_BASE`: where workloads find the application that calls itself `maincontrol`, as they always were told.

    start of an instance -> endpoints of the service in its namespace (asked at most every few seconds) -> http://HOST:PORT

It is a convenience: no start fails or waits for long because nobody answers; then the last answer counts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from plum_client.client import ApiClient
from plum_client.errors import ApiError

MAIN_CONTROL_BASE = "MAIN_CONTROL_BASE"
SERVICE = "maincontrol"
FRESH_SECONDS = 5.0
"""Instances that start together ask once."""
NOTHING_SECONDS = 0.5
"""The same where there was no such service: it may be the one that starts right now."""
ANSWER_SECONDS = 1.0


@dataclass(slots=True)
class MainControl:
    """Remembers the answer of each namespace."""

    api: ApiClient
    known: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When a namespace was asked last, and the answer."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who comes while somebody asks waits for that answer."""

    async def base(self, namespace: str) -> str:
        """The address, empty when there is no such service."""
        async with self.lock:
            now = asyncio.get_running_loop().time()
            asked_at, address = self.known.get(namespace, (-FRESH_SECONDS, ""))
            if now - asked_at >= (FRESH_SECONDS if address else NOTHING_SECONDS):
                with suppress(TimeoutError, ApiError):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        address = await self._ask(namespace)
                self.known[namespace] = (now, address)
            return address

    async def _ask(self, namespace: str) -> str:
        from plum_schemas.endpoint import Endpoint

        found = await self.api.list(Endpoint, namespace, fields=f"spec.service={SERVICE}")
        best = min(
            (one for one in found if one.state != "critical"), key=lambda one: (one.state, one.metadata.name), default=None
        )
        if best is None:
            return ""
        scheme = "https" if best.spec.protocol == "https" else "http"
        host = f"[{best.spec.address}]" if ":" in best.spec.address else best.spec.address
        return f"{scheme}://{host}:{best.spec.port}"
