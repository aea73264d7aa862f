"""Events about what a view shows are events about what is stored: one list, whoever writes or asks.

    ?fieldSelector=involvedObject.kind=Pod,...      --stored_selector-->  involvedObject.kind=Instance,...
    POST .../events {involvedObject: {kind: Pod}}   --prepare---------->  {kind: Instance, apiVersion: plum.dev/v1}

Uid, namespace and name of the object are the same in both, so they need no translation.
"""

from __future__ import annotations

from typing import Any

from plum_schemas.selectors import FieldRequirement, FieldSelector, SelectorError, parse_field_selector

from plum_controller.api.views.catalog import VIEWS
from plum_controller.api.views.kind import ViewKind

EVENTS = "events"
KIND, API_VERSION = "involvedObject.kind", "involvedObject.apiVersion"
_VIEWS = {view.info.kind: view for view in VIEWS if not view.info.group}


def stored_selector(fields: str) -> str:
    """The selector of a list of events, for events as they are stored."""
    if KIND not in fields:
        return fields
    try:
        selector = parse_field_selector(fields)
    except SelectorError:
        return fields  # refused in the service's words
    kinds = {wanted.value for wanted in selector.requirements if wanted.path == KIND and wanted.operator == "="}
    view = _VIEWS.get(kinds.pop()) if len(kinds) == 1 else None
    if view is None:
        return fields
    return str(FieldSelector(_stored(wanted, view) for wanted in selector.requirements))


def _stored(wanted: FieldRequirement, view: ViewKind) -> FieldRequirement:
    if wanted.path == KIND and wanted.value == view.info.kind:
        return wanted._replace(value=view.of.kind)
    if wanted.path == API_VERSION and wanted.value == view.info.api_version:
        return wanted._replace(value=view.of.api_version)
    return wanted


def prepare(event: dict[str, Any]) -> None:
    """An event of a client about a view becomes one about the stored object, in place."""
    about = event.get("involvedObject")
    if not isinstance(about, dict) or about.get("apiVersion") not in ("v1", "", None):
        return
    kind = about.get("kind")
    view = _VIEWS.get(kind) if isinstance(kind, str) else None
    if view is not None:
        about.update({"kind": view.of.kind, "apiVersion": view.of.api_version})
