"""Rules between fields and short forms: each sentence here is one a user can run into."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_schemas.base import Object
from plum_schemas.graph import find_cycle
from plum_schemas.kinds import find
from plum_schemas.kv import kv_name
from plum_schemas.names import is_subdomain
from plum_schemas.resource import OperationModel, check_arguments
from plum_schemas.validation import FieldError


def kind_of(name: str) -> type[Object]:
    found = find("plum.dev/v1", name)
    assert found is not None
    return found


def read(name: str, spec: dict[str, Any], object_name: str = "x") -> Object:
    data = {"metadata": {"name": object_name, "namespace": "default"}, "spec": copy.deepcopy(spec)}
    kind = kind_of(name)
    kind.normalize(data)
    kind.fill(data)
    return msgspec.convert(data, kind)


def errors(name: str, spec: dict[str, Any], old: dict[str, Any] | None = None, object_name: str = "x") -> list[FieldError]:
    before = None if old is None else read(name, old, object_name)
    return list(read(name, spec, object_name).validate(before))


def problems(name: str, spec: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    return [f"{error.field}: {error.message}" for error in errors(name, spec, old)]


RUN = {"command": ["./start.sh"]}
ARTIFACT = {"name": "app", "version": "1"}
SUM = "a" * 64


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({}, "spec.template.command: Required value: runtime process needs a command or an artifact"),
        ({"runtime": "container"}, "spec.template.image: Required value: runtime container needs an image or an artifact"),
        ({"artifact": {"name": "app"}}, "spec.template.artifact.version: Required value"),
        ({"artifact": {"url": "http://x/a.zip"}}, "spec.template.artifact.sha256: Required value"),
        (
            {"artifact": {**ARTIFACT, "url": "http://x", "sha256": SUM}},
            "spec.template.artifact.url: Forbidden: may not be set together",
        ),
        (
            {**RUN, "env": [{"name": "A", "valueFrom": {}}]},
            "spec.template.env[0].valueFrom: Required value: set one of secretKeyRef",
        ),
        (
            {**RUN, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
            "spec.template.ports[1].port: Duplicate value: 80",
        ),
        (
            {**RUN, "services": [{"name": "orders", "port": "http"}]},
            'spec.template.services[0].port: Invalid value: "http": must be a number or the name of one of the ports',
        ),
        (
            {**RUN, "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
            'spec.template.resources.requests[memory]: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
        ),
        ({**RUN, "resources": {"limits": {"cpu": "-1"}}}, "spec.template.resources.limits[cpu]: Invalid value"),
        ({**RUN, "probes": {"liveness": {}}}, "spec.template.probes.liveness: Required value: set one of http, tcp, exec, grpc"),
        (
            {**RUN, "probes": {"startup": {"tcp": {"port": 1}, "exec": {"command": ["a"]}}}},
            "spec.template.probes.startup.exec: Forbidden: may not be set together with tcp",
        ),
        (
            {**RUN, "probes": {"readiness": {"tcp": {"port": 1}, "period": "0s"}}},
            "spec.template.probes.readiness.period: Invalid value",
        ),
        ({**RUN, "backoff": {"initial": "1m", "max": "1s"}}, "spec.template.backoff.max: Invalid value"),
        ({**RUN, "nodeSelector": {"zone": "a b"}}, 'spec.template.nodeSelector: Invalid value: "a b": a valid label must be'),
        ({**RUN, "tolerations": [{"operator": "Equal"}]}, "spec.template.tolerations[0].operator: Invalid value"),
        (
            {**RUN, "affinity": {"nodeAffinity": {"required": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}},
            "spec.template.affinity.nodeAffinity.required[0].matchExpressions[0].values: Required value",
        ),
    ],
)
def test_a_template_that_cannot_work_is_refused(template: dict[str, Any], expected: str) -> None:
    found = problems("Deployment", {"template": template})

    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": 1, "nodeReplicas": {"n": 1}}, "spec.replicas: Forbidden: may not be set together with nodeReplicas"),
        ({"strategy": {"maxSurge": 0, "maxUnavailable": "0%"}}, "spec.strategy.maxUnavailable: Invalid value"),
        ({"strategy": {"maxSurge": "many"}}, 'spec.strategy.maxSurge: Invalid value: "many"'),
        ({"strategy": {"maxUnavailable": "101%"}}, "spec.strategy.maxUnavailable: Invalid value"),
        ({"strategy": "Canary"}, "spec.strategy.canary.steps: Required value"),
        ({"strategy": {"canary": {"steps": [{}]}}}, "spec.strategy.canary.steps[0]: Required value"),
        ({"strategy": {"minReadySeconds": 600}}, "spec.strategy.progressDeadlineSeconds: Invalid value"),
        ({"nodeReplicas": {"Node 1": 1}}, 'spec.nodeReplicas: Invalid value: "Node 1"'),
    ],
)
def test_a_rollout_that_cannot_work_is_refused(spec: dict[str, Any], expected: str) -> None:
    found = problems("Deployment", {"template": RUN, **spec})

    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_recreate_needs_no_surge() -> None:
    assert problems("Deployment", {"template": RUN, "strategy": {"type": "Recreate", "maxSurge": 0, "maxUnavailable": 0}}) == []


def test_a_deployment_name_fits_into_a_label() -> None:
    assert errors("Deployment", {"template": RUN}, object_name="a" * 64)[0].field == "metadata.name"
    assert errors("Deployment", {"template": RUN}, object_name="a" * 63) == []


@pytest.mark.parametrize(("spec", "replicas"), [({}, 1), ({"replicas": 0}, 0), ({"nodeReplicas": {"n": 2}}, None)])
def test_replicas_is_one_unless_somebody_says_otherwise(spec: dict[str, Any], replicas: int | None) -> None:
    deployment = read("Deployment", {"template": RUN, **spec})

    assert deployment.spec.replicas == replicas  # type: ignore[attr-defined]


def test_short_forms_of_a_template_are_stored_long() -> None:
    data: dict[str, Any] = {
        "spec": {
            "strategy": "Recreate",
            "template": {
                "command": "./start.sh --name 'a b'",
                "env": {"MODE": "demo", "PORT": 80, "DEBUG": True},
                "artifact": "demo-app:1.0.0",
                "resources": {"requests": {"cpu": 0.5, "memory": "1Mi"}},
                "probes": {"liveness": {"exec": {"command": "test -f ok"}}},
            },
        }
    }

    kind_of("Deployment").normalize(data)

    spec = data["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"] == {
        "command": ["./start.sh", "--name", "a b"],
        "env": [{"name": "MODE", "value": "demo"}, {"name": "PORT", "value": "80"}, {"name": "DEBUG", "value": "true"}],
        "artifact": {"name": "demo-app", "version": "1.0.0"},
        "resources": {"requests": {"cpu": "0.5", "memory": "1Mi"}},
        "probes": {"liveness": {"exec": {"command": ["test", "-f", "ok"]}}},
    }


words = ["spec", "template", "command", "env", "probes", "exec", "nodes", "body", "dependsOn", "params", "task", "on", "true"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(words), inner),
    max_leaves=8,
)


@given(st.sampled_from(["Deployment", "Instance", "TaskDefinition", "TaskRun", "Workflow", "WorkflowRun"]), json_values)
def test_no_input_breaks_the_rewriting_of_short_forms(name: str, spec: Any) -> None:
    data = {"spec": spec}
    kind_of(name).normalize(data)
    once = copy.deepcopy(data)

    kind_of(name).normalize(data)

    assert data == once


def test_an_instance_never_moves_and_never_changes_what_it_runs() -> None:
    old = {"nodeName": "node-1", "template": RUN}

    assert problems("Instance", {"nodeName": "node-2", "template": RUN}, old)[0].startswith("spec.nodeName: Forbidden")
    assert problems("Instance", {"nodeName": "node-1", "template": {"command": ["b"]}}, old)[0].startswith(
        "spec.template: Forbidden"
    )
    assert problems("Instance", {**old, "state": "Stopped"}, old) == []
    assert problems("Instance", {**old, "template": {**RUN, "metadata": {"labels": {"a": "b"}}}}, old) == []
    assert problems("Instance", old, {"template": RUN}) == []


def graph(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": list(nodes)}


TASK = {"type": "task", "taskRef": "builtin.echo"}


ONE = graph({"name": "a", **TASK})


def after(edge: dict[str, str]) -> dict[str, Any]:
    return {"name": "b", **TASK, "dependsOn": [edge]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (graph({"name": "a", **TASK}, {"name": "a", **TASK}), 'spec.nodes[1].name: Duplicate value: "a"'),
        (graph({"name": "a", **TASK, "dependsOn": ["b"]}), 'spec.nodes[0].dependsOn[0].node: Invalid value: "b"'),
        (
            graph({"name": "a", **TASK, "dependsOn": ["b"]}, {"name": "b", **TASK, "dependsOn": ["a"]}),
            'spec.nodes: Invalid value: "a -> b -> a": dependsOn may not form a cycle',
        ),
        (graph({"name": "a", "type": "task"}), "spec.nodes[0].taskRef: Required value"),
        (graph({"name": "a", **TASK, "count": 3}), "spec.nodes[0].count: Forbidden: a node of type task has none"),
        (graph({"name": "a", **TASK}, after({"node": "a", "on": "true"})), "spec.nodes[1].dependsOn[0].on: Forbidden"),
        (
            graph({"name": "a", "type": "branch", "condition": "x"}, after({"node": "a", "on": "maybe"})),
            'spec.nodes[1].dependsOn[0].on: Invalid value: "maybe": a has the outcomes true, false',
        ),
        (graph({"name": "a", "type": "branch"}), "spec.nodes[0]: Required value: set one of condition, compare, cases"),
        (graph({"name": "a", "type": "loop", "count": 1}), "spec.nodes[0].body: Required value"),
        (
            graph({"name": "a", "type": "loop", "count": 1, "body": [{"name": "b", "type": "task"}]}),
            "spec.nodes[0].body.nodes[0].taskRef: Required value",
        ),
        (graph({"name": "a", "type": "wait", "wait": {}}), "spec.nodes[0].wait: Required value"),
        ({**ONE, "params": [{"name": "p", "type": "object", "default": 1}]}, "spec.params[0].default: Invalid value"),
        ({}, "spec.nodes: Required value"),
    ],
)  # fmt: skip
def test_a_workflow_that_can_never_run_is_refused(spec: dict[str, Any], expected: str) -> None:
    found = problems("Workflow", spec)

    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_a_draft_may_be_incomplete_but_not_wrong() -> None:
    assert problems("Workflow", {"state": "Draft", "nodes": [{"name": "a", "type": "task"}]}) == []
    assert problems("Workflow", {"state": "Draft", "nodes": [{"name": "a", **TASK, "dependsOn": ["b"]}]}) != []


def test_a_classic_condition_and_unquoted_yaml_words_are_understood() -> None:
    data = {
        "spec": {
            "nodes": [
                {
                    "name": "hit",
                    "type": "branch",
                    "condition": {"sourceTask": "scan", "field": "contacts", "operator": ">", "value": 0},
                },
                {"name": "a", "type": "task", "dependsOn": [{"node": "hit", "true": True}]},
                {"name": "b", "type": "task", "dependsOn": "a"},
            ]
        }
    }

    kind_of("Workflow").normalize(data)

    hit, a, b = data["spec"]["nodes"]
    assert hit["compare"] == {"sourceTask": "scan", "field": "contacts", "operator": ">", "value": "0"}
    assert "condition" not in hit
    assert a["dependsOn"] == [{"node": "hit", "on": "true"}]
    assert b["dependsOn"] == [{"node": "a"}]


@given(st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=4), max_size=8))
def test_a_cycle_is_found_exactly_when_no_order_exists(edges: dict[int, list[int]]) -> None:
    named = {str(node): [str(other) for other in others] for node, others in edges.items()}
    left = {node: {other for other in others if other in named} for node, others in named.items()}
    while ready := [node for node, others in left.items() if not others]:
        for node in ready:
            del left[node]
        left = {node: others - set(ready) for node, others in left.items()}

    cycle = find_cycle(named)

    assert bool(cycle) == bool(left)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(following in named[node] for node, following in pairwise(cycle))


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    edges = {str(number): [str(number + 1)] for number in range(50_000)}

    assert find_cycle(edges) == []
    assert len(find_cycle({**edges, "50000": ["0"]})) == 50_002


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("TaskRun", {"taskRef": "a"}, {"taskRef": "b"}),
        ("TaskRun", {"taskRef": "a", "canceled": True}, {"taskRef": "a"}),
        ("WorkflowRun", {"workflowRef": "a", "params": {"x": 1}}, {"workflowRef": "a"}),
        ("WorkflowRun", {"workflowRef": "a", "state": "Canceled"}, {"workflowRef": "a"}),
        (
            "WorkflowRun",
            {"workflowRef": "a", "commands": [{"name": "c", "action": "Skip", "node": "n"}]},
            {"workflowRef": "a", "commands": []},
        ),
        ("Operation", {"resourceRef": "a", "method": "m"}, {"resourceRef": "a", "method": "n"}),
        ("Operation", {"resourceRef": "a", "method": "m", "canceled": True}, {"resourceRef": "a", "method": "m"}),
        ("Artifact", {**ARTIFACT, "sha256": SUM}, {**ARTIFACT, "sha256": "b" * 64}),
        ("KV", {"key": "a", "value": 1}, {"key": "b", "value": 1}),
    ],
)
def test_what_was_asked_for_does_not_change_later(name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert [error for error in errors(name, new, old) if error.reason == "FieldValueForbidden"]
    assert not [error for error in errors(name, old, old) if error.reason == "FieldValueForbidden"]


@pytest.mark.parametrize("change", [{"canceled": True}, {"priority": 3}])
def test_a_run_can_be_cancelled_and_reordered(change: dict[str, Any]) -> None:
    assert problems("TaskRun", {"taskRef": "a", **change}, {"taskRef": "a"}) == []


@pytest.mark.parametrize(
    ("executor", "part"),
    [("service", "service"), ("os_process", "process"), ("container", "container"), ("http", "http")],
)
def test_an_executor_needs_its_part_and_no_other(executor: str, part: str) -> None:
    parts: dict[str, Any] = {
        "service": {"name": "a"},
        "process": {"command": "a b"},
        "container": {"image": "i"},
        "http": {"url": "https://x"},
    }

    assert problems("TaskDefinition", {"executor": executor, part: parts[part]}) == []
    assert problems("TaskDefinition", {"executor": executor})[0].startswith(f"spec.{part}: Required value")
    assert problems("TaskDefinition", {"executor": "embedded", part: parts[part]})[0].startswith(f"spec.{part}: Forbidden")


MODEL = {
    "properties": [
        {"name": "range", "type": "double", "unit": "m", "min": 100, "max": 5000},
        {"name": "active", "type": "boolean", "readOnly": True},
        {"name": "mode", "type": "enum", "enum": ["idle", "scan"]},
    ]
}


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        ({"range": 99}, "spec.desired.range: Invalid value: 99: must be at least 100 m"),
        ({"range": 5001.5}, "spec.desired.range: Invalid value: 5001.5: must be at most 5000 m"),
        ({"range": True}, "spec.desired.range: Invalid value: true: must be of type double"),
        ({"range": "far"}, 'spec.desired.range: Invalid value: "far": must be of type double'),
        ({"active": True}, "spec.desired.active: Forbidden: is read-only in spec.model"),
        ({"mode": "off"}, 'spec.desired.mode: Unsupported value: "off": supported values: "idle", "scan"'),
        ({"speed": 1}, 'spec.desired: Unsupported value: "speed"'),
    ],
)
def test_desired_values_follow_the_model(desired: dict[str, Any], expected: str) -> None:
    assert problems("Resource", {"model": MODEL, "desired": {"range": 100, "mode": "idle"}}) == []
    assert problems("Resource", {"model": MODEL, "desired": desired})[0].startswith(expected)


def test_arguments_of_an_operation_follow_its_model() -> None:
    model = {"name": "calibrate", "arguments": [{"name": "mode", "type": "string", "enum": ["fast"], "required": True}]}
    operation = msgspec.convert(model, OperationModel)

    assert list(check_arguments(operation, {"mode": "fast"}, "spec.arguments")) == []
    assert [error.field for error in check_arguments(operation, {}, "spec.arguments")] == ["spec.arguments.mode"]
    assert len(list(check_arguments(operation, {"mode": "slow", "x": 1}, "spec.arguments"))) == 2


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", "x", 1),
        ("int", 40, 4.5),
        ("int", -(2**63), 2**63),
        ("double", 4, "4"),
        ("bool", False, 0),
        ("bytes", "AAEC", "not base64!"),
        ("json", {"a": [1]}, "x" * (1024 * 1024)),
    ],
)
def test_a_kv_value_has_the_type_of_its_entry(kind: str, good: Any, bad: Any) -> None:
    assert problems("KV", {"type": kind, "value": good}) == []
    assert problems("KV", {"type": kind, "value": bad})[0].startswith("spec.value: ")


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=300))
def test_any_printable_key_has_a_valid_name_of_its_own(key: str) -> None:
    name = kv_name(key)

    assert is_subdomain(name)
    assert kv_name(key) == name
    assert kv_name(f"{key}/") != name
    assert (name == key) == is_subdomain(key)


def test_a_kv_entry_is_called_like_its_key() -> None:
    assert errors("KV", {"key": "plant/Level", "value": 1}, object_name=kv_name("plant/Level")) == []
    assert errors("KV", {"key": "plant/Level", "value": 1}, object_name="x")[0].field == "metadata.name"


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("Sync", {"source": {}}, "spec.source: Required value: set one of folder, git, bundle"),
        ("Sync", {"source": {"folder": {"path": "a"}}, "maxDelete": "lots"}, 'spec.maxDelete: Invalid value: "lots"'),
        ("Sync", {"source": {"git": {"url": "u", "branch": "b", "tag": "t"}}}, "spec.source.git.tag: Invalid value"),
        ("Trigger", {"workflowRef": "w", "cron": {"schedule": "* * *"}}, "spec.cron.schedule: Invalid value"),
        ("Trigger", {"workflowRef": "w", "webhook": {"path": "a"}, "event": {"kind": "KV"}}, "spec.webhook: Forbidden"),
        ("Trigger", {"workflowRef": "w", "event": {}}, "spec.event.kind: Required value"),
        ("Service", {"strategy": "sticky"}, "spec.hashKey: Required value"),
        ("Node", {"taints": [{"key": "a b", "effect": "NoSchedule"}]}, "spec.taints[0].key: Invalid value"),
        ("TaskRun", {}, "spec: Required value: set one of taskRef, task"),
    ],
)  # fmt: skip
def test_other_kinds_say_what_is_missing_or_wrong(name: str, spec: dict[str, Any], expected: str) -> None:
    found = problems(name, spec)

    assert len(found) == 1, found
    assert found[0].startswith(expected)
