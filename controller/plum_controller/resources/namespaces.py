"""Namespaces: what may be created in them, how they end, and the ones that always exist.

    DELETE -> deletionTimestamp, phase Terminating -> the namespace controller deletes the contents
           -> PUT /finalize without the finalizer `kubernetes` -> gone

Nothing can be created in a namespace that ends: each create checks the namespace's revision in its own transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plum_schemas.core import PROTECTED_NAMESPACES, Namespace
from plum_schemas.node import NODE_LEASE_NAMESPACE

from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError, Cause, forbidden, not_found
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.rules import KindRules
from plum_controller.store.base import Check, Key

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind
    from plum_controller.resources.writing import Writer

NAMESPACES = "namespaces"
NAME_LABEL = "kubernetes.io/metadata.name"
CONTENT_FINALIZER = "kubernetes"
BOOTSTRAP = ("default", "kube-system", "kube-public", NODE_LEASE_NAMESPACE)
"""Created at every start where they are missing."""
UNDELETABLE = frozenset(PROTECTED_NAMESPACES) | {NODE_LEASE_NAMESPACE}
"""Without its leases every node would count as lost, so that namespace stays too."""


def admit_create(context: Context, kind: ResourceKind, namespace: str, name: str) -> Check:
    """The namespace must exist and must not be ending. The answer is the precondition that it stays so until the commit.

    Raises `ApiStatusError` 404 or 403.
    """
    key = Key(NAMESPACES, "", namespace)
    entry = context.cache.get(key)
    if entry is None:
        raise not_found(Namespace.info, namespace)
    # Most namespaces never end: look into the document only when the word is in it.
    if b'"deletionTimestamp"' in entry.value and "deletionTimestamp" in decode(entry.value)["metadata"]:
        cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
        message = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise forbidden(kind.info, name, message, [cause])
    return Check(key, entry.revision)


class NamespaceRules(KindRules):
    """The name as a label, the finalizer for the contents, the phase, and the namespaces that stay."""

    def defaults(self, new: Json) -> None:
        name = new["metadata"].get("name")
        if name:
            new["metadata"].setdefault("labels", {})[NAME_LABEL] = name

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        finalizers = new.setdefault("spec", {}).setdefault("finalizers", [])
        if CONTENT_FINALIZER not in finalizers:
            finalizers.append(CONTENT_FINALIZER)
        new["status"] = {"phase": "Active"}

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        if subresource != "finalize":
            if "spec" in live:
                new["spec"] = live["spec"]
            else:
                new.pop("spec", None)
        if "deletionTimestamp" in live["metadata"]:
            new.setdefault("status", {})["phase"] = "Terminating"

    def check_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        name = live["metadata"]["name"]
        if name in UNDELETABLE:
            raise forbidden(kind.info, name, "this namespace may not be deleted")

    def prepare_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        live.setdefault("status", {})["phase"] = "Terminating"

    def is_held(self, data: Json) -> bool:
        return bool(data.get("spec", {}).get("finalizers"))


async def bootstrap(context: Context, writer: Writer) -> None:
    """Create the namespaces that always exist. Safe to repeat, also by several controllers at once."""
    kind = context.registry.require(NAMESPACES)
    for name in BOOTSTRAP:
        if context.cache.get(Key(NAMESPACES, "", name)) is not None:
            continue
        try:
            await writer.create(kind, "", {"metadata": {"name": name}}, WriteOptions(field_manager="plum-controller"))
        except ApiStatusError as error:
            if error.reason != "AlreadyExists":
                raise
