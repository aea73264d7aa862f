"""Deleting what left the source: in reverse order of waves, the next wave when the last is gone.

What cannot be deleted stays in the inventory with the reason and is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiError, NotFoundError
from plum_schemas.base import ObjectKey
from plum_schemas.sync import SYNC_LABEL, InventoryItem

from plum_controller.controllers.syncing.live import Live
from plum_controller.domain.sync.guards import kept
from plum_controller.domain.sync.identity import ObjectId
from plum_controller.domain.sync.order import dependencies_of, wave_of

REFUSED = "could not be deleted"
"""How the message of what the server did not delete begins."""


@dataclass(slots=True)
class Leaving:
    """Objects that left the source, sorted by what is to be done with them."""

    delete: dict[ObjectId, Mapping[str, Any]] = field(default_factory=dict)
    """To be deleted, as they are now."""
    going: dict[ObjectId, Mapping[str, Any]] = field(default_factory=dict)
    """Being deleted already: somebody has to finish first."""
    kept: dict[ObjectId, str] = field(default_factory=dict)
    """Left alone for good, and why."""
    gone: list[ObjectId] = field(default_factory=list)
    """Not there, or no longer this Sync's."""


def look_at(live: Live, label: str, identities: Sequence[ObjectId], *, prune: bool) -> Leaving:
    """What is to be done with each of the objects."""
    leaving = Leaving()
    for identity in identities:
        obj = live.get(identity)
        if obj is None or (((obj.get("metadata") or {}).get("labels") or {}).get(SYNC_LABEL)) != label:
            leaving.gone.append(identity)
        elif obj["metadata"].get("deletionTimestamp"):
            leaving.going[identity] = obj
        elif not prune:
            leaving.kept[identity] = "spec.prune is false"
        elif reason := kept(obj, identity.group, identity.kind):
            leaving.kept[identity] = reason
        else:
            leaving.delete[identity] = obj
    return leaving


async def delete(
    api: ApiClient, live: Live, leaving: Leaving, items: Mapping[ObjectId, InventoryItem]
) -> dict[ObjectId, InventoryItem]:
    """Delete the last wave that is left. Answers with what stays in the inventory."""
    both = {**leaving.delete, **leaving.going}
    last = max((_wave(obj) for obj in both.values()), default=0)
    needed = _needed(both)
    left: dict[ObjectId, InventoryItem] = {}
    for identity, obj in both.items():
        item = items[identity]
        if (identity.kind, identity.namespace, identity.name) in needed:
            left[identity] = _pending(item, "waits until what depends on it is gone")
        elif _wave(obj) != last:
            left[identity] = _pending(item, f"waits until wave {last} is gone")
        elif identity in leaving.going:
            holders = ", ".join(obj["metadata"].get("finalizers") or ["the server"])
            left[identity] = _pending(item, f"is being deleted and waits for {holders}")
        else:
            message = await _delete_one(api, live, identity, obj)
            if message is not None:
                left[identity] = _pending(item, message, "Failed" if message.startswith(REFUSED) else "Deleting")
    return left


async def _delete_one(api: ApiClient, live: Live, identity: ObjectId, obj: Mapping[str, Any]) -> str | None:
    """None when it is gone or going; the reason when it could not be deleted."""
    info = live.kind(str(obj["apiVersion"]), identity.kind)
    if info is None:
        return None
    key = ObjectKey(identity.namespace, identity.name)
    try:
        await api.delete(info, key, uid=str(obj["metadata"]["uid"]))
    except NotFoundError:
        return None
    except ApiError as error:
        return f"{REFUSED}: {error.message}"
    return "is being deleted" if obj["metadata"].get("finalizers") else None


def _pending(item: InventoryItem, message: str, result: Literal["Deleting", "Failed"] = "Deleting") -> InventoryItem:
    return msgspec.structs.replace(item, pending_delete=True, result=result, health="", message=message)


def _needed(objects: Mapping[ObjectId, Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """Kind, namespace and name of what others of the same wave depend on."""
    found: set[tuple[str, str, str]] = set()
    for identity, obj in objects.items():
        try:
            found |= {
                need for need in dependencies_of(obj, identity) if need != (identity.kind, identity.namespace, identity.name)
            }
        except ValueError:
            continue
    return found


def _wave(obj: Mapping[str, Any]) -> int:
    try:
        return wave_of(obj) or 0
    except ValueError:
        return 0
