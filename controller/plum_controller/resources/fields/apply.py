"""Server-side apply: a manager declares the fields it wants, and gives up those it no longer declares.

    live, config -> merge -> prune what the manager dropped and nobody else has -> conflicts with other owners?
                 -> object with the manager's entry replaced

Setting a field to the value it has makes a second owner, not a conflict. Applying the same configuration again changes
nothing, not even a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from plum_controller.resources.errors import Cause
from plum_controller.resources.fields.compare import compare
from plum_controller.resources.fields.config import check_types, field_set
from plum_controller.resources.fields.elements import Path, shown_path
from plum_controller.resources.fields.managed import APPLY, UPDATE, Owned, Owner, Owners, cap, read_stored, write_entries
from plum_controller.resources.fields.merge import merge
from plum_controller.resources.fields.prune import prune
from plum_controller.resources.fields.sets import (
    LEAF,
    FieldSet,
    Tree,
    difference,
    intersection,
    paths,
    recursive_difference,
    union,
)
from plum_controller.resources.fields.tracking import STRIP, add_update, compare_objects, exclude
from plum_controller.resources.fields.typed import FieldSchema, FieldTypeError
from plum_controller.resources.schema.values import copy_json, is_same

Json = dict[str, Any]

BEFORE_FIRST_APPLY = "before-first-apply"
"""Owns everything of an object that nobody tracked until its first apply."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl's client-side apply keeps its last configuration."""

MAX_ANNOTATIONS_BYTES = 256 * 1024
"""Kubernetes' limit for all annotations of an object together."""

_encode = msgspec.json.Encoder(order="sorted").encode


class ApplyResult(NamedTuple):
    """What an apply leads to."""

    object: Json
    """A new object that shares nothing with the arguments but the entries of managedFields."""
    changed: bool
    """Something besides managedFields is different. False also when only a co-owner was added."""


class Conflict(NamedTuple):
    """One field that another owner set to another value."""

    owner: Owner
    path: Path


class ApplyError(ValueError):
    """A configuration that cannot be applied to this kind, such as one with an undeclared field."""


