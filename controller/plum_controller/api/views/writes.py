"""Changes through a view: each becomes the same change of the stored object, or is refused with the way to do it.

    DELETE                        -> the stored object is deleted
    PATCH, PUT                    -> the view before and after, compared: what may differ is patched into the stored object
    POST pods/NAME/eviction       -> eviction.py
    everything else               -> 405, or 403 for a field that the view only shows

The comparison makes every type of patch work alike, strategic merge among them, which only core kinds have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from plum_schemas.base import ObjectKey

from plum_controller.api.absent import part_advice
from plum_controller.api.bodies import read_object, read_patch
from plum_controller.api.requests import ApiRequest
from plum_controller.api.views.kind import ViewKind
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError, bad_request, conflict, forbidden, method_not_allowed
from plum_controller.resources.merging import patcher
from plum_controller.resources.options import DeleteOptions, ListOptions, Outcome, WriteOptions
from plum_controller.resources.service import ResourceService

ATTEMPTS = 8
"""Of a change that names no revision, against other writers."""
_OF_THE_SERVER = ("resourceVersion", "generation", "managedFields", "creationTimestamp", "selfLink")
"""Metadata whose value in a body means nothing, as in any update."""


def refused(view: ViewKind, verb: str, name: str = "", part: str = "") -> ApiStatusError:
    """405 with the way to do it."""
    error = method_not_allowed(view.info, f"{verb} of {part}" if part else verb, name)
    instead = part_advice(view.info.plural, part) or view.instead
    return ApiStatusError(error.code, error.reason, f"{error.message}: {instead}", error.details)


async def change(service: ResourceService, view: ViewKind, request: ApiRequest, key: ObjectKey, options: WriteOptions) -> Outcome:
    """A PATCH or PUT of one object. Raises `ApiStatusError`."""
    make, names_revision = _replacement(request, key) if request.method == "PUT" else _patched(request, view, key.name)
    stored = service.registry.require(view.resource)
    for attempt in range(ATTEMPTS):
        live = decode(service.get(view, key))
        new = make(decode(service.get(view, key)))
        _check(view, live, new)
        patch = _difference(view, live, new)
        if not patch:
            return Outcome(service.get(view, key), int(live["metadata"]["resourceVersion"]), changed=False)
        if view.complete is not None:
            view.complete(patch)
        patch.setdefault("metadata", {})["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            outcome = await service.patch(stored, key, "merge", patch, options)
        except ApiStatusError as error:
            if error.reason != "Conflict" or names_revision or attempt == ATTEMPTS - 1:
                raise
            continue
        return shown(view, outcome)
    raise conflict(view.info, key.name)


def shown(view: ViewKind, outcome: Outcome) -> Outcome:
    """What a write of the stored object did, as the view shows it."""
    return Outcome(
        view.present(outcome.value),
        outcome.revision,
        outcome.created,
        outcome.changed,
        outcome.warnings,
        outcome.gone,
        outcome.uid,
    )


async def delete_all(service: ResourceService, view: ViewKind, which: ListOptions, options: DeleteOptions) -> list[bytes]:
    """Delete what a list shows. Answers with the last states."""
    listed = await service.list(view, which)
    stored = service.registry.require(view.resource)
    values = []
    for entry in listed.entries:
        try:
            outcome = await service.delete(stored, ObjectKey(entry.key.namespace, entry.key.name), options)
        except ApiStatusError as error:
            if error.code != 404:
                raise
            continue
        values.append(view.present(outcome.value))
    return values


def _replacement(request: ApiRequest, key: ObjectKey) -> tuple[Callable[[Json], Json], bool]:
    """What makes the new object, and whether the client named the revision that it is to replace."""
    body, _ = read_object(request)
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") not in (None, key.name):
        raise bad_request(f"the name of the object does not match the name on the URL ({key.name})")
    return lambda live: body, bool(metadata.get("resourceVersion"))


def _patched(request: ApiRequest, view: ViewKind, name: str) -> tuple[Callable[[Json], Json], bool]:
    """The same for a patch. A JSON patch names a revision by testing it, each time anew."""
    type_, patch, _ = read_patch(request, view.info)
    if type_ == "apply":
        raise refused(view, "apply", name)
    apply = patcher(view, type_)

    def make(live: Json) -> Json:
        new = apply(live, patch)
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise bad_request("error decoding patch: what it makes is no object")
        return new

    metadata = patch.get("metadata") if isinstance(patch, dict) else None
    return make, isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


def _check(view: ViewKind, live: Json, new: Json) -> None:
    """Raises `ApiStatusError`: 409 for a revision that is not the live one, 403 for fields that are only shown."""
    before, after = live["metadata"], new["metadata"]
    revision = after.get("resourceVersion")
    if revision and revision != before["resourceVersion"]:
        raise conflict(view.info, before["name"])
    for path in _differing(_without(view, live), _without(view, new), ()):
        raise forbidden(view.info, before["name"], f"{'.'.join(path)} cannot be changed here; {view.instead}")


def _without(view: ViewKind, value: Json) -> Json:
    """What may not differ."""
    metadata = value["metadata"]
    left = {name: part for name, part in value.items() if name not in ("status", "metadata", "apiVersion", "kind")}
    left["metadata"] = {name: part for name, part in metadata.items() if name not in _OF_THE_SERVER}
    for path in view.writable:
        left = _dropped(left, path)
    return left


def _dropped(value: Json, path: tuple[str, ...]) -> Json:
    """A copy without what is at a path."""
    name, *below = path
    if not below:
        return {key: part for key, part in value.items() if key != name}
    part = value.get(name)
    return {**value, name: _dropped(part, tuple(below))} if isinstance(part, dict) else value


def _at(value: Json, path: tuple[str, ...]) -> Any:
    found: Any = value
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _differing(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where two values differ. What is empty and what is absent are the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _differing(before.get(name), after.get(name), (*path, name))
    elif (before or after) and before != after:
        yield path


def _difference(view: ViewKind, live: Json, new: Json) -> Json:
    """A merge patch of the stored object."""
    patch: Json = {}
    for path in view.writable:
        before, after = _at(live, path), _at(new, path)
        if before == after or (not before and not after and 0 not in (before, after)):
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            removed: Json = dict.fromkeys(before.keys() - after.keys())
            after = removed | {key: value for key, value in after.items() if before.get(key) != value}
        *parents, name = path
        node = patch
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = None if after in ({}, [], "", False) else after
    return patch
