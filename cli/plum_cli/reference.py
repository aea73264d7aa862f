"""Writes `docs/cli.md` from the parsers: `python -m plum_cli.reference > docs/cli.md`. A test keeps the file current."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from plum_cli.errors import EXIT_CODES
from plum_cli.main import COMMANDS, Command, new_parser

WIDTH = "100"
HEAD = """# The `plum` command

This file is generated: `python -m plum_cli.reference > docs/cli.md`.

Every command takes `--help`. Answers go to stdout, everything for people (warnings, progress, errors) to stderr. Colours and
redrawn lines appear only on a terminal and never with `NO_COLOR`. Objects are named `KIND/NAME` or `KIND NAME`; a kind may be
written as plural, singular, short name, or `plural.group`.

The server is, in this order: `--server`; `--kubeconfig` or `--context`; `PLUM_SERVER` (with `PLUM_TOKEN` and `PLUM_CA_FILE`);
the file in `PLUM_KUBECONFIG`; the one in `KUBECONFIG`; `./.plum/kubeconfig`, which `plum dev` writes; `http://127.0.0.1:8080`.
`PLUM_TOKEN` wins over the token of a file, `--token` over both.

## Exit codes

| code | means |
|---|---|
"""


def document() -> str:
    """The whole file."""
    os.environ["COLUMNS"] = WIDTH  # argparse asks the terminal otherwise
    lines = [HEAD + "\n".join(f"| {code} | {text} |" for code, text in EXIT_CODES)]
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            lines.append(f"\n## {group}")
        lines += section(command)
    return "\n".join(lines) + "\n"


def section(command: Command) -> Iterator[str]:
    """One command and its subcommands."""
    parser = new_parser(command)
    yield f"\n### plum {command.name}\n"
    yield f"```text\n{parser.format_help().rstrip()}\n```"
    for name, below in subcommands(parser):
        yield f"\n#### plum {command.name} {name}\n"
        yield f"```text\n{below.format_help().rstrip()}\n```"
        for part, lowest in subcommands(below):
            yield f"\n##### plum {command.name} {name} {part}\n"
            yield f"```text\n{lowest.format_help().rstrip()}\n```"


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parsers below a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


if __name__ == "__main__":
    sys.stdout.write(document())
