"""Why an object is not where it should be: sentences from what the API says about it, about what it owns and about its node.

    item + Situation(owned, nodes, events, now) --explain--> Finding(sentence, because=[Finding, ...])

Pure: everything that is known is in the arguments. A sentence says what is waited for and since when; what is the
reason for it stands below it. An object that is where it should be gets one sentence that says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from plum_client.explaining.devices import explain_operation, explain_resource
from plum_client.explaining.findings import (
    Finding,
    Object,
    Situation,
    ago_text,
    condition,
    deletion_text,
    exist_text,
    last_seen,
    listed,
    message_text,
    name_of,
    not_acted_on,
    phase_of,
    reason_text,
    sentence,
    since_text,
    transition_time,
)
from plum_client.explaining.instances import explain_instance
from plum_client.explaining.tasks import explain_task
from plum_client.explaining.times import age, parse_time

NEGATIVE = frozenset(
    {
        "Paused", "ReplicaFailure", "Stalled", "Degraded", "CertificateExpiring",
        "DiskPressure", "MemoryPressure", "PIDPressure",
    }
)  # fmt: skip
"""Conditions that are good news when they are False."""
RECENT_SECONDS = 900.0
"""A warning that happened within this time is shown beside what does not work."""
INSTANCES_SHOWN = 5
"""Instances explained one by one; the rest is counted."""


DEVICES = {"Resource": explain_resource, "Operation": explain_operation}


def explain(item: Object, situation: Situation) -> Finding:
    """What the object waits for and since when."""
    special = {"Deployment": _deployment, "Instance": explain_instance, "Node": _node, "TaskRun": explain_task} | DEVICES
    finding = special.get(str(item["kind"]), _other)(item, situation)
    if finding.settled:
        return finding
    said = "\n".join(finding.lines())
    return Finding(finding.text, (*finding.because, *_warnings(item, situation, said)))


# ---- deployments


def _deployment(item: Object, situation: Situation) -> Finding:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    instances = [child for child in situation.owned if child["kind"] == "Instance"]
    if deleting := deletion_text(item, situation):
        return Finding(deleting, tuple(_troubled(instances, situation)))
    wanted = wanted_replicas(spec)
    if spec.get("state") == "Stopped":
        running = [child for child in instances if phase_of(child) not in ("Stopped", "Succeeded", "Failed")]
        if not running:
            return Finding(f"{name_of(item)} is stopped, as spec.state says.", settled=True)
        return Finding(
            f"{name_of(item)} is stopping: {len(running)} of {len(instances)} instances still run.",
            tuple(_troubled(running, situation)),
        )
    if unseen := not_acted_on(item, situation):
        return unseen
    available = int(status.get("availableReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    extra = int(status.get("replicas") or 0) - wanted
    progressing = condition(item, "Progressing")
    if available >= wanted and updated >= wanted and extra <= 0 and (progressing is None or progressing.get("status") != "False"):
        since = age((condition(item, "Available") or {}).get("lastTransitionTime"), situation.now)
        since = "" if since == "<unknown>" else f" since {since}"
        silent = sum(phase_of(child) == "Unknown" for child in instances)
        also = f" {silent} more {'is' if silent == 1 else 'are'} on nodes that do not report." if silent else ""
        text = f"{name_of(item)} is where it should be: {available} of {wanted} instances are available{since}.{also}"
        return Finding(text, settled=True)

    reasons: list[Finding] = []
    if progressing is not None and progressing.get("status") == "False":
        reasons.append(
            Finding(f"The rollout failed{ago_text(transition_time(progressing), situation)}: {reason_text(progressing)}")
        )
    elif progressing is not None and progressing.get("reason") == "RolloutComplete":
        pass  # what is missing was there once: the rollout is not the reason
    elif progressing is not None and progressing.get("status") == "True" and available < wanted:
        reasons.append(Finding(f"The rollout goes on {since_text(progressing, situation)}: {message_text(progressing)}"))
    if spec.get("paused"):
        reasons.append(
            Finding(
                f"It is paused: a new template changes nothing until `plum rollout resume deployment/{item['metadata']['name']}`."
            )
        )
    failure = condition(item, "ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        reasons.append(Finding(f"Instances cannot be created {since_text(failure, situation)}: {reason_text(failure)}"))
    if updated < wanted:
        reasons.append(Finding(f"{updated} of {wanted} instances have the current template."))
    if extra > 0:
        reasons.append(Finding(f"{extra} more than wanted still {exist_text(extra)}, until enough new ones are available."))
    if len(instances) < wanted:
        missing = wanted - len(instances)
        reasons.append(Finding(f"{missing} of {wanted} instances {exist_text(missing)} not yet."))
    reasons += _troubled(instances, situation)
    return Finding(f"{name_of(item)} is not where it should be: {available} of {wanted} instances are available.", tuple(reasons))


def wanted_replicas(spec: Object) -> int:
    """The number of instances that a Deployment's spec asks for, not regarding its state."""
    if isinstance(spec.get("nodeReplicas"), Mapping):
        return sum(int(number) for number in spec["nodeReplicas"].values())
    return int(spec["replicas"]) if spec.get("replicas") is not None else 1


