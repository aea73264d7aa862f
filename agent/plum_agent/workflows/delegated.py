"""One run that this node carries out: taken, driven by an actor as in the controller, merged whenever the controller answers.

    take: written down -> guarded write of the status, with the next fencing token -> ours
    actor --rows, one transaction per step--> store --pieces, oldest change first--> controller --confirmed--> forgotten here
    status last: an end is told after all that it follows from
    inside of another one: taken when it is made, told of with `Merge.runs` of the run around it; that one's end waits for its end

The link decides when the controller knows, never what happens. What is refused because the run was given up ends here as well.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

import msgspec
from plum_client.backoff import Backoff, Pause
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError, TooManyRequestsError, error_of
from plum_client.events import EventRecorder
from plum_client.outgoing import OutgoingClient
from plum_client.transport import Request
from plum_flow.delegation import MOST_BYTES, MOST_ROWS, MOST_TASKS, InnerRun, Merge, MergedRow
from plum_flow.running.actor import Actor
from plum_flow.running.journal import space_of
from plum_flow.running.made import facts_of, place_of
from plum_flow.running.statuses import status_of
from plum_flow.workflow.loading import load
from plum_flow.workflow.rows import RUN_KEY, decode_node, decode_run
from plum_flow.workflow.state import Run
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_agent.workflows.effects import Effects, InnerRuns, run_ended
from plum_agent.workflows.inner import Plans, ending_of
from plum_agent.workflows.store import Ending, Head, Piece, RunStore
from plum_agent.workflows.tasks import LocalTasks

logger = logging.getLogger(__name__)

RETRY = Backoff(initial=0.1, maximum=15.0)
MERGE_SECONDS = 0.5
"""Between two merges while a run moves; its end is told at once."""
RELOAD_SECONDS = 1.0
_encode = msgspec.json.Encoder().encode


class GivenUpError(Exception):
    """The run is not this node's any more."""


class Inner(InnerRuns, Protocol):
    """The runs inside of others, on this node."""

    def around(self, head: Head) -> Head | None:
        """The run that one is inside of; None if that does not go on any more."""

    def has(self, uid: str) -> bool:
        """Whether runs inside of this one are still to be told of."""

    def ended(self, head: Head, ending: Ending) -> None:
        """A run inside has ended, which is on disk."""


@dataclass(frozen=True, slots=True)
class Around:
    """What all runs of a node share."""

    node: str
    api: ApiClient
    clock: Clock
    store: RunStore
    tasks: LocalTasks
    random: Random
    latest: Callable[[WorkflowRun], WorkflowRun | None]
    """The newest version of a run that the controller has told of."""
    plans: Plans
    inner: Inner
    outgoing: OutgoingClient
    events: EventRecorder | None


