"""Whether an engine answers, and what it is: for the Node, and for instances that wait for it.

    run: facts -> its stream of events, open for as long as it lives -> gone -> again, until it is back
    on a change -> listeners

An engine that dies is noticed when its connection ends, without asking it again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two attempts to reach an engine that is away: one call of the kernel each."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the Node says about its engine."""

    available: bool = False
    version: str = ""
    api_version: str = ""
    storage_driver: str = ""
    cgroup_version: str = ""
    message: str = ""
    """Why it does not answer."""


class EngineMonitor:
    """Follows one engine until cancelled."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self.facts = EngineFacts(message="it was not asked yet")
        self.was_seen = False
        """It answered once since the agent began."""
        self._listeners: list[Callable[[], None]] = []

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Called when the engine came, went, or changed."""
        self._listeners.append(listener)

    async def run(self) -> None:
        while True:
            try:
                self._client.forget_version()
                self._set(await self._read())
                filters = msgspec.json.encode({"type": ["daemon"]}).decode()
                async with self._client.stream("GET", "/events", {"filters": filters}) as events:
                    async for _ in events:
                        self._set(await self._read())
                self._set(EngineFacts(message="the container engine ended"))
            except EngineError as error:
                self._set(EngineFacts(message=str(error)))
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> EngineFacts:
        version: dict[str, Any] = await self._client.request("GET", "/version")
        info: dict[str, Any] = await self._client.request("GET", "/info")
        return EngineFacts(
            available=True,
            version=str(version.get("Version", "")),
            api_version=str(version.get("ApiVersion", "")),
            storage_driver=str(info.get("Driver", "")),
            cgroup_version=str(info.get("CgroupVersion", "")),
        )

    def _set(self, facts: EngineFacts) -> None:
        if facts == self.facts:
            return
        if facts.available != self.facts.available:
            level = logging.INFO if facts.available or not self.was_seen else logging.WARNING
            logger.log(level, "container engine answers" if facts.available else "container engine does not answer",
                       extra={"version": facts.version, "error": facts.message})  # fmt: skip
        self.facts = facts
        self.was_seen = self.was_seen or facts.available
        for listener in self._listeners:
            listener()
