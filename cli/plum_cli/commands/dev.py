"""`plum dev`: controller, agents and UI on this terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from plum_cli import arguments

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_DATA_DIR = ".plum"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum dev`."""
    arguments.describe(
        parser,
        """
        Run everything on this machine: the controller with its UI, and agents as nodes node-1 to node-N. A part that
        crashes is started again. Ctrl-C ends Plum; what it runs goes on, and the next `plum dev` on the same data folder
        takes it over. Logs of the parts are shown from warnings up; -v shows all.
        """,
        """
        plum dev
        plum dev --agents 3 --manifests manifests/demo
        plum dev --listen 127.0.0.1:0 --data-dir /tmp/plum -v
        """,
    )
    parser.add_argument(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"address of API and UI; port 0 takes a free one; default: {DEFAULT_LISTEN}",
    )
    parser.add_argument(
        "--secure-listen",
        default="",
        metavar="HOST:PORT",
        help="a second listener for other machines, with TLS and authentication",
    )
    data = parser.add_argument(
        "--data-dir",
        default=DEFAULT_DATA_DIR,
        metavar="DIR",
        help=f"store, kubeconfig, files of instances; default: {DEFAULT_DATA_DIR}",
    )
    arguments.completes(data, arguments.DIRECTORY_COMPLETION)
    parser.add_argument("--agents", type=arguments.count, default=1, metavar="N", help="number of nodes; default: 1")
    manifests = parser.add_argument(
        "--manifests", default="", metavar="FILE|DIR", help="apply these, folders below included, and every change of them"
    )
    arguments.completes(manifests, arguments.FILE_COMPLETION)
    parser.add_argument("-v", "--verbose", action="store_true", help="all log lines")


def run(args: argparse.Namespace) -> int:
    """Run until it is stopped."""
    import asyncio

    from plum_cli.dev import DevOptions, run_dev

    options = DevOptions(
        listen=args.listen,
        secure_listen=args.secure_listen,
        data_dir=Path(args.data_dir),
        agents=args.agents,
        manifests=args.manifests,
        verbose=args.verbose,
        is_default=args.listen == DEFAULT_LISTEN and args.data_dir == DEFAULT_DATA_DIR,
    )
    return asyncio.run(run_dev(options))