def _troubled(instances: Sequence[Object], situation: Situation) -> list[Finding]:
    """The instances that are not ready, the ones that say most first."""
    findings = [(instance, explain_instance(instance, situation)) for instance in instances]
    open_ = [(instance, finding) for instance, finding in merged(findings) if not finding.settled]
    shown = [finding for _, finding in open_[:INSTANCES_SHOWN]]
    rest = open_[INSTANCES_SHOWN:]
    if rest:
        phases = Counter(phase_of(instance) for instance, _ in rest)
        listed = ", ".join(f"{number} {phase}" for phase, number in phases.most_common())
        shown.append(Finding(f"{len(rest)} more instances are not ready: {listed}."))
    return shown


def merged(findings: Sequence[tuple[Object, Finding]]) -> Iterator[tuple[Object, Finding]]:
    """Instances that wait for a node for the same reasons become one finding, which counts them."""
    waiting: dict[tuple[Finding, ...], list[tuple[Object, Finding]]] = defaultdict(list)
    for instance, finding in findings:
        placed = (instance.get("spec") or {}).get("nodeName") or instance["metadata"].get("deletionTimestamp")
        if placed or not finding.because:
            yield instance, finding
        else:
            waiting[finding.because].append((instance, finding))
    for group in waiting.values():
        instance, finding = group[0]
        if len(group) > 1:
            more = listed([str(other["metadata"]["name"]) for other, _ in group[1:]], "instance", "more instances")
            finding = Finding(finding.text, (*finding.because, Finding(f"The same holds for {more}.")))
        yield instance, finding


# ---- nodes and everything else


def _node(item: Object, situation: Situation) -> Finding:
    spec, name = item.get("spec") or {}, name_of(item)
    if deleting := deletion_text(item, situation):
        return Finding(deleting)
    reasons: list[Finding] = []
    ready = condition(item, "Ready")
    if ready is None:
        reasons.append(Finding("Its agent has never reported. Start it: plum agent --node " + str(item["metadata"]["name"])))
    elif ready.get("status") != "True":
        seen = (item.get("status") or {}).get("lastSeen")
        last = f" It was last seen {age(seen, situation.now)} ago." if seen else ""
        reasons.append(Finding(f"It is not ready {since_text(ready, situation)}: {reason_text(ready)}{last}"))
    reasons += [
        Finding(f"It runs short {since_text(entry, situation)} and takes nothing new: {reason_text(entry)}")
        for entry in (item.get("status") or {}).get("conditions") or ()
        if str(entry.get("type")).endswith("Pressure") and entry.get("status") == "True"
    ]
    if spec.get("drain") is not None:
        reasons.append(_drain(item, situation))
    elif spec.get("unschedulable"):
        reasons.append(
            Finding(f"It is cordoned: nothing new is placed on it until `plum node uncordon {item['metadata']['name']}`.")
        )
    reasons += [
        Finding(f"It has the taint {taint['key']}={taint.get('value', '')}:{taint['effect']}; only what tolerates it runs here.")
        for taint in spec.get("taints") or ()
        if not str(taint.get("key", "")).startswith("plum.dev/")
    ]
    if reasons:
        return Finding(f"{name} does not take everything, with {len(situation.bound)} instances on it.", tuple(reasons))
    return Finding(f"{name} is ready and takes instances; {len(situation.bound)} are on it.", settled=True)


