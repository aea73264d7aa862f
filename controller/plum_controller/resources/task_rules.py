"""Rules of tasks: a run takes only the steps of its table, whoever writes its status; payload schemas can be used.

    status write -> phase before, phase after -> domain.task_states.check_move -> 409 with the reason

Attempts and fencing tokens never go back, what is executed is pinned once, and nothing of an end changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plum_flow.task_states import TransitionError, check_move
from plum_schemas.taskrun import TERMINAL_PHASES, TaskPhase

from plum_controller.resources.encode import Json
from plum_controller.resources.errors import INVALID, ApiStatusError, Cause
from plum_controller.resources.rules import KindRules

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

_BOOKKEEPING = ("observedGeneration",)
"""Parts of a status that may change after the end."""


class TaskRunRules(KindRules):
    """Asked with every write of a TaskRun."""

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        if subresource != "status":
            return
        name, before, after = str(live["metadata"].get("name")), live.get("status") or {}, new.get("status") or {}
        old_phase: TaskPhase = before.get("phase") or "Queued"
        new_phase: TaskPhase = after.get("phase") or "Queued"
        try:
            check_move(old_phase, new_phase, name)
        except TransitionError as error:
            raise _refused(name, error.message) from error
        if old_phase in TERMINAL_PHASES and _lasting(before) != _lasting(after):
            raise _refused(name, f"taskrun {name} ended as {old_phase}, which is final; its status does not change any more")
        for field in ("attempt", "fencingToken", "lost"):
            if int(after.get(field) or 0) < int(before.get(field) or 0):
                message = f"status.{field} of taskrun {name} is {before.get(field)} and cannot become {after.get(field) or 0}"
                raise _refused(name, f"{message}; it only grows")
        if before.get("task") is not None and before.get("task") != after.get("task"):
            raise _refused(name, f"what taskrun {name} executes was decided when it was admitted; status.task does not change")

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        task = (new.get("spec") or {}).get("task") or {}
        return _schema_causes(task.get("payloadSchema"), "spec.task.payloadSchema")


class TaskDefinitionRules(KindRules):
    """Asked with every write of a TaskDefinition."""

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        return _schema_causes((new.get("spec") or {}).get("payloadSchema"), "spec.payloadSchema")


def _schema_causes(schema: Any, path: str) -> Iterable[Cause]:
    if not schema:
        return ()
    from plum_flow.task_payload import schema_problem

    problem = schema_problem(schema)
    return [Cause(INVALID, f"Invalid value: {problem.message}", f"{path}{problem.path}")] if problem is not None else ()


def _lasting(status: Json) -> Json:
    return {field: value for field, value in status.items() if field not in _BOOKKEEPING}


def _refused(name: str, message: str) -> ApiStatusError:
    return ApiStatusError(409, "Conflict", message, {"name": name, "group": "plum.dev", "kind": "taskruns"})
