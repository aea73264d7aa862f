"""`kill -9` of the controller under load: what was acknowledged is there, revisions only grow, watchers resume without a gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ApiError, ApiUnavailableError, ConflictError, NotFoundError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap

from tests.support.programs import Sandbox, key, sandbox

WRITERS = 6
WATCHERS = 3
NAMES = 12
"""Objects per writer."""


@dataclass(slots=True)
class Acknowledged:
    """What one writer was told about one object, and what it asked for since without an answer."""

    number: int | None = None
    """Contents of the last acknowledged write; None: acknowledged as deleted, or never written."""
    unanswered: list[int | None] = field(default_factory=list)
    """Writes since then that may or may not have happened, in order."""

    def allows(self, actual: int | None) -> bool:
        return actual == self.number or actual in self.unanswered


class Writer:
    """Creates, changes and deletes objects of its own as fast as it is answered, and keeps account."""

    def __init__(self, api: ApiClient, number: int, dice: random.Random) -> None:
        self.api = api
        self.dice = dice
        self.prefix = f"w{number}"
        self.objects = {f"{self.prefix}-{index}": Acknowledged() for index in range(NAMES)}
        self.numbers: Iterator[int] = iter(range(1, 10**9))
        self.revisions: list[int] = []
        """Of every acknowledged write, in order."""
        self.stop = asyncio.Event()

    async def run(self) -> None:
        while not self.stop.is_set():
            name = self.dice.choice(list(self.objects))
            known = self.objects[name]
            try:
                await self._write(name, known)
            except ApiUnavailableError:
                await asyncio.sleep(0.02)
            except (ConflictError, NotFoundError):
                continue  # an unanswered write had happened after all; the next turn finds out

    async def _write(self, name: str, known: Acknowledged) -> None:
        number = next(self.numbers)
        exists = known.number is not None
        if known.unanswered:
            await self._settle(name, known)
            return
        if exists and self.dice.random() < 0.1:
            known.unanswered.append(None)
            await self.api.delete(ConfigMap, key(name))
            known.number, known.unanswered = None, []
            return
        known.unanswered.append(number)
        if not exists:
            made = ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={"n": str(number)})
            done = await self.api.create(made)
        else:
            done = await self.api.patch(ConfigMap, key(name), {"data": {"n": str(number)}})
        known.number, known.unanswered = number, []
        self.revisions.append(int(done.metadata.resource_version))

    async def _settle(self, name: str, known: Acknowledged) -> None:
        """Find out what became of writes without an answer: it must be one of them, or what was before."""
        found = await self.api.get(ConfigMap, name, "default")
        actual = int(found.data["n"]) if found is not None else None
        assert known.allows(actual), f"{name} is {actual}, acknowledged {known.number}, unanswered {known.unanswered}"
        known.number, known.unanswered = actual, []


class Watcher:
    """Sees every change, over as many connections as it takes."""

    def __init__(self, api: ApiClient, since: str) -> None:
        self.api = api
        self.since = since
        self.seen: list[tuple[int, str, str, str]] = []
        """Revision, type, name, contents."""
        self.resumed = 0

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(self.api.watch(ConfigMap, "default", since=self.since)) as events:
                    async for event in events:
                        self.since = event.revision
                        changed = event.object
                        self.seen.append((int(event.revision), event.type, changed.metadata.name, changed.data["n"]))
            except ApiUnavailableError:
                await asyncio.sleep(0.02)
            self.resumed += 1


async def kill_rounds(box: Sandbox, rounds: int, seed: int) -> int:
    """The whole scenario. Answers with the number of acknowledged writes."""
    dice = random.Random(seed)
    controller = await box.controller()
    api = box.api(controller.url)
    start = (await api.list(ConfigMap, "default")).revision
    writers = [Writer(api, number, random.Random(seed + number)) for number in range(WRITERS)]
    watchers = [Watcher(api, str(start)) for _ in range(WATCHERS)]
    watching = [asyncio.create_task(watcher.run()) for watcher in watchers]
    try:
        for _ in range(rounds):
            writing = [asyncio.create_task(writer.run()) for writer in writers]
            before = sum(len(writer.revisions) for writer in writers)
            wanted = before + dice.randrange(20, 200)

            async def enough(wanted: int = wanted) -> bool:
                return sum(len(writer.revisions) for writer in writers) >= wanted

            await box.until(enough, 40, what="writes are acknowledged", every=0.002)
            controller.kill()
            for writer in writers:
                writer.stop.set()
            await asyncio.gather(*writing)
            controller = await box.restarted(controller)
            await check_everything(api, writers)
            for writer in writers:
                writer.stop.clear()
        await check_watchers(box, api, writers, watchers)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return sum(len(writer.revisions) for writer in writers)


async def check_everything(api: ApiClient, writers: list[Writer]) -> None:
    """After a restart: every acknowledged write is there, and revisions go on where they were."""
    listed = await api.list(ConfigMap, "default")
    actual = {item.metadata.name: int(item.data["n"]) for item in listed}
    newest = 0
    for writer in writers:
        assert writer.revisions == sorted(set(writer.revisions)), "revisions of one writer only grow"
        newest = max([newest, *writer.revisions])
        for name, known in writer.objects.items():
            assert known.allows(actual.get(name)), f"{name} is {actual.get(name)}, acknowledged {known.number}"
            known.number, known.unanswered = actual.get(name), []
    assert int(listed.revision) >= newest, "the store is as new as its newest acknowledged write"
    every = [revision for writer in writers for revision in writer.revisions]
    assert len(every) == len(set(every)), "no revision was given twice"


async def check_watchers(box: Sandbox, api: ApiClient, writers: list[Writer], watchers: list[Watcher]) -> None:
    """Every watcher saw every change, once and in order."""
    last = await api.create(ConfigMap(metadata=ObjectMeta(name="last", namespace="default"), data={"n": "0"}))
    end = int(last.metadata.resource_version)

    async def all_there() -> bool:
        return all(watcher.seen and watcher.seen[-1][0] >= end for watcher in watchers)

    await box.until(all_there, 40, what="watchers have caught up")
    acknowledged = {revision for writer in writers for revision in writer.revisions} | {end}
    for watcher in watchers:
        revisions = [event[0] for event in watcher.seen]
        assert all(a < b for a, b in pairwise(revisions)), "once and in order"
        assert acknowledged <= set(revisions), "no acknowledged change is missing"
        assert watcher.seen == watchers[0].seen, "all watchers saw the same"
        state: dict[str, str] = {}
        for _, kind, name, contents in watcher.seen:
            assert (kind == "ADDED") == (name not in state), f"{kind} of {name} after {state.get(name)}: a change is missing"
            if kind == "DELETED":
                del state[name]
            else:
                state[name] = contents
        assert state == {item.metadata.name: item.data["n"] for item in await api.list(ConfigMap, "default")}


@pytest.mark.slow
async def test_acknowledged_writes_and_watches_survive_kill_9(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        acknowledged = await kill_rounds(box, 8, seed=1)

    assert acknowledged > 8 * 20


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_acknowledged_writes_and_watches_survive_500_times_kill_9(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        assert await kill_rounds(box, 500, seed=2) > 500 * 20


@pytest.mark.slow
async def test_a_create_whose_answer_was_lost_can_be_repeated(tmp_path: Path) -> None:
    """After a kill the client cannot know; asking again ends in the same state either way."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        api = box.api()
        asked = [asyncio.create_task(_create(api, f"c-{number}")) for number in range(200)]
        await asyncio.sleep(0)
        await box.until(lambda: _some(api), 40, every=0.001)
        controller.kill()
        outcomes = await asyncio.gather(*asked)
        await box.restarted(controller)

        there = {item.metadata.name for item in await api.list(ConfigMap, "default")}
        assert {name for name, done in outcomes if done} <= there
        for name, _ in outcomes:
            again = await _create(api, name)
            assert again[1] or name in there
        assert len(await api.list(ConfigMap, "default")) == 200


async def _some(api: ApiClient) -> bool:
    return len(await api.list(ConfigMap, "default")) > 0


async def _create(api: ApiClient, name: str) -> tuple[str, bool]:
    try:
        await api.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="default")))
    except AlreadyExistsError:
        return name, False
    except ApiError:
        return name, False
    return name, True
