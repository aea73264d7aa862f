"""Finalizers: who must clean up before an object goes.

    ensure_finalizer -> first side effect -> ... -> deletion_timestamp is set -> clean up -> remove_finalizer -> gone

Both carry the resource version that was read, so they never undo what somebody else wrote: a stale object gives
`ConflictError`.
"""

from __future__ import annotations

from plum_schemas.base import Object

from plum_client.client import ApiClient
from plum_client.codec import T
from plum_client.errors import NotFoundError


def has_finalizer(obj: Object, name: str) -> bool:
    return name in obj.metadata.finalizers


async def ensure_finalizer(api: ApiClient, obj: T, name: str) -> T:
    """The object with this finalizer on it; writes only if it is missing."""
    if name in obj.metadata.finalizers:
        return obj
    return await _write(api, obj, [*obj.metadata.finalizers, name])


async def remove_finalizer(api: ApiClient, obj: T, name: str) -> T | None:
    """The object without this finalizer, None if it is gone already; writes only if it is there."""
    if name not in obj.metadata.finalizers:
        return obj
    try:
        return await _write(api, obj, [known for known in obj.metadata.finalizers if known != name])
    except NotFoundError:
        return None


async def _write(api: ApiClient, obj: T, finalizers: list[str]) -> T:
    metadata = {"resourceVersion": obj.metadata.resource_version, "uid": obj.metadata.uid, "finalizers": finalizers}
    return await api.patch(type(obj), obj.key, {"metadata": metadata})
