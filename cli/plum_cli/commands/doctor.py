"""`plum doctor`: check this machine and the server, and say how to fix what is wrong."""

from __future__ import annotations

import argparse
import json
import sys

from plum_cli import arguments
from plum_cli.errors import FAILED, OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum doctor`."""
    arguments.describe(
        parser,
        """
        Check this machine and the server: is it reachable, do versions and clocks agree, is there space, are leases
        renewed, can limits be enforced. Each finding comes with a fix. Exit code 1 when a check failed; warnings do not count.
        """,
        """
        plum doctor
        plum doctor --offline --data-dir /var/lib/plum      this machine only
        plum doctor -o json
        """,
    )
    data = parser.add_argument(
        "--data-dir", default=".plum", metavar="DIR", help="data folder whose disk is checked; default: .plum"
    )
    arguments.completes(data, arguments.DIRECTORY_COMPLETION)
    parser.add_argument("--offline", action="store_true", help="do not ask the server")
    arguments.server(parser, namespace=False)
    arguments.output(parser, "table", "json")


def run(args: argparse.Namespace) -> int:
    """Run the checks and print what they found."""
    from pathlib import Path

    from plum_cli import checks
    from plum_cli.terminal import paint

    results = list(checks.local_checks(Path(args.data_dir)))
    if not args.offline:
        import asyncio

        from plum_cli import server_checks
        from plum_cli.config import find_server

        results = [*asyncio.run(server_checks.run_all(find_server(args))), *results]
    if args.output == "json":
        print(json.dumps([result._asdict() for result in results], indent=4))
    else:
        styles = {"ok": "green", "warning": "yellow", "failed": "red"}
        for result in results:
            print(f"{paint(f'{result.state:<8}', styles[result.state], sys.stdout)} {result.name}: {result.text}")
            if result.fix:
                print(f"{'':<8} fix: {result.fix}")
    return FAILED if any(result.state == "failed" for result in results) else OK
