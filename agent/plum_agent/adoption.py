"""Finding what an agent before this one started: from the ledger, from the files of the run, from the marker in `/proc`.

record with a run that has not ended -> driver.find -> Handle: adopted | Exit: written down | None: it never started
process with our marker, no record   -> a stray: adopted when its object asks for a run, ended when its object is gone
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance

from plum_agent.artifacts.package import as_packaged
from plum_agent.drivers.base import Exit, Handle, Launch, Run
from plum_agent.errors import RefusedError
from plum_agent.ledger import Record, RunRecord
from plum_agent.plan import RunState
from plum_agent.starter import Starter
from plum_agent.unit import Unit, launch_hash

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Adopter:
    """Knows what is left of earlier agents of this data directory."""

    starter: Starter
    strays: dict[str, str] = field(default_factory=dict)
    """Markers of living runs without a record, by the uid of their object."""

    def unit_of(self, key: ObjectKey, record: Record) -> Unit:
        """The unit for a record: of the ledger, or (new) of an object that was never seen here."""
        unit = Unit(key, record)
        run = record.run
        if run is None:
            self._take_stray(unit)
        elif run.exit is not None:
            unit.state = RunState.NONE if record.at_rest else RunState.ENDED
            if run.boot_id != self.starter.boot_id:
                record.failures = 0  # the waits of another boot are over
        else:
            unit.state = RunState.STARTING
        return unit

    async def adopt(self, unit: Unit, instance: Instance) -> Handle | Exit | None:
        """What became of the current run. A run of another boot has ended, whatever its numbers look like now."""
        record = unit.record
        run = record.run
        assert run is not None  # noqa: S101 -- only units with a run are adopted
        unit.launch = self._launch_of(unit, instance, run)
        unit.run = unit.launch.run
        found = await self.starter.driver.find(unit.run)
        if run.boot_id != self.starter.boot_id:
            record.failures = 0
            await self.starter.driver.release(unit.run)
            unit.run = None  # nothing of it can be there, and nothing of this boot may be mistaken for it
            found = found if isinstance(found, Exit) else Exit(None, "", time.time())
        elif found is None and run.handle is not None:
            found = Exit(None, "", time.time())

        if found is None:
            record.run, record.runs = None, record.runs - 1
            return None
        if found.started_at and run.started_at is None:
            self.starter.note_start(run, found.started_at)
        if isinstance(found, Handle):
            run.handle = found
            ports = as_packaged(instance, unit.package).spec.template.ports
            self.starter.ports.adopt(str(unit.key), ports, run.ports)
            logger.info("instance adopted", extra={"key": str(unit.key), "pid": found.pid})
        return found

    def _launch_of(self, unit: Unit, instance: Instance, run: RunRecord) -> Launch:
        try:
            return self.starter.launch_of(unit, instance, run.number, run.ports, run.marker)
        except RefusedError:  # a folder or field of the new spec is missing; the run itself is not touched by that
            folder = self.starter.ledger.run_folder(unit.key, run.number)
            return Launch(Run(run.marker, folder), (), {}, folder.parent.parent / "work")

    async def find_strays(self, units: Iterable[Unit]) -> None:
        """Look for living runs of this data directory that no record names. Commands of people have lost their people."""
        await self.starter.driver.end_commands(f"{self.starter.ledger.agent_id}.")
        recorded = {unit.record.run.marker for unit in units if unit.record.run is not None}
        for marker in await self.starter.driver.list_markers(f"{self.starter.ledger.agent_id}."):
            if marker not in recorded:
                self.strays[marker.split(".")[1]] = marker
                logger.warning("found a run without a record", extra={"marker": marker})

    def _take_stray(self, unit: Unit) -> None:
        """The record of this instance was lost, and it runs: go on as if the record had said so."""
        metadata = unit.record.instance.metadata
        marker = self.strays.pop(metadata.uid, None)
        if marker is None:
            unit.record.runs = max(unit.record.runs, self.starter.ledger.last_run_number(unit.key))
            return
        template = unit.record.instance.spec.template
        unit.record.runs = int(marker.split(".")[2])
        unit.record.run = RunRecord(
            number=unit.record.runs,
            marker=marker,
            boot_id=self.starter.boot_id,
            launch=launch_hash(template),
            restart_request=unit.record.instance.spec.restart_request,
            ports={port.name: port.port for port in template.ports},
        )
        unit.state = RunState.STARTING

    async def end_strays(self, wanted: set[str]) -> None:
        """End strays whose objects are gone. They carry our marker, so they are ours to end."""
        for uid, marker in list(self.strays.items()):
            if uid not in wanted:
                logger.warning("ending a run whose object is gone", extra={"marker": marker})
                await self.starter.driver.kill(Run(marker, self.starter.ledger.run_folder(ObjectKey("", ""), 0)), None)
                del self.strays[uid]
