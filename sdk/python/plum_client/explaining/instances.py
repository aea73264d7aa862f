"""Why an instance does not run: its node, its waits, its exits. Pure, like `objects`."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from plum_client.explaining.findings import (
    Finding,
    Object,
    Situation,
    ago_text,
    condition,
    deletion_text,
    listed,
    message_text,
    name_of,
    phase_of,
    phase_since_text,
    reason_text,
    sentence,
    since_text,
    transition_time,
)
from plum_client.explaining.times import age, duration, parse_time


def explain_instance(item: Object, situation: Situation) -> Finding:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    name, phase, node = name_of(item), phase_of(item), str(spec.get("nodeName") or "")
    if deleting := deletion_text(item, situation):
        return Finding(deleting, tuple(_node_trouble(node, situation)))
    if not node:
        return _unplaced(item, situation)
    trouble = tuple(_node_trouble(node, situation))
    if spec.get("state") == "Stopped":
        if phase in ("Stopped", "Succeeded", "Failed"):
            return Finding(f"{name} is stopped, as spec.state says.", settled=True)
        return Finding(f"{name} is stopping on {node}{phase_since_text(item, situation)}.", trouble)
    if phase == "Succeeded":
        return Finding(f"{name} has ended with success{ago_text(status.get('finishedAt'), situation)}.", settled=True)
    if phase == "Failed":
        return Finding(
            f"{name} has failed for good: {exit_sentence(status.get('exit') or status.get('lastExit'), situation.now)}", trouble
        )
    if phase == "Unknown":
        lost = condition(item, "Lost")
        is_lost = lost is not None and lost.get("status") == "True"
        fate = (Finding(message_text(lost)),) if lost is not None and is_lost else ()
        return Finding(f"What {name} does is unknown, because {node} does not report.", (*trouble, *fate))
    ready = condition(item, "Ready")
    if phase == "Running" and (status.get("ready") or (ready or {}).get("status") == "True") and not trouble:
        return Finding(
            f"{name} runs on {node} and is ready{ago_text(status.get('startedAt'), situation, 'since')}.", settled=True
        )

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
                reasons.append(Finding(f"The agent says: {sentence(str(status['message']))}"))
            reasons += _last_exit(status, situation)
            return Finding(f"{name} {verb} on {node}, {since_text(entry, situation)}: {reason_text(entry)}", tuple(reasons))
    message = f": {sentence(str(status['message']))}" if status.get("message") else "."
    if phase in ("Pending", "Scheduled"):
        since = age(transition_time(condition(item, "Scheduled")) or item["metadata"].get("creationTimestamp"), situation.now)
        return Finding(f"{name} waits since {since} for the agent of {node} to take it up{message}", tuple(reasons))
    reasons += _last_exit(status, situation)
    return Finding(f"{name} is {phase} on {node}{phase_since_text(item, situation)}{message}", tuple(reasons))


def _unplaced(item: Object, situation: Situation) -> Finding:
    """An instance that has no node: who refused it, and why."""
    scheduled = condition(item, "Scheduled")
    since = age(transition_time(scheduled) or item["metadata"].get("creationTimestamp"), situation.now)
    refusals = ((item.get("status") or {}).get("scheduling") or {}).get("refusals") or ()
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for refusal in refusals:
        groups[str(refusal.get("reason") or ""), str(refusal.get("message") or "")].append(str(refusal.get("nodeName") or ""))
    reasons = []
    for (reason, message), nodes in groups.items():
        named = [node for node in nodes if node]
        where = listed(named, "node", "nodes") if named else "every node"
        reasons.append(Finding(f"{where}: {reason}{': ' + sentence(message) if message else '.'}"))
    said = (item.get("status") or {}).get("message")
    if not reasons and said:
        reasons.append(Finding(sentence(str(said))))
    elif not reasons and not situation.nodes:
        reasons.append(Finding("There is no node. Start an agent: plum agent --node node-1 --controller URL"))
    elif not reasons and scheduled is not None and scheduled.get("message"):
        reasons.append(Finding(reason_text(scheduled)))
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
    return [Finding(f"Its node {node} is not ready {since_text(ready, situation)}: {reason_text(ready)}{last}")]
