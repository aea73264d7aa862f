"""Rules of user-defined kinds over HTTP: refused definitions, refused objects, old objects that already break a new rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import RunningServer, started_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PUMPS = "/apis/plant.example.com/v1/namespaces/default/pumps"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with started_server(tmp_path_factory.mktemp("server"), env={"PLUM_CONTROLLERS_ENABLED": "false"}) as running:
        yield running


def definition(*rules: dict[str, Any], plural: str = "pumps") -> dict[str, Any]:
    spec = {
        "type": "object",
        "required": ["min", "max"],
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "note": {"type": "string"}},
        "x-kubernetes-validations": list(rules),
    }
    status = {"type": "object", "properties": {"speed": {"type": "integer"}}}
    version = {
        "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }  # fmt: skip
    kind = plural.capitalize().removesuffix("s")
    names = {"plural": plural, "kind": kind}
    group = "plant.example.com"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }  # fmt: skip


ORDERED = {"rule": "self.min <= self.max", "message": "min may not be above max"}


async def test_rules_refuse_objects_and_follow_changes_of_their_definition(server: RunningServer) -> None:
    assert (await server.request("POST", DEFINITIONS, definition(ORDERED))).status == 201

    def pump(name: str, low: int, high: int) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"min": low, "max": high}}

    assert (await server.request("POST", PUMPS, pump("good", 1, 5))).status == 201
    refused = await server.request("POST", PUMPS, pump("bad", 9, 5))
    patched = await server.request("PATCH", f"{PUMPS}/good", {"spec": {"min": 9}}, content_type="application/merge-patch+json")
    named = pump("good", 7, 5) | {"apiVersion": "plant.example.com/v1", "kind": "Pump"}
    apply = f"{PUMPS}/good?fieldManager=a&force=true"
    applied = await server.request("PATCH", apply, named, content_type="application/apply-patch+yaml")

    assert (refused.status, patched.status, applied.status) == (422, 422, 422)
    assert refused.json()["message"] == (
        'Pump.plant.example.com "bad" is invalid: spec: Invalid value: "object": min may not be above max'
    )
    assert refused.json()["details"]["causes"][0]["field"] == "spec"

    # The rule becomes stricter. What breaks it already may still change elsewhere, and may not begin to break it anew.
    strict = definition(ORDERED, {"rule": "self.max < 4", "message": "max must be under 4"})
    changed = await server.request(
        "PATCH", f"{DEFINITIONS}/pumps.plant.example.com", {"spec": strict["spec"]}, content_type="application/merge-patch+json"
    )
    assert changed.status == 200
    noted = await server.request("PATCH", f"{PUMPS}/good", {"spec": {"note": "x"}}, content_type="application/merge-patch+json")
    assert noted.status == 200
    assert (await server.request("POST", PUMPS, pump("new", 1, 5))).status == 422
    assert (await server.request("POST", PUMPS, pump("small", 1, 3))).status == 201


async def test_rules_that_cannot_run_are_refused_with_the_definition(server: RunningServer) -> None:
    answer = await server.request("POST", DEFINITIONS, definition({"rule": "self.mim < 1"}, plural="valves"))

    assert answer.status == 422
    cause = answer.json()["details"]["causes"][0]
    assert cause["field"] == "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    assert "undefined field 'mim'" in cause["message"]


async def test_a_rule_that_would_take_for_ever_refuses_its_object_and_harms_nobody(server: RunningServer) -> None:
    made = definition(plural="tanks")
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["levels"] = {"type": "array", "items": {"type": "integer"}}
    spec["x-kubernetes-validations"] = [
        {"rule": "self.levels.all(a, self.levels.all(b, self.levels.all(c, self.levels.all(d, a + b + c + d >= 0))))"}
    ]
    assert (await server.request("POST", DEFINITIONS, made)).status == 201
    body = {"metadata": {"name": "big"}, "spec": {"min": 1, "max": 2, "levels": list(range(20_000))}}

    answer = await server.request("POST", PUMPS.replace("pumps", "tanks"), body)

    assert answer.status == 422
    assert "costs more than it may" in answer.json()["message"]
    assert (await server.get("/healthz")).status == 200


async def test_clients_of_a_deprecated_version_are_told(server: RunningServer) -> None:
    made = definition(plural="fans")
    old = {**made["spec"]["versions"][0], "name": "v1beta1", "storage": False, "deprecated": True}
    older = {**old, "name": "v1alpha1", "deprecationWarning": "use v1: v1alpha1 goes next year"}
    made["spec"]["versions"] += [old, older]
    assert (await server.request("POST", DEFINITIONS, made)).status == 201
    path = PUMPS.replace("pumps", "fans")
    body = {"metadata": {"name": "f"}, "spec": {"min": 1, "max": 2}}

    current = await server.request("POST", path, body)
    warned = await server.get(f"{path.replace('/v1/', '/v1beta1/')}/f")
    listed = await server.get(path.replace("/v1/", "/v1alpha1/"))

    assert current.warnings == []
    assert warned.warnings == ['299 - "plant.example.com/v1beta1 Fan is deprecated"']
    assert listed.warnings == ['299 - "use v1: v1alpha1 goes next year"']
    assert warned.json()["apiVersion"] == "plant.example.com/v1beta1"
