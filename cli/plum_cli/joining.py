"""How machines become nodes, from the administrator's side: `plum node token`, `plum node revoke`.

    create -> GET /agent/v1/ca (address, authority) -> POST Token with spec.join -> the line to run on the machine
    revoke -> DELETE the Tokens of a node: certificates, tokens, and those it could still join with

The token that is printed names the authority by its SHA-256, so a machine that knows nothing yet trusts the right controller.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plum_client.http_transport import is_loopback

from plum_cli import arguments
from plum_cli.commands.token import TOKENS
from plum_cli.errors import OK, CliError, UsageError
from plum_cli.terminal import note

if TYPE_CHECKING:
    from plum_cli.session import Session

BOOTSTRAP_PREFIX, BOOTSTRAPPERS, NODE_PREFIX = "system:bootstrap:", "system:bootstrappers", "system:node:"


async def run(args: argparse.Namespace, session: Session) -> int:
    """Do `plum node token ACTION` or `plum node revoke`."""
    if args.action == "revoke":
        return await revoke_nodes(args, session)
    actions = {"create": create, "list": listed, "revoke": revoke}
    return await actions[args.token_action](args, session)


async def create(args: argparse.Namespace, session: Session) -> int:
    """Make a token to join with and print the line to run on the machine."""
    seconds = arguments.seconds(args.ttl)
    if seconds <= 0:
        raise UsageError("a token to join with must end; use --ttl 1h or so")
    known = await session.raw("GET", "/agent/v1/ca")
    controller = args.controller or _address(session, str(known["controller"]))
    if not controller.startswith("https://"):
        raise UsageError(f"--controller {controller}: nodes join over https; use https://HOST:PORT")
    name = f"join-{secrets.token_hex(4)}"
    spec: dict[str, Any] = {
        "user": BOOTSTRAP_PREFIX + name,
        "groups": [BOOTSTRAPPERS],
        "join": {"node": args.node} if args.node else {},
        "expiresAt": (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "description": "to join once",
    }
    body = {"apiVersion": "plum.dev/v1", "kind": "Token", "metadata": {"name": name}, "spec": spec}
    made = await session.raw("POST", "/apis/plum.dev/v1/tokens", {"fieldManager": "plum-node"}, body)
    token = made["status"]["token"]
    if known["authority"]:
        token += "." + hashlib.sha256(ssl.PEM_cert_to_DER_cert(known["authority"])).hexdigest()
    if args.output == "token":
        print(token)
    elif args.output == "json":
        print(json.dumps({"name": name, "token": token, "controller": controller, "expiresAt": spec["expiresAt"]}))
    else:
        node = f"--node {args.node} " if args.node else ""
        print(f"plum agent {node}--controller {controller} --join {token}")
    if is_loopback(controller):
        note("this address is reached from this machine alone; see --secure-listen and --controller")
    return OK


def _address(session: Session, told: str) -> str:
    """Where the machine will find the controller: as we found it ourselves, if that is not only here."""
    url = session.server.url
    return url if urlsplit(url).scheme == "https" and not is_loopback(url) else told


async def listed(args: argparse.Namespace, session: Session) -> int:
    """Print which tokens there are to join with, and who did."""
    from plum_client.explaining.times import age

    from plum_cli.output import print_rows

    now = datetime.now(UTC)
    rows = []
    for item in await session.api.list(await session.kind(TOKENS)):
        spec, used = item["spec"], (item.get("status") or {}).get("used")
        if spec.get("join") is None:
            continue
        end = datetime.fromisoformat(spec["expiresAt"])
        by = f"{used['node']} from {used.get('address') or 'here'}, {age(used['at'], now)} ago" if used else "<nobody>"
        ends = age(now.isoformat(), end) if end > now else "over"
        rows.append([item["metadata"]["name"], spec["join"].get("node") or "<any new>", ends, by])
    print_rows(["NAME", "NODE", "ENDS IN", "USED BY"], rows)
    return OK


async def revoke(args: argparse.Namespace, session: Session) -> int:
    """Delete tokens to join with. Who has joined keeps the certificate."""
    info = await session.kind(TOKENS)
    for name in (name.removeprefix("token/") for name in args.names):
        item = await session.find(info, name)
        if item is not None and item["spec"].get("join") is None:
            raise CliError(f"token/{name} is not one to join with; use plum token revoke, or plum node revoke NODE")
        await session.api.delete(info, name)
        print(f"token/{name} is worth nothing any more")
    return OK


async def revoke_nodes(args: argparse.Namespace, session: Session) -> int:
    """Delete everything that proves that somebody is a node, or could make somebody it."""
    info = await session.kind(TOKENS)
    tokens = await session.api.list(info)
    for node in (name.removeprefix("node/") for name in args.names):
        mine = [item for item in tokens if _proves(item, node)]
        for item in mine:
            await session.api.delete(info, item["metadata"]["name"])
            print(f"token/{item['metadata']['name']} is worth nothing any more")
        if not mine:
            note(f"node/{node} has no certificate and no token")
    return OK


def _proves(item: Any, node: str) -> bool:
    spec = item["spec"]
    join = spec.get("join")
    if join is not None:
        used = (item.get("status") or {}).get("used") or {}
        return node in (join.get("node"), used.get("node"))
    return bool(spec["user"] == NODE_PREFIX + node)
