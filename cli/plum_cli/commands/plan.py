"""`plum plan`: what the controllers would do with manifests, without doing it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from plum_cli.manifests import Loaded
    from plum_cli.session import Session

SIGNS = {
    "create": ("+", "green", "created"),
    "change": ("~", "yellow", "changed"),
    "delete": ("-", "red", "deleted"),
    "stop": ("x", "red", "stopped"),
    "start": (">", "green", "started"),
    "move": ("=>", "yellow", "moved"),
    "restart": ("@", "yellow", "restarted"),
    "unchanged": (" ", "dim", "unchanged"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum plan`."""
    arguments.describe(
        parser,
        """
        Let the server run its controllers and the scheduler on a copy of the store in memory, with these manifests
        applied, and show what would be created, changed, stopped, moved and restarted. The hash stands for all of it:
        `plum apply --plan HASH` refuses when the outcome would now be another.
        """,
        """
        plum plan -f manifests/
        plum plan -f web.yaml -o json
        plum apply -f web.yaml --plan $(plum plan -f web.yaml -o hash)
        """,
    )
    arguments.files(parser)
    arguments.server(parser)
    parser.add_argument("--all", action="store_true", help="also what stays as it is")
    arguments.output(parser, "table", "json", "hash")


def run(args: argparse.Namespace) -> int:
    """Ask for the plan and print it."""
    from plum_cli import session
    from plum_cli.manifests import load_manifests
    from plum_cli.terminal import warn

    loaded = load_manifests(args.filename, recursive=args.recursive)
    for warning in loaded.warnings:
        warn(str(warning))
    return session.run(args, lambda connected: plan(args, connected, loaded))


async def plan(args: argparse.Namespace, session: Session, loaded: Loaded) -> int:
    """Check the manifests as an apply would, ask, print."""
    from plum_cli import apply as engine

    options = engine.ApplyOptions()
    items = await engine.prepare(session, loaded, options, namespace_given=bool(args.namespace))
    await engine.check(session, items, options)
    answer = await ask_plan(session, [item.data for item in items])
    if args.output == "json":
        print(json.dumps(answer, indent=4, ensure_ascii=False))
    elif args.output == "hash":
        print(answer["hash"])
    else:
        show(answer, everything=args.all)
    return OK


async def ask_plan(session: Session, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The server's answer: `hash` and `changes`."""
    from plum_client.errors import NotFoundError

    try:
        return dict(await session.raw("POST", "/plan", body={"manifests": manifests}))
    except NotFoundError as error:
        raise CliError(f"the server at {session.server.url} makes no plans; it is older than this command", NOT_FOUND) from error


def show(answer: dict[str, Any], *, everything: bool) -> None:
    """A line for each change, then the counts and the hash."""
    from plum_cli.terminal import paint

    changes = list(answer.get("changes") or ())
    for change in changes:
        action = str(change["action"])
        sign, style, _ = SIGNS.get(action, ("?", "dim", action))
        if action == "unchanged" and not everything:
            continue
        namespace = f"{change['namespace']}/" if change.get("namespace") else ""
        detail = f": {change['detail']}" if change.get("detail") else ""
        print(paint(f"{sign:<2} {action:<9}", style, sys.stdout), f"{change['kind']} {namespace}{change['name']}{detail}")
    counts = Counter(str(change["action"]) for change in changes)
    order = [*SIGNS, *(action for action in counts if action not in SIGNS)]
    parts = [f"{counts[action]} {SIGNS[action][2] if action in SIGNS else action}" for action in order if counts[action]]
    print(", ".join(parts) or "nothing would happen")
    print(f"hash {answer['hash']}")
