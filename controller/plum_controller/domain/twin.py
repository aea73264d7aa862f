"""What follows from what a device should be and what it said: delta and conditions. Written with whatever changed them.

    spec.desired, status.reported, status.connection -> delta, Synced, Online

Objects are JSON here: this runs inside every write of a Resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plum_schemas.durations import parse_duration
from plum_schemas.resource import Reported, ResourceSpec

Json = dict[str, Any]
OFFLINE = {
    "Silent": "nothing was heard of it for two heartbeats",
    "NodeLost": "the lease of its node has run out; nobody knows how the device is",
    "NodeGone": "its node was deleted; announce it on another, or change spec.nodeName",
    "DriverFailed": "its address does not answer as spec.driver expects",
    "NoWorker": "no worker of this namespace is connected that runs the task of spec.driver.worker; start one",
}
MOST_NAMED = 3
"""Properties that a message names."""


def same_value(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


def delta_of(desired: Mapping[str, Any], reported: Mapping[str, Any]) -> Json:
    """Properties that are not what they should be. One that was never reported has no `reported`."""
    found: Json = {}
    for name, wanted in desired.items():
        known = reported.get(name)
        if known is None:
            found[name] = {"desired": wanted}
        elif not same_value(known.get("value"), wanted):
            found[name] = {"desired": wanted, "reported": known.get("value")}
    return found


def follow(spec: Json, status: Json, generation: int, now: str) -> None:
    """Set in a status what follows from the rest of it."""
    reported = status.get("reported") or {}
    delta = delta_of(spec.get("desired") or {}, reported)
    if delta:
        status["delta"] = delta
    else:
        status.pop("delta", None)
    status["observedGeneration"] = generation
    online = bool((status.get("connection") or {}).get("online"))
    status["connection"] = {**(status.get("connection") or {}), "online": online}  # said, also when it is not: people look for it
    before = {one.get("type"): one for one in status.get("conditions") or ()}
    conditions = [_online(status.get("connection") or {}), _synced(spec, delta, online)]
    for condition in conditions:
        known = before.pop(condition["type"], None)
        same = known is not None and known.get("status") == condition["status"]
        condition["lastTransitionTime"] = known["lastTransitionTime"] if same and known is not None else now
    status["conditions"] = conditions + list(before.values())


def _online(connection: Json) -> Json:
    if connection.get("online"):
        return {"type": "Online", "status": "True", "reason": "Connected", "message": ""}
    reason = connection.get("reason") or ("Silent" if connection.get("lastSeen") else "")
    if not reason:
        text = "nobody has spoken for this device yet; start its program, or look at spec.driver"
        return {"type": "Online", "status": "False", "reason": "NeverSeen", "message": text}
    return {"type": "Online", "status": "False", "reason": reason, "message": OFFLINE.get(reason, "")}


def _synced(spec: Json, delta: Json, online: bool) -> Json:
    if not delta:
        reason = "AsDesired" if spec.get("desired") else "NothingDesired"
        return {"type": "Synced", "status": "True", "reason": reason, "message": ""}
    parts = []
    for name, one in list(delta.items())[:MOST_NAMED]:
        is_known = "reported" in one
        parts.append(f"{name} is {one['reported']!r}, wanted {one['desired']!r}" if is_known else f"{name} was never reported")
    if len(delta) > MOST_NAMED:
        parts.append(f"{len(delta) - MOST_NAMED} more")
    reason = "Differs" if online else "Offline"
    text = "; ".join(parts) + ("" if online else "; it is told when the device is back")
    return {"type": "Synced", "status": "False", "reason": reason, "message": text}


def becomes_stale(spec: ResourceSpec, reported: Mapping[str, Reported], now: datetime) -> tuple[list[str], float | None]:
    """Properties whose value is stale and does not say so yet, and the seconds until the next one is."""
    own = {one.name: one.stale_after for one in spec.model.properties}
    stale: list[str] = []
    waits: list[float] = []
    for name, value in reported.items():
        after = own.get(name) or spec.stale_after
        if after is None or value.time is None or value.quality == "stale":
            continue
        left = parse_duration(after) - (now - value.time).total_seconds()
        if left <= 0:
            stale.append(name)
        else:
            waits.append(left)
    return stale, min(waits, default=None)
