"""A Sync of 2,000 manifests: first plan, first apply, a plan when nothing changed, and from a changed file to its object."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from plum_schemas.base import ObjectKey
from plum_schemas.sync import Sync

from tests.bench.table import Row
from tests.support.syncs import sync_site

MANIFESTS = 2_000
EDITS = 20

MANIFEST = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: web-NUMBER, labels: {site: pier3}}
spec:
  replicas: 0
  strategy: {type: RollingUpdate, maxSurge: 1, maxUnavailable: 0, minReadySeconds: 2}
  template:
    metadata: {labels: {app: web}, annotations: {note: "NOTE"}}
    command: ["python3", "-m", "http.server", "8080"]
    env: [{name: MODE, value: demo}, {name: LEVEL, value: info}]
    ports: [{name: http, port: 8080, protocol: http}]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {memory: 128Mi}}
"""


async def measure(folder: Path) -> list[Row]:
    """The rows of this part. Controllers and API share one process, as in the real controller; the store is in memory."""
    async with sync_site(folder) as site:
        for number in range(MANIFESTS):
            site.write(f"{number // 100}/web-{number}.yaml", _manifest(number, "first"))
        await site.follow(suspend=True)
        await site.phase("Suspended")
        key = ObjectKey("default", "fleet")
        started = time.monotonic()
        plan = await site.reconciler.plan(key)
        planned = time.monotonic() - started
        assert plan is not None
        assert len(plan["changes"]) == MANIFESTS, plan["problems"][:3]
        started = time.monotonic()
        await site.edit(Sync.info, "fleet", {"spec": {"suspend": None}})
        await site.until(lambda: _synced(site), "the folder is applied", 300)
        applied = time.monotonic() - started
        started = time.monotonic()
        await site.reconciler.plan(key)
        again = time.monotonic() - started
        took = []
        for edit in range(EDITS):
            site.write(f"0/web-{edit}.yaml", _manifest(edit, f"edit {edit}"))
            started = time.monotonic()
            await site.until(lambda name=f"web-{edit}", note=f"edit {edit}": _note(site, name, note), "the edit is applied", 60)
            took.append(time.monotonic() - started)
            await asyncio.sleep(0.2)
    took.sort()
    return [
        Row("Sync: first plan of 2,000 manifests", planned, "s", 3.0, more_is_better=False),
        Row("Sync: first apply of 2,000 manifests", applied, "s", 10.0, more_is_better=False),
        Row("Sync: plan of 2,000 manifests, nothing changed", again, "s", 0.5, more_is_better=False),
        Row("Sync: file written to object applied, p50, 2,000 manifests", took[EDITS // 2], "s", 2.0, more_is_better=False),
        Row("Sync: file written to object applied, slowest of 20", took[-1], "s", 2.0, more_is_better=False),
    ]


def _manifest(number: int, note: str) -> str:
    return MANIFEST.replace("NUMBER", str(number)).replace("NOTE", note)


async def _synced(site: object) -> bool:
    found = await site.get()  # type: ignore[attr-defined]
    return found.status.phase == "Synced" and len(found.status.inventory) == MANIFESTS


async def _note(site: object, name: str, note: str) -> bool:
    from plum_schemas.deployment import Deployment

    found = await site.api.get(Deployment, name, "default")  # type: ignore[attr-defined]
    return found is not None and found.spec.template.metadata.annotations.get("note") == note
