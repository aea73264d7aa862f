"""What the server refused about a manifest, with the line where it is written.

    error of a dry run --problems_of--> Problem("web.yaml:7", "spec.replica is no field of Deployment; did you mean replicas?")

Decided by the type of the error and its causes. Three texts are read as well, those for unknown, mistyped and repeated
ones, because a refused apply names them nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plum_client.errors import ApiError, InvalidObjectError, NotFoundError
from plum_client.manifests.refusals import (
    conflict_owners,
    conflict_values,
    mistyped_fields,
    mistyped_text,
    owner_named,
    repeated_entries,
    unknown_fields,
    unreadable_fields,
    without_field,
)

from plum_cli.errors import CliError
from plum_cli.manifests import Problem

if TYPE_CHECKING:
    from plum_cli.apply import Item
    from plum_cli.session import Session

__all__ = ["by_line", "conflict_owners", "problems_of", "unreadable_fields", "without_field"]


def by_line(entry: tuple[Problem, bool]) -> int:
    """Problems of one object in the order of the file."""
    return int(entry[0].where.rpartition(":")[2])


async def problems_of(session: Session, item: Item, error: ApiError) -> list[Problem]:
    """What the server refused, with the line where it is written."""
    manifest = item.manifest
    unknown = unknown_fields(error.message)
    shapes = [manifest.problem(path, await _unknown_text(session, item, path, error.message)) for path in unknown]
    mistyped = mistyped_fields(error.message)
    shapes += [manifest.problem(path, mistyped_text(item.data, path, wanted)) for path, wanted in mistyped]
    shapes += [manifest.problem(path, text) for path, text in repeated_entries(error.message, item.data)]
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


def _conflict_text(item: Item, path: str, message: str) -> str:
    path = path.lstrip(".")
    values = conflict_values(item.data, item.live, path)
    who = owner_named(message) or "someone else"
    return f"{path} belongs to {who}{values}; leave it out of the manifest, or take it over with --force-conflicts"
