"""Placement: every filter with its reason, scores, and laws over random fleets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_controller.domain.accounting import Accounting
from plum_controller.domain.demand import Demand, demand_of
from plum_controller.domain.placement import Placement, Placer
from plum_schemas.base import Condition, ObjectMeta, OwnerReference
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.node import Node, NodeSpec, NodeStatus
from plum_schemas.template import Template


def make_node(name: str, *, ready: bool = True, labels: dict[str, str] | None = None, version: str = "1", **spec: Any) -> Node:
    """A ready node with 2 cpus, 4 GiB and room for 10 instances."""
    status: dict[str, Any] = spec.pop("status", {})
    status = {"allocatable": {"cpu": "2", "memory": "4Gi", "instances": 10}, "runtimes": ["process"], **status}
    typed = msgspec.convert(status, NodeStatus)
    typed.conditions = [Condition(type="Ready", status="True" if ready else "Unknown", reason="LeaseExpired", message="silent")]
    metadata = ObjectMeta(name=name, resource_version=version, labels=labels or {})
    return Node(metadata=metadata, spec=msgspec.convert(spec, NodeSpec), status=typed)


def make_demand(uid: str = "i", owner: str = "web", labels: dict[str, str] | None = None, **template: Any) -> Demand:
    typed = msgspec.convert({"command": ["x"], **template}, Template)
    owners = [OwnerReference(api_version="plum.dev/v1", kind="Deployment", name=owner, uid=owner, controller=True)]
    metadata = ObjectMeta(name=uid, namespace="default", uid=uid, owner_references=owners, labels=labels or {"app": owner})
    return demand_of(Instance(metadata=metadata, spec=InstanceSpec(template=typed)))


def fleet(*nodes: Node) -> Accounting:
    accounting = Accounting()
    for node in nodes:
        accounting.set_node(node.metadata.name, node)
    return accounting


def place(accounting: Accounting, demand: Demand) -> Placement:
    return Placer(accounting).place(demand)


NODE_REASONS: list[tuple[str, Node, dict[str, Any]]] = [
    ("NodeNotReady", make_node("a", ready=False), {}),
    ("NodeUnschedulable", make_node("a", unschedulable=True), {}),
    ("UntoleratedTaint", make_node("a", taints=[{"key": "dedicated", "effect": "NoSchedule"}]), {}),
    ("RuntimeMissing", make_node("a"), {"runtime": "container", "image": "x"}),
    ("NodeSelectorMismatch", make_node("a", labels={"zone": "b"}), {"nodeSelector": {"zone": "a"}}),
    (
        "NodeAffinityMismatch",
        make_node("a", labels={"gen": "3"}),
        {"affinity": {"nodeAffinity": {"required": [{"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["3"]}]}]}}},
    ),
    ("InsufficientCpu", make_node("a"), {"resources": {"requests": {"cpu": "2001m"}}}),
    ("InsufficientMemory", make_node("a"), {"resources": {"requests": {"memory": "5Gi"}}}),
    ("InsufficientResource", make_node("a"), {"resources": {"requests": {"gpu": 1}}}),
    ("DeviceMissing", make_node("a"), {"resources": {"devices": ["camera"]}}),
    ("TopologySpread", make_node("a"), {"topologySpread": [{"topologyKey": "zone"}]}),
    (
        "InstanceAffinity",
        make_node("a", labels={"plum.dev/hostname": "a"}),
        {
            "affinity": {
                "instanceAffinity": {
                    "required": [{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "plum.dev/hostname"}]
                }
            }
        },
    ),
]


@pytest.mark.parametrize(("reason", "node", "template"), NODE_REASONS, ids=[reason for reason, _, _ in NODE_REASONS])
def test_a_node_that_does_not_fit_is_refused_with_a_reason(reason: str, node: Node, template: dict[str, Any]) -> None:
    refused = place(fleet(node), make_demand(**template))
    accepted = place(fleet(make_node("b", labels={"zone": "a", "gen": "4"})), make_demand())

    assert refused.node == ""
    assert [r.reason for r in refused.refusals] == [reason]
    assert "a" in refused.refusals[0].message
    assert reason in refused.message
    assert accepted.node == "b"


def test_without_nodes_the_message_says_what_to_do() -> None:
    assert place(fleet(), make_demand()).message == "there are no nodes; start an agent with plum agent"


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"key": "dedicated", "operator": "Exists"},
        {"key": "dedicated", "value": "gpu"},
        {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"},
    ],
)
def test_a_tolerated_taint_is_no_obstacle(toleration: dict[str, Any]) -> None:
    node = make_node("a", taints=[{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}])

    assert place(fleet(node), make_demand(tolerations=[toleration])).node == "a"


@pytest.mark.parametrize("toleration", [{"key": "dedicated", "value": "cpu"}, {"key": "other", "operator": "Exists"}])
def test_a_toleration_of_something_else_does_not_help(toleration: dict[str, Any]) -> None:
    node = make_node("a", taints=[{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}])

    assert place(fleet(node), make_demand(tolerations=[toleration])).refusals[0].reason == "UntoleratedTaint"


def test_a_port_is_held_by_one_instance_of_a_node() -> None:
    accounting = fleet(make_node("a"), make_node("b"))
    demand = make_demand(ports=[{"name": "http", "port": 80}])

    for uid, _ in enumerate(range(2)):
        accounting.place(str(uid), place(accounting, demand).node, demand)
    third = place(accounting, demand)

    assert {r.reason for r in third.refusals} == {"PortInUse"}
    accounting.release("0")
    assert place(accounting, demand).node != ""


def test_a_device_is_held_by_one_instance() -> None:
    accounting = fleet(make_node("a", status={"devices": [{"name": "camera"}]}))
    demand = make_demand(resources={"devices": ["camera"]})
    accounting.place("1", "a", demand)

    assert place(accounting, demand).refusals[0].reason == "DeviceInUse"


def test_instances_of_one_owner_are_spread() -> None:
    accounting = fleet(*(make_node(name) for name in "abc"))
    for uid in range(6):
        accounting.place(str(uid), place(accounting, make_demand()).node, make_demand())

    assert {name: len(state.placed) for name, state in accounting.nodes.items()} == {"a": 2, "b": 2, "c": 2}


def test_preferred_affinity_decides_among_nodes_that_fit() -> None:
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    affinity = {"nodeAffinity": {"preferred": [{"weight": 50, "preference": preference}]}}
    accounting = fleet(make_node("a"), make_node("b", labels={"disk": "ssd"}), make_node("c"))

    assert place(accounting, make_demand(affinity=affinity)).node == "b"


def test_anti_affinity_holds_in_both_directions() -> None:
    hosts = [make_node(name, labels={"plum.dev/hostname": name}) for name in "ab"]
    accounting = fleet(*hosts)
    term = {"labelSelector": {"matchLabels": {"app": "quiet"}}, "topologyKey": "plum.dev/hostname"}
    shy = make_demand(owner="shy", affinity={"instanceAntiAffinity": {"required": [term]}})
    quiet = make_demand(owner="quiet")

    accounting.place("shy", "a", shy)
    assert place(accounting, quiet).node == "b"
    accounting.release("shy")
    accounting.place("quiet", "a", quiet)
    assert place(accounting, shy).node == "b"


def test_a_change_of_the_node_is_seen_at_once() -> None:
    accounting = fleet(make_node("a", unschedulable=True))
    placer = Placer(accounting)
    assert placer.place(make_demand()).node == ""

    accounting.set_node("a", make_node("a", version="2"))

    assert placer.place(make_demand()).node == "a"


zones = st.sampled_from(["x", "y", "z"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(zones, st.integers(200, 2000)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 700), st.booleans(), st.booleans()), max_size=30),
    st.integers(1, 2),
)
def test_what_is_placed_fits_and_what_is_refused_does_not(
    nodes: list[tuple[str, int]], wishes: list[tuple[int, bool, bool]], skew: int
) -> None:
    accounting = fleet(
        *(
            make_node(f"n{i}", labels={"zone": zone}, status={"allocatable": {"cpu": f"{cpu}m", "instances": 8}})
            for i, (zone, cpu) in enumerate(nodes)
        )
    )
    for uid, (cpu, port, spread) in enumerate(wishes):
        template: dict[str, Any] = {"resources": {"requests": {"cpu": f"{cpu}m"}}}
        if port:
            template["ports"] = [{"name": "p", "port": 80}]
        if spread:
            template["topologySpread"] = [{"topologyKey": "zone", "maxSkew": skew}]
        demand = make_demand(str(uid), owner="spread" if spread else "free", **template)
        placement = place(accounting, demand)
        if placement.node:
            accounting.place(str(uid), placement.node, demand)
        else:
            assert {r.node_name for r in placement.refusals} == set(accounting.nodes)
        for state in accounting.nodes.values():
            assert state.used_cpu <= state.cpu
            assert len(state.placed) <= 8
            assert state.used_ports[80] <= 1
            assert state.used_cpu == sum(d.cpu for d in state.placed.values())

    for uid, _ in enumerate(wishes):
        accounting.release(str(uid))
    for state in accounting.nodes.values():
        assert state.used_cpu == 0
        assert not state.placed
        assert not state.owners
