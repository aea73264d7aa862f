"""`plum exec`: a command beside an instance, in its folder and environment, through the node's agent."""

from __future__ import annotations

import argparse
import sys

from plum_cli import arguments
from plum_cli.errors import UsageError

TAKES_WORDS = True
"""What follows `--` is not looked at."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum exec`."""
    arguments.describe(
        parser,
        """
        Run a command beside an instance: in its folder, with its environment, as its user, within its limits. The exit
        code is that of the command; 126 means that it may not be run, 127 that it is not there. The command ends, with
        everything it started, when it is done, when this one is interrupted, or when the connection breaks.
        """,
        """
        plum exec web-7c2f-0 -- ls -l
        plum exec -it deployment/web -- sh            a shell in a ready instance of the deployment
        plum exec -i web-7c2f-0 -- tar x < files.tar
        """,
    )
    parser.add_argument("what", metavar="INSTANCE | KIND/NAME", help="an instance, or deployment/NAME for a ready one of it")
    parser.add_argument("words", nargs="*", metavar="-- COMMAND", help="program and arguments; no shell looks at them")
    parser.add_argument("-i", "--stdin", action="store_true", help="pass on the input of this command")
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    arguments.server(parser)


def run(args: argparse.Namespace) -> int:
    """Run it. The exit code is the command's."""
    from plum_cli import session, terminal
    from plum_cli.instances import find_instance
    from plum_cli.remote_command import RemoteCommand

    if not args.words:
        raise UsageError("name the command to run behind --: plum exec INSTANCE -- COMMAND")
    tty = args.tty
    if tty and not (args.stdin and sys.stdin.isatty()):
        terminal.warn(
            "there is no terminal here to read from; going on without one" if args.stdin else "-t needs -i; going on without"
        )
        tty = False

    async def command(connected: session.Session) -> int:
        instance = await find_instance(connected, args.what)
        return await RemoteCommand(connected, instance["metadata"]["name"], args.words, stdin=args.stdin, tty=tty).run()

    return session.run(args, command)
