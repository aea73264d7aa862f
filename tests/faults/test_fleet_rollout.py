"""A rollout whose new version crashes: the old version keeps serving, and the rollout stops or goes back, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plum_schemas.core import Event
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.revision import Revision

from tests.support.programs import Sandbox, sandbox
from tests.support.undisturbed import changes_since, revision_now

REPLICAS = 4
MIN_AVAILABLE = 3
CRASHES = ["sh", "-c", "sleep 0.05; echo broken >&2; exit 3"]


async def progressing(box: Sandbox) -> tuple[str, str, str]:
    """Status, reason and message of the condition."""
    live = await box.api().get(Deployment, "web", "default")
    assert live is not None
    if live.status.observed_generation != live.metadata.generation:
        return "", "", ""
    found = next(c for c in live.status.conditions if c.type == "Progressing")
    return found.status, found.reason, found.message


async def fewest_ready(box: Sandbox, since: str) -> int:
    """The fewest instances that were ready and not being stopped, over every state there was since a revision."""
    state: dict[str, bool] = {}
    fewest = REPLICAS
    known = {i.metadata.uid for i in await box.instances("web")}
    async for instance in changes_since(box.api(), Instance, since, "default"):
        if not state:
            state = await _state_at(box, since)
        state[instance.metadata.uid] = instance.status.ready and instance.metadata.deletion_timestamp is None
        fewest = min(fewest, sum(state.values()))
    assert known <= state.keys()
    return fewest


async def _state_at(box: Sandbox, revision: str) -> dict[str, bool]:
    transport = box.api().transport
    path = f"/apis/plum.dev/v1/namespaces/default/instances?resourceVersion={revision}&resourceVersionMatch=Exact"
    answer = await transport.request("GET", path)  # type: ignore[attr-defined]
    assert answer.status == 200, answer.body
    items = json.loads(answer.body)["items"]
    return {item["metadata"]["uid"]: bool(item["status"].get("ready")) for item in items}


@pytest.mark.slow
@pytest.mark.parametrize(("on_failure", "reason"), [("Pause", "ProgressDeadlineExceeded"), ("Rollback", "RolledBack")])
async def test_a_crash_looping_rollout_never_goes_below_what_must_be_available(
    tmp_path: Path, on_failure: str, reason: str
) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller)
        strategy = {
            "onFailure": on_failure,
            "minReadySeconds": 1,
            "progressDeadlineSeconds": 4,
            "maxUnavailable": 1,
            "maxSurge": 1,
        }
        await box.deploy("web", ["sleep", "1000"], replicas=REPLICAS, strategy=strategy)
        await box.until(lambda: box.available("web", REPLICAS))
        good = {i.metadata.uid: i.status.pid for i in await box.instances("web")}
        since = await revision_now(box)

        await box.deploy(
            "web", CRASHES, replicas=REPLICAS, strategy=strategy, template={"backoff": {"initial": "200ms", "max": "1s"}}
        )

        async def judged() -> bool:
            return (await progressing(box))[1] == reason

        await box.until(judged, 25, what=f"the rollout is judged: {reason}")
        status, _, message = await progressing(box)
        assert status == "False"
        assert "no progress for 4 s" in message
        if on_failure == "Rollback":
            await box.until(lambda: _runs_the_old_template(box, REPLICAS), what="the old template runs everywhere")
        assert await fewest_ready(box, since) >= MIN_AVAILABLE
        survivors = {i.metadata.uid: i.status.pid for i in await box.instances("web") if i.metadata.uid in good}
        assert len(survivors) >= MIN_AVAILABLE
        assert all(good[uid] == pid for uid, pid in survivors.items()), "those that served were never restarted"

        async def told() -> bool:
            events = await box.api().list(Event, "default")
            return any(e.reason == reason and e.involved_object.name == "web" and e.type == "Warning" for e in events)

        await box.until(told, what="an event says so")


async def _runs_the_old_template(box: Sandbox, count: int) -> bool:
    revisions = {r.spec.hash: r for r in await box.api().list(Revision, "default")}
    oldest = min(revisions.values(), key=lambda r: r.spec.number)
    running = [
        i for i in await box.instances("web") if i.metadata.labels["plum.dev/revision"] == oldest.spec.hash and i.status.ready
    ]
    return len(running) == count == len(await box.instances("web"))