def _drain(item: Object, situation: Situation) -> Finding:
    """How far a drain is."""
    left = len(situation.bound)
    asked = item["spec"]["drain"].get("requestedAt")
    since = f" {age(asked, situation.now)} ago" if asked else ""
    drained = condition(item, "Drained")
    if drained is not None and drained.get("status") == "True":
        return Finding(
            f"A drain was asked for{since} and is complete; `plum node uncordon {item['metadata']['name']}` takes it back."
        )
    detail = f": {message_text(drained)}" if drained is not None else "."
    return Finding(f"A drain was asked for{since}; {left} {'instance is' if left == 1 else 'instances are'} left{detail}")


def _other(item: Object, situation: Situation) -> Finding:
    """Any kind: deletion, the generation that was acted on, phase and conditions say it."""
    status = item.get("status") or {}
    if deleting := deletion_text(item, situation):
        return Finding(deleting, tuple(_children(situation)))
    if unseen := not_acted_on(item, situation):
        return unseen
    phase = str(status.get("phase") or "")
    reasons = [
        Finding(f"{entry['type']} is {entry['status']} {since_text(entry, situation)}: {reason_text(entry)}")
        for entry in status.get("conditions") or ()
        if entry.get("status") != ("False" if entry.get("type") in NEGATIVE else "True")
    ]
    if phase in ("Failed", "Timeout", "Error") and (status.get("error") or status.get("message")):
        reasons.append(Finding(sentence(str(status.get("error") or status.get("message")))))
    if not reasons and phase not in ("Failed", "Timeout", "Error", "Pending", "Queued", "Unknown"):
        said = f" and {phase}" if phase else ""
        without = "" if item.get("status") else "; its kind has no status, so it is what was written"
        ready = condition(item, "Ready")
        told = str(ready.get("message") or "") if ready is not None else ""
        return Finding(f"{name_of(item)} is there{said}{without}.", (Finding(sentence(told)),) if told else (), settled=True)
    state = f"is {phase}" if phase else "is not where it should be"
    return Finding(f"{name_of(item)} {state}.", (*reasons, *_children(situation)))


def _children(situation: Situation) -> Iterator[Finding]:
    for child in situation.owned:
        known = {"Instance": explain_instance, "TaskRun": explain_task}.get(str(child["kind"]))
        finding = known(child, situation) if known is not None else _other(child, Situation(situation.now))
        if not finding.settled:
            yield finding


def _warnings(item: Object, situation: Situation, said: str) -> Iterator[Finding]:
    """Recent warnings about the object and what it owns, the newest of each kind, unless their text was said already."""
    newest: dict[tuple[str, str], Object] = {}
    for event in situation.events:
        seen = parse_time(last_seen(event))
        recent = seen is not None and (situation.now - seen).total_seconds() < RECENT_SECONDS
        if event.get("type") == "Warning" and recent:
            newest[str((event.get("involvedObject") or {}).get("name")), str(event.get("reason"))] = event
    unsaid = [event for event in newest.values() if str(event.get("message") or event.get("reason")) not in said]
    for event in unsaid[-3:]:
        involved = event.get("involvedObject") or {}
        about = (
            ""
            if involved.get("uid") == item["metadata"].get("uid")
            else f" about {str(involved.get('kind', '')).lower()}/{involved.get('name')}"
        )
        count = int(event.get("count") or 1)
        times = f", {count} times" if count > 1 else ""
        what = f"{event.get('reason')}: {sentence(str(event.get('message') or ''))}"
        yield Finding(f"Event{about} {age(last_seen(event), situation.now)} ago{times}: {what}")
