"""The key-value store for applications: cached reads, writes that wait when the controller is away, locks.

    with KV("line-1") as kv:
        kv.put("level", 80)                       # read back by everybody
        kv.get("level", 0)                        # out of memory
        kv.subscribe(print, prefix="alarm/")      # every change, deletions too
        with kv.lock("deploy") as lock:
            kv.put("state", "busy", lock=lock)    # refused when the lock was lost meanwhile

Without arguments it connects as the environment says that Plum's agent gives to every application. May be used from any
thread; `plum_worker.AsyncKV` is the same for coroutines. Standard library only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from plum_worker.kv_cache import Cache, Change, Entry, Handler, from_json, to_json
from plum_worker.kv_errors import KvConflictError, KvRefusedError, KvUnavailableError
from plum_worker.kv_files import Snapshot, WriteQueue
from plum_worker.kv_http import Answer, Http, from_environment, path_of
from plum_worker.kv_lock import Lock
from plum_worker.kv_sync import MODES, Syncing

__all__ = ["KV", "Change", "Entry", "Subscription"]

logger = logging.getLogger("plum_worker.kv")

Mode = Literal["sse", "polling", "disabled"]
Kind = Literal["", "string", "int", "double", "bool", "bytes", "json"]
QUEUED = 1000
"""Writes that may wait for the controller."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z").match


