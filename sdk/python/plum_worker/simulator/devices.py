"""Simulated devices as drivers: their properties and operations, over a model that moves in steps.

Model --every tick--> values that moved --faults--> Device.report
desired value, operation --faults--> Model
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from random import Random
from typing import Annotated, Any, Literal

from plum_worker.context import TaskCanceledError
from plum_worker.device import Device, OperationCall
from plum_worker.device_errors import DeviceError
from plum_worker.device_model import Value
from plum_worker.simulator.faults import Faults, FaultyLink
from plum_worker.simulator.models import MODELS, SECTORS, Model, Radar, RadarMode, Thermostat, ThermostatMode, Valve

TICK_SECONDS = 0.1
FULL_REPORT_TICKS = 50
"""All values are told so often, those that did not move as well."""
FaultKind = Literal["none", "drop", "slow", "offline"]


class SimulatedDevice:
    """One device. The same seed, kind and times give the same values."""

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        seed: int = 0,
        interval: float = 1.0,
        speed: float = 1.0,
        heartbeat: float = 5.0,
        address: str = "",
        namespace: str = "",
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`interval`: seconds between two reports. `speed`: how much faster than ours its time runs."""
        if kind not in MODELS:
            raise DeviceError(f"there is no simulated {kind!r}; use {', '.join(sorted(MODELS))}")
        self.faults = Faults(Random(f"{seed}/{name}/faults"))  # noqa: S311 -- no secret: it must be the same again
        self.model: Model = MODELS[kind](Random(f"{seed}/{name}"))  # noqa: S311
        self.device = Device(name, type=self.model.type, heartbeat=heartbeat, address=address, namespace=namespace, token=token)
        link = self.device.link
        self.link = self.device.link = FaultyLink(link.address, link.token, tls or link.tls, self.faults)
        self._interval = interval
        self._speed = speed
        self._told: dict[str, Any] = {}
        match self.model:
            case Radar():
                _radar(self, self.model)
            case Thermostat():
                _thermostat(self, self.model)
            case Valve():
                _valve(self, self.model)
        self.device.operation("fault")(self._fault)

    async def serve(self) -> None:
        """Until cancelled, or `device.stop`."""
        ticking = asyncio.create_task(self._tick())
        try:
            await self.device.serve()
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def pause(self, call: OperationCall, seconds: float) -> None:
        """Let simulated time pass. Raises `TaskCanceledError` when the operation is to stop."""
        end = time.monotonic() + seconds / self._speed
        begun = time.monotonic()
        while (left := end - time.monotonic()) > 0:
            call.progress(min(1.0, (time.monotonic() - begun) / max(1e-9, end - begun)))
            await asyncio.sleep(min(left, 0.05))

    async def late(self) -> None:
        """As long as the faults have it."""
        await asyncio.sleep(self.faults.delay())

    def tell(self, *, everything: bool = False) -> None:
        """Report what moved."""
        values = self.model.values()
        moved = {name: value for name, value in values.items() if everything or self._told.get(name) != value}
        if moved and not self.faults.drops():
            self.device.report(moved)
            self._told |= moved

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due, ticks, was_offline = loop.time(), 0, False
        per_report = max(1, round(self._interval / TICK_SECONDS))
        self.tell(everything=True)
        while True:
            due = max(due + TICK_SECONDS, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due - loop.time()))
            ticks += 1
            self.model.step(TICK_SECONDS * self._speed)
            if self.faults.is_offline and not was_offline:
                self.link.cut()
            was_offline = self.faults.is_offline
            if ticks % per_report == 0:
                self.tell(everything=ticks % (per_report * FULL_REPORT_TICKS) == 0)

    async def _fault(self, kind: FaultKind, seconds: float = 30.0, share: float = 0.5) -> dict[str, Any]:
        """Switch a fault on for a while: reports get lost, answers take long, or the line is dead."""
        if not 0 <= share <= 1 or seconds < 0:
            raise DeviceError(f"seconds is {seconds} and share {share}; use 0 or more, and 0 to 1")
        asyncio.get_running_loop().call_later(0.3, lambda: self.faults.begin(kind, seconds, share))  # after the answer
        return {"kind": kind, "seconds": seconds}

    def settable(self, name: str, kind: Any, write: Callable[[Any], None], **facts: Any) -> None:
        """A property that can be desired."""

        async def setter(value: Any) -> Any:
            await self.late()
            write(value)
            return self.model.values()[name]  # where it is: a valve is on its way

        setter.__annotations__ = {"value": kind}
        self.device.desired(name, **facts)(setter)


