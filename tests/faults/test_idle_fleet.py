"""Half an hour in which nothing happens to a fleet of real agents, over TLS: nobody is called lost, nothing is replaced."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.support.namespaces import fleet, refusal
from tests.support.undisturbed import changes_since, revision_now

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(refusal()), reason=refusal() or "-"),
]

IDLE_SECONDS = 30 * 60
LEASES = {"node-1": 15, "node-2": 5, "node-3": 2}
"""The default, and two that leave less time to be late."""
ROUND_SECONDS = 60
"""Between two looks back; far below what the store keeps."""


async def test_half_an_hour_of_rest_replaces_nothing(tmp_path: Path) -> None:
    async with fleet(tmp_path) as site:
        box = site.box
        for name, lease in LEASES.items():
            await site.add_node(name, lease)
        await box.deploy("web", ["sleep", "7200"], nodeReplicas=dict.fromkeys(LEASES, 2))
        await box.deploy("one", ["sleep", "7201"], replicas=1, template={"exclusive": True})
        await box.until(lambda: box.available("web", 6))
        await box.until(lambda: box.available("one", 1))
        before = {i.metadata.uid: (i.status.pid, i.status.restarts) for name in ("web", "one") for i in await box.instances(name)}
        assert len(before) == 7

        seen: Counter[str] = Counter()
        since = await revision_now(box)
        end = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(min(ROUND_SECONDS, max(0.0, end - time.monotonic())))
            upto = await revision_now(box)
            async for node in changes_since(box.api(), Node, since):
                states = {c.type: c.status for c in node.status.conditions}
                seen["not ready"] += states.get("Ready") != "True"
                seen["tainted"] += bool(node.spec.taints)
                seen["states of nodes"] += 1
            async for instance in changes_since(box.api(), Instance, since, "default"):
                seen["replacements"] += instance.metadata.uid not in before
                seen["not running"] += (instance.status.phase, instance.status.ready) != ("Running", True)
                seen["states of instances"] += 1
            since = upto

        print(f"\n{IDLE_SECONDS // 60} minutes: {dict(seen)}")
        wrong = {name: seen[name] for name in ("not ready", "tainted", "replacements", "not running") if seen[name]}
        assert not wrong
        after = {i.metadata.uid: (i.status.pid, i.status.restarts) for name in ("web", "one") for i in await box.instances(name)}
        assert after == before, "the same processes"
