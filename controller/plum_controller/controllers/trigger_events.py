"""Event triggers: every change of the objects they name, each once, from the revision that their status remembers.

    status.observedRevision --list at that revision--> what was there --watch from it--> Change --start_of--> WorkflowRun

One follower for each kind, shared by all triggers of it. Changes are taken in the order of the store; the status that tells of a
run also says up to where the changes are dealt with, so a controller that comes back goes on where the last one stopped. Beyond
the kept history only what is there can be looked at: each object that was written since counts as one change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec
from plum_client.client import ApiClient
from plum_client.codec import JsonObject, head_of, revision_of
from plum_client.conditions import find_condition
from plum_client.controller import Controller
from plum_client.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
    RevisionCompactedError,
    TooManyRequestsError,
    error_of,
)
from plum_client.events import EventRecorder
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_client.transport import Request
from plum_client.watch import RawEvent, watch_events
from plum_flow.expressions import ExpressionError, UnresolvedError
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.trigger import Trigger

from plum_controller.controllers.trigger_telling import tell
from plum_controller.domain.trigger_events import Change, start_of, watched_kind
from plum_controller.domain.triggers import Start
from plum_controller.triggering import fire

logger = logging.getLogger(__name__)

MAX_WAIT = 30.0
"""Seconds between two attempts to reach what does not answer."""
REMEMBER_SECONDS = 600.0
"""How often a status without firings says up to where changes were looked at: well within the history that is kept."""
_TYPES = {"ADDED": "Added", "MODIFIED": "Modified", "DELETED": "Deleted"}
_PAGE = "500"

Kind = tuple[str, str]
"""API version and kind."""


class _NoKeys:
    async def reconcile(self, key: ObjectKey) -> Result:
        return Result.wait_for_change()


class TriggerEvents(Controller):
    """Runs the followers, as a controller that has no keys of its own."""

    def __init__(self, manager: Manager) -> None:
        super().__init__("trigger-events", _NoKeys(), workers=1)
        self.recorder = manager.recorder("trigger")
        self.manager = manager
        self.triggers = manager.informer(Trigger)
        self._kinds: dict[ObjectKey, Kind] = {}
        """Enabled triggers that follow objects."""
        self._seen: dict[ObjectKey, str] = {}
        """Their uids and what they look for: another one begins anew."""
        self._followers: dict[Kind, Follower] = {}
        self._tasks: dict[Kind, asyncio.Task[None]] = {}
        self._works = False
        self._problems: dict[Kind, str] = {}
        """Why some kinds cannot be followed."""
        self.look_again: Callable[[ObjectKey], None] = lambda key: None
        """Has a trigger looked at again: what is said of it has changed."""

    def problem(self, key: ObjectKey) -> str:
        """Why what a trigger waits for cannot be followed; empty if it can."""
        kind = self._kinds.get(key)
        return self._problems.get(kind, "") if kind is not None else ""

    def note(self, kind: Kind, problem: str) -> None:
        """A kind can be followed from now on, or cannot any more, and why."""
        if self._problems.get(kind, "") == problem:
            return
        self._problems[kind] = problem
        for key in self.of_kind(kind):
            self.look_again(key)

    def look_at(self, key: ObjectKey, trigger: Trigger | None) -> None:
        """Follow what a trigger waits for, or no longer."""
        wanted = None
        if trigger is not None and trigger.spec.enabled and trigger.metadata.deletion_timestamp is None:
            wanted = watched_kind(trigger)
        before = self._kinds.get(key)
        if wanted is None or trigger is None:
            self._kinds.pop(key, None)
            self._seen.pop(key, None)
        else:
            self._kinds[key] = wanted
            identity = f"{trigger.metadata.uid} {trigger.spec.event!r} {trigger.spec.run!r}"
            if self._seen.get(key) != identity:
                self._seen[key] = identity
                self._follower(wanted).begin(key, trigger)
                self._start(wanted)
        if before is not None and before != wanted and before not in self._kinds.values():
            self._stop(before)

    def of_kind(self, kind: Kind) -> list[ObjectKey]:
        """The triggers that follow a kind, in order."""
        return sorted(key for key, found in self._kinds.items() if found == kind)

    async def work(self, manager: Manager) -> None:
        """Follow until cancelled."""
        self._works = True
        for kind in dict.fromkeys(self._kinds.values()):
            self._start(kind)
        try:
            await super().work(manager)
        finally:
            self._works = False
            tasks, self._tasks = list(self._tasks.values()), {}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follower(self, kind: Kind) -> Follower:
        found = self._followers.get(kind)
        if found is None:
            found = self._followers[kind] = Follower(self, kind)
        return found

    def _start(self, kind: Kind) -> None:
        if self._works and kind not in self._tasks:
            self._tasks[kind] = asyncio.create_task(self._follower(kind).run(), name=f"trigger-events-{kind[1]}")

    def _stop(self, kind: Kind) -> None:
        self._followers.pop(kind, None)
        self._problems.pop(kind, None)
        task = self._tasks.pop(kind, None)
        if task is not None:
            task.cancel()


class Follower:
    """Follows one kind for its triggers."""

    def __init__(self, owner: TriggerEvents, kind: Kind) -> None:
        self._owner = owner
        self._kind = kind
        self._api: ApiClient = owner.manager.api
        self._recorder: EventRecorder = owner.recorder
        self._position = 0
        """Changes up to this revision were looked at."""
        self._progress: dict[ObjectKey, int] = {}
        """The same for each trigger; a new one may begin earlier."""
        self._remembered: dict[ObjectKey, float] = {}
        """When the status of each trigger was told up to where changes were looked at, in seconds of the loop."""
        self._watching: asyncio.Task[None] | None = None

    def begin(self, key: ObjectKey, trigger: Trigger) -> None:
        """Another trigger, from what it remembers or from its last write."""
        condition = find_condition(trigger.status.conditions, "Ready")
        disabled = condition is not None and condition.reason == "Disabled"
        fresh = disabled or not trigger.status.observed_revision
        since = revision_of(trigger.metadata.resource_version if fresh else trigger.status.observed_revision)
        self._progress[key] = since
        self._remembered[key] = asyncio.get_running_loop().time()
        if since < self._position and self._watching is not None:
            self._watching.cancel()  # from the beginning, from there

    async def run(self) -> None:
        """Follow until cancelled. Outages are waited out."""
        failures = 0
        while True:
            watching = self._watching = asyncio.create_task(self._follow(), name=f"follow-{self._kind[1]}")
            try:
                await asyncio.wait([watching])
                if not watching.cancelled():
                    watching.result()
                failures = 0
            except ApiError as error:
                failures += 1
                logger.info("following for triggers was interrupted", extra={"kind": self._kind[1], "error": str(error)})
                await asyncio.sleep(_delay(failures))
            except asyncio.CancelledError:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                raise
            except Exception:
                failures += 1
                logger.exception("following for triggers failed", extra={"kind": self._kind[1]})
                await asyncio.sleep(_delay(failures))

    async def _follow(self) -> None:
        info = await self._info()
        if info is None:
            await asyncio.sleep(MAX_WAIT)
            return
        keys = self._owner.of_kind(self._kind)
        for gone in self._progress.keys() - set(keys):
            del self._progress[gone]
        since = min((self._progress[key] for key in keys if key in self._progress), default=0)
        objects, since = await self._begin(info, since)
        self._position = since
        async with aclosing(watch_events(self._api.transport, info, "", {}, str(since))) as events:
            async for event in events:
                if event.type == "BOOKMARK":
                    await self._all_until(event.head.revision)
                else:
                    await self._take(objects, event)

    async def _info(self) -> KindInfo | None:
        await self._api.discover()
        found = self._api.discovery.known(*self._kind)
        text = "" if found is not None else f"there is no kind {self._kind[1]} of version {self._kind[0]}"
        self._owner.note(self._kind, text)
        if found is None:
            self._api.discovery.forget()
            for key in self._owner.of_kind(self._kind):
                trigger = self._owner.triggers.get(key)
                if trigger is not None:
                    self._recorder.event(trigger, "Warning", "KindNotFound", text)
        return found

    async def _begin(self, info: KindInfo, since: int) -> tuple[dict[ObjectKey, bytes], int]:
        """The objects as they were at a revision, and from where to watch."""
        now = [pair async for pair in self._list(info, "")]
        current = now[0][1] if now else 0
        if 0 < since < current:
            try:
                then = [item async for items, _ in self._list(info, str(since)) for item in items]
                return {head_of(item).key: item for item in then}, since
            except RevisionCompactedError:
                await self._missed(now, since)
        return {head_of(item).key: item for items, _ in now for item in items}, current

    async def _list(self, info: KindInfo, revision: str) -> AsyncGenerator[tuple[list[bytes], int], None]:
        """Pages of objects with the revision they are of."""
        query = {"limit": _PAGE}
        if revision:
            query |= {"resourceVersion": revision, "resourceVersionMatch": "Exact"}
        while True:
            response = await self._api.transport.send(Request("GET", info, query=query))
            if response.status >= 400:
                raise error_of(response.status, response.body, f"list {info.resource}")
            page = msgspec.json.decode(response.body, type=_Page)
            yield [bytes(item) for item in page.items or ()], revision_of(page.metadata.resource_version)
            if not page.metadata.continue_:
                return
            query = {"limit": _PAGE, "continue": page.metadata.continue_}

    async def _missed(self, pages: list[tuple[list[bytes], int]], since: int) -> None:
        """The history does not reach back: what was written since counts as changed once, and what was deleted is not known."""
        for key in self._owner.of_kind(self._kind):
            trigger = self._owner.triggers.get(key)
            if trigger is not None:
                text = "it was away for longer than the history reaches; of each object one change counts, and no deletion"
                self._recorder.event(trigger, "Warning", "ChangesLost", text)
        written = sorted((head_of(item).revision, item) for items, _ in pages for item in items)
        for revision, item in written:
            if revision > since:
                await self._deliver(Change("Modified", None, msgspec.json.decode(item), revision))

    async def _take(self, objects: dict[ObjectKey, bytes], event: RawEvent) -> None:
        key, revision = event.head.key, event.head.revision
        old = objects.get(key)
        if event.type == "DELETED":
            objects.pop(key, None)
        else:
            objects[key] = event.value
        if event.type == "ADDED" and old is not None and head_of(old).revision >= revision:
            return
        value: JsonObject = msgspec.json.decode(event.value)
        before = None if old is None else msgspec.json.decode(old)
        gone = event.type == "DELETED"
        change = Change(_TYPES[event.type], value if gone else before, None if gone else value, revision)
        await self._deliver(change)
        self._position = max(self._position, revision - 1)

    async def _deliver(self, change: Change) -> None:
        for key in self._owner.of_kind(self._kind):
            trigger = self._owner.triggers.get(key)
            if trigger is None or change.revision <= self._progress.get(key, change.revision):
                continue
            start = self._start_of(trigger, change)
            if start is not None:
                await self._fire(key, trigger.metadata.uid, start, change)
            # Other objects may have changed at the same revision.
            self._progress[key] = max(self._progress[key], change.revision - 1)

    def _start_of(self, trigger: Trigger, change: Change) -> Start | None:
        try:
            return start_of(trigger, change)
        except (UnresolvedError, ExpressionError) as error:
            self._recorder.event(trigger, "Warning", "NoValue", f"spec.event.when: {error}"[:1000])
            return None

    async def _fire(self, key: ObjectKey, uid: str, start: Start, change: Change) -> None:
        """Fire, for as long as it takes."""
        failures = 0
        while True:
            try:
                trigger = await self._api.get(Trigger, key)
                if trigger is None or trigger.metadata.uid != uid or not trigger.spec.enabled:
                    return
                status = trigger.status
                same = status.observed_revision == str(change.revision - 1)
                if same and change.key in status.observed_changes:
                    return
                changes = [*(status.observed_changes if same else ()), change.key]
                status = msgspec.structs.replace(status, observed_revision=str(change.revision - 1), observed_changes=changes)
                done = await fire(self._api, self._owner.manager.clock, trigger, [start], status=status)
                self._remembered[key] = asyncio.get_running_loop().time()
                tell(self._recorder, trigger, done)
                return
            except (ConflictError, NotFoundError):
                failures += 1
                await asyncio.sleep(min(_delay(failures), 1.0))
            except (ApiUnavailableError, TooManyRequestsError) as error:
                failures += 1
                logger.info("trigger could not fire yet", extra={"key": str(key), "error": str(error)})
                await asyncio.sleep(max(_delay(failures), error.retry_after))

    async def _all_until(self, revision: int) -> None:
        """Everything up to a revision was looked at. Now and then the statuses say so too."""
        self._position = max(self._position, revision)
        now = asyncio.get_running_loop().time()
        for key in self._owner.of_kind(self._kind):
            self._progress[key] = max(self._progress.get(key, revision), revision)
            if key in self._owner.triggers and now - self._remembered.get(key, now) >= REMEMBER_SECONDS:
                self._remembered[key] = now
                patch = {"status": {"observedRevision": str(revision), "observedChanges": []}}
                await self._api.patch(Trigger, key, patch, subresource="status")


def _delay(failures: int) -> float:
    return float(min(MAX_WAIT, 0.05 * 2 ** min(failures, 20)))


class _PageMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _PageMetadata
    items: list[msgspec.Raw] | None = None
