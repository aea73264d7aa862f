"""Asking a run to stop: first it leaves the service endpoints, then the preStop hook, then the stop signal.

The deadline is not here: `plan.next_step` turns a stop that takes too long into a kill, whatever this waits for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from plum_client.clock import Clock
from plum_schemas.durations import parse_duration
from plum_schemas.instance import Instance
from plum_schemas.probes import Hook

from plum_agent.drivers.base import Driver, Launch
from plum_agent.plan import Stop
from plum_agent.probe_actions import ask_http
from plum_agent.unit import Unit

logger = logging.getLogger(__name__)

Withdraw = Callable[[Instance, float], Awaitable[bool]]
"""Waits until no endpoint leads to an instance any more, at most so many seconds."""


async def stop_run(unit: Unit, instance: Instance, step: Stop, driver: Driver, withdraw: Withdraw, clock: Clock) -> None:
    """Up to the stop signal. Repeating it repeats hook and signal."""
    run, record = unit.run, unit.record.run
    if run is None or record is None or record.handle is None:
        return
    template = instance.spec.template
    left = step.deadline - clock.monotonic()
    if not await withdraw(instance, left / 2):
        logger.info("instance stops while it may still be an endpoint", extra={"key": str(unit.key)})
    hook = template.lifecycle.pre_stop
    if hook is not None and unit.launch is not None:
        await _run_hook(unit, hook, unit.launch, record.ports, driver, step.deadline - clock.monotonic())
    await driver.signal(run, record.handle, signal_number(template.stop_signal))


async def _run_hook(unit: Unit, hook: Hook, launch: Launch, ports: dict[str, int], driver: Driver, seconds: float) -> None:
    """Does not keep the run from stopping, whatever becomes of it."""
    why = ""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            if hook.exec is not None:
                code = await driver.execute(launch, tuple(hook.exec.command), max(0.0, seconds))
                why = f"exit code {code}" if code else ""
            elif hook.http is not None:
                why = await ask_http(hook.http, ports)
            elif hook.sleep is not None:
                await asyncio.sleep(parse_duration(hook.sleep.duration))
    except TimeoutError:
        why = "it took longer than the grace period"
    except (OSError, ValueError, EOFError) as error:
        why = str(error)
    if why:
        logger.warning("preStop hook failed", extra={"key": str(unit.key), "error": why})


def signal_number(name: str) -> int:
    """SIGTERM for a name this system does not know: it is what everybody understands."""
    try:
        return signal.Signals[name]
    except KeyError:
        return signal.SIGTERM
