"""What a device is and was: its twin in words, its history as a table with bars, its reports as they come."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from plum_client.errors import ApiUnavailableError, NotFoundError, RevisionCompactedError
from plum_client.explaining.times import age, parse_time

from plum_cli.device_values import signature, sparkline, text_of
from plum_cli.errors import OK
from plum_cli.output import print_rows
from plum_cli.session import Session
from plum_cli.times import parse_moment, parse_seconds

BARS = 60
"""Of a sparkline."""
RETRY_SECONDS = 1.0


def describe(found: Mapping[str, Any]) -> None:
    """One device: facts, properties, operations."""
    spec, status = found.get("spec") or {}, found.get("status") or {}
    model, now = spec.get("model") or {}, datetime.now(UTC)
    connection = status.get("connection") or {}
    seen = age(connection["lastSeen"], now) + " ago" if connection.get("lastSeen") else "never"
    facts = [
        ("Name", f"{found['metadata']['namespace']}/{found['metadata']['name']}"),
        ("Type", str(spec.get("type") or "")),
        ("Node", str(spec.get("nodeName") or connection.get("node") or "")),
        ("Connected", f"{'yes' if connection.get('online') else 'no'}, last seen {seen}"),
    ]
    for condition in status.get("conditions") or ():
        text = f"{condition.get('status')} ({condition.get('reason')}) {condition.get('message') or ''}"
        facts.append((str(condition.get("type")), text.strip()))
    for name, text in facts:
        if text:
            print(f"{name + ':':<10} {text}")
    rows = property_rows(spec, status, now)
    if rows:
        print()
        print_rows(("PROPERTY", "REPORTED", "DESIRED", "UNIT", "QUALITY", "AGE"), rows)
    if model.get("operations"):
        print("\noperations:")
        for operation in model["operations"]:
            text = f"  {operation['description']}" if operation.get("description") else ""
            print(f"  {signature(operation)}{text}")


def property_rows(spec: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> list[list[str]]:
    """One row for each property that is known, reported or desired."""
    reported, desired, delta = status.get("reported") or {}, spec.get("desired") or {}, status.get("delta") or {}
    models = {str(one["name"]): one for one in (spec.get("model") or {}).get("properties") or ()}
    rows = []
    for name in dict.fromkeys([*models, *reported, *desired]):
        value = reported.get(name) or {}
        wanted = text_of(desired[name]) + (" (differs)" if name in delta else "") if name in desired else ""
        known = age(value["time"], now) if value.get("time") else ""
        quality = str(value.get("quality") or "good") if value else ""
        rows.append([name, text_of(value.get("value")), wanted, str(models.get(name, {}).get("unit") or ""), quality, known])
    return rows


async def pages(session: Session, name: str, query: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    """All items of a history."""
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/resources/{name}/history"
    after = ""
    while True:
        page = await session.raw("GET", path, {**query, "limit": "10000", **({"continue": after} if after else {})})
        for item in page["items"]:
            yield item
        after = page["metadata"]["continue"]
        if not after:
            return


async def show(args: argparse.Namespace, session: Session) -> int:
    """Print a history."""
    now = datetime.now(UTC)
    query = {"property": ",".join(args.properties) or "*", "since": parse_moment(args.since, now)}
    if args.until:
        query["until"] = parse_moment(args.until, now)
    begin, end = parse_time(query["since"]), parse_time(query.get("until", "")) or now
    assert begin is not None  # noqa: S101
    span = max(1.0, (end - begin).total_seconds())
    step = parse_seconds(args.step) if args.step else span / BARS
    if args.step or args.output == "json":
        wanted = query | ({"step": args.step} if args.step else {})
        items = [item async for item in pages(session, args.name, wanted)]
        if args.output == "json":
            print(json.dumps(items, indent=2, ensure_ascii=False))
            return OK
        rows = [[_clock(item["time"]), item["property"], *_numbers(item), text_of(item["last"])] for item in items]
        print_rows(("TIME", "PROPERTY", "COUNT", "MIN", "AVG", "MAX", "LAST"), rows[-args.limit :]) if rows else _nothing(args)
        return OK
    milliseconds = max(1, round(step * 1000))
    bars: dict[str, dict[int, Any]] = {}
    async for item in pages(session, args.name, query | {"step": f"{milliseconds}ms"}):
        moment = parse_time(item["time"])
        assert moment is not None  # noqa: S101
        bars.setdefault(item["property"], {})[int(moment.timestamp() * 1000) // milliseconds] = item
    if not bars:
        return _nothing(args)
    first, last = int(begin.timestamp() * 1000) // milliseconds, int(end.timestamp() * 1000) // milliseconds
    if len(args.properties) == 1:
        points = [item async for item in pages(session, args.name, query)]
        rows = [[_clock(item["time"]), text_of(item.get("value")), str(item.get("quality") or "good")] for item in points]
        print_rows(("TIME", "VALUE", "QUALITY"), rows[-args.limit :])
        if len(rows) > args.limit:
            print(f"({len(rows) - args.limit} earlier values; --limit shows more)")
        print()
    rows = []
    for name, found in bars.items():
        newest = found[max(found)]
        means = [found[index].get("avg") if index in found else None for index in range(first, last + 1)]
        lows = [item["min"] for item in found.values() if "min" in item]
        highs = [item["max"] for item in found.values() if "max" in item]
        least, most = (text_of(float(min(lows))), text_of(float(max(highs)))) if lows else ("", "")
        rows.append(
            [name, str(sum(item["count"] for item in found.values())), least, most, text_of(newest["last"]), sparkline(means)]
        )
    print_rows(("PROPERTY", "VALUES", "MIN", "MAX", "LAST", f"SINCE {args.since}"), rows)
    return OK


def _nothing(args: argparse.Namespace) -> int:
    print(f"{args.name} reported nothing since {args.since}")
    return OK


def _numbers(item: Mapping[str, Any]) -> list[str]:
    found = [text_of(float(item[field])) if field in item else "" for field in ("min", "avg", "max")]
    return [str(item["count"]), *found]


def _clock(text: str) -> str:
    """A time of the API, here: with the day only if it is another one."""
    moment = parse_time(text)
    if moment is None:
        return text
    local = moment.astimezone()
    same = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S.%f" if same else "%Y-%m-%d %H:%M:%S.%f")[:-3]


async def watch(args: argparse.Namespace, session: Session) -> int:
    """Print what is reported until Ctrl-C."""
    import asyncio

    info = await session.kind("resources.plum.dev")
    fields = f"metadata.name={args.name}" if args.name else ""
    known: dict[str, dict[str, Any]] = {}
    since = ""
    while True:
        try:
            if not since:
                listed = await session.api.list(info, session.namespace, fields=fields)
                if args.name and not len(listed):
                    raise NotFoundError(f'resources.plum.dev "{args.name}" not found')
                for found in listed:
                    _told(found, known)
                since = listed.revision
            async for event in session.api.watch(info, session.namespace, fields=fields, since=since):
                since = event.revision
                if event.type == "DELETED":
                    print(f"{_now()}  {event.object['metadata']['name']}  deleted", flush=True)
                else:
                    _told(event.object, known)
        except RevisionCompactedError:
            since = ""
        except ApiUnavailableError:
            await asyncio.sleep(RETRY_SECONDS)


def _told(found: Mapping[str, Any], known: dict[str, dict[str, Any]]) -> None:
    """Print what is new in a status."""
    name, status = found["metadata"]["name"], found.get("status") or {}
    before = known.get(name, {})
    online = bool((status.get("connection") or {}).get("online"))
    reported: dict[str, Any] = status.get("reported") or {}
    if before.get("online") is not online and (before or online):
        print(f"{_now()}  {name}  {'online' if online else 'offline'}", flush=True)
    moved = {key: value for key, value in reported.items() if (before.get("reported") or {}).get(key) != value}
    if moved:
        values = "  ".join(f"{key}={text_of(value.get('value'))}" for key, value in moved.items())
        print(f"{_now()}  {name}  {values}", flush=True)
    known[name] = {"reported": reported, "online": online}


def _now() -> str:
    return datetime.now(UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
