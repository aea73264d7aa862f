"""A controller: informers feed keys into a queue, workers reconcile them.

    change of `kind`             -> its key               \\
    change of what it `owns`     -> the owner's key        +-> queue -> worker -> Reconciler.reconcile -> Result
    change seen by a `Watch`     -> whatever to_keys gives /                  \\-> error: retried or not, by its type

Retry is decided here and nowhere else:

- ConflictError, NotFoundError   the cache was behind: again at once, with a short backoff
- ConflictError of an apply      another manager owns the field: a warning, and again with backoff
- TooManyRequestsError           again after the time the server asked for
- TerminalError, InvalidObjectError   reported (log, and a condition if the controller names one), not retried until a change
- everything else                again with backoff
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.base import Condition, KindInfo, Object, ObjectKey

from plum_client.backoff import FAST, Backoff
from plum_client.codec import codec_of
from plum_client.conditions import set_condition
from plum_client.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    InvalidObjectError,
    NotFoundError,
    TerminalError,
    TooManyRequestsError,
)
from plum_client.reconciler import Reconciler
from plum_client.work_queue import Lane, QueueClosedError, WorkQueue
from plum_client.writes import recorded_writes

if TYPE_CHECKING:
    from plum_client.manager import Expected, Manager

logger = logging.getLogger(__name__)

Kind = type[Object] | KindInfo
ToKeys = Callable[[Any, Any], Iterable[ObjectKey]]
"""Called with an object before and after a change (None: there was or is none); gives the keys to reconcile."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Changes of another kind that make this controller reconcile."""

    kind: Kind
    to_keys: ToKeys
    namespace: str = ""
    labels: str = ""
    fields: str = ""


