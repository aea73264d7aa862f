"""What is wrong with a Trigger, known from itself alone: schedules, time zones, expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plum_flow.expressions import ExpressionError, check_condition, check_value
from plum_schemas.validation import FieldError, invalid

from plum_controller.domain.cron import CronError, parse
from plum_controller.domain.trigger_conditions import compile_trigger_condition, inputs_of
from plum_controller.domain.trigger_events import WHEN_NAMES
from plum_controller.domain.triggers import PARAM_NAMES

HIDDEN_KINDS = frozenset({"Secret", "Token"})
"""What neither events nor conditions may show."""
_HIDDEN_WORDS = frozenset(kind.lower() for kind in HIDDEN_KINDS)


def check_spec(spec: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with a trigger, known from itself alone."""
    cron, event, condition = spec.get("cron"), spec.get("event"), spec.get("condition")
    webhook: dict[str, Any] = spec.get("webhook") or {}
    if cron:
        try:
            parse("@daily", str(cron.get("timezone", "UTC")))
        except CronError as error:
            yield invalid("spec.cron.timezone", cron.get("timezone"), str(error))
        else:
            try:
                parse(str(cron.get("schedule", "")))
            except CronError as error:
                yield invalid("spec.cron.schedule", cron.get("schedule"), str(error))
    if event:
        if event.get("kind") in HIDDEN_KINDS:
            yield invalid(
                "spec.event.kind", event["kind"], "its values would end up in the parameters of runs, where others read them"
            )
        yield from check_condition(event.get("when", ""), "spec.event.when", WHEN_NAMES)
    if webhook:
        yield from check_condition(webhook.get("when", ""), "spec.webhook.when", {"event"})
    if condition:
        try:
            expression = compile_trigger_condition(condition.get("expression", ""))
            for _, _, word, _ in inputs_of(expression, "default"):
                if word.partition(".")[0].lower().removesuffix("s") in _HIDDEN_WORDS:
                    yield invalid("spec.condition.expression", condition["expression"], f"a condition may not look at a {word}")
        except ExpressionError as error:
            yield invalid("spec.condition.expression", condition.get("expression"), str(error))
    yield from check_value(spec.get("params") or {}, "spec.params", PARAM_NAMES)
