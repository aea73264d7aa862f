"""Builtins that need nothing but their payload and a clock: the controller runs them, and a node for runs delegated to it.

PURE["builtin.echo"](payload, call, now) -> output, or TaskFailedError
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

from plum_schemas.durations import parse_duration

from plum_flow.calls import Call, TaskFailedError
from plum_flow.expressions import ExpressionError, UnresolvedError, compile_value

MAX_WAIT_SECONDS = 366 * 86_400.0
Payload = Mapping[str, Any]
Now = Callable[[], datetime]


async def _echo(payload: Payload, call: Call, now: Now) -> Any:
    """The payload."""
    return dict(payload)


async def _delay(payload: Payload, call: Call, now: Now) -> Any:
    """`{seconds: 2}` or `{duration: 2s}`: the payload, that much later. Counted from the first start: a restart adds nothing."""
    seconds = _seconds(payload)
    begun = call.started_at or now()
    await asyncio.sleep(max(0.0, seconds - max(0.0, (now() - begun).total_seconds())))
    return dict(payload)


async def _fail(payload: Payload, call: Call, now: Now) -> Any:
    """`{message, reason, code, times}`: fails; with `times` only the first attempts."""
    times = payload.get("times")
    if times is not None:
        if isinstance(times, bool) or not isinstance(times, int):
            raise unfit("times", times, "a whole number")
        if call.attempt > times:
            return {**payload, "attempt": call.attempt}
    message = str(payload.get("message") or "builtin.fail fails, as it was asked to")
    raise TaskFailedError(message, str(payload.get("reason") or "Error"), str(payload.get("code") or ""))


async def _transform(payload: Payload, call: Call, now: Now) -> Any:
    """`{input: ..., output: {total: "input.a + input.b"}}` or `{input, expression}`: values of expressions over `input`."""
    values = {"input": payload.get("input"), "payload": dict(payload)}
    output, expression = payload.get("output"), payload.get("expression")
    if (output is None) == (expression is None):
        raise TaskFailedError("spec.payload: give either output or expression", "InvalidPayload", retryable=False)
    if expression is not None:
        return _evaluated(expression, "expression", values)
    if not isinstance(output, dict):
        raise unfit("output", output, "an object whose values are expressions")
    return {name: _evaluated(text, f"output.{name}", values) for name, text in output.items()}


async def wait_until(until: Any, now: Now) -> Any:
    """Until a point in time."""
    moment = _time(until)
    while (left := (moment - now()).total_seconds()) > 0:  # noqa: ASYNC110  nobody tells when it is that late
        await asyncio.sleep(min(left, 3600.0))
    return {"until": moment.isoformat()}


def _seconds(payload: Payload) -> float:
    value = payload.get("seconds", payload.get("duration", 0))
    try:
        seconds = parse_duration(value) if isinstance(value, str) and not value.replace(".", "", 1).isdigit() else float(value)
    except (TypeError, ValueError):
        raise unfit("seconds", value, "a number of seconds, or a duration such as 2s") from None
    if isinstance(value, bool) or not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise unfit("seconds", value, "0 or more, and at most a year")
    return seconds


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise unfit("until", value, "a time such as 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _evaluated(text: Any, where: str, values: Mapping[str, Any]) -> Any:
    try:
        return compile_value("${{ " + str(text) + " }}", frozenset(values)).evaluate(values)
    except (ExpressionError, UnresolvedError) as error:
        raise TaskFailedError(f"spec.payload.{where}: {error}", "InvalidExpression", retryable=False) from error


def unfit(field: str, value: Any, wanted: str) -> TaskFailedError:
    return TaskFailedError(f"spec.payload.{field} is {value!r}; give {wanted}", "InvalidPayload", retryable=False)


PURE: dict[str, Callable[[Payload, Call, Now], Coroutine[Any, Any, Any]]] = {
    "builtin.delay": _delay,
    "builtin.echo": _echo,
    "builtin.fail": _fail,
    "builtin.sleep": _delay,
    "builtin.transform": _transform,
}
