"""`plum describe`: everything about one object on one page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum describe`."""
    arguments.describe(
        parser,
        """
        Show everything about objects: desired beside actual state, conditions, what they own, events.
        `plum explain KIND/NAME` says in sentences what is wrong.
        """,
        """
        plum describe deployment web
        plum describe node/node-1
        plum describe instances -l app=web
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND [NAME ...] | KIND/NAME", help="what to show")
    arguments.server(parser)
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="by labels, such as app=web")
    parser.add_argument("--no-events", action="store_true", help="without events")


def run(args: argparse.Namespace) -> int:
    """Show the objects."""
    from plum_cli import session

    return session.run(args, lambda connected: show(args, connected))


async def show(args: argparse.Namespace, session: Session) -> int:
    """Print one page per object."""
    items: list[dict[str, Any]] = []
    for target in await session.targets(args.what):
        if target.name:
            items.append(await session.get(target))
        else:
            listed = await session.api.list(target.info, session.namespace_of(target.info), labels=args.selector)
            items += [{"apiVersion": target.info.api_version, "kind": target.info.kind, **item} for item in listed]
    for index, item in enumerate(items):
        if index:
            print()
        await describe(session, item, events=not args.no_events)
    if not items:
        print(f"nothing found in namespace {session.namespace}", file=sys.stderr)
    return OK


async def describe(session: Session, item: dict[str, Any], *, events: bool) -> None:
    """Print one object."""
    from plum_cli.events import TITLES, events_of, row
    from plum_cli.node_link import link
    from plum_cli.output import format_rows
    from plum_cli.owned import owned_objects

    now = datetime.now(UTC)
    for line in head(item, now):
        print(line)
    for line in comparison(item):
        print(line)
    for line in conditions(item, now):
        print(line)
    for line in link(item, now):
        print(line)
    children = await owned_objects(session, item)
    if children:
        print("Owns:")
        rows = [[f"{child['kind']}/{child['metadata']['name']}", *summary(child)] for child in children]
        for line in format_rows(["OBJECT", "STATE", "DETAIL"], rows, stream=sys.stdout):
            print(f"  {line}")
    if events:
        found = await events_of(session, item)
        print("Events:" if found else "Events: none kept")
        if found:
            titles = [title for title in TITLES if title != "OBJECT"]
            cells = [row(event, now) for event in found]
            for line in format_rows(titles, [[*cell[:3], cell[4]] for cell in cells], stream=sys.stdout):
                print(f"  {line}")


def head(item: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Who it is."""
    from plum_client.explaining.times import age

    metadata = item["metadata"]
    yield f"{item['kind']} {metadata['name']}" + (f" in namespace {metadata['namespace']}" if metadata.get("namespace") else "")
    created = metadata.get("creationTimestamp")
    parts = [f"created {age(created, now)} ago", f"revision {metadata.get('resourceVersion')}"]
    if metadata.get("generation"):
        parts.append(f"generation {metadata['generation']}")
    yield "  " + ", ".join(parts)
    if metadata.get("deletionTimestamp"):
        holders = ", ".join(metadata.get("finalizers") or ()) or "nothing"
        yield f"  being deleted since {age(metadata['deletionTimestamp'], now)}; held by: {holders}"
    for title, values in (("Labels", metadata.get("labels")), ("Annotations", metadata.get("annotations"))):
        if values:
            yield f"{title}:"
            yield from (f"  {key}: {value}" for key, value in sorted(values.items()))
    for reference in metadata.get("ownerReferences") or ():
        yield f"Owner: {reference['kind']}/{reference['name']}"


def comparison(item: Mapping[str, Any]) -> Iterator[str]:
    """Desired beside actual state."""
    from plum_cli.output import format_rows, to_yaml

    spec, status = item.get("spec"), dict(item.get("status") or {})
    status.pop("conditions", None)
    if item.get("kind") == "Node":
        status.pop("link", None)  # told in sentences
    pairs = list(beside(item))
    if pairs:
        for line in format_rows(["", "DESIRED", "ACTUAL"], pairs, stream=sys.stdout):
            yield f"  {line}"
    for title, value in (("Desired (spec)", spec), ("Actual (status)", status)):
        if value:
            yield f"{title}:"
            yield from (f"  {line}" for line in to_yaml(value).splitlines())
    rest = {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata", "spec", "status")}
    if rest:
        yield from to_yaml(rest).splitlines()


def beside(item: Mapping[str, Any]) -> Iterator[list[str]]:
    """The numbers and words that stand in spec and status under the same or a matching name."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    if "observedGeneration" in status and metadata.get("generation"):
        yield ["generation", str(metadata["generation"]), str(status["observedGeneration"])]
    wanted = spec.get("replicas")
    if wanted is None and isinstance(spec.get("nodeReplicas"), dict):
        wanted = sum(spec["nodeReplicas"].values())
    if isinstance(wanted, int):
        wanted = 0 if spec.get("state") == "Stopped" else wanted
        for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
            if field in status or field == "readyReplicas":
                yield [field, str(wanted), str(status.get(field, 0))]
    if "state" in spec and "phase" in status:
        yield ["state", str(spec["state"]), str(status["phase"])]


def conditions(item: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """The conditions as a table."""
    from plum_client.explaining.times import age

    from plum_cli.output import format_rows

    found = (item.get("status") or {}).get("conditions") or ()
    if not found:
        return
    yield "Conditions:"
    rows = [
        [
            str(entry["type"]),
            str(entry["status"]),
            age(entry.get("lastTransitionTime"), now),
            str(entry.get("reason") or ""),
            str(entry.get("message") or ""),
        ]
        for entry in found
    ]
    yield from (f"  {line}" for line in format_rows(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows, stream=sys.stdout))


def summary(item: Mapping[str, Any]) -> list[str]:
    """State and detail of an owned object in two cells."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    if item["kind"] == "Revision":
        return [f"number {spec.get('number')}", str(spec.get("changeCause") or status.get("reason") or "")]
    state = str(status.get("phase") or "")
    if not state:
        state = next(
            (
                f"{entry['type']}={entry['status']}"
                for entry in status.get("conditions") or ()
                if entry["type"] in ("Ready", "Available")
            ),
            "",
        )
    details = [
        f"on {spec['nodeName']}" if spec.get("nodeName") else "",
        str(status.get("reason") or ""),
        str(status.get("message") or ""),
    ]
    return [state, ", ".join(part for part in details if part)]
