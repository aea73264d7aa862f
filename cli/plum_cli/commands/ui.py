"""`plum ui`: the web UI's address, with a one-time link where one has to log in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum ui`."""
    arguments.describe(
        parser,
        """
        Print a link that opens the web UI. Over TLS it logs the browser in as you, or as somebody you may act as: once, within
        the time given, and for a session that ends with PLUM_SESSION_SECONDS or with the token you have used. On loopback nobody
        has to log in, so the link is the address alone, unless --as names somebody.
        """,
        """
        plum ui
        plum ui --open
        plum ui --kubeconfig .plum/admin.kubeconfig --as alice --group ops --ttl 1h
        """,
    )
    parser.add_argument("--as", dest="user", default="", metavar="USER", help="log in as this user; you must be allowed to")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="group of that user; may be repeated")
    parser.add_argument("--ttl", default="10m", metavar="DURATION", help="how long the link waits to be used; default: 10m")
    parser.add_argument("--open", action="store_true", help="open it in the browser of this machine")
    parser.add_argument("-o", "--output", choices=["url", "json"], default="url", help="default: url")
    arguments.server(parser, namespace=False)


def run(args: argparse.Namespace) -> int:
    """Make the link."""
    from plum_cli import session

    if args.group and not args.user:
        raise UsageError("--group says in which groups a user is; name the user with --as")
    return session.run(args, lambda connected: _run(args, connected), "plum-ui")


async def _run(args: argparse.Namespace, session: Session) -> int:
    base = session.server.url.rstrip("/")
    if base.startswith("http://") and not args.user:
        made: dict[str, Any] = {"url": f"{base}/"}
    else:
        made = await make_link(session, args.user, args.group, arguments.seconds(args.ttl))
    if args.output == "json":
        import json

        print(json.dumps(made))
    else:
        print(made["url"])
    if args.open:
        import webbrowser

        if not webbrowser.open(made["url"]):
            raise CliError("no browser could be opened here; open the link above")
    return OK


async def make_link(session: Session, user: str = "", groups: list[str] | None = None, seconds: float = 600) -> dict[str, Any]:
    """A one-time link as the server makes it, at the address by which we know the server. Raises the errors of `plum_client`."""
    body: dict[str, Any] = {"seconds": int(seconds)}
    if user:
        body |= {"user": user, "groups": groups or []}
    made: dict[str, Any] = await session.raw("POST", "/session/links", None, body)
    made["url"] = f"{session.server.url.rstrip('/')}/ui/login#link={made['link']}"
    return made
