"""What the controller does about an operation that its host does not decide about.

    Queued: cancelled, expired, its Resource gone, reserved or tainted -> end it, or say why it waits
            its turn, and there is room on its host                    -> release it to the host
    with a node that is gone, or away for too long                     -> Unknown

The host of a device is the agent of `spec.nodeName`, or the controller. What a host has taken is its own to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from plum_schemas.node import Taint
from plum_schemas.operation import Operation, OperationPhase
from plum_schemas.resource import Resource, ResourceSpec
from plum_schemas.template import Toleration

from plum_controller.domain.node_fit import stay_seconds, tolerates
from plum_controller.domain.reservations import blocking_claim

WINDOW = 32
"""Operations of one device that its host has at a time: enough to go on with while the controller is away."""


@dataclass(frozen=True, slots=True)
class End:
    """It ends."""

    phase: OperationPhase
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Hold:
    """It waits."""

    reason: str
    error: str
    seconds: float | None = None
    """Look again after so long; None: when something changes."""


@dataclass(frozen=True, slots=True)
class Release:
    """Its host may take it."""

    node: str
    """Empty: the controller itself."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What is known of the node that has an operation."""

    exists: bool = True
    away_seconds: float | None = None
    """Since when it is not ready; None while it is."""


def host_of(spec: ResourceSpec) -> str:
    """The node that serves a device; empty: the controller. A worker driver needs no node."""
    return "" if spec.driver.worker is not None else spec.node_name


def plan_end(
    operation: Operation, resource: Resource | None, node: NodeView | None, lost_seconds: float, now: datetime
) -> End | None:
    """Whether it ends now, without its turn having come."""
    status = operation.status
    if status.phase == "Queued":
        return _end_queued(operation, resource, now)
    if node is None:
        return None
    if not node.exists:
        return End("Unknown", "NodeGone", f"node {status.node} was deleted while it had the operation; nobody saw how it ended")
    if node.away_seconds is not None and node.away_seconds >= lost_seconds:
        text = f"node {status.node} has been away for {lost_seconds:g} s with the operation; nobody saw how it ended"
        return End("Unknown", "NodeLost", text)
    return None


def _end_queued(operation: Operation, resource: Resource | None, now: datetime) -> End | None:
    spec, name = operation.spec, operation.spec.resource_ref
    if spec.canceled:
        return End("Canceled", "Canceled", "cancelled before the device heard of it")
    if resource is None:
        return End("Canceled", "ResourceDeleted", f"resource {name} was deleted before the device heard of it")
    expires = operation.status.expires_at
    if expires is not None and now >= expires:
        return End("Expired", "Expired", f"notAfter of {spec.not_after} passed; the device never heard of it")
    for taint in resource.spec.taints:
        if taint.effect == "NoExecute" and stay_seconds(spec.tolerations, taint) == 0.0:
            text = f"resource {name} has taint {text_of(taint)}, which the operation does not tolerate"
            return End("Canceled", "Tainted", text)
    known = {one.name for one in resource.spec.model.operations}
    if known and spec.method not in known:
        return End("Failed", "MethodGone", f"the model of resource {name} has no operation {spec.method} any more")
    return None


def plan_turn(operation: Operation, resource: Resource, released: int, online: bool) -> Hold | Release:
    """Whether the next operation of a device may go to its host. `released`: how many the host has."""
    name, node = resource.metadata.name, host_of(resource.spec)
    taint = repelling(resource.spec.taints, operation.spec.tolerations)
    if taint is not None:
        return Hold("Tainted", f"resource {name} has taint {text_of(taint)}")
    claim = blocking_claim(msgspec.to_builtins(resource), *_asked(operation))
    if claim is not None:
        return Hold("Reserved", f"resource {name} is reserved by {claim['kind']} {claim['name']}")
    if released >= (WINDOW if node else max(WINDOW, resource.spec.operations_at_once)):
        return Hold("", "")
    if not node and not online:
        return Hold("Offline", f"device {name} is not connected to the controller")
    return Release(node)


def _asked(operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    return msgspec.to_builtins(operation.spec), {"ownerReferences": msgspec.to_builtins(operation.metadata.owner_references)}


def repelling(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> Taint | None:
    """The first taint that keeps away whoever has these tolerations."""
    wanted = list(tolerations)
    return next((one for one in taints if one.effect != "PreferNoSchedule" and not tolerates(wanted, one)), None)


def text_of(taint: Taint) -> str:
    return f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
