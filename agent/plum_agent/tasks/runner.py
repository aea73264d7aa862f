"""The tasks of one node: which attempts are taken, which are ended, and which files of ended ones are kept.

    TaskRun (informer: status.node is this node, not ended)
        Pending                -> waits for one of the places, highest priority first -> Attempt
        Running, ours          -> cancelled? -> Attempt.stop
        Running, no record     -> report Lost: by what is known here nothing of it was started
        gone, given to another -> Attempt.stop(Dropped)

An attempt is taken by a guarded write before anything of it is started, so of all nodes and agents at most one starts it.
`kill -9` of the agent touches nothing: the next one finds what runs by its records, and reports the true exit.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from random import Random
from typing import Protocol

from plum_client.client import ApiClient
from plum_client.informer import Handler, Informer
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TERMINAL_PHASES, AttemptReport, TaskRun

from plum_agent.log_reader import LogQuery, LogReader
from plum_agent.tasks.attempt import Attempt
from plum_agent.tasks.record import AttemptRecord
from plum_agent.tasks.surroundings import Surroundings
from plum_agent.tunnel import StreamRefusedError

logger = logging.getLogger(__name__)

KEPT = 200
"""Ended attempts whose files stay, for `plum logs`."""
REMEMBERED = 1000
"""Delivered attempts that are remembered, so that an older version of their run starts nothing."""
RELIST_SECONDS = 10.0


class TaskSource(Protocol):
    """Where tasks come from: the controller, or the runs that this node carries out by itself."""

    def add_handler(self, handler: Handler[TaskRun]) -> None: ...
    async def run(self) -> None: ...
    async def wait_synced(self) -> None: ...
    def try_now(self) -> None: ...
    def get(self, key: ObjectKey) -> TaskRun | None: ...
    def __contains__(self, key: ObjectKey) -> bool: ...


def from_controller(api: ApiClient, node: str, random: Random) -> Informer[TaskRun]:
    """The tasks that the controller gives to a node."""
    endings = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL_PHASES))
    return Informer(api, TaskRun, fields=f"status.node={node},{endings}", random=random, relist_after=RELIST_SECONDS)


class NodeTasks:
    """Runs until `run` is cancelled; processes run on."""

    def __init__(self, around: Surroundings, prefix: str, at_once: int, source: TaskSource) -> None:
        self.around = self._around = around
        self.prefix = prefix
        """Of markers: never that of instances, whose strays are ended."""
        self._at_once = at_once
        self._informer = source
        self._attempts: dict[ObjectKey, Attempt] = {}
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}
        self._waiting: dict[ObjectKey, TaskRun] = {}
        self._timers: dict[ObjectKey, asyncio.TimerHandle] = {}
        self._done: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._kept: OrderedDict[str, AttemptRecord] = OrderedDict()

    def __len__(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    async def run(self) -> None:
        """Go on with what the records say, then follow the controller."""
        for record in self._around.ledger.load():
            if record.state == "Ended" and record.delivered:
                await self._keep(record)
            else:
                self._begin(Attempt(record, self._around, None))
        self._informer.add_handler(self._changed)
        following = asyncio.ensure_future(self._informer.run())
        try:
            await self._informer.wait_synced()
            for key, attempt in list(self._attempts.items()):
                if key not in self._informer and attempt.has_processes:
                    attempt.stop("Dropped")
            await following
        finally:
            following.cancel()
            for timer in self._timers.values():
                timer.cancel()
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(following, *tasks, return_exceptions=True)
            self._around.ledger.close()

    def needs(self, marker: str) -> bool:
        """Is this the marker of an attempt whose end was not written down yet?"""
        return any(one.record.marker == marker and one.record.state != "Ended" for one in self._attempts.values())

    def hold(self) -> None:
        """Begin nothing new: the agent is about to end."""
        self._at_once = 0

    async def stop_all(self) -> None:
        """End everything that runs, as `onStop: stop` wants it. What becomes of it is told as lost, so its policy decides."""
        self.hold()
        for attempt in list(self._attempts.values()):
            if attempt.record.state != "Ended":
                attempt.stop("Stopped")
        while any(attempt.record.state != "Ended" for attempt in self._attempts.values()):  # noqa: ASYNC110 -- once, at the very end
            await asyncio.sleep(0.02)
        for _ in range(50):  # a second for what is to be told; the next agent tells the rest
            if not self._attempts:
                return
            await asyncio.sleep(0.02)

    def try_now(self) -> None:
        """The controller answers again."""
        self._informer.try_now()
        for attempt in self._attempts.values():
            attempt.try_now()

    # ---- what the controller says

    def _changed(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        if run is None:
            return
        if new is None:
            self._waiting.pop(run.key, None)
            attempt = self._attempts.get(run.key)
            if attempt is not None and attempt.record.run.metadata.uid == run.metadata.uid and attempt.record.report is None:
                attempt.stop("Dropped")
            return
        self._look(new)

    def _look(self, run: TaskRun) -> None:
        attempt, status = self._attempts.get(run.key), run.status
        if attempt is not None:
            self._compare(attempt, run)
            return
        if (run.metadata.uid, status.fencing_token + (status.phase == "Pending")) in self._done:
            return  # a version from before our last write
        if status.phase == "Pending":
            if run.spec.canceled:
                self._waiting.pop(run.key, None)
                return
            self._waiting[run.key] = run
            self._pump()
        elif status.phase == "Running" and status.report is None:
            logger.warning("task without a record, it was not started here", extra={"key": str(run.key)})
            record = self._new_record(run, status.fencing_token)
            record.state = "Ended"
            record.report = AttemptReport(
                attempt=status.attempt,
                fencing_token=status.fencing_token,
                outcome="Lost",
                reason="RecordLost",
                error=f"node {self._around.node} knows nothing of it; its data directory may be a new one",
            )
            self._begin(Attempt(record, self._around, run))

    def _compare(self, attempt: Attempt, run: TaskRun) -> None:
        record, status = attempt.record, run.status
        if run.metadata.uid != record.run.metadata.uid or status.fencing_token > record.token or status.attempt > record.attempt:
            attempt.stop("Dropped")
        elif run.spec.canceled and record.report is None:
            attempt.stop("Canceled")

    # ---- attempts

    def _pump(self) -> None:
        now = self._around.clock.now()
        for run in sorted(self._waiting.values(), key=_order):
            if len(self._attempts) >= self._at_once:
                return
            wait = run.status.next_attempt_at
            if wait is not None and wait > now:
                self._look_later(run.key, (wait - now).total_seconds())
                continue
            del self._waiting[run.key]
            if run.key not in self._attempts:
                self._begin(Attempt(self._new_record(run, run.status.fencing_token + 1), self._around, run))

    def _look_later(self, key: ObjectKey, seconds: float) -> None:
        known = self._timers.pop(key, None)
        if known is not None:
            known.cancel()

        def look() -> None:
            self._timers.pop(key, None)
            self._pump()

        self._timers[key] = asyncio.get_running_loop().call_later(seconds, look)

    def _new_record(self, run: TaskRun, token: int) -> AttemptRecord:
        marker = f"{self.prefix}{run.metadata.uid}.{token}.{secrets.token_hex(3)}"
        return AttemptRecord(run=run, attempt=run.status.attempt, token=token, marker=marker, boot_id=self._around.boot_id)

    def _begin(self, attempt: Attempt) -> None:
        key = attempt.record.key
        self._attempts[key] = attempt
        task = self._tasks[key] = asyncio.get_running_loop().create_task(attempt.run(), name=f"task {key}")
        task.add_done_callback(lambda done: self._ended(attempt, done))

    def _ended(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        record = attempt.record
        if self._attempts.get(record.key) is attempt:
            del self._attempts[record.key], self._tasks[record.key]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.error("task broke off", extra={"key": str(record.key), "error": str(error)}, exc_info=error)
        if record.state != "Taking":
            self._done[(record.run.metadata.uid, record.token)] = None
            while len(self._done) > REMEMBERED:
                self._done.popitem(last=False)
            keeping = asyncio.get_running_loop().create_task(self._keep(record))
            self._tasks[ObjectKey("", record.name)] = keeping
            keeping.add_done_callback(lambda _: self._tasks.pop(ObjectKey("", record.name), None))
        run = self._informer.get(record.key)
        if run is not None:
            self._look(run)
        self._pump()

    async def _keep(self, record: AttemptRecord) -> None:
        """Keep the files of the newest ended attempts, and delete those of the others."""
        self._kept[record.name] = record
        while len(self._kept) > KEPT:
            _, oldest = self._kept.popitem(last=False)
            await self._around.ledger.forget(oldest)

    # ---- output

    def reader(self, query: LogQuery) -> LogReader:
        """The output of the newest attempt of a run here, or of the one before it. Raises `StreamRefusedError`."""
        key = ObjectKey(query.namespace, query.task)
        current = self._attempts.get(key)
        ended = [record for record in self._kept.values() if record.key == key]
        records = [*ended, *([current.record] if current is not None else [])]
        newest_uid = records[-1].run.metadata.uid if records else ""
        records = [record for record in records if record.run.metadata.uid == newest_uid and self._has_output(record)]
        position = 2 if query.previous else 1
        if len(records) < position:
            what = "earlier attempt" if query.previous else "output"
            raise StreamRefusedError(404, f"taskrun {key} has no {what} on node {self._around.node}")
        record = records[-position]
        folder = self._around.ledger.run_of(record).directory
        keeper = self._around.keeper
        if keeper is not None:
            keeper.flush(folder)
        clock = self._around.clock
        return LogReader(folder, query, keeper, lambda: record.state != "Ended", lambda: clock.now().timestamp())

    def _has_output(self, record: AttemptRecord) -> bool:
        return self._around.ledger.run_of(record).directory.is_dir()


def _order(run: TaskRun) -> tuple[int, float, str]:
    task, queued = run.status.task, run.status.queued_at
    return -(task.priority if task is not None else 0), queued.timestamp() if queued is not None else 0.0, run.metadata.name
