"""Answers of the server about a manifest, taken apart: which fields it does not know, could not read, or leaves to others.

Decided by the type of the error and its causes. Three texts are read as well, those for unknown, mistyped and repeated
ones, because a refused apply names them nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from plum_client.errors import ApiError, ConflictError, InvalidObjectError, NotFoundError
from plum_client.manifests.documents import Manifest, Problem
from plum_client.manifests.paths import find_parents

_UNKNOWN = re.compile(
    r'unknown field "([^"]+)"|duplicate field "([^"]+)"|\.([^\s:]+(?:\[[^\]]*\][^\s:]*)*): field not declared in schema'
)
_MISTYPED = re.compile(r"\.([^\s:]+(?:\[[^\]]*\][^\s:]*)*): expected (\w+)(?: \([^)]*\))?, got (.+?)(?: at |, |$)")
_TWICE = re.compile(r'\.([^\s:]+(?:\[[^\]]*\][^\s:]*)*): duplicate entries for key \[(\w*)="([^"]*)"\]')
_CONFLICT = re.compile(r'conflicts? with "([^"]+)"')
_TYPES = {
    "string": "a text (in quotes)",
    "numeric": "a number",
    "boolean": "true or false",
    "list": "a list",
    "map": "an object",
}


def owner_named(message: str) -> str:
    """The field manager that the cause of a conflict names; empty if none."""
    found = _CONFLICT.search(message)
    return found[1] if found else ""


def conflict_owners(error: ConflictError) -> set[str]:
    """The field managers that the fields of a conflict belong to; one empty name where they cannot be told."""
    return {owner_named(cause.message) for cause in error.causes} or {""}


def unknown_fields(message: str) -> list[str]:
    """Paths of the fields that a refusal calls unknown or duplicate."""
    return list(dict.fromkeys(next(filter(None, match)).lstrip(".") for match in _UNKNOWN.findall(message)))


def mistyped_fields(message: str) -> list[tuple[str, str]]:
    """Paths of the fields that have the wrong type, each with the type that was expected."""
    return [(path, wanted) for path, wanted, _ in _MISTYPED.findall(message)]


def repeated_entries(message: str, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Paths of entries of lists whose key another entry has already, each with a sentence."""
    found = []
    for path, key, value in _TWICE.findall(message):
        lists = [parent[last] for parent, last in find_parents(path, data)]
        places = [
            index
            for index, entry in enumerate(lists[0] if lists and isinstance(lists[0], list) else ())
            if str(entry.get(key) if key and isinstance(entry, Mapping) else entry) == value
        ]
        place = f"{path}[{places[1]}]" if len(places) > 1 else path
        found.append((place, f"{place}: {f'{key} ' if key else ''}{value} is there twice"))
    return found


def unreadable_fields(message: str) -> list[str]:
    """Paths of all fields that kept the server from reading the rest."""
    return [*unknown_fields(message), *(path for path, _ in mistyped_fields(message))]


def without_field(data: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of an object without the field at a path such as `spec.env[name="A"].valeu`; the same object if it is not there."""
    copy = json.loads(json.dumps(data))
    for parent, key in find_parents(path, copy):
        del parent[key]
    return dict(copy)


def mistyped_text(data: Mapping[str, Any], path: str, wanted: str) -> str:
    """`spec.replicas is "two"; a number was expected`."""
    found = [parent[key] for parent, key in find_parents(path, data)]
    value = f"is {json.dumps(found[0])[:80]}" if found else "has another type"
    return f"{path} {value}; {_TYPES.get(wanted, wanted)} was expected"


def conflict_values(data: Mapping[str, Any], live: Mapping[str, Any] | None, path: str) -> str:
    """` (there: 3, here: 2)` for a field; empty where one of them cannot be found."""
    there = [parent[key] for parent, key in find_parents(path, live or {})]
    here = [parent[key] for parent, key in find_parents(path, data)]
    return f" (there: {json.dumps(there[0])}, here: {json.dumps(here[0])})" if there and here else ""


def problems_of(
    manifest: Manifest, data: Mapping[str, Any], live: Mapping[str, Any] | None, error: ApiError, way_out: str
) -> list[Problem]:
    """What the server refused, with the line where it is written. `way_out` says how to take over the fields of others."""
    kind = manifest.kind
    shapes = [manifest.problem(path, f"{path} is no field of {kind}") for path in unknown_fields(error.message)]
    shapes += [manifest.problem(path, mistyped_text(data, path, wanted)) for path, wanted in mistyped_fields(error.message)]
    shapes += [manifest.problem(path, text) for path, text in repeated_entries(error.message, data)]
    if shapes:
        return shapes
    conflicts = [cause for cause in error.causes if cause.reason == "FieldManagerConflict"]
    if conflicts:
        return [
            manifest.problem(
                cause.field,
                f"{cause.field.lstrip('.')} belongs to {owner_named(cause.message) or 'someone else'}"
                f"{conflict_values(data, live, cause.field.lstrip('.'))}; {way_out}",
            )
            for cause in conflicts
        ]
    causes = [cause for cause in error.causes if cause.field]
    if isinstance(error, InvalidObjectError) and causes:
        return [manifest.problem(cause.field, f"{cause.field}: {cause.message}") for cause in causes]
    if isinstance(error, NotFoundError) and "namespaces" in error.message:
        namespace = (data.get("metadata") or {}).get("namespace", "")
        text = f"namespace {namespace} does not exist; create it, or add a Namespace to the manifests"
        return [manifest.problem("metadata.namespace", text)]
    return [manifest.problem("", error.message)]