class ApplyConflict(Exception):  # noqa: N818 - Kubernetes' word, and part of the contract
    """Other managers own what the configuration changes. The message and `causes` are Kubernetes'."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        self.conflicts = conflicts
        super().__init__(_message(conflicts))

    @property
    def causes(self) -> list[Cause]:
        return [Cause("FieldManagerConflict", f"conflict with {owner}", shown_path(path)) for owner, path in self.conflicts]


def _message(conflicts: list[Conflict]) -> str:
    if len(conflicts) == 1:
        owner, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {owner}: {shown_path(path)}"
    lines = []
    previous = None
    for owner, path in conflicts:
        if owner != previous:
            lines.append(f"conflicts with {owner}:")
            previous = owner
        lines.append(f"- {shown_path(path)}")
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def apply(
    live: Json | None,
    config: Json,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
    force: bool,
    schema: FieldSchema,
) -> ApplyResult:
    """Apply `config` to `live`, or create the object if that is None.

    `now` is RFC 3339 in seconds. The result may hold nulls where the last field of an object went: default it, which
    drops them. Raises ApplyConflict, or ApplyError for a configuration that does not fit the schema.
    """
    problems = check_types(config, schema.root)
    if problems:
        raise ApplyError(_joined(problems))
    base, owners = _starting_point(live, api_version, subresource, now, schema)
    try:
        attempt = _attempt(base, config, owners, Owner(manager, APPLY, "", subresource), api_version, now, force, schema)
        conflicts = attempt.conflicts
        if conflicts and manager == "kubectl":
            conflicts = _not_last_applied(base, conflicts, api_version, schema)
        if conflicts:
            raise ApplyConflict(conflicts)
        if attempt.conflicts:
            attempt = _attempt(base, config, owners, Owner(manager, APPLY, "", subresource), api_version, now, True, schema)
    except FieldTypeError as error:
        raise ApplyError(str(error)) from error
    result = copy_json(attempt.object)
    changed = attempt.changed or live is None
    if manager == "kubectl":
        changed = _rewrite_last_applied(result, config) or changed
    write_entries(result.setdefault("metadata", {}), attempt.owners)
    return ApplyResult(result, changed)


def _joined(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else "\n".join(["errors:", *(f"  {problem}" for problem in problems)])


def _starting_point(live: Json | None, api_version: str, subresource: str, now: str, schema: FieldSchema) -> tuple[Json, Owners]:
    """The live object without its entries, and its owners. An object without any gets one that owns everything."""
    if live is None:
        return {}, {}
    base = {**live, "metadata": {name: value for name, value in live["metadata"].items() if name != "managedFields"}}
    owners = read_stored(live["metadata"])
    if not owners:
        changes = exclude(compare_objects({}, base, schema), schema.reset_fields(subresource))
        add_update(owners, Owner(BEFORE_FIRST_APPLY, UPDATE, api_version, subresource), changes.added, now)
        cap(owners)
    return base, owners


class _Attempt(NamedTuple):
    object: Json
    owners: Owners
    changed: bool
    conflicts: list[Conflict]


def _attempt(
    base: Json, config: Json, owners: Owners, me: Owner, api_version: str, now: str, force: bool, schema: FieldSchema
) -> _Attempt:
    """One run of the algorithm. With conflicts and without `force` only they are meaningful."""
    root, reset = schema.root, schema.reset_fields(me.subresource)
    mine = field_set(config, root)
    if reset:
        mine = recursive_difference(mine, reset)
    last = owners.get(me)
    owners = {**owners, me: Owned(mine, api_version, last.time if last else "")}
    merged = merge(base, config, root)
    if last is not None:
        pruned = _prune(merged, last.fields, owners, schema)
        # Merged again: an object that pruning emptied may be one that the configuration wants empty.
        merged = merged if pruned is merged else merge(pruned, config, root)
    changes = exclude(compare(base, merged, root), reset)
    changed_fields = union(changes.added, changes.modified)
    conflicts: list[Conflict] = []
    out: Owners = {}
    for owner in sorted(owners):
        owned = owners[owner]
        if owner != me:
            both = intersection(owned.fields, changed_fields)
            if both and not force:
                conflicts.extend(Conflict(owner, path) for path in paths(both))
            fields = difference(difference(owned.fields, both), changes.removed)
            owned = owned if fields is owned.fields else owned._replace(fields=fields)
        else:
            owned = owned._replace(fields=difference(owned.fields, STRIP))
        if owned.fields:
            out[owner] = owned
    changed = merged != base or (root.loose and not is_same(base, merged))
    if changed and me in out:
        out[me] = out[me]._replace(time=now)
    return _Attempt(merged, out, changed, conflicts)


def _prune(merged: Json, last: Tree, owners: Owners, schema: FieldSchema) -> Json:
    """Take out what the manager applied last time, does not apply now, and nobody else has."""
    managed: Tree = LEAF
    for owned in owners.values():
        managed = union(managed, owned.fields)
    return prune(merged, last, managed, schema.root) if difference(last, managed) else merged


def _not_last_applied(live: Json, conflicts: list[Conflict], api_version: str, schema: FieldSchema) -> list[Conflict]:
    """The conflicts that remain when kubectl changes over from client-side apply.

    What the annotation holds and the object still has was kubectl's own, so it may take those fields.
    """
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return conflicts
    try:
        applied = msgspec.json.decode(text)
        if not isinstance(applied, dict) or applied.get("apiVersion") != api_version or check_types(applied, schema.root):
            return conflicts
        changes = compare(applied, live, schema.root)
        fields = field_set(applied, schema.root)
    except (msgspec.DecodeError, FieldTypeError):
        return conflicts
    for changed in changes:
        fields = difference(fields, changed)
    own = FieldSet(fields)
    return [conflict for conflict in conflicts if conflict.path not in own]


def _rewrite_last_applied(result: Json, config: Json) -> bool:
    """Keep kubectl's annotation in step, so that a later client-side apply computes the right difference. True if it changed."""
    annotations = (result.get("metadata") or {}).get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return False
    applied = copy_json(config)
    (applied["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
    text = _encode(applied).decode() + "\n"
    before = annotations[LAST_APPLIED]
    annotations[LAST_APPLIED] = text
    if sum(len(name.encode()) + len(str(value).encode()) for name, value in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        del annotations[LAST_APPLIED]
    return bool(before != text)
