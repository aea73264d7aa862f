"""Events as lines: which belong to an object, in which order, how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plum_client.explaining.findings import last_seen
from plum_client.explaining.times import age, parse_time

if TYPE_CHECKING:
    from plum_cli.session import Session

__all__ = ["TITLES", "events_of", "in_order", "last_seen", "row"]

TITLES = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")


def in_order(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Oldest first; those of the same second in the order in which they were stored."""
    return sorted(events, key=lambda event: (last_seen(event), int(event["metadata"].get("resourceVersion") or 0)))


def row(event: Mapping[str, Any], now: datetime, *, namespace: bool = False) -> list[str]:
    """The cells of one event."""
    involved = event.get("involvedObject") or {}
    count = int(event.get("count") or (event.get("series") or {}).get("count") or 1)
    seen = age(last_seen(event), now)
    first = event.get("firstTimestamp")
    if count > 1 and parse_time(first):
        seen += f" (x{count} over {age(first, now)})"
    message = str(event.get("message") or "").strip().replace("\n", " ")
    cells = [
        seen,
        str(event.get("type") or ""),
        str(event.get("reason") or ""),
        f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}".strip("/") or "-",
        message,
    ]
    return [str(event["metadata"].get("namespace") or ""), *cells] if namespace else cells


async def events_of(session: Session, item: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The events of one object, oldest first."""
    metadata = item["metadata"]
    selector = f"involvedObject.uid={metadata['uid']}"
    found = await session.api.list(await session.kind("events"), metadata.get("namespace") or "", fields=selector)
    return in_order(found)
