"""One attempt on this node, from taking it to delivering how it ended. Its steps are those of `record`.

    take -> prepare, start -> watch -> end all of it -> report -> deliver
              |                 | stop(Timeout | Canceled | Dropped): SIGTERM, then SIGKILL to everything
              +-- refused, failed to start -> report

Every step may be the last one that this agent makes; the next agent goes on from the record.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from signal import SIGTERM
from typing import Literal

import msgspec
from plum_client.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError, TooManyRequestsError
from plum_flow import task_states
from plum_flow.task_states import Holder, TransitionError
from plum_schemas.durations import parse_duration
from plum_schemas.taskrun import AttemptReport, TaskRun

from plum_agent.drivers.base import Exit, Handle
from plum_agent.errors import RefusedError, StartError
from plum_agent.tasks.launching import UnstartableError
from plum_agent.tasks.record import AttemptRecord
from plum_agent.tasks.surroundings import Surroundings
from plum_agent.tasks.telling import Patience, tell_end, tell_limits, warn_of_limits

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL of what is cancelled or late."""
LOG_BYTES, LOG_FILES = 16 * 1024 * 1024, 4
"""Of each stream of an attempt, so much is kept in its files."""
StopReason = Literal["Timeout", "Canceled", "Stopped", "Dropped"]


