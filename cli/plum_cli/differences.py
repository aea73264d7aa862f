"""Differences between two versions of an object: a line per field for people, a unified diff for `plum diff`.

old, new --changes--> [Change("spec.replicas", 2, 3)] --describe--> "spec.replicas: 2 -> 3"
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
"""Fields of the metadata that the server counts up or sets once; nobody wrote them."""
KEY_FIELDS = ("name", "type", "key", "uid", "port")
"""What names an item of a list, so that an insertion does not look like a change of all that follow."""


class Missing:
    """Stands for a field that is not there; null is a value."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


class Change(NamedTuple):
    """One field that differs."""

    path: str
    old: Any
    new: Any


def comparable(item: Mapping[str, Any] | None) -> dict[str, Any]:
    """What somebody wrote: the object without what the server fills in by itself, and without status."""
    if not item:
        return {}
    metadata = {key: value for key, value in (item.get("metadata") or {}).items() if key not in SERVER_FIELDS}
    return {key: (metadata if key == "metadata" else value) for key, value in item.items() if key != "status"}


def changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """Every leaf that differs, in order."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            below = f"{path}.{key}" if path else str(key)
            yield from changes(old.get(key, MISSING), new.get(key, MISSING), below)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(old, new, path)
    else:
        yield Change(path, old, new)


def _list_changes(old: list[Any], new: list[Any], path: str) -> Iterator[Change]:
    key = _key_field([*old, *new])
    if not key:
        if any(isinstance(item, Mapping | list) for item in (*old, *new)) and len(old) == len(new):
            for index, (before, after) in enumerate(zip(old, new, strict=True)):
                yield from changes(before, after, f"{path}[{index}]")
        else:
            yield Change(path, old, new)
        return
    before_by = {str(item[key]): item for item in old}
    after_by = {str(item[key]): item for item in new}
    for name in [*before_by, *(name for name in after_by if name not in before_by)]:
        yield from changes(before_by.get(name, MISSING), after_by.get(name, MISSING), f"{path}[{name}]")


def _key_field(items: Sequence[Any]) -> str:
    """The field by which the items of two lists can be told apart; empty if there is none."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return ""
    return next((field for field in KEY_FIELDS if all(isinstance(item.get(field), str | int) for item in items)), "")


def describe(change: Change, limit: int = 60) -> str:
    """`spec.replicas: 2 -> 3`, `+ metadata.labels.site: pier3`, `- spec.paused`."""
    if change.old is MISSING:
        return f"+ {change.path}: {shorten(change.new, limit)}"
    if change.new is MISSING:
        return f"- {change.path}"
    return f"{change.path}: {shorten(change.old, limit)} -> {shorten(change.new, limit)}"


def shorten(value: Any, limit: int) -> str:
    """A value on one line, cut where it is long."""
    text = value if isinstance(value, str) and value and "\n" not in value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def summarize(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, limit: int = 3) -> str:
    """The first changes on one line, and how many more there are."""
    found = list(changes(comparable(old), comparable(new)))
    if not found:
        status = list(changes((old or {}).get("status", MISSING), (new or {}).get("status", MISSING), "status"))
        found = [change for change in status if not change.path.endswith(("lastTransitionTime", "lastUpdateTime"))] or status
    if not found:
        return "no change of content"
    more = f"; and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(describe(change, 40) for change in found[:limit]) + more


def unified(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """The lines of a unified diff of two objects as YAML; empty when they are the same."""
    from plum_cli.output import to_yaml

    before = to_yaml(comparable(old)).splitlines() if old else []
    after = to_yaml(comparable(new)).splitlines() if new else []
    return list(difflib.unified_diff(before, after, f"live/{name}", f"wanted/{name}", lineterm=""))
