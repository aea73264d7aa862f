"""The inventory of a Sync: written wider before the first object is applied, narrower after the last one is deleted.

So whatever moment a crash comes at, every object that the Sync made is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plum_schemas.sync import InventoryItem

from plum_controller.domain.sync.identity import ObjectId, id_of_item


def by_id(items: Iterable[InventoryItem]) -> dict[ObjectId, InventoryItem]:
    """The entries by the object they name."""
    return {id_of_item(item): item for item in items}


def widen(items: Iterable[InventoryItem], wanted: Mapping[ObjectId, str]) -> list[InventoryItem]:
    """The entries and, as Pending, those that are missing. `wanted` gives the API version of each object."""
    found = by_id(items)
    for identity, api_version in wanted.items():
        if identity not in found:
            found[identity] = InventoryItem(
                api_version=api_version, kind=identity.kind, namespace=identity.namespace, name=identity.name
            )
    return [found[identity] for identity in sorted(found)]


def leaving(items: Iterable[InventoryItem], wanted: Iterable[ObjectId]) -> list[ObjectId]:
    """Objects that were applied and are wanted no longer, in order."""
    staying = set(wanted)
    return sorted(identity for item in items if (identity := id_of_item(item)) not in staying)
