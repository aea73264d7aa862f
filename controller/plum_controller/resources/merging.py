"""The steps between the live object and the new one: patches, the parts that an endpoint writes, what counts as a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from plum_controller.resources import metadata as meta
from plum_controller.resources.encode import Json, same
from plum_controller.resources.errors import (
    bad_request,
    conflict,
    no_such_resource,
    too_large,
    unprocessable,
    unsupported_media_type,
)
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import PatchType
from plum_controller.resources.patches import PatchError, json_patch, merge_patch, strategic_merge_patch
from plum_controller.store.base import Revision


def check_subresource(kind: ResourceKind, subresource: str) -> None:
    """Raises `ApiStatusError` 404 if the kind has no such part."""
    has_it = {"": True, "status": kind.info.has_status, "finalize": kind.info.resource == "namespaces"}
    if not has_it.get(subresource, False):
        raise no_such_resource()


def check_revision(kind: ResourceKind, name: str, given: str | None, live: Revision) -> None:
    """The write must be made on the live version, if it says on which. Raises `ApiStatusError` 409 or 400."""
    if given not in (None, "", "0", str(live)):
        if not given.isascii() or not given.isdigit():
            raise bad_request(f"metadata.resourceVersion is {given!r}; send back the one that was read")
        raise conflict(kind.info, name)


def patcher(kind: ResourceKind, patch_type: PatchType) -> Callable[[Json, Any], Any]:
    """What applies a patch to a copy of an object. Raises `ApiStatusError` 415 for types the kind does not take."""
    if patch_type == "strategic" and not kind.info.strategic_merge:
        accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )

    def change(live: Json, patch: Any) -> Any:
        with refusing_patches():
            if patch_type == "merge":
                return merge_patch(live, _object_of(patch))
            if patch_type == "json":
                return json_patch(live, patch)
            return strategic_merge_patch(live, _object_of(patch), kind.openapi)

    return change


@contextmanager
def refusing_patches() -> Iterator[None]:
    """Turns what is wrong with a patch into the answer: 400 for no patch at all, 422 for one that does not fit."""
    try:
        yield
    except PatchError as error:
        if error.code == 422:
            raise unprocessable(error.message) from error
        if error.code == 413:
            raise too_large(error.message) from error
        raise bad_request(error.message) from error


def _object_of(patch: Any) -> Json:
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch is an object")
    return patch


def merge_parts(kind: ResourceKind, live: Json, given: Json, metadata: Json, subresource: str) -> Json:
    """The new object: the part that this endpoint writes from `given`, the rest from `live`."""
    if subresource == "status":
        new = {**live, "metadata": metadata}
        _put(new, "status", given)
        for field in meta.EMPTY_IS_ABSENT:
            _put(metadata, field, live["metadata"])
    elif subresource == "finalize":
        new = {**live, "metadata": metadata}
        _put(new, "spec", given)
    else:
        new = {**given, "metadata": metadata}
        if kind.info.has_status:
            _put(new, "status", live)
    return new


def _put(target: Json, field: str, source: Json) -> None:
    if field in source:
        target[field] = source[field]
    else:
        target.pop(field, None)


def is_same_spec(kind: ResourceKind, live: Json, new: Json) -> bool:
    """Whether everything outside metadata and status is the same."""
    skipped = ("metadata", "status") if kind.info.has_status else ("metadata",)
    before = {name: value for name, value in live.items() if name not in skipped}
    return same(before, {name: value for name, value in new.items() if name not in skipped})


def may_differ_only_in_owners(live: Json, new: Json) -> bool:
    """A quick look whether at most metadata differs, which spares most writes the careful comparison."""
    return all(new.get(name) == value for name, value in live.items() if name != "metadata") and len(new) == len(live)
