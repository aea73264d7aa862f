"""Many clients over HTTP at once, and a checker of everything they saw: no stale read, no lost update, no gap in a watch."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ConflictError, NotFoundError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap

from tests.support.history import Operation, Version, check
from tests.support.programs import key, sandbox

CLIENTS = 16
NAMES = 24
MOST_MARKS = 40
"""An object with more entries is deleted and made anew, so that the load stays the same however long this runs."""


class Client:
    """Asks one thing after the other on a connection of its own, and writes down what it was answered."""

    def __init__(self, url: str, number: int, seed: int) -> None:
        self.api = ApiClient(HttpTransport(url, max_connections=2), field_manager=f"client-{number}")
        self.number = number
        self.dice = random.Random(seed * 1000 + number)
        self.operations: list[Operation] = []
        self.last: dict[str, ConfigMap] = {}
        """What this client saw last of each object; updates are based on it, however old it is."""

    async def run(self, count: int) -> None:
        try:
            while len(self.operations) < count:
                name = f"k{self.dice.randrange(NAMES)}"
                action = self.dice.choices(
                    (self.get, self.list, self.create, self.update, self.patch, self.delete), (30, 4, 8, 30, 25, 1)
                )[0]
                asked_at = time.monotonic()
                try:
                    operation = await action(name, f"c{self.number}-{len(self.operations)}")
                except (ConflictError, NotFoundError, AlreadyExistsError):
                    self.last.pop(name, None)
                    self.operations.append(Operation("refused", asked_at, time.monotonic(), name))
                    continue
                if operation is not None:
                    self.operations.append(replace(operation, asked_at=asked_at, answered_at=time.monotonic()))
        finally:
            await self.api.close()

    def _told(self, kind: str, found: ConfigMap, mark: str = "", based_on: int = 0) -> Operation:
        self.last[found.metadata.name] = found
        revision = int(found.metadata.resource_version)
        return Operation(kind, 0, 0, found.metadata.name, revision, dict(found.data), based_on, mark)

    async def get(self, name: str, mark: str) -> Operation:
        found = await self.api.get(ConfigMap, name, "default")
        return self._told("get", found) if found is not None else Operation("get", 0, 0, name)

    async def list(self, name: str, mark: str) -> Operation:
        found = await self.api.list(ConfigMap, "default")
        items = {item.metadata.name: int(item.metadata.resource_version) for item in found}
        return Operation("list", 0, 0, "", int(found.revision), items=items)

    async def create(self, name: str, mark: str) -> Operation:
        made = ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={mark: "1"})
        return self._told("create", await self.api.create(made), mark)

    async def update(self, name: str, mark: str) -> Operation | None:
        base = self.last.get(name)
        if base is None:
            return await self.get(name, mark)
        changed = ConfigMap(metadata=base.metadata, data={**base.data, mark: "1"})
        done = await self.api.update(changed)
        return self._told("update", done, mark, int(base.metadata.resource_version))

    async def patch(self, name: str, mark: str) -> Operation:
        return self._told("patch", await self.api.patch(ConfigMap, key(name), {"data": {mark: "1"}}), mark)

    async def delete(self, name: str, mark: str) -> Operation | None:
        base = self.last.get(name)
        if base is None or len(base.data) < MOST_MARKS:
            return None
        await self.api.delete(ConfigMap, key(name), uid=base.metadata.uid)
        del self.last[name]
        return Operation("delete", 0, 0, name)


async def watch(url: str, since: str, seen: list[Version]) -> None:
    api = ApiClient(HttpTransport(url))
    try:
        async with aclosing(api.watch(ConfigMap, "default", since=since)) as events:
            async for event in events:
                item = event.object
                contents = None if event.type == "DELETED" else dict(item.data)
                seen.append(Version(int(event.revision), item.metadata.name, contents, event.type == "ADDED"))
    finally:
        await api.close()


async def run_clients(root: Path, count: int, seed: int) -> tuple[list[Operation], list[list[Version]]]:
    """So many operations of all clients together, under three watchers: two from the start, one that joins in the middle."""
    async with sandbox(root) as box:
        controller = await box.controller("--log-level", "warning")
        api = box.api()
        start = str((await api.list(ConfigMap, "default")).revision)
        watches: list[list[Version]] = [[], [], []]
        watching = [asyncio.create_task(watch(controller.url, start, seen)) for seen in watches[:2]]
        clients = [Client(controller.url, number, seed) for number in range(CLIENTS)]
        working = [asyncio.create_task(client.run(count // CLIENTS)) for client in clients]
        try:
            await box.until(lambda: _seen(watches[0], 200), 20)
            middle = str(watches[0][-100].revision)
            watching.append(asyncio.create_task(watch(controller.url, middle, watches[2])))
            await asyncio.gather(*working)
            last = await api.create(ConfigMap(metadata=ObjectMeta(name="last", namespace="default")))
            end = int(last.metadata.resource_version)
            await box.until(lambda: _up_to(watches, end), 20, what="watchers have caught up")
        finally:
            for task in (*working, *watching):
                task.cancel()
            await asyncio.gather(*working, *watching, return_exceptions=True)
        return [operation for client in clients for operation in client.operations], watches


async def _seen(seen: list[Version], count: int) -> bool:
    return len(seen) >= count


async def _up_to(watches: list[list[Version]], revision: int) -> bool:
    return all(seen and seen[-1].revision >= revision for seen in watches)


@pytest.mark.slow
async def test_ten_thousand_concurrent_operations_leave_a_true_history(tmp_path: Path) -> None:
    operations, watches = await run_clients(tmp_path, 10_000, seed=1)

    assert not check(operations, watches)[:10]
    counts = {kind: sum(operation.kind == kind for operation in operations) for kind in ("get", "list", "update", "patch")}
    assert sum(counts.values()) > 7_000, counts
    assert counts["update"] > 100, counts
    assert counts["patch"] > 1_000, counts


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_hundred_thousand_concurrent_operations_leave_a_true_history(tmp_path: Path) -> None:
    operations, watches = await run_clients(tmp_path, 100_000, seed=2)

    assert not check(operations, watches)[:10]


# ---- the checker itself finds what it is there for

A1 = Version(1, "a", {"x": "1"}, created=True)
A2 = Version(2, "a", {"x": "1", "y": "1"})
A3 = Version(3, "a", {"x": "1", "y": "1", "z": "1"})
WRITES = [
    Operation("create", 0.0, 0.1, "a", 1, {"x": "1"}, mark="x"),
    Operation("update", 0.2, 0.3, "a", 2, {"x": "1", "y": "1"}, 1, "y"),
    Operation("patch", 0.4, 0.5, "a", 3, {"x": "1", "y": "1", "z": "1"}, mark="z"),
]


def test_the_checker_accepts_a_true_history() -> None:
    reads = [
        Operation("get", 0.25, 0.45, "a", 2, A2.contents),
        Operation("get", 0.25, 0.45, "a", 1, A1.contents),
        Operation("list", 0.6, 0.7, revision=3, items={"a": 3}),
    ]
    assert check([*WRITES, *reads], [[A1, A2, A3], [A2, A3]]) == []


@pytest.mark.parametrize(
    ("read", "watches", "complaint"),
    [
        (Operation("get", 0.6, 0.7, "a", 2, A2.contents), [[A1, A2, A3]], "after somebody had been told of 3"),
        (Operation("get", 0.6, 0.7, "a"), [[A1, A2, A3]], "found nothing"),
        (Operation("get", 0.6, 0.7, "a", 3, {"x": "2"}), [[A1, A2, A3]], "never were"),
        (Operation("list", 0.6, 0.7, revision=2, items={"a": 2}), [[A1, A2, A3]], "list at 2 after"),
        (Operation("list", 0.6, 0.7, revision=3, items={"a": 2}), [[A1, A2, A3]], "shows a as 2"),
        (Operation("list", 0.6, 0.7, revision=3), [[A1, A2, A3]], "shows a as 0"),
        (Operation("get", 0.6, 0.7, "a", 3, A3.contents), [[A1, A3]], "no watcher saw it"),
        (Operation("get", 0.6, 0.7, "a", 3, A3.contents), [[A1, A2, A3], [A1, A3]], "did not see [2]"),
        (Operation("get", 0.6, 0.7, "a", 3, A3.contents), [[A1, A3, A2]], "saw revision 2 after 3"),
        (Operation("get", 0.6, 0.7, "a", 3, A3.contents), [[A1, A2, Version(3, "a", {"z": "1"})]], "lost ['x', 'y']"),
        (Operation("update", 0.6, 0.7, "a", 4, {}, 2), [[A1, A2, A3, Version(4, "a", {})]], "3 came between"),
    ],
)
def test_the_checker_finds(read: Operation, watches: list[list[Version]], complaint: str) -> None:
    assert any(complaint in sentence for sentence in check([*WRITES, read], watches)), check([*WRITES, read], watches)
