"""Changes of objects as what triggers wait for.

    Change --matches(EventMatch)--> event for the parameters, or nothing
    Change --ended(RunTrigger)----> the same for the end of a run

An event that somebody sent is a change too: of an object of kind Event (v1) that was created with the name of the event as its
`reason` and its data, as JSON, in the annotation `plum.dev/data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from plum_flow.expressions import compile_condition
from plum_schemas.base import KindInfo
from plum_schemas.core import Event
from plum_schemas.node_types import EventMatch
from plum_schemas.trigger import TRIGGER_LABEL, RunTrigger, Trigger
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.domain.node_fit import matches as labels_match
from plum_controller.domain.triggers import Start, label_of, short_hash

DATA_ANNOTATION = "plum.dev/data"
"""On Events that somebody sent: their data, as JSON."""
WHEN_NAMES = frozenset({"object", "old", "event"})
ALL_NAMESPACES = "*"
DEFAULT_VERSION = "plum.dev/v1"
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object."""

    type: str
    """Added, Modified or Deleted."""
    old: Json | None
    new: Json | None
    revision: int
    """Of the store. Several objects may change at one."""

    @property
    def object(self) -> Json:
        """As it is now; of a deletion, as it was."""
        found = self.new if self.new is not None else self.old
        assert found is not None  # noqa: S101  one of them is there
        return found

    @property
    def key(self) -> str:
        """The same for the same change, wherever it is seen."""
        return f"e{self.revision}-{short_hash(str(self.object['metadata'].get('uid')))[:8]}"


def watched_kind(trigger: Trigger) -> tuple[str, str] | None:
    """API version and kind of the objects that a trigger follows; None for those that follow none."""
    event = trigger.spec.event
    if trigger.spec.run is not None:
        return WorkflowRun.info.api_version, WorkflowRun.info.kind
    if event is None:
        return None
    if event.type:
        return Event.info.api_version, Event.info.kind
    return event.api_version or DEFAULT_VERSION, event.kind


def start_of(trigger: Trigger, change: Change) -> Start | None:
    """The run that a change starts, if any. Raises `UnresolvedError` when `when` has no value for it."""
    if _is_own(trigger, change):
        return None
    if trigger.spec.run is not None:
        event = _ended(trigger.spec.run, trigger.metadata.namespace, change)
        return None if event is None else Start(change.key, "run", event)
    match = trigger.spec.event
    if match is None or not _fits(match, trigger.metadata.namespace, change):
        return None
    event = event_of(match, change)
    if match.when:
        values = {"object": change.object, "old": change.old, "event": event}
        if not compile_condition(match.when, WHEN_NAMES).is_true(values):
            return None
    return Start(change.key, "event", event)


def event_of(match: EventMatch, change: Change) -> dict[str, Any]:
    """What expressions see as `event`."""
    if match.type:
        return {"type": match.type, "data": data_of(change.object), "object": change.object}
    return {"type": change.type, "object": change.object, "old": change.old, "revision": str(change.revision)}


def data_of(event: Json) -> Any:
    """The data of an Event that somebody sent; nothing where it is no JSON."""
    text = (event["metadata"].get("annotations") or {}).get(DATA_ANNOTATION)
    try:
        return msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        return {}


def _fits(match: EventMatch, own: str, change: Change) -> bool:
    metadata = change.object["metadata"]
    namespace = metadata.get("namespace") or ""
    wanted = match.namespace or own
    if namespace and wanted not in (ALL_NAMESPACES, namespace):
        return False
    if match.type:
        return change.type == "Added" and change.object.get("reason") == match.type
    if match.name and metadata.get("name") != match.name:
        return False
    if match.changes and change.type not in match.changes:
        return False
    return match.selector is None or labels_match(match.selector, metadata.get("labels") or {})


def _ended(run: RunTrigger, own: str, change: Change) -> dict[str, Any] | None:
    """The event of a run that has just ended as the trigger waits for."""
    if change.type == "Deleted" or change.object["metadata"].get("namespace") != own:
        return None
    spec, status = change.object.get("spec") or {}, change.object.get("status") or {}
    before = ((change.old or {}).get("status") or {}).get("phase")
    phase = status.get("phase")
    if spec.get("workflowRef") != run.workflow_ref or phase not in TERMINAL_RUN_PHASES or before in TERMINAL_RUN_PHASES:
        return None
    if run.phases and phase not in run.phases:
        return None
    return {"type": "run", "phase": phase, "outputs": status.get("outputs") or {}, "run": change.object}


def _is_own(trigger: Trigger, change: Change) -> bool:
    """What a trigger does itself never fires it: its runs, and its own status. Of other triggers only the spec counts."""
    found, metadata = change.object, change.object["metadata"]
    if found.get("kind") == Trigger.info.kind:
        before = ((change.old or {}).get("metadata") or {}).get("generation")
        return metadata.get("uid") == trigger.metadata.uid or (change.type == "Modified" and before == metadata.get("generation"))
    own = (metadata.get("labels") or {}).get(TRIGGER_LABEL) == label_of(trigger.metadata.name)
    return own and metadata.get("namespace") == trigger.metadata.namespace


def kind_in(kinds: list[KindInfo] | tuple[KindInfo, ...], api_version: str, kind: str) -> KindInfo | None:
    """A kind by its names."""
    return next((info for info in kinds if (info.api_version, info.kind) == (api_version, kind)), None)
