"""The tasks that are part of the controller.

    run_builtin("builtin.echo", payload, call, surroundings) -> output, or TaskFailedError

They touch nothing outside of the namespace of their run: a run must not reach further than who may create it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_client.errors import ApiError, ConflictError, RevisionCompactedError
from plum_schemas.base import KindInfo, ObjectKey, ObjectMeta
from plum_schemas.durations import parse_duration
from plum_schemas.kv import KV, KVSpec, kv_name, type_of

from plum_controller.domain.expressions import ExpressionError, UnresolvedError, compile_condition, compile_value
from plum_controller.tasks.calls import Call, Surroundings, TaskFailedError

MAX_WAIT_SECONDS = 366 * 86_400.0
LISTED = 1000
"""Most keys that `builtin.kv` lists."""
HIDDEN_KINDS = frozenset({"Secret", "Token", "ServiceAccount"})
"""`builtin.wait` looks at none of these: what an expression tells of them would leak."""
Payload = Mapping[str, Any]


async def run_builtin(name: str, payload: Payload, call: Call, around: Surroundings) -> Any:
    """The output of a builtin. Raises `TaskFailedError`."""
    builtin = _BUILTINS.get(name) or _object_builtin(name)
    if builtin is None:
        known = ", ".join(sorted([*_BUILTINS, *_OBJECT_BUILTINS]))
        raise TaskFailedError(f"there is no builtin {name}; there are {known}", "UnknownBuiltin", retryable=False)
    return await builtin(payload, call, around)


async def _echo(payload: Payload, call: Call, around: Surroundings) -> Any:
    """The payload."""
    return dict(payload)


async def _delay(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{seconds: 2}` or `{duration: 2s}`: the payload, that much later. Counted from the first start: a restart adds nothing."""
    seconds = _seconds(payload)
    begun = call.started_at or around.now()
    await asyncio.sleep(max(0.0, seconds - max(0.0, (around.now() - begun).total_seconds())))
    return dict(payload)


async def _fail(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{message, reason, code, times}`: fails; with `times` only the first attempts."""
    times = payload.get("times")
    if times is not None:
        if isinstance(times, bool) or not isinstance(times, int):
            raise _unfit("times", times, "a whole number")
        if call.attempt > times:
            return {**payload, "attempt": call.attempt}
    message = str(payload.get("message") or "builtin.fail fails, as it was asked to")
    raise TaskFailedError(message, str(payload.get("reason") or "Error"), str(payload.get("code") or ""))


async def _transform(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{input: ..., output: {total: "input.a + input.b"}}` or `{input, expression}`: values of expressions over `input`."""
    values = {"input": payload.get("input"), "payload": dict(payload)}
    output, expression = payload.get("output"), payload.get("expression")
    if (output is None) == (expression is None):
        raise TaskFailedError("spec.payload: give either output or expression", "InvalidPayload", retryable=False)
    if expression is not None:
        return _evaluated(expression, "expression", values)
    if not isinstance(output, dict):
        raise _unfit("output", output, "an object whose values are expressions")
    return {name: _evaluated(text, f"output.{name}", values) for name, text in output.items()}


async def _wait(payload: Payload, call: Call, around: Surroundings) -> Any:
    """`{until: TIME}`, or `{kind, name, condition: "object.status.phase == 'Running'"}`: until an object here is so."""
    until, kind = payload.get("until"), payload.get("kind")
    if (until is None) == (kind is None):
        text = "spec.payload: give either until, or kind with name and condition"
        raise TaskFailedError(text, "InvalidPayload", retryable=False)
    if until is not None:
        moment = _time(until)
        while (left := (moment - around.now()).total_seconds()) > 0:  # noqa: ASYNC110  nobody tells when it is that late
            await asyncio.sleep(min(left, 3600.0))
        return {"until": moment.isoformat()}
    return await _wait_for_object(payload, call, around)


async def _wait_for_object(payload: Payload, call: Call, around: Surroundings) -> Any:
    name, text = payload.get("name"), payload.get("condition")
    if not isinstance(name, str) or not name:
        raise _unfit("name", name, "the name of an object")
    try:
        condition = compile_condition(str(text or ""), {"object"})
    except ExpressionError as error:
        raise TaskFailedError(f"spec.payload.condition: {error}", "InvalidPayload", retryable=False) from error
    try:
        info = await around.api.resolve(str(payload["kind"]))
    except ApiError as error:
        raise TaskFailedError(f"spec.payload.kind: {error.message}", "InvalidPayload", retryable=False) from error
    if info.kind in HIDDEN_KINDS or not info.namespaced:
        raise _unfit("kind", payload["kind"], "a kind of namespaced objects other than Secret, Token and ServiceAccount")
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
        raise _unfit("operation", operation, "get, put, delete or list")
    if operation == "list":
        return await _kv_list(str(payload.get("prefix") or ""), call, around)
    key = payload.get("key")
    if not isinstance(key, str) or not key:
        raise _unfit("key", key, "the key of an entry")
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


def _seconds(payload: Payload) -> float:
    value = payload.get("seconds", payload.get("duration", 0))
    try:
        seconds = parse_duration(value) if isinstance(value, str) and not value.replace(".", "", 1).isdigit() else float(value)
    except (TypeError, ValueError):
        raise _unfit("seconds", value, "a number of seconds, or a duration such as 2s") from None
    if isinstance(value, bool) or not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise _unfit("seconds", value, "0 or more, and at most a year")
    return seconds


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise _unfit("until", value, "a time such as 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _evaluated(text: Any, where: str, values: Mapping[str, Any]) -> Any:
    try:
        return compile_value("${{ " + str(text) + " }}", frozenset(values)).evaluate(values)
    except (ExpressionError, UnresolvedError) as error:
        raise TaskFailedError(f"spec.payload.{where}: {error}", "InvalidExpression", retryable=False) from error


def _unfit(field: str, value: Any, wanted: str) -> TaskFailedError:
    return TaskFailedError(f"spec.payload.{field} is {value!r}; give {wanted}", "InvalidPayload", retryable=False)


_BUILTINS: dict[str, Callable[[Payload, Call, Surroundings], Awaitable[Any]]] = {
    "builtin.delay": _delay,
    "builtin.echo": _echo,
    "builtin.fail": _fail,
    "builtin.kv": _kv,
    "builtin.sleep": _delay,
    "builtin.transform": _transform,
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