@dataclass(eq=False)
class Controller:
    """Settings of one controller, and its queue."""

    name: str
    """For logs and metrics."""
    reconciler: Reconciler
    kind: Kind | None = None
    """Its own kind: every change enqueues the object's key."""
    owns: Sequence[Kind] = ()
    """Kinds whose objects name one of `kind` as controller in their owner references."""
    watches: Sequence[Watch] = ()
    workers: int = 4
    """Reconciles at the same time, never two of one key."""
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    """Restrict `kind` to the objects that match."""
    resync_seconds: float = 0.0
    """Reconcile every key this often even if nothing changed; 0 never. For controllers that look at the world outside."""
    condition: str = ""
    """Type of a condition that is set to False when a reconcile ends in a `TerminalError`."""
    backoff: Backoff = field(default_factory=Backoff)
    queue: WorkQueue[ObjectKey] = field(init=False)
    reconciles: int = field(init=False, default=0)
    """Reconciles that were started."""
    errors: int = field(init=False, default=0)
    """Reconciles that ended in an error."""

    def __post_init__(self) -> None:
        self.queue = WorkQueue(self.backoff)
        self._expected: dict[ObjectKey, Expected] = {}
        """What the last reconcile of a key wrote and the informers have not seen yet."""
        self._keys: Callable[[], list[ObjectKey]] = list

    def enqueue(self, key: ObjectKey) -> None:
        """Ask for a reconcile, from anywhere on the event loop."""
        self.queue.add(key)

    def enqueue_all(self) -> None:
        """Ask for a reconcile of every object there is, after the changes that wait."""
        for key in self._keys():
            self.queue.add(key, Lane.RESYNC)

    def expected(self) -> list[Expected]:
        """What the next reconciles will wait for."""
        return list(self._expected.values())

    def connect(self, manager: Manager) -> None:
        """Have the informers of this controller's kinds feed its queue."""
        if self.kind is not None:
            informer = manager.informer(self.kind, self.namespace, self.labels, self.fields)
            informer.add_raw_handler(lambda key, old, new: self.queue.add(key))
            self._keys = informer.keys
            for owned in self.owns:
                manager.informer(owned, self.namespace).add_raw_handler(self._enqueue_owner)
        for watch in self.watches:
            watched = manager.informer(watch.kind, watch.namespace, watch.labels, watch.fields)
            watched.add_handler(_enqueuer(self.queue, watch.to_keys))

    async def work(self, manager: Manager) -> None:
        """Reconcile until cancelled or until the queue is closed."""
        tasks = [asyncio.create_task(self._worker(manager), name=f"{self.name}-{number}") for number in range(self.workers)]
        if self.resync_seconds:
            tasks.append(asyncio.create_task(self._resync(), name=f"{self.name}-resync"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.resync_seconds)
            self.enqueue_all()

    async def _worker(self, manager: Manager) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            try:
                await self._reconcile(manager, key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, manager: Manager, key: ObjectKey) -> None:
        expected = self._expected.pop(key, None)
        if expected:
            await manager.wait_for(expected)
        self.reconciles += 1
        with recorded_writes() as writes:
            try:
                result = await self.reconciler.reconcile(key)
            except Exception as error:
                self.errors += 1
                await self._after_error(manager, key, error)
            else:
                self.queue.forget(key)
                if result.after is not None:
                    self.queue.add_after(key, result.after)
        if writes and (left := manager.expect(writes)):
            self._expected[key] = left

    async def _after_error(self, manager: Manager, key: ObjectKey, error: Exception) -> None:
        fields = {"controller": self.name, "key": str(key), "error": str(error)}
        if isinstance(error, ConflictError) and any(cause.reason == "FieldManagerConflict" for cause in error.causes):
            self.queue.retry(key)
            logger.warning("reconcile applies a field that another manager owns", extra=fields)
        elif isinstance(error, (ConflictError, NotFoundError)):
            self.queue.retry(key, FAST)
            logger.debug("reconcile met a newer state", extra=fields)
        elif isinstance(error, TooManyRequestsError):
            self.queue.retry(key, at_least=error.retry_after)
            logger.info("reconcile was told to wait", extra=fields)
        elif isinstance(error, (TerminalError, InvalidObjectError)):
            self.queue.forget(key)
            logger.warning("reconcile cannot succeed until the object changes", extra=fields)
            await self._report(manager, key, error)
        elif isinstance(error, ApiUnavailableError):
            self.queue.retry(key)
            logger.info("reconcile could not reach the api", extra=fields)
        else:
            self.queue.retry(key)
            logger.error("reconcile failed", extra=fields, exc_info=error)

    async def _report(self, manager: Manager, key: ObjectKey, error: TerminalError | InvalidObjectError) -> None:
        """Tell the user in the object's status. A report that fails is only logged: the next change brings the next."""
        if not (self.condition and self.kind is not None):
            return
        info = codec_of(self.kind).info
        try:
            obj = await manager.api.get(info, key)
            if obj is None:
                return
            status = obj.get("status") or {}
            known = msgspec.convert(status.get("conditions") or [], list[Condition])
            generation = int(obj["metadata"].get("generation") or 0)
            condition = Condition(
                type=self.condition,
                status="False",
                reason=error.reason or "InvalidSpec",
                message=error.message,
                observed_generation=generation,
            )
            conditions = set_condition(known, condition, manager.clock.now())
            if conditions != known:
                patch = {
                    "metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]},
                    "status": {"conditions": msgspec.to_builtins(conditions)},
                }
                await manager.api.patch(info, key, patch, subresource="status")
        except ApiError as failure:
            logger.warning("condition could not be written", extra={"key": str(key), "error": str(failure)})

    def _enqueue_owner(self, key: ObjectKey, old: bytes | None, new: bytes | None) -> None:
        assert self.kind is not None  # noqa: S101  connect checked it
        info = codec_of(self.kind).info
        for value in (old, new):
            if value is not None:
                owner = controlling_owner(value, info)
                if owner:
                    self.queue.add(ObjectKey(key.namespace if info.namespaced else "", owner))


class _Owner(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _OwnedMetadata(msgspec.Struct, rename="camel"):
    owner_references: list[_Owner] = []


class _Owned(msgspec.Struct):
    metadata: _OwnedMetadata = msgspec.field(default_factory=_OwnedMetadata)


_decode_owned = msgspec.json.Decoder(_Owned).decode


def controlling_owner(value: bytes, info: KindInfo) -> str:
    """Name of the object of that kind which controls the encoded object; empty if there is none."""
    for owner in _decode_owned(value).metadata.owner_references:
        if owner.controller and owner.kind == info.kind and owner.api_version.partition("/")[0] in (info.group, info.version):
            return owner.name
    return ""


def _enqueuer(queue: WorkQueue[ObjectKey], to_keys: ToKeys) -> Callable[[Any, Any], None]:
    def handler(old: Any, new: Any) -> None:
        for key in to_keys(old, new):
            queue.add(key)

    return handler
