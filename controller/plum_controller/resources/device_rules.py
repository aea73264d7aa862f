"""Rules of devices: what is asked of one fits its model, an operation takes only the steps of its table, and what follows
from a write is in it.

    create Operation -> Resource, model, reservations, queue -> sequence, expiresAt -> stored, or refused with the field
    status of an Operation -> plum_schemas.operation_states -> 409 with the reason
    write of a Resource -> domain.twin -> delta, conditions
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.durations import parse_duration
from plum_schemas.operation import TERMINAL_OPERATION_PHASES, Operation, OperationPhase
from plum_schemas.operation_states import OperationMoveError, check_move
from plum_schemas.resource import DeviceModel, check_arguments
from plum_schemas.selectors import FieldRequirement, FieldSelector
from plum_schemas.validation import FieldError, not_supported

from plum_controller.domain.reservations import blocking_claim
from plum_controller.domain.twin import follow
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import NOT_FOUND, ApiStatusError, Cause, invalid, too_many_requests
from plum_controller.resources.reported_rows import ReportedRules
from plum_controller.resources.rules import KindRules
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.kinds import ResourceKind

RESOURCES = "resources.plum.dev"
OPERATIONS = "operations.plum.dev"
OPEN: tuple[OperationPhase, ...] = ("Queued", "Delivered", "Accepted", "Running")
_BOOKKEEPING = ("observedGeneration",)
"""Parts of a status that may change after the end."""
_KEPT = ("sequence", "expiresAt", "deliveredAt")
"""Parts of a status that only the server sets."""
_model = msgspec.json.Decoder(DeviceModel).decode


class ResourceRules(ReportedRules):
    """Asked with every write of a Resource."""

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        status = new["status"] = {}
        follow(new.get("spec") or {}, status, 1, context.now())

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        generation = int(live["metadata"].get("generation") or 0) + (new.get("spec") != live.get("spec"))
        status = new.setdefault("status", {})
        for reported in (status.get("reported") or {}).values():
            reported.setdefault("time", stamp(context.moment()))
        follow(new.get("spec") or {}, status, generation, context.now())


class OperationRules(KindRules):
    """Asked with every write of an Operation."""

    def __init__(self) -> None:
        self._last = 0

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        spec, metadata = new["spec"], new["metadata"]
        resource = _resource(context, metadata.get("namespace", ""), str(spec.get("resourceRef")))
        if resource is None:
            text = f"there is no Resource {spec.get('resourceRef')} in namespace {metadata.get('namespace')}; create it first"
            raise invalid(Operation.info, metadata.get("name", ""), [Cause(NOT_FOUND, f"Not found: {text}", "spec.resourceRef")])
        _fill(spec, resource)
        errors = list(_unfit(spec, resource))
        if errors:
            causes = [Cause(error.reason, error.message, error.field) for error in errors]
            raise invalid(Operation.info, metadata.get("name", ""), causes)
        self._admit(context, new, resource)
        moment = context.moment()
        self._last = max(self._last, context.cache.revision) + 1
        status: Json = {"phase": "Queued", "sequence": self._last, "observedGeneration": 1}
        if spec.get("notAfter"):
            status["expiresAt"] = stamp(moment + timedelta(seconds=parse_duration(spec["notAfter"])))
        new["status"] = status
        _conclude(status, {}, context.now())

    def _admit(self, context: Context, new: Json, resource: Json) -> None:
        """What refuses it now, and might not later. Raises `ApiStatusError` 409, 429."""
        spec, metadata = new["spec"], new["metadata"]
        claim = blocking_claim(resource, spec, metadata)
        name = str(spec["resourceRef"])
        if claim is not None:
            text = f"resource {name} is reserved by {claim['kind']} {claim['name']} since {claim.get('since')}"
            raise _refused(metadata.get("name", ""), f"{text}; wait until it ends, or ask in its name with spec.holder")
        limit = int((resource.get("spec") or {}).get("queueLimit") or 1000)
        waiting = sum(_count(context, metadata.get("namespace", ""), name, phase) for phase in OPEN)
        if waiting >= limit:
            raise too_many_requests(f"resource {name} has {waiting} operations that wait or are under way, its queueLimit", 1)

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        before, after = live.get("status") or {}, new.setdefault("status", {})
        if subresource == "status":
            _check_status(str(live["metadata"].get("name")), live.get("spec") or {}, before, after)
            for field in _KEPT:
                _set(after, field, before.get(field))
            if int(after.get("deliveries") or 0) > int(before.get("deliveries") or 0):
                after["deliveredAt"] = stamp(context.moment())
            after["observedGeneration"] = live["metadata"].get("generation", 1)
            if after.get("phase") in TERMINAL_OPERATION_PHASES and not after.get("finishedAt"):
                after["finishedAt"] = stamp(context.moment())
            _conclude(after, before, context.now())


def _check_status(name: str, spec: Json, before: Json, after: Json) -> None:
    """Raises `ApiStatusError` 409."""
    old: OperationPhase = before.get("phase") or "Queued"
    phase: OperationPhase = after.get("phase") or "Queued"
    try:
        check_move(old, phase, name)
    except OperationMoveError as error:
        raise _refused(name, error.message) from error
    if old in TERMINAL_OPERATION_PHASES and _lasting(before) != _lasting(after):
        raise _refused(name, f"operation {name} ended as {old}, which is final; its status does not change any more")
    for field in ("deliveries", "attempt"):
        if int(after.get(field) or 0) < int(before.get(field) or 0):
            raise _refused(name, f"status.{field} of operation {name} is {before.get(field)}; it only grows")
    if spec.get("delivery") != "AtLeastOnce":
        if int(after.get("attempt") or 0) > 1:
            raise _refused(name, f"operation {name} is AtMostOnce, and its device confirmed it before; it is not given out again")
        if old in ("Accepted", "Running") and phase == "Delivered":
            raise _refused(name, f"operation {name} is AtMostOnce and under way; it is not given out again")
    if after.get("node") != before.get("node") and before.get("node") and phase != "Queued":
        raise _refused(name, f"operation {name} is in the hands of node {before.get('node')}; only that gives it back")


def _resource(context: Context, namespace: str, name: str) -> Json | None:
    entry = context.cache.get(Key(RESOURCES, namespace, name))
    return None if entry is None else decode(entry.value)


def _fill(spec: Json, resource: Json) -> None:
    """Defaults of arguments, from the model."""
    model = (resource.get("spec") or {}).get("model") or {}
    for operation in model.get("operations") or ():
        if operation.get("name") == spec.get("method"):
            for argument in operation.get("arguments") or ():
                if argument.get("default") is not None:
                    spec.setdefault("arguments", {}).setdefault(argument["name"], argument["default"])


def _unfit(spec: Json, resource: Json) -> Iterable[FieldError]:
    model = msgspec.convert((resource.get("spec") or {}).get("model") or {}, DeviceModel)
    known = {operation.name: operation for operation in model.operations}
    method = str(spec.get("method"))
    if not known:
        if model.properties:
            yield not_supported("spec.method", method, [])
        return
    if method not in known:
        yield not_supported("spec.method", method, sorted(known))
        return
    yield from check_arguments(known[method], spec.get("arguments") or {}, "spec.arguments")


def _count(context: Context, namespace: str, resource: str, phase: str) -> int:
    wanted = [FieldRequirement("spec.resourceRef", "=", resource), FieldRequirement("status.phase", "=", phase)]
    return len(context.cache.list(OPERATIONS, namespace, None, FieldSelector(wanted)))


def _conclude(status: Json, before: Json, now: str) -> None:
    """The condition Succeeded: Unknown until it has ended."""
    phase = status.get("phase") or "Queued"
    verdict = {"Succeeded": "True"}.get(phase, "False" if phase in TERMINAL_OPERATION_PHASES else "Unknown")
    known = next((one for one in before.get("conditions") or () if one.get("type") == "Succeeded"), None)
    since = known["lastTransitionTime"] if known is not None and known.get("status") == verdict else now
    condition = {"type": "Succeeded", "status": verdict, "reason": status.get("reason") or phase}
    status["conditions"] = [{**condition, "message": status.get("error") or "", "lastTransitionTime": since}]


def stamp(moment: datetime) -> str:
    """A time as objects carry it, with its fractions."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _set(status: Json, field: str, value: Any) -> None:
    if value is None:
        status.pop(field, None)
    else:
        status[field] = value


def _lasting(status: Json) -> Json:
    return {field: value for field, value in status.items() if field not in _BOOKKEEPING}


def _refused(name: str, message: str) -> ApiStatusError:
    return ApiStatusError(409, "Conflict", message, {"name": name, "group": "plum.dev", "kind": "operations"})
