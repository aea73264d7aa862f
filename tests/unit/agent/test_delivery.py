"""Delivery: newest wins, order holds, what could not be delivered is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plum_agent.delivery import TOGETHER, DeliveryQueue, Report, SendTogether
from plum_client.errors import ApiUnavailableError, InvalidObjectError
from plum_schemas.base import ObjectKey


def report(name: str, value: Any) -> Report:
    return Report(namespace="default", name=name, uid="u", status={"value": value})


class Server:
    """Takes reports, or refuses while it is down."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.up = True
        self.tries = 0

    async def send(self, one: Report) -> None:
        self.tries += 1
        await asyncio.sleep(0)
        if not self.up:
            raise ApiUnavailableError("down")
        self.got.append((one.name, one.status["value"]))


@asynccontextmanager
async def delivering(
    server: Server, directory: Path | None, together: SendTogether | None = None
) -> AsyncIterator[DeliveryQueue]:
    queue = DeliveryQueue(server.send, directory, send_together=together)
    queue.load()
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        queue.close()


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_of_several_states_only_the_newest_is_sent(tmp_path: Path) -> None:
    server = Server()
    async with delivering(server, tmp_path) as queue:
        for value in range(5):
            queue.put(report("a", value))
        assert await queue.wait_delivered(ObjectKey("default", "a"), 5)

    assert server.got == [("a", 4)]
    assert not list(tmp_path.iterdir())


async def test_what_waits_is_delivered_in_the_order_it_came(tmp_path: Path) -> None:
    server = Server()
    server.up = False
    async with delivering(server, tmp_path) as queue:
        for name in "dacb":
            queue.put(report(name, 1))
        await until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 4)
        queue.put(report("a", 2))
        server.up = True
        await until(lambda: len(queue) == 0)

    assert server.got == [("d", 1), ("a", 2), ("c", 1), ("b", 1)]
    assert not list(tmp_path.glob("[0-9]*"))


async def test_what_could_not_be_delivered_is_sent_by_the_next_agent(tmp_path: Path) -> None:
    server = Server()
    server.up = False
    async with delivering(server, tmp_path) as queue:
        for name in "cab":
            queue.put(report(name, 1))
        await until(lambda: server.tries)
        queue.put(report("a", 2))

    server.up = True
    async with delivering(server, tmp_path) as queue:
        await until(lambda: len(queue) == 0)

    assert server.got == [("c", 1), ("a", 2), ("b", 1)]


async def test_a_report_nobody_can_take_holds_up_no_other() -> None:
    class Picky(Server):
        async def send(self, one: Report) -> None:
            if one.name == "bad":
                raise InvalidObjectError("no")
            await super().send(one)

    server = Picky()
    async with delivering(server, None) as queue:
        queue.put(report("bad", 1))
        queue.put(report("good", 1))
        await until(lambda: len(queue) == 0)

    assert server.got == [("good", 1)]


async def test_waiting_for_delivery_ends_when_the_api_is_away(tmp_path: Path) -> None:
    server = Server()
    server.up = False
    async with delivering(server, tmp_path) as queue:
        queue.put(report("a", 1))
        began = time.monotonic()
        assert not await queue.wait_delivered(ObjectKey("default", "a"), 30)
        assert time.monotonic() - began < 5


async def test_nothing_is_told_about_a_dropped_instance(tmp_path: Path) -> None:
    server = Server()
    server.up = False
    async with delivering(server, tmp_path) as queue:
        queue.put(report("a", 1))
        queue.put(report("b", 1))
        await until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 2)
        queue.drop(ObjectKey("default", "a"))
        server.up = True
        await until(lambda: ("b", 1) in server.got)
        await asyncio.sleep(0.1)

    assert len(list(tmp_path.glob("[0-9]*"))) == 0


async def test_an_unreadable_file_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "0000000000000001").write_bytes(b"garbage")
    async with delivering(Server(), tmp_path) as queue:
        assert len(queue) == 0


class BatchServer(Server):
    """Takes many reports in one request, but for those it wants alone."""

    def __init__(self, alone: set[str]) -> None:
        super().__init__()
        self.alone = alone
        self.sizes: list[int] = []

    async def send_together(self, many: Sequence[Report]) -> Sequence[Report]:
        self.tries += 1
        await asyncio.sleep(0)
        if not self.up:
            raise ApiUnavailableError("down")
        self.sizes.append(len(many))
        self.got += [(one.name, one.status["value"]) for one in many if one.name not in self.alone]
        return [one for one in many if one.name in self.alone]


async def test_what_waited_goes_together_and_in_order(tmp_path: Path) -> None:
    server = BatchServer({"r7"})
    server.up = False
    queue = DeliveryQueue(server.send, tmp_path, send_together=server.send_together)
    task = asyncio.create_task(queue.run())
    names = [f"r{number}" for number in range(250)]
    for name in names:
        queue.put(report(name, 1))
    await until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 250)
    server.up = True
    tries = server.tries
    await until(lambda: len(queue) == 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    queue.close()

    assert [name for name, _ in server.got if name != "r7"] == [name for name in names if name != "r7"]
    assert ("r7", 1) in server.got, "what has to go alone goes alone"
    assert server.sizes == [TOGETHER, TOGETHER, 250 - 2 * TOGETHER - 1], "the first one was the probe"
    assert server.tries - tries <= 5
    assert not list(tmp_path.glob("[0-9]*"))


async def test_many_that_did_not_arrive_wait_where_they_were(tmp_path: Path) -> None:
    server = BatchServer(set())
    async with delivering(server, tmp_path, server.send_together) as queue:
        server.up = False
        for number in range(20):
            queue.put(report(f"r{number}", 1))
        await until(lambda: server.tries >= 1)
        queue.put(report("r3", 2))
        server.up = True
        await until(lambda: len(queue) == 0)

    assert sorted({name for name, _ in server.got}) == sorted(f"r{number}" for number in range(20))
    assert [value for name, value in server.got if name == "r3"][-1] == 2
    assert len(server.got) == 20


async def test_the_disk_takes_a_bounded_number_of_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plum_agent.delivery.MOST_STORED", 10)
    server = Server()
    server.up = False
    async with delivering(server, tmp_path) as queue:
        for number in range(30):
            queue.put(report(f"r{number}", 1))
        await until(lambda: server.tries >= 2)
        assert len(list(tmp_path.glob("[0-9]*"))) == 10
        server.up = True
        await until(lambda: len(queue) == 0)

    assert len(server.got) == 30, "the others were in memory"
