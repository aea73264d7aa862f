"""Helpers for tests of controllers: let them come to rest, and prove that they do.

    api = FakeApi(make_deployment(3))
    await converge(api, deployment.add_to)
    assert [key.name for key in api.keys(Instance)] == ["web-0", "web-1", "web-2"]

`converge` starts the controllers as a fresh process would: what they knew is lost, what they wrote is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from plum_client.client import ApiClient
from plum_client.fake import FakeApi
from plum_client.manager import Manager

ROUNDS = 10
"""Rounds after which controllers that still write count as never coming to rest."""


class NotConvergedError(AssertionError):
    """The controllers did not come to rest."""


async def converge(
    api: FakeApi,
    *parts: Callable[[Manager], None],
    client: ApiClient | None = None,
    rounds: int = ROUNDS,
    timeout: float = 20.0,
) -> Manager:
    """Run the controllers that `parts` add until a whole round of all keys writes nothing; give back their manager.

    Raises `CrashError` when `api.crash_after` was reached; the next call is the next process. Raises `NotConvergedError`
    after too many rounds or, in the time of the running loop, seconds.
    """
    if api.crash_after is not None and api.writes >= api.crash_after:
        api.revive()
    manager = Manager(client or api.client(), api.clock, random=api.random)
    for part in parts:
        part(manager)
    running = asyncio.create_task(manager.run(), name="manager")
    settling = asyncio.create_task(_settle(api, manager, rounds), name="settle")
    try:
        await asyncio.wait([running, settling], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        if not settling.done():
            raise NotConvergedError(f"the controllers are still busy after {timeout} seconds")
        settling.result()
    finally:
        for task in (settling, running):
            task.cancel()
        await asyncio.gather(settling, running, return_exceptions=True)
    return manager


async def _settle(api: FakeApi, manager: Manager, rounds: int) -> None:
    await manager.idle()
    for _ in range(rounds):
        before = api.writes
        manager.resync()
        await manager.idle()
        if api.writes == before:
            return
    raise NotConvergedError(f"the controllers still write after {rounds} rounds")