class Subscription:
    """Ends with `close`, or with the block it is used in."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KV:
    """One namespace of the key-value store."""

    def __init__(
        self,
        namespace: str = "",
        *,
        base: str = "",
        token: str = "",
        ca_file: str = "",
        sync: Mode | Literal[""] = "",
        folder: str | Path = "",
        timeout: float = 10.0,
        poll_seconds: float = 2.0,
        queue_limit: int = QUEUED,
    ) -> None:
        """`namespace` is this instance's own if empty; what several instances share goes by a name they agree on.

        `sync`: `sse` (the default) keeps all values in memory as they change, `polling` looks every `poll_seconds`,
        `disabled` asks the controller for each read. `folder` keeps the last good values and the writes that wait;
        without a folder that can be written there are neither. Raises `KvRefusedError` for what cannot work.
        """
        self.namespace = namespace or _own_namespace()
        if not _NAMESPACE(self.namespace):
            raise KvRefusedError(f"{self.namespace!r} can be no namespace; use lower case letters, digits and '-'")
        mode = sync or from_environment("PLUM_KV_SYNC_MODE", "sse")
        if mode not in MODES:
            raise KvRefusedError(f"PLUM_KV_SYNC_MODE is {mode!r}; use {', '.join(MODES)}")
        address = base or from_environment("CONTROLLER_BASE", "http://127.0.0.1:8080")
        ca_file = ca_file or from_environment("PLUM_CA_FILE")
        self.http = Http(address, token or from_environment("PLUM_TOKEN"), ca_file, timeout)
        self.mode = mode
        self._timeout = timeout
        self._cache = Cache()
        self._values = self._cache.values
        place = Path(folder) if folder else Path(from_environment("PLUM_KV_DIR") or _default_folder())
        self._queue = WriteQueue(place, self.namespace, queue_limit)
        snapshot = Snapshot(place, self.namespace)
        self._cache.load(snapshot.load())
        self._writing = threading.Lock()
        self._syncing = Syncing(self.http, self.namespace, self._cache, self._queue, snapshot, mode, poll_seconds)
        self._syncing.start()

    # ---- reading

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key. Out of memory, as it was last seen, unless syncing is disabled.

        Values are shared: change a copy. Waits only for the first look at the namespace, and not for a controller that is
        away. Without syncing it asks, and answers with the last good value when nobody does.
        """
        if self._syncing.ready:
            return self._values.get(key, default)
        entry = self._entry_slowly(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry | None:
        """The value with its type and revision, from where `get` takes it."""
        if self._syncing.ready:
            return self._cache.entries.get(key)
        return self._entry_slowly(key)

    def fresh(self, key: str) -> Entry | None:
        """The entry as the controller has it now. Raises `KvUnavailableError`."""
        answer = self.http.ask("GET", path_of(self.namespace, key, {"as": "entry"}))
        if answer.status == 404:
            return None
        found = answer.json()
        entry = Entry(key, found["type"], from_json(found["type"], found["value"]), int(found["revision"]))
        self._cache.put(key, entry.type, entry.value, entry.revision)
        return entry

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so, sorted."""
        return [key for key, _ in self.items(prefix)]

    def items(self, prefix: str = "") -> list[tuple[str, Any]]:
        """Keys and values that begin so, sorted by key. One moment, when they come from memory."""
        if self.mode == "disabled":
            try:
                self._syncing.look()
            except KvUnavailableError:
                logger.info("the controller is away; keys are the last that were seen")
        elif not self._syncing.ready:
            self._syncing.wait_ready(self._timeout)
        return sorted((key, value) for key, value in self._values.copy().items() if key.startswith(prefix))

    # ---- writing

    def put(
        self,
        key: str,
        value: Any,
        type: Kind = "",
        *,
        ttl: str = "",
        if_revision: int | None = None,
        new: bool = False,
        lock: Lock | None = None,
        wait: bool = False,
    ) -> int:
        """Set a value; answers with its revision, or 0 if the controller is away and the write waits for it.

        Without a `type` the entry keeps its own, and a new one gets that of the value. `if_revision`, `new` and `lock`
        refuse (`KvConflictError`) unless the entry has that revision, is not there, the lock is still held; such a write
        never waits, and with `wait=True` no write does: `KvUnavailableError` says that it may have happened.
        """
        headers = self._demands(if_revision, new, lock)
        write = {"op": "put", "key": key, "value": to_json(value), "type": _type_of(value, type), "ttl": ttl}
        return self._write(write, value, headers, wait)

    def delete(self, key: str, *, if_revision: int | None = None, lock: Lock | None = None, wait: bool = False) -> int:
        """Delete an entry; a missing one is a success. Demands and answers as `put`."""
        return self._write({"op": "delete", "key": key}, None, self._demands(if_revision, False, lock), wait)

    def add(self, key: str, by: float = 1, *, lock: Lock | None = None) -> Any:
        """Change a number where it is; answers with the sum. Never waits in the queue."""
        path = path_of(self.namespace, key, {"add": json.dumps(by)})
        answer = self.http.ask("POST", path, headers=self._demands(None, False, lock))
        total = answer.json()["value"]
        self._cache.put(key, "int" if isinstance(total, int) else "double", total, answer.revision)
        return total

    def update(self, key: str, change: Callable[[Any], Any], type: Kind = "", *, lock: Lock | None = None) -> Any:
        """Replace a value by what `change` makes of it (None: there is none), again until nobody was faster."""
        while True:
            entry = self.fresh(key)
            value = change(None if entry is None else entry.value)
            try:
                self.put(key, value, type, if_revision=entry.revision if entry else None, new=entry is None, lock=lock)
            except KvConflictError:
                if lock is not None:
                    lock.check()
                continue
            return value

    def batch(self, put: Mapping[str, Any] | None = None, delete: Sequence[str] = ()) -> int:
        """Several puts and deletes, up to 128, as one revision or not at all."""
        puts = []
        for key, value in (put or {}).items():
            named = {"type": "bytes"} if isinstance(value, bytes | bytearray) else {}
            puts.append({"key": key, "value": to_json(value), **named})
        answer = self._post({"batch": "true"}, {"put": puts, "delete": list(delete)})
        revision = int(answer.json().get("revision", 0))
        for item in puts:
            known = self._cache.entries.get(item["key"])
            kind = item.get("type") or (known.type if known is not None else "json")
            self._cache.put(item["key"], kind, from_json(kind, item["value"]), revision)
        for key in delete:
            self._cache.delete(key, revision)
        return revision

    def txn(self, compare: Sequence[Any] = (), then: Sequence[Any] = (), otherwise: Sequence[Any] = ()) -> dict[str, Any]:
        """A transaction over entries and objects, in the form of `docs/transactions.md`; parts without a namespace mean
        this one. Answers with the result as JSON has it."""
        body = {"compare": list(compare), "then": list(then), "else": list(otherwise)}
        result: dict[str, Any] = self._post({"txn": "true"}, body).json()
        return result

    # ---- more

    def lock(self, name: str, ttl: str = "30s", wait: float = 60.0, holder: str = "") -> Lock:
        """A lock, to be used in a `with` block: held on entry, renewed by itself, given back at the end.

        Entering raises `KvConflictError` when another still holds it after `wait` seconds.
        """
        return Lock(self.http, self.namespace, name, ttl, wait, holder)

    def subscribe(self, handler: Handler, prefix: str = "") -> Subscription:
        """Call `handler` for every change of keys that begin so, in order, from the thread that syncs or writes. It must
        not block. Needs syncing. What changes while the controller is away is told as one change when it is back."""
        if self.mode == "disabled":
            raise KvRefusedError("PLUM_KV_SYNC_MODE is disabled, so nobody is told of changes; use sse or polling")
        number = self._cache.subscribe(handler, prefix)
        return Subscription(lambda: self._cache.unsubscribe(number))

    @property
    def waiting(self) -> int:
        """Writes that wait for the controller."""
        return len(self._queue)

    @property
    def online(self) -> bool:
        """The controller answered last time."""
        return self._syncing.online

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until no write waits any more. False when the time is over."""
        return self._syncing.wait_flushed(timeout)

    def close(self) -> None:
        """Stop syncing and keep what is on disk. Writes that wait are sent by the next start. Safe to repeat."""
        self._syncing.close()
        self._queue.close()
        self.http.close()

    def __enter__(self) -> KV:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    # ---- inside

    def _entry_slowly(self, key: str) -> Entry | None:
        if self.mode != "disabled" and self._syncing.wait_ready(self._timeout):
            return self._cache.entries.get(key)
        try:
            entry = self.fresh(key)
        except KvUnavailableError:
            return self._cache.entries.get(key)
        if entry is None:
            self._cache.delete(key, 0)
        return entry

    def _write(self, write: dict[str, Any], value: Any, headers: Mapping[str, str], wait: bool) -> int:
        """Now, or behind the writes that wait already."""
        key = write["key"]
        with self._writing:  # a write must not overtake one that is being put into the queue
            if not len(self._queue) or headers or wait:
                try:
                    revision = self._syncing.send(write, headers)
                except KvUnavailableError:
                    if headers or wait:
                        raise
                else:
                    self._note(write, value, revision)
                    return revision
            with self._syncing.merging:
                self._queue.add(write)
                if write["op"] == "put":
                    known = self._cache.entries.get(key)
                    kind = write["type"] if write["type"] != "auto" else known.type if known else "json"
                    self._cache.put(key, kind, value, 0)
                else:
                    self._cache.delete(key, 0)
        self._syncing.wake()
        return 0

    def _note(self, write: dict[str, Any], value: Any, revision: int) -> None:
        if write["op"] == "delete":
            self._cache.delete(write["key"], revision)
            return
        known = self._cache.entries.get(write["key"])
        kind = write["type"] if write["type"] != "auto" else known.type if known is not None else _guess(value)
        self._cache.put(write["key"], kind, value, revision)

    def _post(self, query: Mapping[str, str], body: Any) -> Answer:
        headers = {"Content-Type": "application/json"}
        return self.http.ask("POST", path_of(self.namespace, "", query), json.dumps(body).encode(), headers)

    def _demands(self, if_revision: int | None, new: bool, lock: Lock | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if if_revision is not None:
            headers["If-Match"] = f'"{if_revision}"'
        if new:
            headers["If-None-Match"] = "*"
        if lock is not None:
            headers["If-Lock"] = lock.header
        return headers


def _own_namespace() -> str:
    """This instance's own, by its id."""
    found = from_environment("PLUM_KV_NAMESPACE") or from_environment("PLUM_INSTANCE_ID").replace(".", "-")
    if not found:
        raise KvRefusedError("name a namespace: KV('line-1'); only inside an instance of Plum there is one by default")
    return found[:63].strip("-")


def _default_folder() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plum-kv")


def _type_of(value: Any, kind: str) -> str:
    """The type to name; `auto` leaves it to the entry."""
    if kind:
        return kind
    return "bytes" if isinstance(value, bytes | bytearray) else "auto"


def _guess(value: Any) -> str:
    """The type that a new entry gets."""
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "double", str: "string"}.get(type(value), "json")
