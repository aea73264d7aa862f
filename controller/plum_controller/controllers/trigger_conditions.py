"""Condition triggers: an expression over keys, devices and objects, looked at when one of them changes.

    kv("plant", "level") > 80 && resource("pump-1").online && object("Deployment", "web").status.readyReplicas > 0
        --References--> which keys, devices, objects --informers--> a change of one of them --> the trigger is looked at again

Fires once each time the expression becomes true and stays so for the time of `for`. What is not there is null.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plum_client.errors import NotFoundError
from plum_client.manager import Manager
from plum_flow.expressions import Expression, ExpressionError, UnresolvedError
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.kv import KV, kv_name
from plum_schemas.resource import Resource
from plum_schemas.trigger import ConditionTrigger, Trigger

from plum_controller.domain.trigger_conditions import compile_trigger_condition, input_value, inputs_of
from plum_controller.domain.triggers import Start

Input = tuple[str, ObjectKey]
"""Resource of a kind, and the object."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What an expression says now."""

    true_since: datetime | None = None
    fired: bool = False
    start: Start | None = None
    left: float | None = None
    """Seconds until it has been true for long enough."""
    problem: str = ""
    """Why it can never fire."""
    note: str = ""
    """Why there is no answer now."""


class ConditionWatcher:
    """Knows what each condition trigger looks at."""

    def __init__(self, manager: Manager) -> None:
        self.enqueue: Callable[[ObjectKey], None] = lambda key: None
        self._manager = manager
        self._inputs: dict[ObjectKey, frozenset[Input]] = {}
        self._watchers: dict[Input, set[ObjectKey]] = defaultdict(set)
        self._kinds: dict[str, KindInfo] = {}
        """Kinds that are followed, by resource."""
        self._compiled: dict[tuple[str, str], Expression] = {}

    def forget(self, key: ObjectKey) -> None:
        """A trigger that looks at nothing any more."""
        for one in self._inputs.pop(key, frozenset()):
            self._watchers[one].discard(key)
            if not self._watchers[one]:
                del self._watchers[one]

    async def look(self, trigger: Trigger, now: datetime) -> Looked:
        """Evaluate the expression of a trigger over what there is now."""
        condition = trigger.spec.condition
        assert condition is not None  # noqa: S101  the caller looked
        try:
            expression = compile_trigger_condition(condition.expression)
            values = await self._values(trigger, expression)
        except (ExpressionError, NotFoundError) as error:
            self.forget(trigger.key)
            return Looked(problem=str(error))
        try:
            holds = expression.is_true(values)
        except UnresolvedError as error:
            return Looked(note=f"the expression has no value now: {error}")
        return _judge(trigger, condition, holds, now)

    async def _values(self, trigger: Trigger, expression: Expression) -> dict[str, dict[str, Any]]:
        """What the expression looks at, by table. Raises `NotFoundError` for a kind that there is not."""
        found: set[Input] = set()
        values: dict[str, dict[str, Any]] = {"kv": {}, "resource": {}, "object": {}}
        for table, text, kind, key in inputs_of(expression, trigger.metadata.namespace):
            info = KV.info if table == "kv" else Resource.info if table == "resource" else await self._kind(kind)
            if table == "kv":
                key = ObjectKey(key.namespace, kv_name(key.name))
            if not info.namespaced:
                key = ObjectKey("", key.name)
            self._follow(info)
            informer = self._manager.informer(self._kinds[info.resource])
            await informer.wait_synced()
            values[table][text] = input_value(table, informer.get(key))
            found.add((info.resource, key))
        for one in found:
            self._watchers[one].add(trigger.key)
        for one in self._inputs.get(trigger.key, frozenset()) - found:
            self._watchers[one].discard(trigger.key)
        self._inputs[trigger.key] = frozenset(found)
        return values

    async def _kind(self, word: str) -> KindInfo:
        return await self._manager.api.resolve(word)

    def _follow(self, info: KindInfo) -> None:
        if info.resource in self._kinds:
            return
        # Known by name only: this cache is this watcher's own, and decodes no more than it is asked for.
        self._kinds[info.resource] = info
        resource = info.resource
        self._manager.informer(info).add_raw_handler(lambda key, old, new: self._changed((resource, key)))

    def _changed(self, one: Input) -> None:
        for key in self._watchers.get(one, ()):
            self.enqueue(key)


def _judge(trigger: Trigger, condition: ConditionTrigger, holds: bool, now: datetime) -> Looked:
    if not holds:
        return Looked()
    status = trigger.status
    since = status.true_since or now.replace(microsecond=now.microsecond // 1000 * 1000)
    if status.condition_fired:
        return Looked(since, fired=True)
    left = parse_duration(condition.for_) - (now - since).total_seconds()
    if left > 0:
        return Looked(since, left=left)
    text = since.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    start = Start(f"c{since:%Y%m%d-%H%M%S}-{since.microsecond // 1000:03}", "condition", {"type": "condition", "trueSince": text})
    return Looked(since, fired=True, start=start)
