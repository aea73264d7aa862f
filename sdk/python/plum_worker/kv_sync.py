"""The thread behind a `KV`: follows the namespace, sends what waits, keeps the snapshot.

    sse       stream of changes -> cache; broken off: the queue first, then on from the last event
    polling   the whole namespace every few seconds -> cache
    disabled  only the queue

The queue is emptied before the namespace is looked at again, so that what this program wrote while the controller was away
is not undone in its own memory by what was there before.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

from plum_worker.kv_cache import Cache, Entry, from_json
from plum_worker.kv_errors import KvError, KvRefusedError, KvUnavailableError
from plum_worker.kv_files import Snapshot, WriteQueue
from plum_worker.kv_http import Event, Http, Stop, path_of

logger = logging.getLogger("plum_worker.kv")

MODES = ("sse", "polling", "disabled")
PAUSES = (0.1, 5.0)
"""First and longest pause in seconds between attempts to reach the controller."""
SNAPSHOT_SECONDS = 1.0
"""The snapshot is at most this old when the program is killed."""
PAGE = 500


class Syncing:
    """States: starting, ready (the cache answers reads), closed. `ready` stays once the namespace was seen."""

    def __init__(
        self,
        http: Http,
        namespace: str,
        cache: Cache,
        queue: WriteQueue,
        snapshot: Snapshot,
        mode: str,
        poll_seconds: float,
    ) -> None:
        self.ready = False
        self.online = True
        self._http = http
        self._namespace = namespace
        self._cache = cache
        self._queue = queue
        self._snapshot = snapshot
        self._mode = mode
        self._poll_seconds = poll_seconds
        self._stop = Stop()
        self._looked = threading.Event()
        self._wake = threading.Event()
        self._sending = threading.Lock()
        self.merging = threading.Lock()
        """Held while it is decided whether the controller or a write that waits has the word on a key."""
        self._behind: dict[str, tuple[int, Entry | None]] = {}
        """What the controller last told of keys with writes that wait: revision and entry, None for none."""
        self._last_event = ""
        self._kept = cache.changes
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        jobs = [("queue", self._send_waiting), ("snapshot", self._keep)]
        if self._mode != "disabled":
            jobs.append(("sync", self._follow))
        for name, job in jobs:
            thread = threading.Thread(target=job, name=f"kv-{name}-{self._namespace}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(5)
        self._store()

    def wake(self) -> None:
        """A write waits."""
        self._wake.set()

    def wait_ready(self, seconds: float) -> bool:
        """Wait for the first look at the namespace. False: nobody answers, or it takes too long."""
        self._looked.wait(seconds)
        return self.ready

    def wait_flushed(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while len(self._queue) and time.monotonic() < deadline:
            self._wake.set()
            time.sleep(0.01)
        return not len(self._queue)

    # ---- writing

    def send(self, write: Mapping[str, Any], headers: Mapping[str, str]) -> int:
        """One write, now; answers with its revision. Raises `KvError`."""
        key = write["key"]
        try:
            if write["op"] == "delete":
                answer = self._http.ask("DELETE", path_of(self._namespace, key), headers=headers)
            else:
                query = {"type": write["type"], **({"ttl": write["ttl"]} if write.get("ttl") else {})}
                body = json.dumps(write["value"]).encode()
                kind = {"Content-Type": "application/json"}
                answer = self._http.ask("PUT", path_of(self._namespace, key, query), body, {**kind, **headers})
        except KvUnavailableError:
            self.online = False
            raise
        self.online = True
        return answer.revision

    def _send_waiting(self) -> None:
        pause = PAUSES[0]
        while not self._stop.event.is_set():
            write = self._queue.first()
            if write is None:
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            revision = 0
            try:
                with self._sending:
                    revision = self.send(write, {})
            except KvUnavailableError:
                self._stop.event.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads programs that all wait
                pause = min(pause * 2, PAUSES[1])
                continue
            except KvError as error:
                # It would be refused again; what comes behind it is not held up.
                logger.error("a write that waited was refused", extra={"key": write["key"], "error": str(error)})
            pause = PAUSES[0]
            with self.merging:
                if revision:
                    self._note(write, revision)
                self._queue.drop()
                if write["key"] in self._behind and write["key"] not in self._waiting_keys():
                    self._told(write["key"], *self._behind.pop(write["key"]))

    def _note(self, write: Mapping[str, Any], revision: int) -> None:
        if write["op"] == "delete":
            self._cache.delete(write["key"], revision)
            return
        known = self._cache.entries.get(write["key"])
        kind = write["type"] if write["type"] != "auto" else known.type if known is not None else "json"
        if known is not None and known.revision == 0:
            self._cache.put(write["key"], kind, from_json(kind, write["value"]), revision)

    # ---- following

    def look(self) -> None:
        """Read the whole namespace. Raises `KvError`."""
        token, revision, entries = "", 0, list[Entry]()
        while True:
            query = {"values": "true", "limit": str(PAGE), **({"continue": token} if token else {})}
            page = self._http.ask("GET", path_of(self._namespace, "", query)).json()
            revision = revision or int(page["revision"])
            entries += [_entry(item) for item in page["entries"]]
            token = page.get("continue", "")
            if not token:
                break
        self._replace(entries, revision)
        self.online = True

    def _replace(self, entries: list[Entry], revision: int) -> None:
        """These are all entries at a revision."""
        with self.merging:
            waiting = self._waiting_keys()
            found = {entry.key: entry for entry in entries if entry.key in waiting}
            self._behind = {key: (found[key].revision if key in found else revision, found.get(key)) for key in waiting}
            self._cache.replace(entries, revision, waiting)

    def _told(self, key: str, revision: int, entry: Entry | None) -> None:
        """The controller's word on a key: an entry, or that there is none. What the cache knows to be newer stays."""
        if entry is None:
            self._cache.delete(key, revision)
        else:
            self._cache.put(key, entry.type, entry.value, revision)

    def _follow(self) -> None:
        pause = PAUSES[0]
        while not self._stop.event.is_set():
            began = time.monotonic()
            try:
                if self._mode == "polling":
                    self._flushed()
                    self.look()
                    self._is_ready()
                    self._stop.event.wait(self._poll_seconds)
                else:
                    self._flushed()
                    self._stream()
            except KvRefusedError as error:
                self.online = False
                if error.code == 410:
                    self._last_event = ""  # history is gone: begin anew
                else:
                    logger.error("the key-value store refuses to be followed", extra={"error": str(error)})
                    pause = PAUSES[1]
            except KvError as error:
                if self.online and not self._stop.event.is_set():
                    logger.info("the controller is away", extra={"error": str(error)})
                self.online = False
            if not self.online:
                self._looked.set()  # readers do not wait for a controller that is away
                if self._cache.entries:
                    self.ready = True
            if time.monotonic() - began > 2 * PAUSES[1]:
                pause = PAUSES[0]
            if not self.online:
                self._stop.event.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(pause * 2, PAUSES[1])

    def _stream(self) -> None:
        """Follow until the stream ends."""
        first: list[Entry] | None = None if self._last_event else []
        path = path_of(self._namespace, "", {"watch": "true"})
        for event in self._http.events(path, self._last_event, self._stop):
            self.online = True
            if event.name == "error":
                raise KvUnavailableError(str(event.data.get("message", event.data)))
            if first is not None and event.name == "put":
                first.append(_entry(event.data))
                continue
            if event.id:
                self._last_event = event.id
            if event.name == "sync" and first is not None:
                self._replace(first, int(event.data["revision"]))
                first = None
                self._is_ready()
            elif first is None:
                self._take(event)
                self._is_ready()

    def _take(self, event: Event) -> None:
        data = event.data
        revision = int(data["revision"])
        if event.name in ("put", "delete"):
            key, entry = data["key"], _entry(data) if event.name == "put" else None
            with self.merging:
                if key in self._waiting_keys():
                    self._behind[key] = (revision, entry)
                else:
                    self._told(key, revision, entry)
        self._cache.passed(revision)

    def _waiting_keys(self) -> set[str]:
        """Keys whose value here is newer than what the controller has."""
        return self._queue.keys() if len(self._queue) else set()

    def _flushed(self) -> None:
        """Let what waits go first, for a while: a write may wait for other reasons than the controller."""
        deadline = time.monotonic() + PAUSES[1]
        while len(self._queue) and self.online and time.monotonic() < deadline and not self._stop.event.is_set():
            self._wake.set()
            time.sleep(0.005)

    def _is_ready(self) -> None:
        if not self.ready:
            self.ready = True
            self._looked.set()

    # ---- the snapshot

    def _keep(self) -> None:
        while not self._stop.event.wait(SNAPSHOT_SECONDS):
            self._store()

    def _store(self) -> None:
        if self._cache.changes != self._kept:
            self._kept = self._cache.changes
            self._snapshot.store(self._cache.stored())


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(item["key"], item["type"], from_json(item["type"], item["value"]), int(item["revision"]))
