"""`plum token`: bearer tokens for people, programs and agents."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session

TOKENS = "tokens.plum.dev"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum token`."""
    arguments.describe(
        parser,
        """
        Give somebody a token for a server with TLS, see which there are, or make one worthless. The server keeps only a
        token's hash, so it is shown once. What its user may do is said by roles: kubectl create clusterrolebinding.
        """,
        """
        plum token create --user alice --group ops --ttl 30d
        plum token create --node node-7
        plum token list
        plum token revoke token-x7f2k
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token and print it", description="Make a token and print it.")
    whose(create)
    create.add_argument("--name", default="", help="name of the Token object; default: token-XXXXX")
    create.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    create.add_argument("-o", "--output", choices=["token", "json"], default="token", help="default: token")
    arguments.server(create, namespace=False)
    listing = actions.add_parser("list", help="whose tokens there are", description="Whose tokens there are, and until when.")
    arguments.server(listing, namespace=False)
    revoke = actions.add_parser("revoke", help="make tokens worthless", description="Make tokens worthless, at once.")
    revoke.add_argument("names", nargs="+", metavar="TOKEN", help="name of a Token object")
    arguments.server(revoke, namespace=False)


def whose(parser: argparse.ArgumentParser) -> None:
    """Whose token, and for how long."""
    user = parser.add_mutually_exclusive_group(required=parser.prog.endswith("create"))
    user.add_argument("--user", default="", metavar="NAME", help="a person or program")
    user.add_argument("--node", default="", metavar="NAME", help="the agent of a node: what is its node's, and nothing else")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="group of the user; may be repeated")
    parser.add_argument(
        "--ttl", default="30d", metavar="DURATION", help="how long it holds; 0: until it is revoked; default: 30d"
    )


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    actions = {"create": create, "list": listed, "revoke": revoke}
    return session.run(args, lambda connected: actions[args.action](args, connected), "plum-token")


async def create(args: argparse.Namespace, session: Session) -> int:
    """Make a token and print it."""
    made = await make(session, args, args.name, args.description)
    if args.output == "json":
        import json

        print(json.dumps(made))
        return OK
    print(made["status"]["token"])
    return OK


async def make(session: Session, args: argparse.Namespace, name: str = "", description: str = "") -> dict[str, Any]:
    """The Token object as the server answers, with `status.token`."""
    spec = wanted(args, datetime.now(UTC)) | ({"description": description} if description else {})
    metadata = {"name": name} if name else {"generateName": "token-"}
    body = {"apiVersion": "plum.dev/v1", "kind": "Token", "metadata": metadata, "spec": spec}
    made = await session.raw("POST", "/apis/plum.dev/v1/tokens", {"fieldManager": "plum-token"}, body)
    if not isinstance(made, dict):
        raise CliError("the server did not answer with a Token")
    return made


def wanted(args: argparse.Namespace, now: datetime) -> dict[str, Any]:
    """The spec of the token that was asked for. Raises `UsageError`."""
    spec: dict[str, Any] = {"user": args.user, "groups": list(dict.fromkeys(args.group))}
    if args.node:
        if args.group:
            raise UsageError("an agent is in the group system:nodes and in no other; leave --group away")
        spec = {"user": f"system:node:{args.node}", "groups": ["system:nodes"]}
    seconds = arguments.seconds(args.ttl)
    if seconds:
        spec["expiresAt"] = (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return spec


async def listed(args: argparse.Namespace, session: Session) -> int:
    """Print whose tokens there are."""
    from plum_client.explaining.times import age

    from plum_cli.output import print_rows

    now = datetime.now(UTC)
    rows = []
    for item in await session.api.list(await session.kind(TOKENS)):
        spec = item["spec"]
        until = spec.get("expiresAt")
        ends = "never"
        if until:
            end = datetime.fromisoformat(until)
            ends = age(now.isoformat(), end) if end > now else "over"
        groups = ",".join(spec.get("groups") or ()) or "<none>"
        rows.append([item["metadata"]["name"], spec["user"], groups, ends, spec.get("description") or ""])
    print_rows(["NAME", "USER", "GROUPS", "ENDS IN", "DESCRIPTION"], rows)
    return OK


async def revoke(args: argparse.Namespace, session: Session) -> int:
    """Delete Token objects."""
    info = await session.kind(TOKENS)
    for name in args.names:
        await session.api.delete(info, name.removeprefix("token/"))
        print(f"token/{name.removeprefix('token/')} is worth nothing any more")
    return OK
