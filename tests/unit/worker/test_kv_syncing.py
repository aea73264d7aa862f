"""A write that waits and what the controller tells of its key meanwhile: who has the last word is decided by revisions."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from plum_worker.kv_cache import Cache
from plum_worker.kv_files import Snapshot, WriteQueue
from plum_worker.kv_http import Answer, Event, Http, Stop
from plum_worker.kv_sync import Syncing

SECONDS = 10.0


class Controller(Http):
    """Tells what a test puts into `told`, and answers a write only when it is let go."""

    def __init__(self) -> None:
        self.told: queue.Queue[Event | None] = queue.Queue()
        self.asked, self.answers = threading.Event(), threading.Event()
        self.taken = threading.Semaphore(0)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        self.asked.set()
        assert self.answers.wait(SECONDS)
        return Answer(200, {"x-plum-revision": "10"}, b"")

    def events(self, path: str, last_event: str, stop: Stop) -> Iterator[Event]:
        while (event := self.told.get(timeout=SECONDS)) is not None:
            yield event
            self.taken.release()


def put(revision: int, value: str) -> Event:
    data = {"key": "k", "type": "string", "value": value, "revision": revision}
    return Event(str(revision), "put", json.loads(json.dumps(data)))


def delete(revision: int) -> Event:
    return Event(str(revision), "delete", {"key": "k", "revision": revision})


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        ([put(10, "mine"), put(11, "theirs")], "theirs"),
        ([put(9, "theirs"), put(10, "mine")], "mine"),
        ([put(10, "mine"), delete(11)], None),
        ([delete(9)], "mine"),
    ],
    ids=["another after mine", "another before mine", "deleted after mine", "deleted before mine"],
)
def test_what_is_told_before_the_answer_to_a_write_is_not_lost(
    tmp_path: Path, meanwhile: list[Event], expected: str | None
) -> None:
    cache, waiting, controller = Cache(), WriteQueue(tmp_path, "n", 10), Controller()
    syncing = Syncing(controller, "n", cache, waiting, Snapshot(tmp_path, "n"), "sse", 1.0)
    controller.told.put(Event("8", "sync", {"revision": 8}))
    write: dict[str, Any] = {"op": "put", "key": "k", "type": "string", "value": "mine"}
    syncing.start()
    try:
        assert controller.taken.acquire(timeout=SECONDS)
        with syncing.merging:
            waiting.add(write)
            cache.put("k", "string", "mine", 0)
        syncing.wake()
        assert controller.asked.wait(SECONDS)
        for event in meanwhile:
            controller.told.put(event)
            assert controller.taken.acquire(timeout=SECONDS)
        assert cache.values["k"] == "mine", "this program reads what it wrote"

        controller.answers.set()
        assert syncing.wait_flushed(SECONDS)

        with syncing.merging:
            assert cache.values.get("k") == expected
    finally:
        controller.told.put(None)
        syncing.close()
        waiting.close()
