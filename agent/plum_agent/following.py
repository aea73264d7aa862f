"""One run from the moment it is there to the moment nothing of it is left: its exit, its probes, its output, its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from plum_client.clock import Clock
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.quantities import parse_bytes

from plum_agent import status as statuses
from plum_agent.drivers.base import Driver, Exit
from plum_agent.errors import StartError
from plum_agent.ledger import Ledger
from plum_agent.output import OutputKeeper
from plum_agent.plan import RunState, StopReason
from plum_agent.ports import PortBook
from plum_agent.probes import Prober
from plum_agent.telling import Teller
from plum_agent.unit import Unit

logger = logging.getLogger(__name__)

EXIT_SECONDS = 2.0
"""How long the exit of a run is waited for after nothing of it is left."""
WATCH_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Follower:
    """Watches and ends runs. It decides nothing: what it sees goes into the unit, and the key into the queue."""

    driver: Driver
    ledger: Ledger
    ports: PortBook
    keeper: OutputKeeper | None
    teller: Teller
    clock: Clock
    boot_id: str
    enqueue: Callable[[ObjectKey], None]

    def follow(self, unit: Unit, instance: Instance, adopted: bool = False) -> None:
        """Watch a run that is there."""
        run, launch = unit.run, unit.launch
        assert run is not None and launch is not None and unit.record.run is not None  # noqa: S101 -- set by start and adopt
        template = instance.spec.template
        if self.keeper is not None:
            self.keeper.add(run.directory, parse_bytes(template.logs.max_size), template.logs.max_files)
        unit.exit = None
        unit.watch = asyncio.get_running_loop().create_task(self._watch(unit))

        async def execute(command: tuple[str, ...], timeout_seconds: float) -> int:
            return await self.driver.execute(launch, command, timeout_seconds)

        def on_change() -> None:
            self.enqueue(unit.key)

        unit.prober = Prober(template.probes, unit.record.run.ports, execute, on_change, self.driver.ready_seconds)
        unit.prober.start(known_started=adopted and statuses.was_started(unit, instance))

    async def _watch(self, unit: Unit) -> None:
        run, record = unit.run, unit.record.run
        assert run is not None and record is not None and record.handle is not None  # noqa: S101 -- set by start and adopt
        while True:
            try:
                unit.exit = await self.driver.wait(run, record.handle)
                break
            except OSError as error:  # out of file descriptors, say: that is no news about the run
                logger.warning("run cannot be watched", extra={"key": str(unit.key), "error": str(error)})
                await asyncio.sleep(WATCH_RETRY_SECONDS)
        self.enqueue(unit.key)

    async def kill(self, unit: Unit) -> None:
        """End all of it. Raises `StartError` for processes that do not die; then it is tried again."""
        unit.state = RunState.KILLING
        if unit.stopping is not None:
            unit.stopping.cancel()
        await self._kill_rest(unit)
        if unit.watch is not None:
            await asyncio.wait({unit.watch}, timeout=EXIT_SECONDS)
        if unit.exit is None:
            unit.exit = Exit(None, "", self.clock.now().timestamp())

    async def _kill_rest(self, unit: Unit) -> None:
        if unit.run is None:
            return
        try:
            await self.driver.kill(unit.run, unit.record.run.handle if unit.record.run else None)
        except StartError as error:
            unit.state, unit.failure = RunState.KILLING, str(error)
            self.teller.report(unit, unit.record.instance)
            raise

    async def finish(self, unit: Unit) -> None:
        """The first process has ended: end the rest of it, then write down how it was."""
        probe_message = unit.prober.state.failed if unit.prober is not None else ""
        if unit.prober is not None:
            unit.prober.stop()
        if unit.stopping is not None:
            unit.stopping.cancel()
        if unit.run is not None:
            await self._kill_rest(unit)
            await self.driver.release(unit.run)
            if self.keeper is not None:
                self.keeper.remove(unit.run.directory)
        self._note_end(unit, probe_message)
        self.ports.release(str(unit.key))
        unit.state, unit.exit, unit.watch, unit.stopping, unit.prober = RunState.ENDED, None, None, None, None
        await self.ledger.record(unit.key, unit.record)
        ended = unit.record.last_exit
        if ended is not None and ended.reason in ("OutOfMemory", "Fenced"):
            message = ended.message or "the lease of the node was not renewed in time"
            self.teller.warn(unit.record.instance, ended.reason, message)

    def _note_end(self, unit: Unit, probe_message: str) -> None:
        seen, record, run = unit.exit, unit.record, unit.record.run
        assert seen is not None and run is not None  # noqa: S101 -- called for a run whose exit was seen
        if seen.fenced and not run.stop_reason:
            run.stop_reason = StopReason.FENCED.value
        finished_at = datetime.fromtimestamp(seen.finished_at, UTC)
        run.exit = statuses.exit_of(seen, run.started_at, finished_at, run.stop_reason, probe_message or unit.failure)
        if run.handle is None and unit.failure:
            run.exit.reason = "StartFailed"
        run.ended_seconds = self.clock.monotonic()
        if run.boot_id != self.boot_id:
            record.failures = 0  # the machine ended it, and a machine that boots waits for nothing
        elif run.stop_reason in ("", StopReason.PROBE.value):
            lasted = run.ended_seconds - run.started_seconds if run.started_seconds else 0.0
            policy = unit.wanted(record.instance, False).policy
            record.failures = policy.backoff.failures_after(record.failures, lasted)
        record.last_exit = run.exit
