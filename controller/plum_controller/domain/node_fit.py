"""Whether one node fits one instance, and how well: filters give a reason, scores give points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plum_schemas.affinity import LabelSelectorSpec, NodeRequirement, NodeTerm
from plum_schemas.instance import Refusal
from plum_schemas.node import Taint
from plum_schemas.template import Toleration

from plum_controller.domain.accounting import UNLIMITED, NodeState
from plum_controller.domain.demand import Demand


def refuse(demand: Demand, state: NodeState) -> Refusal | None:
    """The first thing about the node that rules it out, whatever runs on it."""
    node = state.node
    assert node is not None  # noqa: S101  checked by the caller
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    if node.metadata.deletion_timestamp is not None:
        return Refusal(node_name=state.name, reason="NodeDeleted", message="the node is being deleted")
    if ready is None or ready.status != "True":
        why = f": {ready.message or ready.reason}" if ready is not None else ""
        return Refusal(node_name=state.name, reason="NodeNotReady", message=f"{state.name} is not ready{why}")
    if node.spec.unschedulable:
        return Refusal(
            node_name=state.name, reason="NodeUnschedulable", message=f"{state.name} is cordoned; plum node uncordon {state.name}"
        )
    for taint in node.spec.taints:
        if taint.effect != "PreferNoSchedule" and not tolerates(demand.tolerations, taint):
            text = f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
            return Refusal(node_name=state.name, reason="UntoleratedTaint", message=f"{state.name} has taint {text}")
    if node.status.runtimes and demand.runtime not in node.status.runtimes:
        runs = ", ".join(node.status.runtimes)
        message = f"{state.name} has no runtime {demand.runtime}; it runs {runs}"
        return Refusal(node_name=state.name, reason="RuntimeMissing", message=message)
    for key, value in demand.node_selector.items():
        actual = state.labels.get(key)
        if actual != value:
            has = f"has {key}={actual}" if actual is not None else f"has no label {key}"
            message = f"nodeSelector wants {key}={value}; {state.name} {has}"
            return Refusal(node_name=state.name, reason="NodeSelectorMismatch", message=message)
    affinity = demand.affinity.node_affinity if demand.affinity is not None else None
    if affinity is not None and affinity.required and not any(_term_matches(term, state) for term in affinity.required):
        message = f"no required node affinity term matches {state.name}"
        return Refusal(node_name=state.name, reason="NodeAffinityMismatch", message=message)
    return None


def preference(demand: Demand, state: NodeState) -> int:
    """Points for preferred affinity, less for taints that are only disliked."""
    points = 0
    node = state.node
    affinity = demand.affinity.node_affinity if demand.affinity is not None else None
    for preferred in affinity.preferred if affinity is not None else ():
        if _term_matches(preferred.preference, state):
            points += preferred.weight
    for taint in node.spec.taints if node is not None else ():
        if taint.effect == "PreferNoSchedule" and not tolerates(demand.tolerations, taint):
            points -= 100
    return points


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether one of the tolerations accepts the taint."""
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def stay_seconds(tolerations: Iterable[Toleration], taint: Taint) -> float | None:
    """Seconds an instance may stay on a node with a NoExecute taint: 0 when not tolerated, None for ever."""
    accepted = [toleration for toleration in tolerations if _tolerates(toleration, taint)]
    limits = [toleration.toleration_seconds for toleration in accepted]
    if not accepted:
        return 0.0
    bounded = [float(max(0, limit)) for limit in limits if limit is not None]
    return min(bounded) if len(bounded) == len(limits) else None


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def _term_matches(term: NodeTerm, state: NodeState) -> bool:
    """All demands of a term hold. An empty term matches nothing, as in Kubernetes."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": state.name}
    return all(_requirement_matches(r, state.labels) for r in term.match_expressions) and all(
        _requirement_matches(r, fields) for r in term.match_fields
    )


def _requirement_matches(requirement: NodeRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    if requirement.operator == "Exists":
        return value is not None
    if requirement.operator == "DoesNotExist":
        return value is None
    if requirement.operator == "In":
        return value in requirement.values
    if requirement.operator == "NotIn":
        return value not in requirement.values
    try:
        actual, limit = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return actual > limit if requirement.operator == "Gt" else actual < limit


def room(demand: Demand, state: NodeState) -> Refusal | None:
    """The first thing the node has too little of."""
    name = state.name
    if len(state.placed) >= state.instances:
        return Refusal(node_name=name, reason="TooManyInstances", message=f"{name} holds its most, {state.instances} instances")
    if demand.cpu and state.used_cpu + demand.cpu > state.cpu:
        message = f"{name} has {max(0, state.cpu - state.used_cpu)}m cpu free of {state.cpu}m, {demand.cpu}m are requested"
        return Refusal(node_name=name, reason="InsufficientCpu", message=message)
    if demand.memory and state.used_memory + demand.memory > state.memory:
        free = max(0, state.memory - state.used_memory) >> 20
        message = f"{name} has {free}Mi memory free of {state.memory >> 20}Mi, {-(-demand.memory >> 20)}Mi are requested"
        return Refusal(node_name=name, reason="InsufficientMemory", message=message)
    for resource, amount in demand.other:
        free = state.other.get(resource, 0) - state.used_other[resource]
        if amount > free:
            message = f"{name} has {max(0, free)} {resource} free, {amount} are requested"
            return Refusal(node_name=name, reason="InsufficientResource", message=message)
    for port in demand.ports:
        if state.used_ports[port]:
            return Refusal(node_name=name, reason="PortInUse", message=f"port {port} of {name} is held by another instance")
    for device in demand.devices:
        if device not in state.devices:
            return Refusal(node_name=name, reason="DeviceMissing", message=f"{name} has no healthy device {device}")
        if state.used_devices[device]:
            return Refusal(node_name=name, reason="DeviceInUse", message=f"device {device} of {name} is held by another instance")
    return None


def balance(demand: Demand, state: NodeState) -> float:
    """0 to 100 for room that is left afterwards, less for every instance of the same owner, then for any instance."""
    score = 100.0
    if state.cpu != UNLIMITED and state.cpu:
        score -= 50 * (state.used_cpu + demand.cpu) / state.cpu
    if state.memory != UNLIMITED and state.memory:
        score -= 50 * (state.used_memory + demand.memory) / state.memory
    return score - 20 * state.owners[demand.owner] - 0.1 * len(state.placed)


def matches(selector: LabelSelectorSpec, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a selector."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(
        _requirement_matches(NodeRequirement(key=r.key, operator=r.operator, values=r.values), labels)
        for r in selector.match_expressions
    )
