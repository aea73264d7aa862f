"""What can be opened on one node through its tunnel: output of an instance, a command beside it, a connection, its use.

open "log"      LogQuery      -> LogReader
open "exec"     ExecQuery     -> exec_stream  -> Driver.open_command
open "forward"  ForwardQuery  -> forward_stream -> Driver.connect
open "usage"                  -> usage.Usage
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.clock import Clock
from plum_schemas.base import ObjectKey

from plum_agent.drivers.base import Driver
from plum_agent.ledger import Ledger
from plum_agent.log_reader import LogQuery, LogReader
from plum_agent.output import OutputKeeper
from plum_agent.plan import RunState
from plum_agent.tunnel import Serve, StreamRefusedError, TunnelStream
from plum_agent.unit import Unit

if TYPE_CHECKING:
    from plum_agent.tasks.runner import NodeTasks
    from plum_agent.usage import Usage
    from plum_agent.workflows.switch import DelegationSwitch

MAX_OPEN = 100
"""Commands and forwarded connections of one node at the same time. Each may hold half a megabyte in buffers."""
_ALIVE = (RunState.RUNNING, RunState.STOPPING)


@dataclass(slots=True)
class InstanceStreams:
    """Opens streams on units. `units` is the reconciler's own dictionary."""

    node: str
    units: Mapping[ObjectKey, Unit]
    ledger: Ledger
    keeper: OutputKeeper | None
    driver: Driver
    clock: Clock
    tasks: NodeTasks | None = None
    delegated: DelegationSwitch | None = None
    open: int = field(default=0, init=False)
    _usage: Usage | None = field(default=None, init=False)

    def serves(self) -> dict[str, Serve]:
        """For the tunnel."""
        return {"log": self.log, "exec": self.exec, "forward": self.forward, "usage": self.usage}

    async def log(self, stream: TunnelStream) -> None:
        reader = self._reader(msgspec.convert(stream.params, LogQuery))
        stream.accept()
        async with aclosing(reader.read()) as chunks:
            async for chunk in chunks:
                await stream.send(chunk)

    async def exec(self, stream: TunnelStream) -> Mapping[str, Any]:
        from plum_agent import exec_stream  # people need it, no workload does

        query = msgspec.convert(stream.params, exec_stream.ExecQuery)
        unit = self._running(ObjectKey(query.namespace, query.instance))
        self._enter()
        try:
            return await exec_stream.serve(stream, self.driver, unit, query)
        finally:
            self.open -= 1

    async def forward(self, stream: TunnelStream) -> None:
        from plum_agent import forward_stream

        query = msgspec.convert(stream.params, forward_stream.ForwardQuery)
        unit = self._running(ObjectKey(query.namespace, query.instance))
        self._enter()
        try:
            await forward_stream.serve(stream, self.driver, unit, query)
        finally:
            self.open -= 1

    async def usage(self, stream: TunnelStream) -> None:
        if self._usage is None:
            from plum_agent.usage import Usage

            self._usage = Usage(self.units)
        stream.accept()
        await stream.send(await self._usage.measure())

    def _enter(self) -> None:
        if self.open >= MAX_OPEN:
            message = f"node {self.node} has {MAX_OPEN} commands and forwarded connections open; end some of them first"
            raise StreamRefusedError(429, message)
        self.open += 1

    def _unit(self, key: ObjectKey) -> Unit:
        unit = self.units.get(key)
        if unit is None:
            raise StreamRefusedError(404, f"instance {key} is not on node {self.node}")
        return unit

    def _running(self, key: ObjectKey) -> Unit:
        unit = self._unit(key)
        if unit.state not in _ALIVE or unit.launch is None or unit.exit is not None:
            raise StreamRefusedError(409, f"instance {key} is not running on node {self.node}; `plum explain` says why")
        return unit

    def _reader(self, query: LogQuery) -> LogReader:
        if query.task:
            if self.tasks is None:
                raise StreamRefusedError(404, f"node {self.node} runs no tasks")
            try:
                return self.tasks.reader(query)
            except StreamRefusedError:
                runs = self.delegated.runs if self.delegated is not None else None
                if runs is None:
                    raise
                return runs.tasks.reader(query)
        key = ObjectKey(query.namespace, query.instance)
        unit = self._unit(key)
        if unit.record.run is None:
            raise StreamRefusedError(404, f"instance {key} has not been started yet")
        number = unit.record.run.number - (1 if query.previous else 0)
        folder = self.ledger.run_folder(key, number)
        if number < 1 or not folder.is_dir():
            raise StreamRefusedError(404, f"instance {key} has no {'previous run' if query.previous else 'output'}")

        def is_running() -> bool:
            run = unit.record.run
            return unit.alive and run is not None and run.number == number

        if self.keeper is not None:
            self.keeper.flush(folder)
        return LogReader(folder, query, self.keeper, is_running, lambda: self.clock.now().timestamp())
