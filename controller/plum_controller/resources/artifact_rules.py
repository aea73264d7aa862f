"""Rules of Artifacts: a name and version exist once in a namespace, and what is in use stays.

Deleting a whole namespace is not held up: everything in it goes, in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from plum_schemas.selectors import FieldRequirement, FieldSelector
from plum_schemas.validation import quote

from plum_controller.domain.artifacts import ARTIFACTS, uses
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import DUPLICATE, ApiStatusError, Cause
from plum_controller.resources.namespaces import NAMESPACES
from plum_controller.resources.rules import KindRules
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

USERS = ("deployments.plum.dev", "instances.plum.dev")
"""Kinds whose templates name artifacts."""
MAX_NAMED = 10


class ArtifactRules(KindRules):
    """Asked with every write of an Artifact; reads at most the objects of its namespace."""

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        spec, metadata = new.get("spec") or {}, new["metadata"]
        wanted = [FieldRequirement(f"spec.{field}", "=", str(spec.get(field))) for field in ("name", "version")]
        for entry in context.cache.list(ARTIFACTS, metadata.get("namespace", ""), None, FieldSelector(wanted)):
            if entry.key.name != metadata.get("name"):
                both = f"{spec.get('name')} {spec.get('version')}"
                message = f"Duplicate value: {quote(both)}: the artifact {entry.key.name} is this one"
                yield Cause(DUPLICATE, message, "spec.version")
                return

    def check_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
        ending = context.cache.get(Key(NAMESPACES, "", namespace))
        if ending is None or (b'"deletionTimestamp"' in ending.value and "deletionTimestamp" in decode(ending.value)["metadata"]):
            return
        users = list(_users(context, namespace, live.get("spec") or {}))
        if users:
            named = ", ".join(users[:MAX_NAMED]) + (f" and {len(users) - MAX_NAMED} more" if len(users) > MAX_NAMED else "")
            message = f'artifacts.plum.dev "{name}" is in use by {named}; delete them or give them another version first'
            causes = [{"reason": "InUse", "message": user} for user in users[:MAX_NAMED]]
            details = {"name": name, "group": kind.info.group, "kind": kind.info.plural, "causes": causes}
            raise ApiStatusError(409, "Conflict", message, details)


def _users(context: Context, namespace: str, spec: Json) -> Iterator[str]:
    text = str(spec.get("version", "")).encode()
    for resource in USERS:
        kind = resource.partition(".")[0].removesuffix("s")
        for entry in context.cache.list(resource, namespace, None, None):
            # Most objects name other packages: look into a document only when the version is in it.
            if text in entry.value and uses((decode(entry.value).get("spec") or {}).get("template") or {}, spec):
                yield f"{kind}/{entry.key.name}"
