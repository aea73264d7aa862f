"""`plum version`: versions of client and server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from plum_cli import __version__, arguments
from plum_cli.errors import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum version`."""
    arguments.describe(
        parser,
        """
        Print the versions of this client and of the server.
        """,
        """
        plum version
        plum version --client
        plum version -o json
        """,
    )
    parser.add_argument("--client", action="store_true", help="only the client's; asks no server")
    arguments.server(parser, namespace=False)
    arguments.output(parser, "table", "json", "yaml")


def run(args: argparse.Namespace) -> int:
    """Print the versions."""
    if args.client:
        show(args, {"clientVersion": __version__})
        return OK
    from plum_cli import session

    async def ask(connected: session.Session) -> int:
        answer = await connected.raw("GET", "/version")
        show(args, {"clientVersion": __version__, "serverVersion": plain(answer), "server": connected.server.url})
        return OK

    return session.run(args, ask)


def plain(answer: Mapping[str, Any]) -> str:
    """Plum's own version in the answer of `/version`."""
    return str(answer.get("plumVersion") or answer.get("gitVersion") or "unknown").removeprefix("v")


def show(args: argparse.Namespace, versions: dict[str, str]) -> None:
    """Print them in the format."""
    if args.output == "json":
        print(json.dumps(versions, indent=4))
    elif args.output == "yaml":
        print("\n".join(f"{key}: {value}" for key, value in versions.items()))
    else:
        print(f"client {versions['clientVersion']}")
        if "serverVersion" in versions:
            print(f"server {versions['serverVersion']} at {versions['server']}")
