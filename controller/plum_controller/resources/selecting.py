"""Selectors and revisions as they come in a request: texts to values, with Kubernetes' refusals."""

from __future__ import annotations

from plum_schemas.selectors import FieldSelector, LabelSelector, SelectorError, parse_field_selector, parse_label_selector
from plum_schemas.validation import quote

from plum_controller.resources.errors import (
    FORBIDDEN,
    NOT_SUPPORTED,
    Cause,
    bad_request,
    invalid_option,
    revision_in_future,
)
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import ListOptions, WatchOptions
from plum_controller.store.base import Revision

ALWAYS_SELECTABLE = ("metadata.name", "metadata.namespace")
EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"


def parse_labels(text: str) -> LabelSelector | None:
    """None for everything. Raises `ApiStatusError` 400."""
    if not text:
        return None
    try:
        return parse_label_selector(text) or None
    except SelectorError as error:
        raise bad_request(str(error)) from error


def parse_fields(kind: ResourceKind, text: str) -> FieldSelector | None:
    """None for everything. Raises `ApiStatusError` 400, also for fields that the kind does not declare."""
    if not text:
        return None
    try:
        selector = parse_field_selector(text)
        selector.check((*ALWAYS_SELECTABLE, *kind.field_labels))
    except SelectorError as error:
        raise bad_request(str(error)) from error
    return kind.stored_fields(selector) or None


def parse_revision(text: str | None) -> Revision | None:
    """None if there is none. Raises `ApiStatusError` 400."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f"Invalid value: {quote(text)}: resourceVersion is not a number that this server gave")
    return int(text)


def check_list(options: ListOptions) -> None:
    """Raises `ApiStatusError` 422 for combinations that Kubernetes refuses."""
    causes = _match_causes(options.match, options.revision)
    if options.match and options.continue_token:
        causes.append(_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if options.send_initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if causes:
        raise invalid_option("ListOptions", causes)


def check_watch(options: WatchOptions) -> None:
    """Raises `ApiStatusError` 422 for combinations that Kubernetes refuses."""
    causes = []
    if options.send_initial_events is not None:
        if options.match != NOT_OLDER_THAN:
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(_forbidden("resourceVersionMatch", text))
    elif options.match:
        causes = _match_causes(options.match, options.revision)
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden("resourceVersionMatch", text))
    if options.continue_token:
        causes.append(_forbidden("continue", "continue is forbidden for watch"))
    if causes:
        raise invalid_option("ListOptions", causes)


def check_reached(revision: Revision | None, current: Revision) -> None:
    """Raises `ApiStatusError` 504 for a revision that has not happened yet."""
    if revision is not None and revision > current:
        raise revision_in_future(revision, current)


def _match_causes(match: str | None, revision: str | None) -> list[Cause]:
    """What is wrong with a `resourceVersionMatch`."""
    if not match:
        return []
    if match not in (EXACT, NOT_OLDER_THAN):
        message = f'Unsupported value: {quote(match)}: supported values: "Exact", "NotOlderThan"'
        return [Cause(NOT_SUPPORTED, message, "resourceVersionMatch")]
    if not revision:
        return [_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")]
    if match == EXACT and revision == "0":
        return [_forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')]
    return []


def _forbidden(field: str, text: str) -> Cause:
    return Cause(FORBIDDEN, f"Forbidden: {text}", field)
