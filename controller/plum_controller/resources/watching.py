"""Watches: checks of what was asked for, then the cache delivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plum_controller.resources.context import Context
from plum_controller.resources.errors import expired
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WatchOptions
from plum_controller.resources.selecting import check_reached, check_watch, parse_fields, parse_labels, parse_revision
from plum_controller.store.cache import Watcher, WatchEvent
from plum_controller.store.errors import CompactedError, StoreError

Deliver = Callable[[Sequence[WatchEvent]], None]
Ended = Callable[[StoreError], None]


def open_watch(
    context: Context, kind: ResourceKind, options: WatchOptions, deliver: Deliver, ended: Ended | None = None
) -> Watcher:
    """Deliver what matches and what happens to it. Raises `ApiStatusError`, 410 for history that is gone."""
    check_watch(options)
    labels, fields = parse_labels(options.labels), parse_fields(kind, options.fields)
    since = parse_revision(options.revision) or None
    if options.send_initial_events:
        # Everything as of now is not older than any revision that has happened.
        check_reached(since, context.cache.revision)
        since = None
    elif options.send_initial_events is not None and since is None:
        since = context.cache.revision
    if kind.has_other_versions:
        deliver = _in_version(kind, deliver)
    try:
        return context.cache.watch(kind.resource, options.namespace, labels, fields, since, deliver, ended)
    except CompactedError as error:
        raise expired(f"too old resource version: {error.revision} ({error.compacted + 1})") from error


def _in_version(kind: ResourceKind, deliver: Deliver) -> Deliver:
    """Deliver events whose objects are in the version that was asked for."""

    def shown(event: WatchEvent) -> WatchEvent:
        entry = event.entry._replace(value=kind.present(event.entry.value))
        return WatchEvent(event.type, entry, event.previous, event.revision)

    return lambda events: deliver([shown(event) for event in events])
