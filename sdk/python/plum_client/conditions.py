"""Conditions in a status: named facts that keep the time of their last change.

`set_condition` returns the same list when nothing changed, so a status that is written only when it differs comes to rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from plum_schemas.base import Condition


def find_condition(conditions: Sequence[Condition], type: str) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Sequence[Condition], type: str) -> bool:
    """True if the condition is there and says `True`."""
    found = find_condition(conditions, type)
    return found is not None and found.status == "True"


def set_condition(conditions: Sequence[Condition], condition: Condition, now: datetime) -> list[Condition]:
    """The list with this condition in it, in its old place. `last_transition_time` moves only when the status changes.

    `now` is cut to whole seconds, which is what an object stores.
    """
    result = list(conditions)
    for position, known in enumerate(result):
        if known.type == condition.type:
            changed = known.status != condition.status or known.last_transition_time is None
            since = now.replace(microsecond=0) if changed else known.last_transition_time
            result[position] = msgspec.structs.replace(condition, last_transition_time=since)
            return result
    result.append(msgspec.structs.replace(condition, last_transition_time=now.replace(microsecond=0)))
    return result


def remove_condition(conditions: Sequence[Condition], type: str) -> list[Condition]:
    """The list without the condition of that type."""
    return [condition for condition in conditions if condition.type != type]
