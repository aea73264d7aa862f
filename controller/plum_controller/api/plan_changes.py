"""What differs between two states of everything, in the words of a plan: created, changed, stopped, moved, restarted. Pure.

    before, after -> [Change("restart", Instance, default/web-a1-0, "web-b2-0 on node-1 takes its place")]

Status alone is no change: it follows from the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from plum_schemas.deployment import DEPLOYMENT_LABEL, REVISION_LABEL

from plum_controller.store.base import Key

INSTANCES = "instances.plum.dev"
ENDPOINTS = "endpoints.plum.dev"
DERIVED = frozenset({"revisions.plum.dev"})
"""Kept by controllers for themselves; showing them would only repeat the change they record."""

Json = Mapping[str, Any]


class Change(NamedTuple):
    """One line of a plan."""

    action: str
    """`create`, `change`, `delete`, `stop`, `start`, `move`, `restart` or `unchanged`."""
    kind: str
    namespace: str
    name: str
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        return {name: value for name, value in self._asdict().items() if value or name != "detail"}


def without_bookkeeping(data: dict[str, Any]) -> dict[str, Any]:
    """The object without what moves with every write."""
    metadata = data["metadata"]
    for name in ("resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"):
        metadata.pop(name, None)
    return data


def changes_between(before: Mapping[Key, Json], after: Mapping[Key, Json], named: Iterable[Key]) -> list[Change]:
    """All changes, in order of kind, namespace and name. Of what stayed the same only the `named` objects are listed."""
    changes = _instance_changes(before, after)
    for key in sorted(set(before) | set(after)):
        old, new = before.get(key), after.get(key)
        if key.resource == INSTANCES or key.resource in DERIVED or _follows_from_instance(key, old or new or {}):
            continue
        if old is None and new is not None:
            changes.append(_change("create", key, new))
        elif new is None and old is not None:
            changes.append(_change("delete", key, old))
        elif old is not None and new is not None:
            paths = list(_differences(_desired(old), _desired(new)))
            if paths:
                changes.append(_change("change", key, new, ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")))
    said = {(change.kind, change.namespace, change.name) for change in changes}
    for key in named:
        data = after.get(key)
        if data is not None and (data.get("kind"), key.namespace, key.name) not in said:
            changes.append(_change("unchanged", key, data))
    return sorted(changes, key=lambda change: (change.kind, change.namespace, change.name, change.action))


def _follows_from_instance(key: Key, data: Json) -> bool:
    """An endpoint comes and goes with its instance, of which the plan tells."""
    return key.resource == ENDPOINTS and bool((data.get("spec") or {}).get("instanceUid"))


def _change(action: str, key: Key, data: Json, detail: str = "") -> Change:
    return Change(action, str(data.get("kind", key.resource)), key.namespace, key.name, detail)


def _desired(data: Json) -> dict[str, Any]:
    """What somebody wants: everything but the status."""
    return {name: value for name, value in data.items() if name != "status"}


def _differences(old: Any, new: Any, path: str = "") -> Iterable[str]:
    """Paths whose values differ, outermost where one side has nothing."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(set(old) | set(new)):
            here = f"{path}.{name}" if path else str(name)
            if name not in old or name not in new:
                yield here
            else:
                yield from _differences(old[name], new[name], here)
    elif old != new:
        yield path


def _instance_changes(before: Mapping[Key, Json], after: Mapping[Key, Json]) -> list[Change]:
    """Instances never change place, so a move is one that goes and one that comes."""
    gone: dict[tuple[str, str], list[Key]] = defaultdict(list)
    come: dict[tuple[str, str], list[Key]] = defaultdict(list)
    changes: list[Change] = []
    for key in sorted(key for key in set(before) | set(after) if key.resource == INSTANCES):
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None:
            changes.extend(_same_instance(key, old, new))
        elif old is not None:
            gone[key.namespace, _label(old, DEPLOYMENT_LABEL)].append(key)
        elif new is not None:
            come[key.namespace, _label(new, DEPLOYMENT_LABEL)].append(key)
    for group in sorted(set(gone) | set(come)):
        changes.extend(_replacements(gone[group] if group[1] else [], come[group] if group[1] else [], before, after))
        if not group[1]:
            changes.extend(_change("stop", key, before[key]) for key in gone[group])
            changes.extend(_change("create", key, after[key], _where(after[key])) for key in come[group])
    return changes


def _same_instance(key: Key, old: Json, new: Json) -> Iterable[Change]:
    was, is_ = old.get("spec", {}), new.get("spec", {})
    if was.get("state", "Running") != is_.get("state", "Running"):
        yield _change("stop" if is_.get("state") == "Stopped" else "start", key, new, _where(new))
    elif was.get("restartRequest") != is_.get("restartRequest"):
        yield _change("restart", key, new, _where(new))
    elif not was.get("nodeName") and is_.get("nodeName"):
        yield _change("start", key, new, _where(new))


def _replacements(gone: list[Key], come: list[Key], before: Mapping[Key, Json], after: Mapping[Key, Json]) -> Iterable[Change]:
    """Pair what goes with what comes: first on the same node, then any. The rest is stopped or created."""
    left = list(come)
    unpaired = []
    for key in gone:
        node = before[key].get("spec", {}).get("nodeName", "")
        partner = next((other for other in left if after[other].get("spec", {}).get("nodeName", "") == node), None)
        if partner is None:
            unpaired.append(key)
            continue
        left.remove(partner)
        yield _change(
            "restart",
            key,
            before[key],
            f"{partner.name} {_where(after[partner])} takes its place{_new_revision(before[key], after[partner])}",
        )
    for key in unpaired:
        if left:
            partner = left.pop(0)
            yield _change(
                "move",
                key,
                before[key],
                f"{partner.name} {_where(after[partner])} takes its place{_new_revision(before[key], after[partner])}",
            )
        else:
            yield _change("stop", key, before[key], _where(before[key]))
    for key in left:
        yield _change("create", key, after[key], _where(after[key]))


def _new_revision(old: Json, new: Json) -> str:
    return "" if _label(old, REVISION_LABEL) == _label(new, REVISION_LABEL) else ", with the new template"


def _where(data: Json) -> str:
    node = data.get("spec", {}).get("nodeName", "")
    if node:
        return f"on {node}"
    for condition in data.get("status", {}).get("conditions", ()):
        if condition.get("type") == "Scheduled" and condition.get("status") != "True":
            return f"waits for a node: {condition.get('message') or condition.get('reason')}"
    return "waits for a node"


def _label(data: Json, name: str) -> str:
    return str(data.get("metadata", {}).get("labels", {}).get(name, ""))
