"""Why an object is not where it should be: sentences from what the API says about it, about what it owns and about its node.

    item + Situation(owned, nodes, events, now) --explain--> Finding(sentence, because=[Finding, ...])

Pure: everything that is known is in the arguments. A sentence says what is waited for and since when; what is the
reason for it stands below it. An object that is where it should be gets one sentence that says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plum_cli.events import last_seen
from plum_cli.times import age, duration, parse_time

Object = Mapping[str, Any]
RECENT_SECONDS = 900.0
"""A warning that happened within this time is shown beside what does not work."""
INSTANCES_SHOWN = 5
"""Instances explained one by one; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and what stands behind it."""

    text: str
    because: tuple[Finding, ...] = ()
    settled: bool = False
    """True when the object is where it should be."""

    def lines(self, indent: str = "") -> Iterator[str]:
        """The sentence and, further to the right, its reasons."""
        yield indent + self.text
        for reason in self.because:
            yield from reason.lines(indent + "  ")


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known around an object."""

    now: datetime
    owned: Sequence[Object] = ()
    nodes: Mapping[str, Object] = field(default_factory=dict)
    """Nodes by name."""
    bound: Sequence[Object] = ()
    """For a node: the instances that run on it."""
    events: Sequence[Object] = ()
    """Events of the object and of what it owns, oldest first."""


def explain(item: Object, situation: Situation) -> Finding:
    """What the object waits for and since when."""
    special = {"Deployment": _deployment, "Instance": _instance, "Node": _node}
    finding = special.get(str(item["kind"]), _other)(item, situation)
    if finding.settled:
        return finding
    said = "\n".join(finding.lines())
    return Finding(finding.text, (*finding.because, *_warnings(item, situation, said)))


def name_of(item: Object) -> str:
    """`Deployment web`."""
    return f"{item['kind']} {item['metadata']['name']}"


def condition(item: Object, type_: str) -> Mapping[str, Any] | None:
    """A condition of the status by its type."""
    return next((entry for entry in (item.get("status") or {}).get("conditions") or () if entry.get("type") == type_), None)


# ---- deployments


