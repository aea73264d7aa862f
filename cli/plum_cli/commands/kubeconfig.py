"""`plum kubeconfig`: a kubeconfig for kubectl and other clients."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plum_cli import arguments
from plum_cli.errors import OK, UsageError

if TYPE_CHECKING:
    from plum_client.kubeconfig import Server


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum kubeconfig`."""
    from plum_cli.commands import token

    arguments.describe(
        parser,
        """
        Print a kubeconfig for the server this command talks to. `plum dev` writes the same to DATA_DIR/kubeconfig. With
        --user or --node it holds a new token of that user instead of your own credentials.
        """,
        """
        plum kubeconfig > ~/.kube/plum && KUBECONFIG=~/.kube/plum kubectl get deployments
        plum kubeconfig --user alice --group ops --ttl 30d --server https://plum.example.com:8443 --write alice.kubeconfig
        """,
    )
    arguments.server(parser)
    token.whose(parser)
    write = parser.add_argument("--write", default="", metavar="FILE", help="write it there, readable only by you")
    arguments.completes(write, arguments.FILE_COMPLETION)


def run(args: argparse.Namespace) -> int:
    """Print or write it."""
    import tempfile

    from plum_client.kubeconfig import write

    from plum_cli.config import find_server

    server = find_server(args)
    server = replace(server, namespace=args.namespace or server.namespace)
    user = args.user or (f"system:node:{args.node}" if args.node else "plum")
    if args.user or args.node:
        server = _for_user(args, server)
    elif args.group:
        raise UsageError("--group says in which groups a user is; name the user with --user")
    if args.write:
        write(Path(args.write), server, user=user)
        print(args.write)
        return OK
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        write(path, server, user=user)
        print(path.read_text(encoding="utf-8"), end="")
    return OK


def _for_user(args: argparse.Namespace, server: Server) -> Server:
    """The same server with a new token of somebody. Raises `UsageError` where a token would not be sent."""
    from plum_cli import session
    from plum_cli.commands import token

    if not server.url.startswith("https:"):
        raise UsageError(
            f"{server.url} has no TLS, and kubectl sends no token without it; start the controller with "
            "--secure-listen HOST:PORT and use --kubeconfig DATA_DIR/admin.kubeconfig"
        )
    made: list[str] = []

    async def ask(connected: session.Session) -> int:
        made.append((await token.make(connected, args, description="plum kubeconfig"))["status"]["token"])
        return OK

    session.run(args, ask, "plum-kubeconfig")
    return replace(server, token=made[0], client_certificate=b"", client_key=b"")
