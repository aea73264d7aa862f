"""Server-side apply over HTTP, against the plain description of it: random histories, conflicts, writes that change nothing."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fields import OPENAPI, specs, thing
from tests.support.fields_oracle import Model, Path, flatten, owned_paths
from tests.support.kubernetes_clients import Cluster, definition
from tests.support.server import HttpAnswer, RunningServer

GROUP = "apply.example.com"
THINGS = f"/apis/{GROUP}/v1/namespaces/default/things"
APPLY = "application/apply-patch+yaml"

Json = dict[str, Any]
_names = count()


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[RunningServer]:
    made = definition("things", "Thing", group=GROUP, schema={"openAPIV3Schema": OPENAPI}, subresources={"status": {}})

    async def define() -> None:
        answer = await cluster.server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", made)
        assert answer.status == 201, answer.body
        async with asyncio.timeout(15):
            while (await cluster.server.get(THINGS)).status != 200:
                await asyncio.sleep(0.02)

    asyncio.run(define())
    yield cluster.server


def without_empty(value: Any) -> Any:
    """What the description speaks of: no nulls, no empty parts, keys of ports complete."""
    if isinstance(value, dict):
        kept = {name: without_empty(part) for name, part in value.items() if name != "free"}
        return {name: part for name, part in kept.items() if part is not None and part not in ({}, [])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


def complete(spec: Json) -> Json:
    spec = without_empty(spec) or {"replicas": 1}
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
    return spec


bodies = specs.map(complete)
managers = st.sampled_from(["ann", "bob", "cy"])
steps = st.tuples(managers, bodies, st.sampled_from(["apply", "apply", "force", "update"]))
BOUNDED = settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Thing:
    """One object, written as clients write it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.name = f"thing-{next(_names)}"
        self.path = f"{THINGS}/{self.name}"

    def body(self, spec: Json) -> Json:
        return {**thing(spec), "apiVersion": f"{GROUP}/v1", "metadata": {"name": self.name}}

    async def apply(self, manager: str, spec: Json, *, force: bool) -> HttpAnswer:
        path = f"{self.path}?fieldManager={manager}&force={str(force).lower()}"
        return await self.server.request("PATCH", path, self.body(spec), content_type=APPLY)

    async def update(self, manager: str, spec: Json, live: Json | None) -> HttpAnswer:
        if live is None:
            return await self.server.request("POST", f"{THINGS}?fieldManager={manager}", self.body(spec))
        return await self.server.request("PUT", f"{self.path}?fieldManager={manager}", {**live, "spec": spec})


def fields_of(obj: Json) -> dict[Path, Any]:
    return {path: value for path, value in flatten(obj).items() if path[0] == "spec"}


def named(field: str) -> str:
    """A field of a cause as the description would name it: `.spec.env[name="A"].value` -> `spec/env/A/value`."""
    inside = re.sub(r"\[([^\]]*)\]", lambda found: "." + "/".join(re.findall(r'="?([^",]+)', found[1]) or [found[1]]), field)
    return inside.lstrip(".").replace(".", "/").replace('"', "")


@BOUNDED
@given(history=st.lists(steps, min_size=1, max_size=5))
def test_objects_owners_and_conflicts_over_http(server: RunningServer, history: list[Any]) -> None:
    asyncio.run(_compare(server, history))


@pytest.mark.soak
@settings(BOUNDED, max_examples=5000, derandomize=False)
@given(history=st.lists(steps, min_size=1, max_size=8))
def test_objects_owners_and_conflicts_over_http_for_long(server: RunningServer, history: list[Any]) -> None:
    asyncio.run(_compare(server, history))


async def _compare(server: RunningServer, history: list[Any]) -> None:
    written, model = Thing(server), Model()
    live: Json | None = None
    for manager, spec, what in history:
        wanted = fields_of({"spec": spec})
        if what == "update":
            answer = await written.update(manager, spec, live)
            model.update(manager, wanted)
        else:
            expected = model.conflicts(manager, wanted)
            answer = await written.apply(manager, spec, force=what == "force")
            if answer.status == 409:
                causes = answer.json()["details"]["causes"]
                found = {(cause["message"].split('"')[1], named(cause["field"])) for cause in causes}
                assert found == {(owner, "/".join(path).replace("/=", "/")) for owner, path in expected}
                assert what == "apply" and {cause["reason"] for cause in causes} == {"FieldManagerConflict"}
                continue
            assert not expected or what == "force"
            model.apply(manager, wanted)
        assert answer.status in (200, 201), answer.body
        live = answer.json()
        assert fields_of(live) == model.fields
        assert owned_paths(live) == model.owners
        if what != "update":
            again = (await written.apply(manager, spec, force=False)).json()
            assert again == live, "the same configuration again: no new revision, no new times"


async def test_applying_again_later_writes_nothing(server: RunningServer) -> None:
    written = Thing(server)
    first = (await written.apply("ann", {"image": "x", "env": [{"name": "A", "value": "1"}]}, force=False)).json()
    since = first["metadata"]["resourceVersion"]
    second = int(time.time())

    async with asyncio.timeout(10), server.watch(f"{THINGS}?watch=1&resourceVersion={since}") as events:
        while int(time.time()) == second:  # managedFields count in seconds
            await asyncio.sleep(0.02)
        again = await written.apply("ann", {"env": [{"value": "1", "name": "A"}], "image": "x"}, force=False)
        changed = (await written.apply("ann", {"image": "y", "env": [{"name": "A", "value": "1"}]}, force=False)).json()
        event = await events.get()

    assert again.json() == first
    assert event == {"type": "MODIFIED", "object": changed}
    assert changed["metadata"]["managedFields"][0]["time"] > first["metadata"]["managedFields"][0]["time"]


async def test_a_conflict_says_how_to_go_on(server: RunningServer) -> None:
    written = Thing(server)
    await written.apply(
        "ann", {"image": "x", "ports": [{"port": 1, "protocol": "TCP", "name": "a"}], "groups": ["r"]}, force=False
    )

    refused = await written.apply("bob", {"image": "y", "ports": [{"port": 1, "protocol": "TCP", "name": "b"}]}, force=False)

    status = json.loads(refused.body)
    assert (refused.status, status["reason"]) == (409, "Conflict")
    assert [cause["field"] for cause in status["details"]["causes"]] == [
        ".spec.image",
        '.spec.ports[port=1,protocol="TCP"].name',
    ]
    assert status["message"].startswith('Apply failed with 2 conflicts: conflicts with "ann":\n- .spec.image\n')
