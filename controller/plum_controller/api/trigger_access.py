"""What writing a Trigger needs besides the right to write Triggers: it acts later, with the controller's rights.

spec.workflowRef        create workflowruns        in its namespace
spec.event, condition   list what is followed      where it is followed, because it ends up in the parameters of runs
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from plum_schemas.base import KindInfo

from plum_controller.api.access import Gate, forbidden
from plum_controller.api.identity import Identity
from plum_controller.domain.access import Attributes
from plum_controller.resources.encode import Json


def check_trigger(gate: Gate, identity: Identity, new: Json, live: Json | None) -> None:
    """Raises `ApiStatusError` 403 when the writer may not do what the trigger will do."""
    spec = new.get("spec") or {}
    if live is not None and spec == live.get("spec"):
        return
    namespace = new["metadata"].get("namespace", "")
    for wanted in _needed(spec, namespace):
        if not gate.allows(identity, wanted):
            raise forbidden(identity, wanted, "a trigger does this in the name of whoever wrote it")


def _needed(spec: Json, namespace: str) -> Iterator[Attributes]:
    yield Attributes("create", "plum.dev", "workflowruns", "", namespace)
    event, condition = spec.get("event"), spec.get("condition")
    if event:
        api_version, kind = event.get("apiVersion") or "plum.dev/v1", event.get("kind") or ""
        if event.get("type"):
            api_version, kind = "v1", "Event"
        where = event.get("namespace") or namespace
        yield _listing(api_version, kind, "" if where == "*" else where)
    if condition:
        yield from _of_condition(condition.get("expression") or "", namespace)


def _of_condition(text: str, namespace: str) -> Iterator[Attributes]:
    from plum_flow.expressions import ExpressionError

    from plum_controller.domain.trigger_conditions import compile_trigger_condition, inputs_of

    try:
        inputs = list(inputs_of(compile_trigger_condition(text), namespace))
    except ExpressionError:
        return  # refused for what it is
    for table, _, kind, key in inputs:
        if table == "object":
            yield _listing_of_word(kind, key.namespace)
        else:
            yield Attributes("list", "plum.dev", "kvs" if table == "kv" else "resources", "", key.namespace)


@cache
def _infos() -> tuple[KindInfo, ...]:
    from plum_schemas.kinds import builtin

    return tuple(kind.info for kind in builtin())


def _listing(api_version: str, kind: str, namespace: str) -> Attributes:
    info = next((info for info in _infos() if (info.api_version, info.kind) == (api_version, kind)), None)
    if info is None:
        # A kind that users defined, under a plural that is not known here: all of its group.
        return Attributes("list", api_version.rpartition("/")[0], "*", "", namespace)
    return Attributes("list", info.group, info.plural, "", namespace if info.namespaced else "")


def _listing_of_word(word: str, namespace: str) -> Attributes:
    name, _, group = word.lower().partition(".")
    for info in _infos():
        if name in (info.kind.lower(), info.plural, *info.short_names) and group in ("", info.group):
            return Attributes("list", info.group, info.plural, "", namespace if info.namespaced else "")
    return Attributes("list", group or "*", "*", "", namespace)
