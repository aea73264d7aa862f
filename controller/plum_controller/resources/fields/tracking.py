"""Field ownership of everything that is not an apply: create, update, patches.

    live, new -> compare -> taken from every entry, added to the writer's -> new.metadata.managedFields

A writer owns what it changed. The object must be final when it comes here: defaults filled, status or spec that the
endpoint does not write put back from `live`.
"""

from __future__ import annotations

from typing import Any

from plum_controller.resources.fields.compare import Comparison, compare, whole
from plum_controller.resources.fields.managed import UPDATE, Owned, Owner, Owners, cap, read_sent, read_stored, write_entries
from plum_controller.resources.fields.sets import LEAF, SELF, Tree, difference, intersection, recursive_difference, union
from plum_controller.resources.fields.typed import FREE, FieldSchema, FieldTypeError
from plum_controller.resources.schema.values import is_same

Json = dict[str, Any]

STRIP: Tree = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {
        ".": LEAF,
        **{
            f"f:{name}": LEAF
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        },
    },
}
"""What nobody owns: it names the object or belongs to the server."""


def track_update(
    live: Json | None, new: Json, manager: str, api_version: str, subresource: str, now: str, schema: FieldSchema
) -> None:
    """Set `new.metadata.managedFields` after a create (`live` is None), an update or a patch other than apply.

    `now` is RFC 3339 in seconds. A client may replace the entries by sending valid ones, and clears them by `[]` or
    `[{}]`; anything else keeps those of `live`. An object that nobody tracks stays so.
    """
    metadata = new["metadata"]
    sent = metadata.pop("managedFields", None)
    if live is None:
        _track_new(new, Owner(manager, UPDATE, api_version, subresource), now, schema)
        return
    owners = _owners(live, sent, subresource)
    if not owners:
        return
    try:
        changes = compare_objects(live, new, schema)
    except FieldTypeError:  # an item without its keys cannot be named: ownership stays as it was
        write_entries(metadata, owners)
        return
    changes = exclude(changes, schema.reset_fields(subresource))
    if changes.is_empty:
        if sent == live["metadata"].get("managedFields"):
            metadata["managedFields"] = sent
        else:
            write_entries(metadata, owners)
        return
    owners = take(owners, changes)
    mine = union(changes.added, changes.modified)
    add_update(owners, Owner(manager, UPDATE, api_version, subresource), mine, now)
    cap(owners)
    write_entries(metadata, owners)


def _track_new(new: Json, owner: Owner, now: str, schema: FieldSchema) -> None:
    """Give every field of a new object to who creates it."""
    known, other = schema.root.fields or {}, schema.root.element or FREE
    reset = schema.reset_fields(owner.subresource)
    mine: Tree = {}
    try:
        for name, value in new.items():
            element = f"f:{name}"
            strip = STRIP.get(element)
            if element in reset or strip is LEAF:
                continue
            fields = whole(value, known.get(name, other))
            if strip is not None:
                fields = {part: below for part, below in fields.items() if part not in strip and part != SELF}
                if not fields:
                    continue
            mine[element] = fields
    except FieldTypeError:  # an item without its keys cannot be named: nobody owns anything
        return
    if mine:
        write_entries(new["metadata"], {owner: Owned(mine, owner.api_version, now)})


def _owners(live: Json, sent: Any, subresource: str) -> Owners:
    """The entries a write starts from: those the client sent if it may and they are valid, else the stored ones."""
    stored = live["metadata"].get("managedFields")
    if sent is None or subresource or sent == stored:
        return read_stored(live["metadata"])
    if sent in ([], [{}]):
        return {}
    try:
        return read_sent(sent) or read_stored(live["metadata"])
    except (ValueError, TypeError):
        return read_stored(live["metadata"])


def compare_objects(old: Json, new: Json, schema: FieldSchema) -> Comparison:
    """Compare without the entries themselves: they are large, and nobody owns them."""
    metadata = old.get("metadata")
    if metadata and "managedFields" in metadata:
        old = {**old, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}
    return compare(old, new, schema.root)


def exclude(changes: Comparison, reset: Tree) -> Comparison:
    if not reset:
        return changes
    return Comparison(*(recursive_difference(tree, reset) for tree in changes))


def take(owners: Owners, changes: Comparison) -> Owners:
    """The owners without what changed. Who has nothing left goes."""
    changed = union(changes.added, changes.modified)
    out: Owners = {}
    for owner, owned in owners.items():
        fields = difference(difference(owned.fields, intersection(owned.fields, changed)), changes.removed)
        if fields is owned.fields:
            out[owner] = owned
        elif fields:
            out[owner] = owned._replace(fields=fields)
    return out


def add_update(owners: Owners, owner: Owner, mine: Tree, now: str) -> None:
    """Give an update's changes to its entry."""
    mine = difference(mine, STRIP)
    if not mine:
        return
    before = owners.get(owner)
    owners[owner] = Owned(union(mine, before.fields) if before else mine, owner.api_version, now)


def restore_times(live: Json, new: Json) -> bool:
    """True if a write changed nothing but times in managedFields; they are then put back, so `new` equals `live`."""
    before, after = live["metadata"].get("managedFields") or [], new["metadata"].get("managedFields") or []
    if len(before) != len(after):
        return False
    for old, fresh in zip(before, after, strict=True):
        if {**old, "time": ""} != {**fresh, "time": ""}:
            return False
    if not is_same(_bare(live), _bare(new)):
        return False
    if "managedFields" in live["metadata"]:
        new["metadata"]["managedFields"] = before
    return True


def _bare(value: Json) -> Json:
    return {**value, "metadata": {name: part for name, part in value["metadata"].items() if name != "managedFields"}}
