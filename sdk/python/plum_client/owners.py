"""Owner references: who deletes this object with itself, and whose controller hears of its changes."""

from __future__ import annotations

from typing import overload

from plum_schemas.base import Object, OwnerReference

from plum_client.codec import JsonObject


@overload
def owned_by(owner: Object, *, controller: bool = True) -> OwnerReference: ...
@overload
def owned_by(owner: JsonObject, *, controller: bool = True) -> JsonObject: ...
def owned_by(owner: Object | JsonObject, *, controller: bool = True) -> OwnerReference | JsonObject:
    """The reference to put into `metadata.ownerReferences` of what `owner` creates, in the form of the owner.

    At most one reference of an object may have `controller`; that owner's controller reconciles when the object changes.
    """
    if isinstance(owner, Object):
        return OwnerReference(
            api_version=owner.api_version,
            kind=owner.kind,
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            controller=controller,
            block_owner_deletion=True,
        )
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": True,
    }
