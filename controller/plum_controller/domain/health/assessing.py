"""The order in which health is judged, and what kinds have in common by convention."""

from __future__ import annotations

from plum_controller.domain.health.builtin import BY_KIND, ENDED_BADLY, REPORTS
from plum_controller.domain.health.rules import Rule
from plum_controller.domain.health.verdict import HEALTHY, Health, Json, condition, number, reason_of, status_of

BAD = ("Stalled", "Failed", "Degraded")
"""Conditions that are True when something is wrong for good."""
GOOD = ("Ready", "Available", "Healthy", "Established", "Succeeded", "Complete", "Stored", "Online")
"""Conditions that are True when all is well, in the order they are looked for."""
UNDERWAY = frozenset({"Pending", "Progressing", "Creating", "Starting", "Provisioning", "Installing", "Updating", "Queued"})


def assess(obj: Json | None, rule: Rule | None = None) -> Health:
    """The health of an object; of None, that there is none."""
    if obj is None:
        return Health("Progressing", "does not exist")
    metadata = obj.get("metadata") or {}
    if metadata.get("deletionTimestamp"):
        return Health("Progressing", "is being deleted")
    if rule is not None:
        return rule.assess(obj)
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    kind = (group, str(obj.get("kind") or ""))
    observed, generation = status_of(obj).get("observedGeneration"), number(metadata.get("generation"))
    if generation and (number(observed) < generation if observed is not None else kind in REPORTS):
        return Health("Progressing", "its controller has not seen the change yet")
    special = BY_KIND.get(kind)
    return special(obj) if special is not None else _by_convention(obj)


def _by_convention(obj: Json) -> Health:
    for name in BAD:
        entry = condition(obj, name)
        if entry is not None and entry.get("status") == "True":
            return Health("Degraded", f"{name}: {reason_of(entry)}")
    entry = condition(obj, "Reconciling")
    if entry is not None and entry.get("status") == "True":
        return Health("Progressing", f"Reconciling: {reason_of(entry)}")
    phase = str(status_of(obj).get("phase") or "")
    if phase in ENDED_BADLY:
        return Health("Degraded", f"{phase}: {status_of(obj).get('message') or 'no reason was given'}")
    for name in GOOD:
        entry = condition(obj, name)
        if entry is not None:
            said = str(entry.get("status"))
            return HEALTHY if said == "True" else Health("Progressing", f"{name} is {said}: {reason_of(entry)}")
    return Health("Progressing", phase) if phase in UNDERWAY else HEALTHY
