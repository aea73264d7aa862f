"""A node is lost and comes back, under every `disconnect` setting at once: who is replaced, when, and who stays."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plum_schemas.instance import Instance

from tests.support.namespaces import FleetSite, fleet, refusal
from tests.support.programs import is_running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")]

LEASE = 2
LATER = 6
"""Seconds of `lostAfter`: the cut is longer."""
HEARS_SECONDS = 3.5
"""A third of a lease until the next renewal, and the start of a process on a busy machine."""
SLACK = 4.0
"""To notice, place and start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Case:
    """One setting, and what is to come of it."""

    name: str
    disconnect: dict[str, Any]
    replaced: bool
    kept: str
    """Which copy is left at the end: `original` or `replacement`."""
    after: float = LEASE
    """Seconds of silence before the replacement."""


CASES = (
    Case("default", {}, True, "original"),
    Case("original", {"replace": True, "reconcile": "keepOriginal"}, True, "original"),
    Case("replacement", {"replace": True, "reconcile": "keepReplacement"}, True, "replacement"),
    Case("longest", {"replace": True, "reconcile": "longestRunning"}, True, "original"),
    Case("later", {"lostAfter": f"{LATER}s"}, True, "original", after=LATER),
    Case("much-later", {"lostAfter": "10m"}, False, "original"),
    Case("stay", {"replace": False}, False, "original"),
    Case("stay-too", {"replace": False, "reconcile": "keepReplacement"}, False, "original"),
)


async def test_a_lost_node_comes_back_under_every_setting(tmp_path: Path) -> None:
    async with fleet(tmp_path, "node-1", lease_seconds=LEASE) as site:
        box = site.box
        for case in CASES:
            await box.deploy(case.name, ["sleep", "1000"], replicas=1, template={"disconnect": case.disconnect})
        originals: dict[str, Instance] = {}
        for case in CASES:
            await box.until(lambda case=case: box.available(case.name, 1), what=case.name)  # type: ignore[misc]
            (originals[case.name],) = await box.instances(case.name)
        await site.add_node("node-2", LEASE)

        site.net.cut("node-1")
        cut_at = time.monotonic()
        await box.deploy("told-late", ["sleep", "1000"], nodeReplicas={"node-1": 1}, template={"disconnect": {"replace": False}})
        took: dict[str, float] = {}
        waiting = [case for case in CASES if case.replaced]
        while waiting:
            for case in list(waiting):
                if await replacement(site, case):
                    took[case.name] = time.monotonic() - cut_at
                    waiting.remove(case)
            assert time.monotonic() - cut_at < LATER + 1 + SLACK, f"not replaced: {[case.name for case in waiting]}"
            await asyncio.sleep(0.05)
        new_pids = {case.name: await replacement(site, case) for case in CASES if case.replaced}
        for case in CASES:
            assert is_running(originals[case.name].status.pid or 0), f"{case.name}: what is healthy goes on"
            if not case.replaced:
                assert len(await box.instances(case.name)) == 1, f"{case.name}: nothing else"
            else:
                assert case.after - LEASE / 3 - 0.5 < took[case.name] < case.after + 1 + SLACK, (case.name, took)

        site.net.heal()
        # The old connection of the watch is silent for as long again as the cut was; a new one is not.
        await box.until(lambda: ready(site, "told-late"), HEARS_SECONDS, what="what it was to do in the meantime")
        await box.until(lambda: box.node_is("node-1", "True"), what="node-1 is back")
        for case in CASES:
            await box.until(lambda case=case: box.available(case.name, 1), what=f"{case.name}: one again")  # type: ignore[misc]
            (left,) = await box.instances(case.name)
            wanted = originals[case.name].status.pid if case.kept == "original" else new_pids[case.name]
            assert (left.status.pid, left.status.restarts) == (wanted, 0), f"{case.name}: the same process as before"


async def ready(site: FleetSite, deployment: str) -> bool:
    return any(instance.status.ready for instance in await site.box.instances(deployment))


async def replacement(site: FleetSite, case: Case) -> int:
    """The pid of the copy on the other node, once it is ready; 0 before."""
    ready = [i for i in await site.box.instances(case.name) if i.spec.node_name == "node-2" and i.status.ready]
    return (ready[0].status.pid or 0) if ready else 0