def _radar(simulated: SimulatedDevice, radar: Radar) -> None:
    device = simulated.device
    simulated.settable("mode", RadarMode, lambda value: setattr(radar, "mode", value))
    simulated.settable("range", float, lambda value: setattr(radar, "range", float(value)), unit="m", min=100, max=5000)
    device.declare("rotation", float, unit="rpm")
    device.declare("azimuth", float, unit="°")
    device.declare("contacts", int)
    device.declare("temperature", float, unit="°C")

    @device.operation
    async def scan(
        call: OperationCall, sector: Annotated[int, Value(min=1, max=SECTORS)], sweeps: Annotated[int, Value(min=1, max=100)] = 1
    ) -> dict[str, Any]:
        """Look at one sector."""
        await simulated.late()
        before, radar.mode = radar.mode, "scan"
        try:
            await simulated.pause(call, 0.5 * sweeps)
            return radar.look(sector)
        finally:
            radar.mode = before

    @device.operation
    async def track(target: int) -> dict[str, Any]:
        """Follow one target."""
        await simulated.late()
        found = next((one for one in radar.contacts() if one.number == target), None)
        if found is None:
            raise DeviceError(f"no target {target} within {radar.range:g} m")
        radar.mode, radar.tracked = "track", target
        return {"id": target, "bearing": round(found.bearing, 1), "distance": round(found.distance, 1)}

    @device.operation
    async def park() -> None:
        """Stop turning."""
        await simulated.late()
        radar.mode, radar.tracked = "idle", 0


def _thermostat(simulated: SimulatedDevice, room: Thermostat) -> None:
    device = simulated.device
    simulated.settable("mode", ThermostatMode, lambda value: setattr(room, "mode", value))
    simulated.settable("setpoint", float, lambda value: setattr(room, "setpoint", float(value)), unit="°C", min=5, max=30)
    device.declare("temperature", float, unit="°C")
    device.declare("humidity", float, unit="%")
    device.declare("power", float, unit="W")

    @device.operation
    async def boost(minutes: Annotated[float, Value(min=1, max=120)] = 30) -> dict[str, float]:
        """Two degrees more for a while."""
        await simulated.late()
        room.boost_seconds = minutes * 60
        return {"until": minutes}

    @device.operation("selfTest")
    async def self_test(call: OperationCall) -> dict[str, bool]:
        """Switch the heater on and off, and see whether it obeys."""
        await simulated.late()
        await simulated.pause(call, 2.0)
        return {"heater": True, "sensor": True}


def _valve(simulated: SimulatedDevice, valve: Valve) -> None:
    device = simulated.device
    simulated.settable("position", float, lambda value: setattr(valve, "target", float(value)), unit="%", min=0, max=100)
    device.declare("flow", float, unit="l/min")
    device.declare("pressure", float, unit="bar")
    device.declare("litres", float, unit="l")
    device.declare("jammed", bool)

    async def move(call: OperationCall, target: float) -> None:
        valve.target = target
        begun = valve.position
        while valve.is_moving:
            if valve.jammed:
                raise DeviceError(f"jammed at {valve.position:.0f} %")
            way = abs(target - begun) or 1.0
            try:
                call.progress(min(1.0, abs(valve.position - begun) / way))
            except TaskCanceledError:
                valve.target = valve.position  # it stops where it is
                raise
            await asyncio.sleep(TICK_SECONDS / 2)

    @device.operation
    async def home(call: OperationCall) -> dict[str, int]:
        """Close, and count the strokes so far."""
        await simulated.late()
        await move(call, 0.0)
        return {"strokes": valve.strokes}

    @device.operation
    async def flush(call: OperationCall, seconds: Annotated[float, Value(min=1, max=600)] = 5) -> dict[str, float]:
        """Open all the way for a while, then go back to where it was."""
        await simulated.late()
        before, litres = valve.target, valve.litres
        await move(call, 100.0)
        await simulated.pause(call, seconds)
        await move(call, before)
        return {"litres": round(valve.litres - litres, 1)}

    @device.operation
    async def jam(on: bool = True) -> None:
        """Get stuck, or come free: for trying out what happens then."""
        valve.jammed = on
