"""Whether a node is alive, judged by its lease and by nothing else, and what follows for its instances.

    renewal seen at (our monotonic clock) + duration the agent promised  ->  alive until then
    lost since the last renewal for `lostAfter`, and past the fence      ->  replacements may start

The agent's clock never enters: a renewal counts from when it was seen, which is later than when it was sent. So an agent
that stops its exclusive instances by its own clock has stopped them before anything here calls them lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from plum_schemas.base import Condition
from plum_schemas.durations import parse_duration
from plum_schemas.instance import Instance
from plum_schemas.node import PRESSURE_TAINTS, TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, Node, Taint

from plum_controller.domain.members import LOST_CONDITION
from plum_controller.domain.node_fit import stay_seconds

FENCE_SECONDS = 1.0
"""Beyond the lease before an exclusive instance may start elsewhere: time for the SIGKILL of its shim to take effect."""
PAUSE_SECONDS = 2.0
"""A tick of one second that comes this late means that this process stood still, not that the nodes were silent."""
OWN_TAINTS = (TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNSCHEDULABLE, *PRESSURE_TAINTS.values())


@dataclass(slots=True)
class Heartbeat:
    """The last renewal of one node's lease."""

    renewed: str
    """What the lease says, to tell one renewal from the next; never read as a time."""
    seen_at: float
    """Our monotonic clock when it was first seen."""
    duration: float
    """Seconds the agent promised it holds."""


class PauseDetector:
    """Notices that this process stood still (stopped, starved, suspended), so that silence is not blamed on the nodes.

    States: every `tick` moves `since` no further unless the gap before it was too long.
    """

    def __init__(self, now: float) -> None:
        self._last = now
        self.since = now
        """Monotonic time since which this process has been watching without a gap."""

    def tick(self, now: float) -> bool:
        """Call about once a second and before every judgement. True when a pause ended just now."""
        paused = now - self._last > PAUSE_SECONDS
        self._last = now
        if paused:
            self.since = now
        return paused


def alive_until(heartbeat: Heartbeat, watching_since: float) -> float:
    """Monotonic time until which a node counts as alive: a full lease from the last renewal, or from when we began to look."""
    return max(heartbeat.seen_at, watching_since) + heartbeat.duration


def lost_at(instance: Instance, heartbeat: Heartbeat, watching_since: float) -> float:
    """Monotonic time from which an instance on a silent node may be replaced."""
    since = max(heartbeat.seen_at, watching_since)
    lost_after = instance.spec.template.disconnect.lost_after
    wait = max(heartbeat.duration, parse_duration(lost_after)) if lost_after is not None else heartbeat.duration
    if instance.spec.template.exclusive:
        wait = max(wait, heartbeat.duration + FENCE_SECONDS)
    return since + wait


def ready_condition(node: Node, heartbeat: Heartbeat | None, alive: bool, now: datetime) -> Condition:
    """The condition Ready, which only the node controller writes."""
    pressure = [c for c in node.status.conditions if c.type.endswith("Pressure") and c.status == "True"]
    if heartbeat is None:
        text = "no agent has renewed the lease of this node yet; start one with plum agent"
        new = Condition(type="Ready", status="Unknown", reason="NeverReported", message=text)
    elif not alive:
        text = f"the lease was not renewed for {heartbeat.duration:g} s; the machine, the agent or the link is down"
        new = Condition(type="Ready", status="Unknown", reason="LeaseExpired", message=text)
    else:
        text = "the agent renews its lease" + "".join(f"; {c.type}: {c.message}" for c in pressure)
        new = Condition(type="Ready", status="True", reason="LeaseRenewed", message=text)
    old = next((c for c in node.status.conditions if c.type == "Ready"), None)
    since = old.last_transition_time if old is not None and old.status == new.status else now.replace(microsecond=0)
    return msgspec.structs.replace(new, last_transition_time=since)


def wanted_taints(node: Node, reported: bool, alive: bool, now: datetime) -> list[Taint]:
    """The taints of the user, and ours for the state the node is in."""
    ours: list[tuple[str, str]] = []
    if node.spec.unschedulable:
        ours.append((TAINT_UNSCHEDULABLE, "NoSchedule"))
    if not reported:
        ours.append((TAINT_NOT_READY, "NoSchedule"))
    elif not alive:
        ours += [(TAINT_UNREACHABLE, "NoSchedule"), (TAINT_UNREACHABLE, "NoExecute")]
    true = {c.type for c in node.status.conditions if c.status == "True"}
    ours += [(taint, "NoSchedule") for condition, taint in PRESSURE_TAINTS.items() if condition in true]
    known = {(taint.key, taint.effect): taint for taint in node.spec.taints}
    taints = [taint for taint in node.spec.taints if taint.key not in OWN_TAINTS]
    added = now.replace(microsecond=0)
    return taints + [known.get(own) or Taint(key=own[0], effect=own[1], time_added=added) for own in ours]  # type: ignore[arg-type]


def silence(instance: Instance, lost: bool, node: str, now: datetime) -> Instance:
    """The instance as it is to be reported while its node is silent; equal to the given one when nothing is new."""
    since = now.replace(microsecond=0)
    before = {c.type: c for c in instance.status.conditions}
    text = f"{node} does not report; the instance may still run there"
    conditions = [Condition(type="Ready", status="Unknown", reason="NodeSilent", message=text)]
    if lost:
        replace = instance.spec.template.disconnect.replace
        text = f"{node} is lost; " + ("a replacement may start" if replace else "nothing replaces it, as disconnect.replace says")
        conditions.append(Condition(type=LOST_CONDITION, status="True", reason="NodeLost", message=text))
    dated = []
    for condition in conditions:
        old = before.get(condition.type)
        moved = old is None or old.status != condition.status
        dated.append(
            msgspec.structs.replace(condition, last_transition_time=since if moved or old is None else old.last_transition_time)
        )
    names = {c.type for c in conditions}
    kept = [c for c in instance.status.conditions if c.type not in names]
    ended = instance.status.phase in ("Succeeded", "Failed", "Stopped")
    status = msgspec.structs.replace(
        instance.status,
        phase=instance.status.phase if ended else "Unknown",
        ready=False,
        reason=instance.status.reason if ended else "NodeSilent",
        message=instance.status.message if ended else f"{node} does not report; the instance may still run there",
        conditions=[*kept, *dated],
    )
    return msgspec.structs.replace(instance, status=status)


def evictable(instance: Instance, taints: Sequence[Taint], now: datetime) -> float | None:
    """Seconds until a NoExecute taint of the user removes the instance: 0 now, None never."""
    soonest: float | None = None
    for taint in taints:
        if taint.effect != "NoExecute" or taint.key in OWN_TAINTS:
            continue
        stays = stay_seconds(instance.spec.template.tolerations, taint)
        if stays is None:
            continue
        passed = (now - taint.time_added).total_seconds() if taint.time_added is not None else 0.0
        left = max(0.0, stays - passed)
        soonest = left if soonest is None else min(soonest, left)
    return soonest
