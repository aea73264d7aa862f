"""Parts of explanations: what is known, what is found, and the phrases that both kinds of sentences share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plum_client.explaining.times import age, parse_time

Object = Mapping[str, Any]


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
    workers: Sequence[Object] = ()
    """For a run of a task: the workers of its namespace."""
    events: Sequence[Object] = ()
    """Events of the object and of what it owns, oldest first."""


def name_of(item: Object) -> str:
    """`Deployment web`."""
    return f"{item['kind']} {item['metadata']['name']}"


def condition(item: Object, type_: str) -> Mapping[str, Any] | None:
    """A condition of the status by its type."""
    return next((entry for entry in (item.get("status") or {}).get("conditions") or () if entry.get("type") == type_), None)


def deletion_text(item: Object, situation: Situation) -> str:
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


def not_acted_on(item: Object, situation: Situation) -> Finding | None:
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


def phase_of(item: Object) -> str:
    return str((item.get("status") or {}).get("phase") or "Pending")


def transition_time(entry: Object | None) -> str:
    return str((entry or {}).get("lastTransitionTime") or "")


def since_text(entry: Object, situation: Situation) -> str:
    text = age(entry.get("lastTransitionTime"), situation.now)
    return "for an unknown time" if text == "<unknown>" else f"since {text}"


def phase_since_text(item: Object, situation: Situation) -> str:
    times = [transition_time(entry) for entry in (item.get("status") or {}).get("conditions") or ()]
    latest = max((time for time in times if time), default="")
    return f" since {age(latest, situation.now)}" if latest else ""


def ago_text(time: object, situation: Situation, word: str = "") -> str:
    if not parse_time(time):
        return ""
    return f" {word} {age(time, situation.now)}" if word else f" {age(time, situation.now)} ago"


def reason_text(entry: Object) -> str:
    """Reason and message of a condition as a sentence."""
    reason, message = str(entry.get("reason") or ""), str(entry.get("message") or "")
    return sentence(f"{reason}: {message}" if reason and message else reason or message or "no reason was given")


def message_text(entry: Object) -> str:
    """Message of a condition as a sentence; its reason where it has none."""
    return sentence(str(entry.get("message") or entry.get("reason") or "no reason was given"))


def sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def exist_text(number: int) -> str:
    return "exists" if number == 1 else "exist"


def listed(names: Sequence[str], one: str, many: str) -> str:
    """`node-1`, `node-1 and node-2`, `7 nodes (node-1, node-2, ...)`."""
    if len(names) <= 3:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{len(names)} {many} ({', '.join(names[:3])}, ...)"


def last_seen(event: Mapping[str, Any]) -> str:
    """When it happened last, as RFC 3339."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"), event.get("firstTimestamp"))
    return str(next((time for time in times if time), event["metadata"].get("creationTimestamp") or ""))
