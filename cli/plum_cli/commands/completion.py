"""`plum completion`: a completion script for the shell."""

from __future__ import annotations

import argparse

from plum_cli import arguments
from plum_cli.errors import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum completion`."""
    arguments.describe(
        parser,
        """
        Print a script that makes the shell complete commands, options and files.
        """,
        """
        source <(plum completion bash)
        plum completion zsh > ~/.zfunc/_plum
        plum completion fish > ~/.config/fish/completions/plum.fish
        """,
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="for which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    print(shtab.complete(full_parser(), shell=args.shell))
    return OK


def full_parser() -> argparse.ArgumentParser:
    """The parser of all commands: slow to build, so only completion and documentation use it."""
    from plum_cli.main import COMMANDS

    parser = argparse.ArgumentParser(prog="plum", description="a declarative control plane for a fleet of machines")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        below = commands.add_parser(command.name, help=command.summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.load().configure(below)
    return parser
