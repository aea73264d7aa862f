"""What the server refused about a manifest, with the line where it is written.

    error of a dry run --problems_of--> Problem("web.yaml:7", "spec.replica is no field of Deployment; did you mean replicas?")

Decided by the type of the error and its causes. Two texts are read as well, those for unknown and for mistyped fields,
because a refused apply names them nowhere else.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from plum_client.errors import ApiError, ConflictError, InvalidObjectError, NotFoundError

from plum_cli.errors import CliError
from plum_cli.manifests import Problem
from plum_cli.paths import find_parents

if TYPE_CHECKING:
    from plum_cli.apply import Item
    from plum_cli.session import Session

_UNKNOWN = re.compile(
    r'unknown field "([^"]+)"|duplicate field "([^"]+)"|\.([^\s:]+(?:\[[^\]]*\][^\s:]*)*): field not declared in schema'
)
_MISTYPED = re.compile(r"\.([^\s:]+(?:\[[^\]]*\][^\s:]*)*): expected (\w+)(?: \([^)]*\))?, got (.+?)(?: at |, |$)")
_CONFLICT = re.compile(r'conflicts? with "([^"]+)"')


def conflict_owners(error: ConflictError) -> set[str]:
    """The field managers that the fields of a conflict belong to; one empty name where they cannot be told."""
    matches = [_CONFLICT.search(cause.message) for cause in error.causes]
    return {match[1] if match else "" for match in matches} or {""}


def by_line(entry: tuple[Problem, bool]) -> int:
    """Problems of one object in the order of the file."""
    return int(entry[0].where.rpartition(":")[2])


def unknown_fields(message: str) -> list[str]:
    """Paths of the fields that a refusal calls unknown or duplicate."""
    return list(dict.fromkeys(next(filter(None, match)).lstrip(".") for match in _UNKNOWN.findall(message)))


def unreadable_fields(message: str) -> list[str]:
    """Paths of all fields that kept the server from reading the rest."""
    return [*unknown_fields(message), *(path for path, _, _ in _MISTYPED.findall(message))]


def without_field(data: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of an object without the field at a path such as `spec.env[name="A"].valeu`; the same object if it is not there."""
    copy = json.loads(json.dumps(data))
    for parent, key in find_parents(path, copy):
        del parent[key]
    return dict(copy)


async def problems_of(session: Session, item: Item, error: ApiError) -> list[Problem]:
    """What the server refused, with the line where it is written."""
    manifest = item.manifest
    unknown = unknown_fields(error.message)
    shapes = [manifest.problem(path, await _unknown_text(session, item, path, error.message)) for path in unknown]
    mistyped = _MISTYPED.findall(error.message)
    shapes += [manifest.problem(path, _mistyped_text(item, path, wanted)) for path, wanted, _ in mistyped]
    if shapes:
        return shapes
    conflicts = [cause for cause in error.causes if cause.reason == "FieldManagerConflict"]
    if conflicts:
        return [manifest.problem(cause.field, _conflict_text(item, cause.field, cause.message)) for cause in conflicts]
    causes = [cause for cause in error.causes if cause.field]
    if isinstance(error, InvalidObjectError) and causes:
        return [manifest.problem(cause.field, f"{cause.field}: {cause.message}") for cause in causes]
    if isinstance(error, NotFoundError) and "namespaces" in error.message:
        text = f"namespace {item.namespace} does not exist; create it, or add a Namespace to the manifests"
        return [manifest.problem("metadata.namespace", text)]
    return [manifest.problem("", error.message)]


async def _unknown_text(session: Session, item: Item, path: str, message: str) -> str:
    if f'duplicate field "{path}"' in message:
        return f"{path} is there twice"
    from plum_cli.schema import load_schemas

    try:
        hint = (await load_schemas(session, item.info)).hint(path)
    except (ApiError, CliError):
        hint = ""  # the refusal is what matters; the suggestion is a courtesy
    return f"{path} is no field of {item.info.kind}{hint}"


def _mistyped_text(item: Item, path: str, wanted: str) -> str:
    found = [parent[key] for parent, key in find_parents(path, item.data)]
    value = f"is {json.dumps(found[0])[:80]}" if found else "has another type"
    names = {
        "string": "a text (in quotes)",
        "numeric": "a number",
        "boolean": "true or false",
        "list": "a list",
        "map": "an object",
    }
    return f"{path} {value}; {names.get(wanted, wanted)} was expected"


def _conflict_text(item: Item, path: str, message: str) -> str:
    owner = _CONFLICT.search(message)
    path = path.lstrip(".")
    there = [parent[key] for parent, key in find_parents(path, item.live or {})]
    here = [parent[key] for parent, key in find_parents(path, item.data)]
    values = f" (there: {json.dumps(there[0])}, here: {json.dumps(here[0])})" if there and here else ""
    who = owner[1] if owner else "someone else"
    return f"{path} belongs to {who}{values}; leave it out of the manifest, or take it over with --force-conflicts"
