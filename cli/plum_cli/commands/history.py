"""`plum history`: the revisions of an object: when, who, what changed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum history`."""
    arguments.describe(
        parser,
        """
        Show the kept revisions of an object, newest first: when each was written, by whom, and what changed. Works for
        objects that were deleted, too. `plum rollback KIND/NAME --to REVISION` goes back to one of them.
        """,
        """
        plum history deployment/web
        plum history deployment web --all           also the changes of the status
        plum history deployment/web --revision 4711 what that revision changed, as a diff
        plum history node node-1 -o json
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND NAME | KIND/NAME", help="which object")
    arguments.server(parser)
    parser.add_argument("--all", action="store_true", help="also revisions that changed only the status")
    parser.add_argument("--revision", default="", metavar="N", help="the full change of one revision")
    parser.add_argument("--limit", type=arguments.count, default=50, metavar="N", help="how many to show; default: 50")
    arguments.output(parser, "table", "json", "yaml", "name")


def run(args: argparse.Namespace) -> int:
    """Show the history."""
    from plum_cli import session

    return session.run(args, lambda connected: show(args, connected))


async def load_history(session: Session, target: Target) -> list[dict[str, Any]]:
    """The kept versions of an object, newest first."""
    from plum_client.transport import Request

    namespace = session.namespace_of(target.info)
    answer = await session.ask(Request("GET", target.info, namespace, target.name, "history", query={"limit": "10000"}))
    return list(answer["items"])


async def show(args: argparse.Namespace, session: Session) -> int:
    """Print a row per revision, or one revision."""
    import json

    from plum_cli.output import print_rows, to_yaml, without_managed_fields

    target = await session.target(args.what)
    versions = await load_history(session, target)
    if not versions:
        raise CliError(f"no history of {target} is kept", NOT_FOUND)
    if args.revision:
        return one(versions, args.revision, str(target))
    chosen = [version for version, before in pairs(versions) if args.all or not status_only(version, before)][: args.limit]
    if args.output == "name":
        print("\n".join(str(version["revision"]) for version in chosen))
    elif args.output == "table":
        now = datetime.now(UTC)
        previous = {id(version): before for version, before in pairs(versions)}
        print_rows(
            ["REVISION", "AGE", "TIME", "OPERATION", "BY", "CHANGE"],
            [row(version, previous[id(version)], now) for version in chosen],
        )
        if len(chosen) < len(versions) and not args.all:
            print(f"{len(versions) - len(chosen)} more with --all", file=sys.stderr)
    else:
        items = [{**version, "object": without_managed_fields(version["object"])} for version in chosen]
        value = {"apiVersion": "plum.dev/v1", "kind": "ObjectHistory", "items": items}
        print(
            json.dumps(value, indent=4, ensure_ascii=False) if args.output == "json" else to_yaml(value),
            end="\n" if args.output == "json" else "",
        )
    return OK


def pairs(versions: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each version with the one before it."""
    return list(zip(versions, [*versions[1:], None], strict=True))


def status_only(version: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether nothing changed that a person wrote."""
    from plum_cli.differences import comparable

    if before is None or version["operation"] != "update":
        return False
    return comparable(version["object"]) == comparable(before["object"])


def row(version: Mapping[str, Any], before: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """The cells of one revision."""
    from plum_client.explaining.times import age, parse_time

    from plum_cli.differences import summarize

    operation = str(version["operation"])
    if operation == "update":
        change = summarize(before["object"], version["object"]) if before else "(the oldest revision that is kept)"
    elif operation == "delete":
        change = "deleted"
    else:
        change = "created"
    moment = parse_time(version["time"])
    local = moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""
    return [str(version["revision"]), age(version["time"], now), local, operation, str(version.get("manager") or "-"), change]


def one(versions: Sequence[dict[str, Any]], revision: str, name: str) -> int:
    """Print what one revision changed."""
    from plum_cli.differences import unified
    from plum_cli.terminal import paint

    for version, before in pairs(versions):
        if str(version["revision"]) == revision:
            old = before["object"] if before and before["operation"] != "delete" else None
            new = None if version["operation"] == "delete" else version["object"]
            for line in unified(name, old, new) or ["only the status changed"]:
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
                print(paint(line, style, sys.stdout) if style else line)
            return OK
    raise CliError(f"revision {revision} did not change {name}, or is no longer kept; see plum history {name}", NOT_FOUND)