class Delegated:
    """Runs until its end is told, or until it is not ours any more."""

    def __init__(self, head: Head, around: Around) -> None:
        self.head = head
        self.given_up = False
        self._around = around
        self._plan = around.plans.of(head)
        self._effects = Effects(
            head, around.node, around.tasks, around.inner, around.outgoing, around.clock, around.events, self._moved, self._broken
        )
        self._actor: Actor | None = None
        self._dirty = asyncio.Event()
        self._dirty.set()
        self._reload = asyncio.Event()
        self._pause = Pause()
        self._failures = 0
        self._canceled = False

    # ---- what comes from outside

    def steer(self, run: WorkflowRun) -> None:
        """A newer version of the run: somebody may have asked for something."""
        if run.status.fencing_token > self.head.token or run.status.phase in TERMINAL_RUN_PHASES:
            self.give_up()
            return
        if _revision(run) < _revision(self.head.run):
            return
        self.head.run = run
        if self._actor is not None and self.head.taken and not self._canceled:
            self._actor.steer(run.spec)
        self._dirty.set()

    def task_ended(self, run: TaskRun) -> None:
        """A task of this run has ended."""
        if self._actor is not None:
            self._effects.task_ended(self._actor, run)

    @property
    def ending(self) -> Ending | None:
        """How it has ended, once that is on disk."""
        actor = self._actor
        if actor is None or actor.closed or not (actor.run.is_done and actor.ended.is_set()):
            return None
        ending = ending_of(actor.run.row)
        return msgspec.structs.replace(ending, outputs=actor.redactor(ending.outputs)) if actor.redactor else ending

    def run_ended(self, inner: Head, ending: Ending) -> None:
        """A run inside of this one has ended."""
        place = place_of(inner.run)
        if self._actor is not None and place is not None:
            run_ended(self._actor, *place, inner.key.name, ending)

    def look(self) -> None:
        """There may be something to tell."""
        self._dirty.set()
        self._pause.end()

    def cancel(self) -> None:
        """The run around it wants no end of it any more."""
        self._canceled = True
        if self._actor is not None:
            self._actor.steer(msgspec.structs.replace(self.head.run.spec, state="Canceled"))

    def give_up(self) -> None:
        """Somebody else has the run, or nobody: nothing of it goes on here."""
        self.given_up = True
        self._dirty.set()
        self._pause.end()

    def try_now(self) -> None:
        """The controller answers again."""
        self._pause.end()

    # ---- the run

    async def run(self) -> None:
        """All of it. Cancel it to leave the run to the next agent. Raises `GivenUpError`."""
        try:
            if not self.head.taken and not self.head.parent:
                await self._take()
            await self._open()
            merging = asyncio.ensure_future(self._merge_all())
            reloading = asyncio.ensure_future(self._reload_when_broken())
            try:
                await asyncio.wait({merging, reloading}, return_when=asyncio.FIRST_COMPLETED)
                for done in (merging, reloading):
                    if done.done():
                        done.result()
            finally:
                for task in (merging, reloading):
                    task.cancel()
                await asyncio.gather(merging, reloading, return_exceptions=True)
        finally:
            if self._actor is not None:
                self._actor.close()

    async def _take(self) -> None:
        """Make it ours by a write that only one node can make. An agent before this one may have made it."""
        around, head = self._around, self.head
        while True:
            self._check()
            try:
                found = await around.api.get(WorkflowRun, head.key)
                if found is None or found.metadata.uid != head.uid or found.status.node != around.node:
                    raise GivenUpError(f"run {head.key} is not for this node any more")
                status = found.status
                if status.fencing_token == head.token and status.phase in ("Running", "Paused"):
                    break  # the answer to our write was lost
                if status.phase != "Pending" or status.fencing_token + 1 != head.token:
                    raise GivenUpError(f"run {head.key} is {status.phase} with token {status.fencing_token}")
                phase = "Paused" if found.spec.state == "Paused" else "Running"
                taken = msgspec.structs.replace(
                    status, phase=phase, fencing_token=head.token, reason="", message="",
                    started_at=around.clock.now().replace(microsecond=0),
                )  # fmt: skip
                found = await around.api.write_status(msgspec.structs.replace(found, status=taken))
                break
            except (ConflictError, NotFoundError):
                continue
            except (ApiUnavailableError, TooManyRequestsError) as error:
                await self._wait(error)
        self._failures = 0
        head.run, head.taken, head.taken_at = found, True, around.clock.now()
        await self._write_head()
        logger.info("delegated run is taken", extra={"key": str(head.key), "token": head.token})

    async def _write_head(self) -> None:
        while True:
            try:
                await self._around.store.put_head(self.head)
                return
            except sqlite3.Error as error:
                logger.warning("delegated run cannot be written down", extra={"key": str(self.head.key), "error": str(error)})
                await self._wait(None)

    async def _open(self) -> None:
        """The run as its rows say, going on."""
        around, head = self._around, self.head
        rows = dict(await around.store.live(space_of(head.uid)))
        row = decode_run(rows[RUN_KEY])
        facts = facts_of(head.run)
        name = head.run.metadata.name
        if row.started_at is None:
            run = Run(self._plan, head.uid, name, row, facts)
        else:
            nodes = [(key, decode_node(value)) for key, value in rows.items() if key != RUN_KEY]
            run = load(self._plan, head.uid, name, row, nodes, around.clock.now(), facts)
        actor = Actor(self._effects, around.store, around.clock, head.key, run, head.run.spec)
        if head.bundle.secrets:
            actor.redactor = self._effects.redactor(row.secrets)
        self._actor = actor
        actor.begin()
        actor.steer(head.run.spec if not self._canceled else msgspec.structs.replace(head.run.spec, state="Canceled"))
        self._moved()

    def _moved(self) -> None:
        self._dirty.set()
        if self._actor is not None and self._actor.ended.is_set():
            self._pause.end()
            if self.head.parent and (ending := self.ending) is not None:
                self._around.inner.ended(self.head, ending)

    def _broken(self, error: Exception) -> None:
        logger.warning("delegated run is loaded again", extra={"key": str(self.head.key), "error": str(error)})
        self._reload.set()

    async def _reload_when_broken(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self._open()
            except sqlite3.Error as error:
                self._broken(error)

    # ---- telling the controller

    async def _merge_all(self) -> None:
        """Merge whatever is new until the end of the run is told. Raises `GivenUpError`."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._check()
            try:
                if not self.head.taken:
                    await self._announce()
                if await self._merge():
                    return
                self._failures = 0
            except (ConflictError, NotFoundError) as error:
                await self._ask_whose(error)
            except (ApiUnavailableError, TooManyRequestsError) as error:
                if not self._failures:
                    logger.info("delegated run waits to be merged", extra={"key": str(self.head.key), "error": error.message})
                self._dirty.set()
                await self._wait(error)
            except ApiError as error:
                logger.warning("delegated run was not merged", extra={"key": str(self.head.key), "error": error.message})
                self._dirty.set()
                await self._wait(None)
            except sqlite3.Error as error:
                logger.warning("memory of a delegated run fails", extra={"key": str(self.head.key), "error": str(error)})
                self._dirty.set()
                await self._wait(None)
            if self._actor is not None and not self._actor.ended.is_set():
                await self._pause.wait(MERGE_SECONDS)

    async def _announce(self) -> None:
        """Have the controller make the object of a run inside, by the run around it, which has to be there by then."""
        while (outer := self._around.inner.around(self.head)) is None or not outer.taken:
            self._check()
            await self._pause.wait(MERGE_SECONDS)
        made = InnerRun(run=self.head.run, definition=self.head.bundle.definition)
        try:
            await self._post(outer.key, Merge(fencing_token=outer.token, number=0, runs=[made]))
        except (ConflictError, NotFoundError) as error:
            found = await self._read()
            if found is not None and found.metadata.uid != self.head.uid:
                raise GivenUpError(f"there is another run of the name {self.head.key}") from error
            raise ApiUnavailableError(f"the run around it is not told of now: {error.message}") from error
        found = await self._read()
        if found is None or found.metadata.uid != self.head.uid:
            raise GivenUpError(f"run {self.head.key} is gone")
        self.head.run, self.head.taken = found, True
        await self._write_head()

    async def _merge(self) -> bool:
        """Everything that is on disk by now, then the status. True: the run has ended, and the controller knows."""
        store, uid = self._around.store, self.head.uid
        ended = self.ending is not None and not self._around.inner.has(uid)
        while (piece := await store.piece(uid, MOST_ROWS, MOST_TASKS, MOST_BYTES)) is not None:
            self._check()
            await self._send(piece)
            await store.confirm(uid, piece.last)
        await self._write_status(ended)
        return ended

    async def _send(self, piece: Piece) -> None:
        rows = [MergedRow(key=key, value=msgspec.Raw(value), live=live) for key, value, live in piece.rows]
        await self._post(
            self.head.key, Merge(fencing_token=self.head.token, number=piece.last, rows=rows, tasks=list(piece.tasks))
        )

    async def _post(self, key: ObjectKey, merge: Merge) -> None:
        body = _encode(merge)
        response = await self._around.api.transport.send(
            Request("POST", WorkflowRun.info, key.namespace, key.name, "merge", body=body)
        )
        if response.status >= 400:
            raise error_of(response.status, response.body, f"merge workflowrun {key}")

    async def _write_status(self, ended: bool) -> None:
        """`ended`: it had ended before the last rows were sent, so that all of them are there. Raises `ConflictError` when
        somebody else wrote it first."""
        actor, around = self._actor, self._around
        if actor is None or actor.closed:
            return
        found = around.latest(self.head.run)
        if found is None or found.metadata.uid != self.head.uid or _revision(found) < _revision(self.head.run):
            found = self.head.run
        if found.status.fencing_token != self.head.token or found.status.phase in TERMINAL_RUN_PHASES:
            raise GivenUpError(f"run {self.head.key} has token {found.status.fencing_token}, not {self.head.token}")
        if actor.run.is_done and not ended:
            return  # not all that its end follows from is told
        status = status_of(actor.run, found.status, found.metadata.generation, around.clock.now(), actor.redactor)
        if status != found.status:
            self.head.run = await around.api.write_status(msgspec.structs.replace(found, status=status))

    async def _ask_whose(self, error: ApiError) -> None:
        """Something was refused: read who has the run now."""
        found = await self._read()
        if found is None or found.metadata.uid != self.head.uid:
            raise GivenUpError(f"run {self.head.key} is gone") from error
        if found.status.fencing_token != self.head.token or found.status.phase in TERMINAL_RUN_PHASES:
            raise GivenUpError(f"run {self.head.key} is {found.status.phase}: {error.message}") from error
        self.head.run = found
        self._dirty.set()
        await self._pause.wait(0.05)

    async def _read(self) -> WorkflowRun | None:
        while True:
            self._check()
            try:
                return await self._around.api.get(WorkflowRun, self.head.key)
            except (ApiUnavailableError, TooManyRequestsError) as error:
                await self._wait(error)

    def _check(self) -> None:
        if self.given_up:
            raise GivenUpError(f"run {self.head.key} was given up, or deleted")

    async def _wait(self, error: ApiError | None) -> None:
        self._failures += 1
        at_least = error.retry_after if error is not None else 0.0
        await self._pause.wait(max(at_least, RETRY.delay(self._failures, self._around.random)))


def _revision(run: WorkflowRun) -> int:
    return int(run.metadata.resource_version or 0)


__all__ = ["Around", "Delegated", "GivenUpError"]
