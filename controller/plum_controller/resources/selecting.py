"""Selectors and revisions as they come in a request: texts to values, with Kubernetes' refusals."""

from __future__ import annotations

from plum_schemas.selectors import FieldSelector, LabelSelector, SelectorError, parse_field_selector, parse_label_selector
from plum_schemas.validation import quote

from plum_controller.resources.errors import FORBIDDEN, NOT_SUPPORTED, Cause, bad_request, invalid_option
from plum_controller.resources.kinds import ResourceKind
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
    return selector or None


def parse_revision(text: str | None) -> Revision | None:
    """None if there is none. Raises `ApiStatusError` 400."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f"Invalid value: {quote(text)}: resourceVersion is not a number that this server gave")
    return int(text)


def check_match(match: str | None, revision: str | None, options: str) -> None:
    """Raises `ApiStatusError` 422 for a `resourceVersionMatch` that makes no sense."""
    if not match:
        return
    causes = []
    if match not in (EXACT, NOT_OLDER_THAN):
        message = f'Unsupported value: {quote(match)}: supported values: "Exact", "NotOlderThan"'
        causes.append(Cause(NOT_SUPPORTED, message, "resourceVersionMatch"))
    elif not revision:
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(Cause(FORBIDDEN, text, "resourceVersionMatch"))
    elif match == EXACT and revision == "0":
        text = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(Cause(FORBIDDEN, text, "resourceVersionMatch"))
    if causes:
        raise invalid_option(options, causes)