def _deployment(item: Object, situation: Situation) -> Finding:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    instances = [child for child in situation.owned if child["kind"] == "Instance"]
    if deleting := _deletion(item, situation):
        return Finding(deleting, tuple(_troubled(instances, situation)))
    wanted = wanted_replicas(spec)
    if spec.get("state") == "Stopped":
        running = [child for child in instances if _phase(child) not in ("Stopped", "Succeeded", "Failed")]
        if not running:
            return Finding(f"{name_of(item)} is stopped, as spec.state says.", settled=True)
        return Finding(
            f"{name_of(item)} is stopping: {len(running)} of {len(instances)} instances still run.",
            tuple(_troubled(running, situation)),
        )
    if unseen := _unseen(item, situation):
        return unseen
    available = int(status.get("availableReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    extra = int(status.get("replicas") or 0) - wanted
    progressing = condition(item, "Progressing")
    if available >= wanted and updated >= wanted and extra <= 0 and (progressing is None or progressing.get("status") != "False"):
        since = age((condition(item, "Available") or {}).get("lastTransitionTime"), situation.now)
        since = "" if since == "<unknown>" else f" since {since}"
        return Finding(
            f"{name_of(item)} is where it should be: {available} of {wanted} instances are available{since}.", settled=True
        )

    reasons: list[Finding] = []
    if progressing is not None and progressing.get("status") == "False":
        reasons.append(Finding(f"The rollout failed{_ago(_transition(progressing), situation)}: {_reason(progressing)}"))
    elif progressing is not None and progressing.get("status") == "True" and available < wanted:
        reasons.append(Finding(f"The rollout goes on {_since(progressing, situation)}: {_message(progressing)}"))
    if spec.get("paused"):
        reasons.append(
            Finding(
                f"It is paused: a new template changes nothing until `plum rollout resume deployment/{item['metadata']['name']}`."
            )
        )
    failure = condition(item, "ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        reasons.append(Finding(f"Instances cannot be created {_since(failure, situation)}: {_reason(failure)}"))
    if updated < wanted:
        reasons.append(Finding(f"{updated} of {wanted} instances have the current template."))
    if extra > 0:
        reasons.append(Finding(f"{extra} more than wanted still {_exist(extra)}; they go when enough new ones are available."))
    if len(instances) < wanted:
        missing = wanted - len(instances)
        reasons.append(Finding(f"{missing} of {wanted} instances {_exist(missing)} not yet."))
    reasons += _troubled(instances, situation)
    return Finding(f"{name_of(item)} is not where it should be: {available} of {wanted} instances are available.", tuple(reasons))


def wanted_replicas(spec: Object) -> int:
    """The number of instances that a Deployment's spec asks for, not regarding its state."""
    if isinstance(spec.get("nodeReplicas"), Mapping):
        return sum(int(number) for number in spec["nodeReplicas"].values())
    return int(spec["replicas"]) if spec.get("replicas") is not None else 1


def _troubled(instances: Sequence[Object], situation: Situation) -> list[Finding]:
    """The instances that are not ready, the ones that say most first."""
    findings = [(instance, _instance(instance, situation)) for instance in instances]
    open_ = [(instance, finding) for instance, finding in merged(findings) if not finding.settled]
    shown = [finding for _, finding in open_[:INSTANCES_SHOWN]]
    rest = open_[INSTANCES_SHOWN:]
    if rest:
        phases = Counter(_phase(instance) for instance, _ in rest)
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
            more = _listed([str(other["metadata"]["name"]) for other, _ in group[1:]], "instance", "more instances")
            finding = Finding(finding.text, (*finding.because, Finding(f"The same holds for {more}.")))
        yield instance, finding


# ---- instances


def _instance(item: Object, situation: Situation) -> Finding:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    name, phase, node = name_of(item), _phase(item), str(spec.get("nodeName") or "")
    if deleting := _deletion(item, situation):
        return Finding(deleting, tuple(_node_trouble(node, situation)))
    if not node:
        return _unplaced(item, situation)
    trouble = tuple(_node_trouble(node, situation))
    if spec.get("state") == "Stopped":
        if phase in ("Stopped", "Succeeded", "Failed"):
            return Finding(f"{name} is stopped, as spec.state says.", settled=True)
        return Finding(f"{name} is stopping on {node}{_phase_since(item, situation)}.", trouble)
    if phase == "Succeeded":
        return Finding(f"{name} has ended with success{_ago(status.get('finishedAt'), situation)}.", settled=True)
    if phase == "Failed":
        return Finding(
            f"{name} has failed for good: {exit_sentence(status.get('exit') or status.get('lastExit'), situation.now)}", trouble
        )
    if phase == "Unknown":
        return Finding(f"What {name} does is unknown, because {node} does not report.", trouble)
    ready = condition(item, "Ready")
    if phase == "Running" and (status.get("ready") or (ready or {}).get("status") == "True") and not trouble:
        return Finding(f"{name} runs on {node} and is ready{_ago(status.get('startedAt'), situation, 'since')}.", settled=True)

    reasons: list[Finding] = list(trouble)
    if status.get("nextStartAt"):
        moment = parse_time(status["nextStartAt"])
        wait = (moment - situation.now).total_seconds() if moment else 0
        restarts = int(status.get("restarts") or 0)
        when = f"in {duration(wait)}" if wait >= 1 else "now"
        times = f"{restarts} restart{'' if restarts == 1 else 's'}"
        text = f"{name} waits on {node} before it is started again, {when}, after {times}."
        last = exit_sentence(status.get("lastExit"), situation.now)
        return Finding(text, (*([Finding(f"Its last run ended: {last}")] if last else []), *reasons))
    for type_, verb in (("Prepared", "is being prepared"), ("Started", "is being started"), ("Ready", "runs and is not ready")):
        entry = condition(item, type_)
        if entry is not None and entry.get("status") != "True":
            if status.get("message") and status["message"] != entry.get("message"):
                reasons.append(Finding(f"The agent says: {_sentence(str(status['message']))}"))
            reasons += _last_exit(status, situation)
            return Finding(f"{name} {verb} on {node}, {_since(entry, situation)}: {_reason(entry)}", tuple(reasons))
    message = f": {_sentence(str(status['message']))}" if status.get("message") else "."
    if phase in ("Pending", "Scheduled"):
        since = age(_transition(condition(item, "Scheduled")) or item["metadata"].get("creationTimestamp"), situation.now)
        return Finding(f"{name} waits since {since} for the agent of {node} to take it up{message}", tuple(reasons))
    reasons += _last_exit(status, situation)
    return Finding(f"{name} is {phase} on {node}{_phase_since(item, situation)}{message}", tuple(reasons))


def _unplaced(item: Object, situation: Situation) -> Finding:
    """An instance that has no node: who refused it, and why."""
    scheduled = condition(item, "Scheduled")
    since = age(_transition(scheduled) or item["metadata"].get("creationTimestamp"), situation.now)
    refusals = ((item.get("status") or {}).get("scheduling") or {}).get("refusals") or ()
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for refusal in refusals:
        groups[str(refusal.get("reason") or ""), str(refusal.get("message") or "")].append(str(refusal.get("nodeName") or ""))
    reasons = []
    for (reason, message), nodes in groups.items():
        named = [node for node in nodes if node]
        where = _listed(named, "node", "nodes") if named else "every node"
        reasons.append(Finding(f"{where}: {reason}{': ' + _sentence(message) if message else '.'}"))
    said = (item.get("status") or {}).get("message")
    if not reasons and said:
        reasons.append(Finding(_sentence(str(said))))
    elif not reasons and not situation.nodes:
        reasons.append(Finding("There is no node. Start an agent: plum agent --node node-1 --controller URL"))
    elif not reasons and scheduled is not None and scheduled.get("message"):
        reasons.append(Finding(_reason(scheduled)))
    elif not reasons:
        reasons.append(Finding("The scheduler has not looked at it yet."))
    return Finding(f"{name_of(item)} waits for a node since {since}.", tuple(reasons))


def exit_sentence(exit_: Object | None, now: datetime) -> str:
    """`with exit code 1 (Error), 30s ago, after 2s.`; empty when nothing ended."""
    if not exit_:
        return ""
    if exit_.get("signal"):
        how = f"by {exit_['signal']}"
    elif exit_.get("code") is not None:
        how = f"with exit code {exit_['code']}"
    else:
        how = "in a way that nobody could observe"
    detail = ": ".join(
        str(exit_[key]) for key in ("reason", "message") if exit_.get(key) and exit_[key] not in ("Completed", "Error")
    )
    text = how + (f" ({detail})" if detail else "")
    finished, started = parse_time(exit_.get("finishedAt")), parse_time(exit_.get("startedAt"))
    if finished:
        text += f", {age(exit_['finishedAt'], now)} ago"
    if finished and started:
        text += f", after {duration((finished - started).total_seconds())}"
    return text + "."


def _last_exit(status: Object, situation: Situation) -> list[Finding]:
    text = exit_sentence(status.get("lastExit"), situation.now)
    restarts = int(status.get("restarts") or 0)
    return (
        [
            Finding(
                f"Its run before this one ended {text} It was restarted {restarts} times."
                if restarts
                else f"Its run before this one ended {text}"
            )
        ]
        if text
        else []
    )


def _node_trouble(node: str, situation: Situation) -> list[Finding]:
    """What is wrong with the node of an instance."""
    if not node or not situation.nodes:
        return []
    found = situation.nodes.get(node)
    if found is None:
        return [Finding(f"Its node {node} does not exist.")]
    ready = condition(found, "Ready")
    if ready is None or ready.get("status") == "True":
        return []
    seen = (found.get("status") or {}).get("lastSeen")
    last = f" It was last seen {age(seen, situation.now)} ago." if seen else ""
    return [Finding(f"Its node {node} is not ready {_since(ready, situation)}: {_reason(ready)}{last}")]


# ---- nodes and everything else


def _node(item: Object, situation: Situation) -> Finding:
    spec, name = item.get("spec") or {}, name_of(item)
    if deleting := _deletion(item, situation):
        return Finding(deleting)
    reasons: list[Finding] = []
    ready = condition(item, "Ready")
    if ready is None:
        reasons.append(Finding("Its agent has never reported. Start it: plum agent --node " + str(item["metadata"]["name"])))
    elif ready.get("status") != "True":
        seen = (item.get("status") or {}).get("lastSeen")
        last = f" It was last seen {age(seen, situation.now)} ago." if seen else ""
        reasons.append(Finding(f"It is not ready {_since(ready, situation)}: {_reason(ready)}{last}"))
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
    detail = f": {_message(drained)}" if drained is not None else "."
    return Finding(f"A drain was asked for{since}; {left} {'instance is' if left == 1 else 'instances are'} left{detail}")


def _other(item: Object, situation: Situation) -> Finding:
    """Any kind: deletion, the generation that was acted on, phase and conditions say it."""
    status = item.get("status") or {}
    if deleting := _deletion(item, situation):
        return Finding(deleting, tuple(_children(situation)))
    if unseen := _unseen(item, situation):
        return unseen
    negative = ("Paused", "ReplicaFailure", "Stalled", "DiskPressure", "Degraded")
    open_ = [
        entry
        for entry in status.get("conditions") or ()
        if entry.get("status") != ("False" if entry.get("type") in negative else "True")
    ]
    phase = str(status.get("phase") or "")
    reasons = [Finding(f"{entry['type']} is {entry['status']} {_since(entry, situation)}: {_reason(entry)}") for entry in open_]
    if phase in ("Failed", "Timeout", "Error") and (status.get("error") or status.get("message")):
        reasons.append(Finding(_sentence(str(status.get("error") or status.get("message")))))
    if not reasons and phase not in ("Failed", "Timeout", "Error", "Pending", "Queued", "Unknown"):
        said = f" and {phase}" if phase else ""
        without = "" if item.get("status") else "; its kind has no status, so it is what was written"
        return Finding(f"{name_of(item)} is there{said}{without}.", settled=True)
    state = f"is {phase}" if phase else "is not where it should be"
    return Finding(f"{name_of(item)} {state}.", (*reasons, *_children(situation)))


def _children(situation: Situation) -> Iterator[Finding]:
    for child in situation.owned:
        finding = _instance(child, situation) if child["kind"] == "Instance" else _other(child, Situation(situation.now))
        if not finding.settled:
            yield finding


# ---- parts of sentences


def _deletion(item: Object, situation: Situation) -> str:
    """The sentence for an object that is being deleted; empty for others."""
    metadata = item["metadata"]
    if not metadata.get("deletionTimestamp"):
        return ""
    holders = metadata.get("finalizers") or []
    meanings = {
        "plum.dev/instance": "the agent of its node, which stops it first",
        "foregroundDeletion": "what it owns, which is deleted first",
        "orphan": "what it owns to be let go",
        "kubernetes": "its contents, which are deleted first",
    }
    waits = " and ".join(meanings.get(holder, f"whoever set the finalizer {holder}") for holder in holders) or "the controller"
    return f"{name_of(item)} is being deleted since {age(metadata['deletionTimestamp'], situation.now)} and waits for {waits}."


def _unseen(item: Object, situation: Situation) -> Finding | None:
    """The controller has not acted on the newest spec."""
    generation, observed = item["metadata"].get("generation"), (item.get("status") or {}).get("observedGeneration")
    reports = observed is not None or (item.get("status") or {}).get("conditions") or item["kind"] == "Deployment"
    if not generation or not reports:
        return None
    if int(observed or 0) >= int(generation):
        return None
    acted = f"acted on generation {observed}" if observed else "has not acted on it at all"
    hint = Finding("Is the controller running with its controllers on? See `plum doctor`.")
    return Finding(f"{name_of(item)} is at generation {generation}, and its controller {acted} so far.", (hint,))


def _warnings(item: Object, situation: Situation, said: str) -> Iterator[Finding]:
    """Recent warnings about the object and what it owns, the newest of each kind, unless their text was said already."""
    newest: dict[tuple[str, str], Object] = {}
    for event in situation.events:
        seen = parse_time(last_seen(event))
        recent = seen is not None and (situation.now - seen).total_seconds() < RECENT_SECONDS
        if event.get("type") == "Warning" and recent and str(event.get("message") or event.get("reason")) not in said:
            newest[str((event.get("involvedObject") or {}).get("name")), str(event.get("reason"))] = event
    for event in list(newest.values())[-3:]:
        involved = event.get("involvedObject") or {}
        about = (
            ""
            if involved.get("uid") == item["metadata"].get("uid")
            else f" about {str(involved.get('kind', '')).lower()}/{involved.get('name')}"
        )
        count = int(event.get("count") or 1)
        times = f", {count} times" if count > 1 else ""
        what = f"{event.get('reason')}: {_sentence(str(event.get('message') or ''))}"
        yield Finding(f"Event{about} {age(last_seen(event), situation.now)} ago{times}: {what}")


def _phase(item: Object) -> str:
    return str((item.get("status") or {}).get("phase") or "Pending")


def _transition(entry: Object | None) -> str:
    return str((entry or {}).get("lastTransitionTime") or "")


def _since(entry: Object, situation: Situation) -> str:
    text = age(entry.get("lastTransitionTime"), situation.now)
    return "for an unknown time" if text == "<unknown>" else f"since {text}"


def _phase_since(item: Object, situation: Situation) -> str:
    times = [_transition(entry) for entry in (item.get("status") or {}).get("conditions") or ()]
    latest = max((time for time in times if time), default="")
    return f" since {age(latest, situation.now)}" if latest else ""


def _ago(time: object, situation: Situation, word: str = "") -> str:
    if not parse_time(time):
        return ""
    return f" {word} {age(time, situation.now)}" if word else f" {age(time, situation.now)} ago"


def _reason(entry: Object) -> str:
    """Reason and message of a condition as a sentence."""
    reason, message = str(entry.get("reason") or ""), str(entry.get("message") or "")
    return _sentence(f"{reason}: {message}" if reason and message else reason or message or "no reason was given")


def _message(entry: Object) -> str:
    """Message of a condition as a sentence; its reason where it has none."""
    return _sentence(str(entry.get("message") or entry.get("reason") or "no reason was given"))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _exist(number: int) -> str:
    return "exists" if number == 1 else "exist"


def _listed(names: Sequence[str], one: str, many: str) -> str:
    """`node-1`, `node-1 and node-2`, `7 nodes (node-1, node-2, ...)`."""
    if len(names) <= 3:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{len(names)} {many} ({', '.join(names[:3])}, ...)"