class Attempt:
    """Runs until its report is delivered or nobody waits for it any more."""

    def __init__(self, record: AttemptRecord, around: Surroundings, latest: TaskRun | None) -> None:
        self.record = record
        self.latest = latest
        """The newest version of its run that was seen; None after a restart, until the API is asked."""
        self._around = around
        self._stop: asyncio.Event = asyncio.Event()
        self._patience = Patience(around)

    @property
    def has_processes(self) -> bool:
        return self.record.state in ("Starting", "Running")

    def stop(self, reason: StopReason) -> None:
        """End it. Dropped goes before every other reason: then nobody is told."""
        if self.record.state != "Ended" and (not self.record.stop_reason or reason == "Dropped"):
            self.record.stop_reason = reason
        if reason == "Dropped":
            self.record.stop_reason = reason
        self._stop.set()
        self._patience.end()

    def try_now(self) -> None:
        """The controller answers again."""
        self._patience.end()

    async def run(self) -> None:
        """All of it. Cancel it to leave what runs to the next agent."""
        record = self.record
        if record.state == "Taking" and not await self._take():
            await self._around.ledger.forget(record)
            return
        if record.state != "Ended":
            report = await self._execute()
            await self._note_end(report)
        if record.stop_reason != "Dropped" and not record.delivered:
            latest, self.latest = self.latest, None
            await tell_end(record, self._around, self._patience, latest)
        record.delivered = True
        with suppress(OSError):
            await self._around.ledger.write(record)

    # ---- taking

    async def _take(self) -> bool:
        """Whether it is ours."""
        around, record = self._around, self.record
        while record.stop_reason == "":
            try:
                await around.ledger.write(record)
                run = self.latest or await around.api.get(TaskRun, record.key)
                self.latest = None
                if run is None or run.metadata.uid != record.run.metadata.uid or run.status.node != around.node:
                    return False
                if run.status.phase == "Running" and run.status.fencing_token == record.token:
                    return await self._taken(run)  # the answer to our write was lost
                if run.status.phase != "Pending" or run.spec.canceled or run.status.fencing_token + 1 != record.token:
                    return False
                status = task_states.take(run.status, Holder(node=around.node), around.clock.now())
                return await self._taken(await around.api.write_status(msgspec.structs.replace(run, status=status)))
            except (ConflictError, NotFoundError):
                continue
            except TransitionError:  # it was put off meanwhile, or the clock went back: looked at again when it is due
                return False
            except (ApiUnavailableError, TooManyRequestsError) as error:
                await self._patience.wait(error)
            except OSError as error:
                logger.warning(
                    "task is not taken, its record cannot be written", extra={"key": str(record.key), "error": str(error)}
                )
                await self._patience.wait(None)
            except ApiError as error:
                logger.warning("task cannot be taken", extra={"key": str(record.key), "error": error.message})
                return False
        return False

    async def _taken(self, run: TaskRun) -> bool:
        self._patience.failures = 0
        record, around = self.record, self._around
        record.run = msgspec.structs.replace(run, metadata=msgspec.structs.replace(run.metadata, managed_fields=[]))
        task = run.status.task
        if task is not None and task.timeout is not None:
            record.deadline = around.clock.monotonic() + parse_duration(task.timeout)
        self.latest = run
        return True

    # ---- executing

    async def _execute(self) -> AttemptReport:
        """Start it, or find it again, and wait for its end."""
        record, around = self.record, self._around
        run = around.ledger.run_of(record)
        try:
            found = await self._find()
            if found is None:
                if record.stop_reason:
                    return self._report(_stopped(record), None)
                found = await self._start()
        except RefusedError as error:
            return self._report("Refused", None, error.reason, error.message)
        except UnstartableError as error:
            return self._report("Exited", None, error.reason, error.message)
        except (StartError, OSError) as error:
            with suppress(StartError):
                await around.driver.kill(run, None)
            await around.driver.release(run)
            return self._report("Exited", None, "StartFailed", str(error))
        if isinstance(found, Handle):
            if around.keeper is not None:
                around.keeper.add(run.directory, LOG_BYTES, LOG_FILES)
            warn_of_limits(record, around)
            telling = asyncio.ensure_future(tell_limits(record, around))
            try:
                found = await self._watch(found)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        await self._end_all(record.handle)
        await around.driver.release(run)
        if around.keeper is not None:
            around.keeper.remove(run.directory)
        return self._report_of(found)

    async def _find(self) -> Handle | Exit | None:
        """What is there of a start by an agent before this one. None: nothing was ever started."""
        record, around = self.record, self._around
        if record.state == "Taking":
            return None
        found = await around.driver.find(around.ledger.run_of(record))
        if isinstance(found, Exit):
            return found
        if record.boot_id != around.boot_id:
            return Exit(None, "", around.clock.now().timestamp())
        if found is None and record.state == "Running":
            return Exit(None, "", around.clock.now().timestamp())
        if found is not None:
            logger.info("task adopted", extra={"key": str(record.key), "pid": found.pid})
            record.state, record.handle = "Running", found
        return found

    async def _start(self) -> Handle:
        record, around = self.record, self._around
        around.launcher.check(record.run)
        preparing = asyncio.ensure_future(around.launcher.prepare(record))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            left = None if record.deadline is None else max(0.0, record.deadline - around.clock.monotonic())
            await asyncio.wait({preparing, stopping}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not preparing.done():
                if not record.stop_reason:
                    record.stop_reason = "Timeout"
                raise UnstartableError(record.stop_reason, "it was ended while it was being prepared")
            launch = preparing.result()
        finally:
            for task in (preparing, stopping):
                task.cancel()
            await asyncio.gather(preparing, stopping, return_exceptions=True)
        record.state = "Starting"
        await around.ledger.write(record)
        started = await around.driver.start(launch)
        record.state, record.handle, record.unenforced = "Running", started.handle, list(started.unenforced)
        with suppress(OSError):  # the files of the run say the same
            await around.ledger.write(record)
        logger.info("task started", extra={"key": str(record.key), "attempt": record.attempt, "pid": started.handle.pid})
        return started.handle

    async def _watch(self, handle: Handle) -> Exit:
        """Until its first process has ended, by itself or because it is late or not wanted."""
        record, around = self.record, self._around
        run = around.ledger.run_of(record)
        waiting = asyncio.ensure_future(self._exit_of(handle))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            left = None if record.deadline is None else max(0.0, record.deadline - around.clock.monotonic())
            await asyncio.wait({waiting, stopping}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                record.stop_reason = "Dropped" if record.stop_reason == "Dropped" else ""
                return waiting.result()
            if not record.stop_reason:
                record.stop_reason = "Timeout"
            logger.info("task is ended", extra={"key": str(record.key), "reason": record.stop_reason})
            await around.driver.signal(run, handle, SIGTERM)
            await asyncio.wait({waiting}, timeout=GRACE_SECONDS)
            await self._end_all(handle)
            await asyncio.wait({waiting}, timeout=GRACE_SECONDS)
            return waiting.result() if waiting.done() else Exit(None, "", around.clock.now().timestamp())
        finally:
            for task in (waiting, stopping):
                task.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    async def _exit_of(self, handle: Handle) -> Exit:
        while True:
            try:
                return await self._around.driver.wait(self._around.ledger.run_of(self.record), handle)
            except OSError as error:  # out of file descriptors, say: that is no news about the run
                logger.warning("task cannot be watched", extra={"key": str(self.record.key), "error": str(error)})
                await asyncio.sleep(1.0)

    async def _end_all(self, handle: Handle | None) -> None:
        """SIGKILL to the group and every descendant, again and again while some do not die."""
        pause = 0.5
        while True:
            try:
                await self._around.driver.kill(self._around.ledger.run_of(self.record), handle)
                return
            except StartError as error:
                logger.warning("processes of a task do not die", extra={"key": str(self.record.key), "error": str(error)})
                await asyncio.sleep(pause)
                pause = min(pause * 2, 30.0)

    # ---- the end

    def _report_of(self, ended: Exit) -> AttemptReport:
        record = self.record
        finished = datetime.fromtimestamp(ended.finished_at, UTC) if ended.finished_at else None
        if record.stop_reason:
            return self._report(_stopped(record), ended.code, finished=finished)
        if ended.code is None:
            reboot = record.boot_id != self._around.boot_id
            reason = "NodeRestarted" if reboot else "ExitUnknown"
            text = "the node was restarted while it ran" if reboot else "it is gone, and nobody could observe its exit"
            return self._report("Lost", None, reason, text, finished)
        if ended.out_of_memory:
            return self._report("Exited", ended.code, "OutOfMemory", "the kernel ended it because of its memory limit", finished)
        if ended.signal:
            return self._report("Exited", ended.code, "Signal", f"the program was ended by {ended.signal}", finished)
        return self._report("Exited", ended.code, finished=finished)

    def _report(
        self,
        outcome: Literal["Exited", "Timeout", "Canceled", "Lost", "Refused"],
        exit_code: int | None,
        reason: str = "",
        error: str = "",
        finished: datetime | None = None,
    ) -> AttemptReport:
        record = self.record
        if record.stop_reason in ("Timeout", "Canceled"):
            outcome, reason = record.stop_reason, record.stop_reason
        elif record.stop_reason == "Stopped":
            outcome, reason, exit_code = "Lost", "NodeStopped", None
            error = f"the agent of node {self._around.node} was stopped and took it along"
        if outcome == "Timeout":
            limit = record.run.status.task.timeout if record.run.status.task is not None else ""
            error = f"attempt {record.attempt} took longer than its timeout of {limit}; everything of it was ended"
        elif outcome == "Canceled":
            error = "cancelled; everything of it was ended"
        return AttemptReport(
            attempt=record.attempt,
            fencing_token=record.token,
            outcome=outcome,
            finished_at=finished or self._around.clock.now(),
            exit_code=exit_code,
            reason=reason,
            error=error,
        )

    async def _note_end(self, report: AttemptReport) -> None:
        record = self.record
        record.state, record.report, record.environment = "Ended", report, {}
        try:
            await self._around.ledger.write(record)
        except OSError as error:  # the files of the run still say how it ended, should this agent not live to tell
            logger.warning("end of a task cannot be written down", extra={"key": str(record.key), "error": str(error)})


def _stopped(record: AttemptRecord) -> Literal["Timeout", "Canceled"]:
    return "Timeout" if record.stop_reason == "Timeout" else "Canceled"
