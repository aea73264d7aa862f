"""`plum audit`: who did what, and whether the log of it is whole."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, OK

if TYPE_CHECKING:
    from plum_cli.session import Session

PATH = "/apis/plum.dev/v1/audit"
FILTERS = ("user", "verb", "resource", "namespace", "name", "address", "outcome")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum audit`."""
    arguments.describe(
        parser,
        """
        Look into the audit log: changes, logins, commands and refusals, newest first. The log is only appended to, and every
        record is chained to the one before by a hash: `plum audit verify` follows the chain.
        """,
        """
        plum audit list --since 1h
        plum audit list --user alice --outcome refused -o json
        plum audit verify
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="records, newest first", description="Records, newest first.")
    for name in ("user", "verb", "resource", "namespace", "name", "address"):
        listing.add_argument(f"--{name}", default="", metavar="TEXT", help=f"only of this {name}")
    listing.add_argument("--outcome", default="", choices=["", "succeeded", "refused", "failed"], help="only with this outcome")
    listing.add_argument("--since", default="", metavar="DURATION", help="not older than, such as 1h")
    listing.add_argument("--limit", type=arguments.count, default=50, metavar="N", help="at most so many; default: 50")
    listing.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")
    arguments.server(listing, namespace=False)
    verify = actions.add_parser("verify", help="follow the chain of hashes", description="Follow the chain of hashes.")
    arguments.server(verify, namespace=False)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    actions = {"list": listed, "verify": verified}
    return session.run(args, lambda connected: actions[args.action](args, connected), "plum-audit")


async def listed(args: argparse.Namespace, session: Session) -> int:
    """Print records."""
    from plum_client.explaining.times import age

    from plum_cli.output import print_rows

    now = datetime.now(UTC)
    query = {name: getattr(args, name) for name in FILTERS if getattr(args, name)}
    if args.since:
        query["since"] = (now - timedelta(seconds=arguments.seconds(args.since))).isoformat()
    query["limit"] = str(min(args.limit, 1000) or 1)
    found = await session.raw("GET", PATH, query)
    if args.output == "json":
        print(json.dumps(found["items"], indent=2))
        return OK
    rows = [
        [age(item["time"], now), item["user"], item["verb"], what(item), str(item["code"]), item.get("address") or "-"]
        for item in found["items"]
    ]
    print_rows(["AGE", "USER", "VERB", "WHAT", "CODE", "FROM"], rows)
    return OK


def what(item: dict[str, Any]) -> str:
    """What a record is about, in a word."""
    if not item.get("resource"):
        return str(item.get("path") or "-")
    kind = item["resource"] + (f".{item['group']}" if item.get("group") else "")
    place = "/".join(part for part in (item.get("namespace"), item.get("name")) if part)
    return f"{kind}/{place}" if place else kind


async def verified(args: argparse.Namespace, session: Session) -> int:
    """Check the chain."""
    found = await session.raw("GET", f"{PATH}/verification")
    if not found["intact"]:
        print(f"the audit log is not whole: {found['problem']} ({found['records']} records before that are)")
        return FAILED
    span = f"{found['first']} to {found['last']}" if found["records"] else "none"
    print(f"the audit log is whole: {found['records']} records ({span}), the last with the hash {found['head']}")
    return OK
