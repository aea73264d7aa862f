"""Whatever a client sends, it gets an answer that tells what is wrong with it, never a crash."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.registry import Registry

from tests.support.resources import ManualClock, World, config_map, definition, deployment, make_store, widget

ODD = st.sampled_from([None, True, 0, -1, 1.5, 2**70, "", "x", "5m", [], [None], [[]], ["x"], {}, {"x": None}, {"name": 5}, [{}]])
TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "command": ["x"],
    "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "ports": [{"name": "http", "port": 80}],
    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Mi"}},
    "probes": {"readiness": {"http": {"port": "http"}}, "liveness": {"exec": {"command": "x y"}}},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "topologySpread": [{"topologyKey": "zone", "maxSkew": 1}],
}
SAMPLES: dict[str, dict[str, Any]] = {
    "deployments.plum.dev": deployment(strategy={"type": "Canary", "canary": {"steps": [{"weight": 5}]}}, template=TEMPLATE),
    "instances.plum.dev": {"metadata": {"name": "i"}, "spec": {"nodeName": "n", "template": TEMPLATE}},
    "nodes.plum.dev": {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "namespaces": {"metadata": {"name": "n", "labels": {}}, "spec": {"finalizers": ["x"]}},
    "secrets": {"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"b": "c"}, "type": "Opaque"},
    "configmaps": config_map(a="b"),
    "events": {"metadata": {"name": "e"}, "involvedObject": {"kind": "Node"}, "source": {"component": "c"}},
    "leases.coordination.k8s.io": {"metadata": {"name": "l"}, "spec": {"renewTime": "2026-01-31T08:00:00.0Z"}},
    "customresourcedefinitions.apiextensions.k8s.io": definition("gizmos"),
    "artifacts.plum.dev": {
        "metadata": {"name": "a"},
        "spec": {"name": "a", "version": "1.0", "type": "zip", "sha256": "0" * 64, "services": [{"name": "http", "port": 80}]},
    },
    "workflows.plum.dev": {
        "metadata": {"name": "w"},
        "spec": {
            "params": [{"name": "z", "type": "integer", "default": 4}],
            "nodes": [
                {
                    "name": "scan",
                    "type": "task",
                    "taskRef": "scan",
                    "payload": {"zone": "x"},
                    "timeout": "2m",
                    "retry": {"limit": 2},
                },
                {"name": "found", "type": "branch", "dependsOn": ["scan"], "condition": "true"},
                {"name": "photo", "type": "task", "taskRef": "photo", "dependsOn": [{"node": "found", "on": "true"}]},
            ],
        },
    },
    "workflowruns.plum.dev": {
        "metadata": {"name": "r"},
        "spec": {
            "definition": {"nodes": [{"name": "a", "taskRef": "builtin.echo"}], "params": [{"name": "z", "default": "x"}]},
            "params": {"z": "y"},
            "timeout": "2m",
            "commands": [{"name": "c1", "action": "Skip", "node": "a", "output": {"a": 1}}],
        },
        "status": {"phase": "Running", "counts": {"running": 1}},
    },
    "taskdefinitions.plum.dev": {
        "metadata": {"name": "t"},
        "spec": {
            "task": "builtin.echo",
            "payloadSchema": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "defaultPayload": {"a": 1},
            "retry": {"limit": 2, "initial": "1s"},
            "concurrency": {"key": "${{ payload.a }}", "limit": 2},
        },
    },
    "taskruns.plum.dev": {
        "metadata": {"name": "t"},
        "spec": {"task": {"task": "builtin.echo", "payloadSchema": {"type": "object"}}, "payload": {"a": 1}, "timeout": "3s"},
        "status": {"phase": "Pending", "attempt": 1, "fencingToken": 1, "attempts": [{"number": 1, "phase": "Failed"}]},
    },
    "triggers.plum.dev": {
        "metadata": {"name": "t"},
        "spec": {
            "workflowRef": "w",
            "params": {"z": "${{ event.body.a }}"},
            "webhook": {"path": "/a", "secretRef": {"name": "s", "key": "k"}},
        },
    },
    "resources.plum.dev": {
        "metadata": {"name": "r"},
        "spec": {
            "model": {
                "properties": [{"name": "range", "type": "double", "min": 1, "max": 9}],
                "operations": [{"name": "aim", "arguments": [{"name": "mode", "type": "enum", "enum": ["a", "b"]}]}],
            },
            "desired": {"range": 5},
            "driver": {"http": {"url": "http://127.0.0.1:1/", "headers": {"a": "b"}}},
            "taints": [{"key": "a", "effect": "NoSchedule"}],
        },
        "status": {"reported": {"range": {"value": 5, "time": "2026-01-31T08:00:00Z"}}, "connection": {"online": True}},
    },
    "operations.plum.dev": {
        "metadata": {"name": "o"},
        "spec": {"resourceRef": "r", "method": "aim", "arguments": {"mode": "a"}, "notAfter": "30s", "delivery": "AtLeastOnce"},
        "status": {"phase": "Queued"},
    },
    "kvs.plum.dev": {"metadata": {"name": "k"}, "spec": {"type": "int", "value": 40, "ttl": "10m"}},
    "widgets.example.com": widget(parts=[{"name": "a", "weight": 1}], free={"a": [1]}),
}


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    found = [above] if above else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        found += places(child, (*above, name))
    return found


def with_odd(data: dict[str, Any], path: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    found: Any = changed
    for part in path[:-1]:
        found = found[part]
    found[path[-1]] = odd
    return changed


def test_there_is_a_sample_for_every_kind_with_rules_of_its_own() -> None:
    registry = Registry()
    special = {kind.info.resource for kind in registry.all() if type(kind.rules).__name__ != "KindRules"}

    assert special <= SAMPLES.keys()


@pytest.mark.parametrize("resource", sorted(SAMPLES))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_values_anywhere_are_refused_or_stored_but_never_crash(
    resource: str, data: st.DataObject, tmp_path_factory: Any
) -> None:
    sample = SAMPLES[resource]
    path, odd = data.draw(st.sampled_from(places(sample))), data.draw(ODD)
    second, other = data.draw(st.sampled_from(places(sample))), data.draw(ODD)

    asyncio.run(_send(resource, sample, with_odd(sample, path, odd), {second[0]: with_odd(sample, second, other)[second[0]]}))


async def _send(resource: str, sample: dict[str, Any], odd: dict[str, Any], patch: dict[str, Any]) -> None:
    """Create, update, patch and apply the odd value, at the main endpoint and at the status."""
    world = World(make_store("memory", None), ManualClock())  # type: ignore[arg-type]
    await world.start()
    await world.create("customresourcedefinitions", definition())
    kind = world.registry.by_resource(resource)
    assert kind is not None
    namespace = "default" if kind.info.namespaced else ""
    names = {"apiVersion": kind.info.api_version, "kind": kind.info.kind}
    options = [WriteOptions(), WriteOptions(field_validation="Strict"), WriteOptions(subresource="status")]

    async def attempt(call: Any) -> None:
        try:
            outcome = await call
        except ApiStatusError as error:
            assert 400 <= error.code < 500, error.message
            msgspec.json.decode(error.body())
        else:
            msgspec.json.decode(outcome.value)

    await attempt(world.service.create(kind, namespace, copy.deepcopy(odd), options[0]))
    await attempt(world.service.create(kind, namespace, copy.deepcopy(sample), options[0]))
    key = world.key(kind.info.resource, sample["metadata"]["name"], namespace)
    for option in options:
        await attempt(world.service.update(kind, key, copy.deepcopy(odd), option))
        await attempt(world.service.patch(kind, key, "merge", copy.deepcopy(patch), option))
        await attempt(world.service.patch(kind, key, "apply", copy.deepcopy({**odd, **names}), option))
        operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in patch.items()]
        await attempt(world.service.patch(kind, key, "json", operations, option))
        if kind.info.strategic_merge:
            await attempt(world.service.patch(kind, key, "strategic", copy.deepcopy(patch), option))
    await world.stop()
