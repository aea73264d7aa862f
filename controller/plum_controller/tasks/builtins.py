"""The tasks that are part of the controller.

    run_builtin("builtin.echo", payload, call, surroundings) -> output, or TaskFailedError

They touch nothing outside of the namespace of their run: a run must not reach further than who may create it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from plum_client.errors import ApiError, ConflictError, RevisionCompactedError
from plum_flow.builtins import PURE, Payload, unfit, wait_until
from plum_flow.calls import Call, Surroundings, TaskFailedError
from plum_flow.expressions import ExpressionError, UnresolvedError, compile_condition
from plum_schemas.base import KindInfo, ObjectKey, ObjectMeta
from plum_schemas.kv import KV, KVSpec, kv_name, type_of

LISTED = 1000
"""Most keys that `builtin.kv` lists."""
HIDDEN_KINDS = frozenset({"Secret", "Token", "ServiceAccount"})
"""`builtin.wait` looks at none of these: what an expression tells of them would leak."""


async def run_builtin(name: str, payload: Payload, call: Call, around: Surroundings) -> Any:
    """The output of a builtin. Raises `TaskFailedError`."""
    pure = PURE.get(name)
    if pure is not None:
        return await pure(payload, call, around.now)
    builtin = _BUILTINS.get(name) or _object_builtin(name)
    if builtin is None:
        known = ", ".join(sorted([*PURE, *_BUILTINS, *_OBJECT_BUILTINS]))
        raise TaskFailedError(f"there is no builtin {name}; there are {known}", "UnknownBuiltin", retryable=False)
    return await builtin(payload, call, around)


async def _wait(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{until: TIME}`, or `{kind, name, condition: "object.status.phase == 'Running'"}`: until an object here is so."""
    until, kind = payload.get("until"), payload.get("kind")
    if (until is None) == (kind is None):
        text = "spec.payload: give either until, or kind with name and condition"
        raise TaskFailedError(text, "InvalidPayload", retryable=False)
    if until is not None:
        return await wait_until(until, around.now)
    return await _wait_for_object(payload, call, around)


async def _wait_for_object(payload: Payload, call: Call, around: Surroundings) -> Any:
    name, text = payload.get("name"), payload.get("condition")
    if not isinstance(name, str) or not name:
        raise unfit("name", name, "the name of an object")
    try:
        condition = compile_condition(str(text or ""), {"object"})
    except ExpressionError as error:
        raise TaskFailedError(f"spec.payload.condition: {error}", "InvalidPayload", retryable=False) from error
    try:
        info = await around.api.resolve(str(payload["kind"]))
    except ApiError as error:
        raise TaskFailedError(f"spec.payload.kind: {error.message}", "InvalidPayload", retryable=False) from error
    if info.kind in HIDDEN_KINDS or not info.namespaced:
        raise unfit("kind", payload["kind"], "a kind of namespaced objects other than Secret, Token and ServiceAccount")
    pause = 0.1
    while True:
        try:
            await _watch_until(info, name, call.namespace, condition.is_true, around)
            return {"met": True}
        except RevisionCompactedError:
            pause = 0.1
        except ApiError:
            pause = min(pause * 2, 10.0)
        await asyncio.sleep(pause)


async def _watch_until(
    info: KindInfo, name: str, namespace: str, is_met: Callable[[Mapping[str, Any]], bool], around: Surroundings
) -> None:
    """Returns once an object is so; raises `ApiError` when the watch ends."""
    while True:
        watch = around.api.watch(info, namespace, fields=f"metadata.name={name}")
        async with aclosing(watch) as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED") and _holds(is_met, event.object):
                    return


def _holds(is_met: Callable[[Mapping[str, Any]], bool], found: Any) -> bool:
    try:
        return is_met({"object": found})
    except UnresolvedError:
        return False  # a field that it names is not there yet


async def _kv(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{operation: get|put|delete|list, key, value, type, prefix}` on the entries of the run's namespace."""
    operation = payload.get("operation", "get")
    if operation not in ("get", "put", "delete", "list"):
        raise unfit("operation", operation, "get, put, delete or list")
    if operation == "list":
        return await _kv_list(str(payload.get("prefix") or ""), call, around)
    key = payload.get("key")
    if not isinstance(key, str) or not key:
        raise unfit("key", key, "the key of an entry")
    where = ObjectKey(call.namespace, kv_name(key))
    try:
        if operation == "delete":
            found = await around.api.get(KV, where)
            await around.api.delete(KV, where)
            return {"key": key, "deleted": found is not None}
        if operation == "put":
            return await _kv_put(key, where, payload, around)
        found = await around.api.get(KV, where)
    except ApiError as error:
        raise TaskFailedError(f"{operation} of key {key}: {error.message}", "KVRefused", str(error.code or "")) from error
    if found is None:
        return {"key": key, "found": False, "value": payload.get("default")}
    return _shown(key, found)


async def _kv_put(key: str, where: ObjectKey, payload: Payload, around: Surroundings) -> Any:
    value = payload.get("value")
    spec = {"key": key if where.name != key else "", "type": payload.get("type") or type_of(value), "value": value}
    if payload.get("ttl") is not None:
        spec["ttl"] = payload["ttl"]
    try:
        checked = msgspec.convert(spec, KVSpec)
    except msgspec.ValidationError as error:
        raise TaskFailedError(f"spec.payload: {error}", "InvalidPayload", retryable=False) from error
    for _ in range(10):
        live = await around.api.get(KV, where)
        try:
            if live is None:
                made = await around.api.create(KV(metadata=ObjectMeta(name=where.name, namespace=where.namespace), spec=checked))
            else:
                made = await around.api.update(msgspec.structs.replace(live, spec=checked))
        except ConflictError:
            continue
        return _shown(key, made)
    raise TaskFailedError(f"key {key} was changed by others each time it was written", "Conflict", "409")


async def _kv_list(prefix: str, call: Call, around: Surroundings) -> Any:
    entries = {}
    for entry in await around.api.list(KV, call.namespace):
        if entry.key_text.startswith(prefix):
            entries[entry.key_text] = entry.spec.value
        if len(entries) > LISTED:
            raise TaskFailedError(
                f"more than {LISTED} keys begin with {prefix!r}; use a longer prefix", "TooMany", retryable=False
            )
    return {"prefix": prefix, "entries": entries}


def _shown(key: str, entry: KV) -> dict[str, Any]:
    revision = entry.metadata.resource_version
    return {"key": key, "found": True, "value": entry.spec.value, "type": entry.spec.type, "resourceVersion": revision}


_BUILTINS: dict[str, Callable[[Payload, Call, Surroundings], Awaitable[Any]]] = {
    "builtin.kv": _kv,
    "builtin.wait": _wait,
}
_OBJECT_BUILTINS = ("builtin.apply", "builtin.delete", "builtin.patch", "builtin.rollback", "builtin.rollout", "builtin.transact")
"""Those that change objects, loaded with the first of them."""


def _object_builtin(name: str) -> Callable[[Payload, Call, Surroundings], Awaitable[Any]] | None:
    if name not in _OBJECT_BUILTINS:
        return None
    from plum_controller.tasks import object_builtins

    found: Callable[[Payload, Call, Surroundings], Awaitable[Any]] = getattr(object_builtins, name.removeprefix("builtin."))
    return found
