"""`plum kubeconfig`: a kubeconfig for kubectl and other clients."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from plum_cli import arguments
from plum_cli.errors import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum kubeconfig`."""
    arguments.describe(
        parser,
        """
        Print a kubeconfig for the server this command talks to. `plum dev` writes the same to DATA_DIR/kubeconfig.
        """,
        """
        plum kubeconfig > ~/.kube/plum && KUBECONFIG=~/.kube/plum kubectl get deployments
        plum kubeconfig --write .plum/kubeconfig --server https://plum.example.com:8443
        """,
    )
    arguments.server(parser)
    write = parser.add_argument("--write", default="", metavar="FILE", help="write it there, readable only by you")
    arguments.completes(write, arguments.FILE_COMPLETION)


def run(args: argparse.Namespace) -> int:
    """Print or write it."""
    import tempfile

    from plum_client.kubeconfig import write

    from plum_cli.config import find_server

    server = find_server(args)
    server = replace(server, namespace=args.namespace or server.namespace)
    if args.write:
        write(Path(args.write), server)
        print(args.write)
        return OK
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        write(path, server)
        print(path.read_text(encoding="utf-8"), end="")
    return OK
