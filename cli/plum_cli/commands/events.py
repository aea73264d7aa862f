"""`plum events`: what happened, oldest first; with -w also what happens."""

from __future__ import annotations

import argparse
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum events`."""
    arguments.describe(
        parser,
        """
        Show events, oldest first. Events are kept for an hour; `plum history` and the conditions of an object last longer.
        """,
        """
        plum events                                 of the namespace
        plum events --for deployment/web            of one object and of what it owns
        plum events -A --types Warning -w           warnings of all namespaces, and those to come
        """,
    )
    arguments.server(parser)
    arguments.all_namespaces(parser)
    parser.add_argument("--for", dest="subject", default="", metavar="KIND/NAME", help="of this object and of what it owns")
    parser.add_argument("--types", default="", metavar="TYPE,...", help="Normal, Warning")
    parser.add_argument("-w", "--watch", action="store_true", help="go on, until Ctrl-C")
    parser.add_argument("--no-headers", action="store_true", help="rows only")
    arguments.output(parser, "table", "json", "yaml")


def run(args: argparse.Namespace) -> int:
    """Show events."""
    from plum_cli import session

    return session.run(args, lambda connected: show(args, connected))


async def show(args: argparse.Namespace, session: Session) -> int:
    """Print what is there, then what comes."""
    import asyncio
    import sys

    from plum_cli import events, output

    info = await session.kind("events")
    uids = await family(session, args.subject) if args.subject else None
    namespace = session.namespace_of(info, args.all_namespaces)
    listed = await session.api.list(info, namespace)
    wanted = [event for event in events.in_order(listed) if matches(event, uids, args.types)]
    widths: list[int] = []
    titles = (["NAMESPACE"] if args.all_namespaces else []) + list(events.TITLES)

    def table(found: list[Any], headers: bool) -> None:
        rows = [events.row(event, datetime.now(UTC), namespace=args.all_namespaces) for event in found]
        for line in output.format_rows(titles, rows, headers=headers, stream=sys.stdout, widths=widths):
            print(line, flush=True)

    if args.output != "table":
        output.print_objects(wanted, args.output, single=False, managed_fields=False, revision=listed.revision)
    elif wanted or args.watch:
        table(wanted, not args.no_headers)
    else:
        print("no events", file=sys.stderr)
    if not args.watch:
        return OK
    revision = listed.revision
    while True:
        async with aclosing(session.api.watch(info, namespace, since=revision)) as changes:
            async for change in changes:
                revision = change.revision
                if uids is not None and change.object["involvedObject"].get("uid") not in uids:
                    uids = await family(session, args.subject)
                if change.type != "DELETED" and matches(change.object, uids, args.types):
                    if args.output == "table":
                        table([change.object], False)
                    else:
                        output.print_objects([change.object], args.output, single=True, managed_fields=False)
        await asyncio.sleep(0.1)


def matches(event: Any, uids: set[str] | None, types: str) -> bool:
    """Whether an event was asked for."""
    if uids is not None and event["involvedObject"].get("uid") not in uids:
        return False
    return not types or str(event.get("type", "")).lower() in {name.strip().lower() for name in types.split(",")}


async def family(session: Session, subject: str) -> set[str]:
    """The uids of an object and of the objects that it owns."""
    from plum_cli.owned import owned_objects

    target = await session.target([subject])
    item = await session.get(target)
    return {item["metadata"]["uid"], *(child["metadata"]["uid"] for child in await owned_objects(session, item))}
