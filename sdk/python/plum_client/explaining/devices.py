"""What a device, and an operation of one, wait for and since when."""

from __future__ import annotations

from collections.abc import Iterator

from plum_client.explaining.findings import (
    Finding,
    Object,
    Situation,
    ago_text,
    condition,
    deletion_text,
    name_of,
    sentence,
    since_text,
)
from plum_client.explaining.times import age

ENDED = ("Succeeded", "Failed", "Expired", "Canceled", "Unknown")
WAITING_SHOWN = 5


def explain_resource(item: Object, situation: Situation) -> Finding:
    """Whether a device is there, is as it should be, and who has it."""
    if deleting := deletion_text(item, situation):
        return Finding(deleting)
    online, synced = condition(item, "Online") or {}, condition(item, "Synced") or {}
    reasons = list(_reasons(item, situation))
    if online.get("status") == "True" and synced.get("status") != "False":
        text = f"{name_of(item)} is online and as desired."
        return Finding(text, tuple(reasons), settled=not reasons)
    if online.get("status") != "True":
        seen = ((item.get("status") or {}).get("connection") or {}).get("lastSeen")
        last = f", last seen{ago_text(seen, situation)}" if seen else ""
        said = Finding(sentence(f"{online.get('reason')}: {online.get('message')}")) if online.get("message") else None
        return Finding(f"{name_of(item)} is offline{last}.", (*([said] if said else []), *reasons))
    return Finding(f"{name_of(item)} is not as desired {since_text(synced, situation)}.", tuple(reasons))


def _reasons(item: Object, situation: Situation) -> Iterator[Finding]:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    synced = condition(item, "Synced") or {}
    if synced.get("status") == "False":
        yield Finding(sentence(str(synced.get("message"))))
    node = situation.nodes.get(str(spec.get("nodeName") or ""))
    if spec.get("nodeName") and node is None:
        yield Finding(f"Its node {spec['nodeName']} does not exist.")
    elif node is not None and (ready := condition(node, "Ready")) is not None and ready.get("status") != "True":
        yield Finding(f"Its node {spec['nodeName']} is not ready {since_text(ready, situation)}.")
    stale = [name for name, one in (status.get("reported") or {}).items() if one.get("quality") == "stale"]
    if stale:
        yield Finding(f"Values that are stale: {', '.join(sorted(stale))}.")
    for taint in spec.get("taints") or ():
        yield Finding(f"It has taint {taint.get('key')}:{taint.get('effect')}, which keeps away what does not tolerate it.")
    for claim in status.get("reservations") or ():
        how = "alone" if claim.get("mode", "Exclusive") == "Exclusive" else "with others"
        waiting = [f"{one.get('kind')} {one.get('name')}" for one in status.get("waiting") or ()]
        more = f"; {', '.join(waiting[:WAITING_SHOWN])} waits" if waiting else ""
        if waiting:
            since = age(claim.get("since"), situation.now)
            yield Finding(f"{claim.get('kind')} {claim.get('name')} holds it {how} since {since}{more}.")


def explain_operation(item: Object, situation: Situation) -> Finding:
    """Where an Operation is in its life."""
    if deleting := deletion_text(item, situation):
        return Finding(deleting)
    spec, status = item.get("spec") or {}, item.get("status") or {}
    phase, name = str(status.get("phase") or "Queued"), f"{name_of(item)} ({spec.get('method')} of {spec.get('resourceRef')})"
    said = (Finding(sentence(str(status["error"]))),) if status.get("error") else ()
    if phase in ENDED:
        ago = ago_text(status.get("finishedAt"), situation)
        if phase == "Succeeded":
            return Finding(f"{name} succeeded{ago}.", settled=True)
        hint: tuple[Finding, ...] = ()
        if phase == "Unknown" and spec.get("delivery") != "AtLeastOnce":
            text = "It is carried out at most once, so it is not sent again; look at the device, and ask again if that is safe."
            hint = (Finding(text),)
        return Finding(f"{name} ended as {phase}{ago}: {status.get('reason') or 'no reason was given'}.", said + hint)
    since = age(item["metadata"].get("creationTimestamp"), situation.now)
    reasons = said + tuple(_waits(item, phase, situation))
    if phase == "Queued":
        return Finding(f"{name} waits since {since} for its turn.", reasons)
    if phase == "Delivered":
        return Finding(f"{name} waits since {since} for the device to confirm it.", reasons)
    begun = age(status.get("startedAt") or status.get("acceptedAt"), situation.now)
    done = f", {float(status['progress']):.0%} done" if status.get("progress") is not None else ""
    return Finding(f"{name} is under way since {begun}{done}.", reasons)


def _waits(item: Object, phase: str, situation: Situation) -> Iterator[Finding]:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    name = str(status.get("node") or "")
    node = situation.nodes.get(name)
    if name and (node is None or (condition(node, "Ready") or {}).get("status") != "True"):
        yield Finding(f"Node {name}, which has it, does not answer; it goes on there, and its end is told when the node is back.")
    elif phase == "Delivered":
        where = f"node {name}" if name else "the controller"
        yield Finding(f"It is on {where}; see `plum explain resource/{spec.get('resourceRef')}`.")
    elif phase == "Queued" and not status.get("reason"):
        which = f"spec.resourceRef={spec.get('resourceRef')}"
        yield Finding(f"Operations before it have to end; see `plum get operations --field-selector {which}`.")
    if status.get("expiresAt") and phase in ("Queued", "Delivered"):
        yield Finding(f"It is not begun after {status['expiresAt']}.")
    if spec.get("canceled"):
        yield Finding("It was cancelled and ends as soon as its host or its device says so.")
