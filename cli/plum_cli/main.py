"""Entry of the `plum` command: finds the command's module, builds its parser, runs it, turns errors into exit codes.

    argv --> COMMANDS --> import plum_cli.commands.NAME --> configure(parser) --> run(args) --> exit code

Only the module of the command that was asked for is imported: a start must stay under 250 ms.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

from plum_cli.errors import BROKEN_PIPE, INTERRUPTED, CliError


class CommandModule(Protocol):
    """What a module in `plum_cli.commands` offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments, description and examples."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it. Raises `CliError`."""


class Command(NamedTuple):
    """One line of `plum --help`."""

    name: str
    group: str
    summary: str

    def load(self) -> CommandModule:
        """Import the module behind the command."""
        return cast("CommandModule", importlib.import_module(f"plum_cli.commands.{self.name.replace('-', '_')}"))


COMMANDS: tuple[Command, ...] = (
    Command("dev", "Run Plum", "controller, agents and UI on this terminal"),
    Command("controller", "Run Plum", "the controller alone"),
    Command("agent", "Run Plum", "the agent of one node"),
    Command("ui", "Run Plum", "open the web UI: its address, or a one-time link to log in"),
    Command("install", "Run Plum", "make controller or agent a service of systemd"),
    Command("apply", "Desired state", "make the server's desired state equal to manifests"),
    Command("diff", "Desired state", "what an apply would change"),
    Command("plan", "Desired state", "what the controllers would do with manifests, without doing it"),
    Command("artifact", "Desired state", "packages of applications: check, push, list, pull, delete"),
    Command("edit", "Desired state", "change an object in an editor"),
    Command("scale", "Desired state", "set the number of replicas"),
    Command("rollout", "Desired state", "status, history, undo, restart, pause and resume of a rollout"),
    Command("rollback", "Desired state", "give an object back the state it had at a revision"),
    Command("delete", "Desired state", "delete objects"),
    Command("get", "Look", "objects as a table, JSON, YAML or by a template, now or at a revision"),
    Command("describe", "Look", "everything about one object: desired and actual, conditions, what it owns, events"),
    Command("explain", "Look", "why an object is not where it should be, or what a field means"),
    Command("events", "Look", "what happened"),
    Command("logs", "Look", "output of instances"),
    Command("top", "Look", "processor time and memory in use, of nodes or instances"),
    Command("exec", "Look", "run a command beside an instance, with a terminal if wanted"),
    Command("port-forward", "Look", "reach ports of an instance from here"),
    Command("resolve", "Look", "where a service answers"),
    Command("history", "Look", "revisions of an object: when, who, what changed"),
    Command("kv", "Change", "entries of the key-value store: get, put, delete, list, watch, txn, lock"),
    Command("sync", "Change", "folders, repositories and bundles that are followed: look, plan, hold, roll back"),
    Command("device", "Devices", "twins of devices: look, set, operate, history, simulate"),
    Command("node", "Nodes", "join, revoke, cordon, uncordon, drain"),
    Command("run", "Tasks", "run a task or a workflow"),
    Command("runs", "Tasks", "runs of workflows: list, graph, logs, pause, resume, cancel, retry, rerun, skip, approve"),
    Command("simulate", "Tasks", "what a run of a workflow would do, with results that you give"),
    Command("workflow", "Tasks", "what workflows do, their versions, and workflows from templates"),
    Command("task", "Tasks", "cancel runs of tasks, or run them again"),
    Command("trigger", "Tasks", "fire triggers, fill back, see what they did, send events"),
    Command("audit", "Care", "who did what: the audit log, and whether it is whole"),
    Command("token", "Care", "bearer tokens for people, programs and agents"),
    Command("kubeconfig", "Care", "print a kubeconfig for kubectl and other clients"),
    Command("doctor", "Care", "check this machine and the server, and say how to fix what is wrong"),
    Command("backup", "Care", "save the server's store to a file, while it runs"),
    Command("restore", "Care", "put a backup in place of a stopped controller's store"),
    Command("bundle", "Care", "everything in one file, for machines without a network"),
    Command("version", "Care", "versions of client and server"),
    Command("completion", "Care", "a completion script for the shell"),
)

RUN_ACTIONS = frozenset({
    "list", "graph", "logs", "nodes", "pause", "resume", "cancel", "retry", "rerun", "skip", "approve", "reject", "mark",
})  # fmt: skip
"""What `plum runs` does; also understood after `plum run`."""

VALUE_OPTIONS = frozenset({"-n", "--namespace", "--server", "--token", "--kubeconfig", "--context"})
"""Options that may also stand before the command, with a value of their own."""


def overview() -> str:
    """The text of `plum --help`."""
    lines = ["usage: plum COMMAND [arguments]", "", "Plum: a declarative control plane for a fleet of machines.", ""]
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            lines += ["", f"{group}:"] if lines[-1] else [f"{group}:"]
        lines.append(f"  {command.name:<12} {command.summary}")
    lines += [
        "",
        "plum COMMAND --help    arguments and examples of a command",
        "plum dev               start everything here; then, in another terminal: plum get nodes",
        "",
        "The server is --server, PLUM_SERVER, PLUM_KUBECONFIG, KUBECONFIG or ./.plum/kubeconfig, in this order.",
    ]
    return "\n".join(lines)


def new_parser(command: Command, module: CommandModule | None = None) -> argparse.ArgumentParser:
    """The parser of one command, with its arguments declared."""
    parser = argparse.ArgumentParser(
        prog=f"plum {command.name}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    (module or command.load()).configure(parser)
    return parser


def split_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command's name and its arguments; options that stand before the command are moved behind it."""
    before: list[str] = []
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        width = 2 if argv[position] in VALUE_OPTIONS else 1
        before += argv[position : position + width]
        position += width
    if position >= len(argv):
        return "", before
    rest = list(argv[position + 1 :])
    end = rest.index("--") if "--" in rest else len(rest)
    return argv[position], rest[:end] + before + rest[end:]


def run_command(argv: Sequence[str]) -> int:
    """Run one command line. Raises `CliError`; argparse ends the process on a wrong command line."""
    name, rest = split_command(argv)
    if not name:
        if "--version" in rest:
            name, rest = "version", [option for option in rest if option != "--version"]
        elif not rest or {"-h", "--help"} & set(rest):
            print(overview())
            return 0
    elif name == "help":
        name, rest = (rest[0], ["--help"]) if rest else ("", [])
        if not name:
            print(overview())
            return 0
    if name == "run" and rest and rest[0] in RUN_ACTIONS:  # `plum run pause NAME` is `plum runs pause NAME`
        name = "runs"
    command = next((command for command in COMMANDS if command.name == name), None)
    if command is None:
        raise CliError(unknown_command(name), 2)
    module = command.load()
    words: list[str] = []
    if getattr(module, "TAKES_WORDS", False) and "--" in rest:
        end = rest.index("--")
        rest, words = rest[:end], rest[end + 1 :]  # argparse loses them behind options in Python 3.11
    args = new_parser(command, module).parse_args(rest)
    if words:
        args.words = [*args.words, *words]
    return module.run(args)


def unknown_command(name: str) -> str:
    """A sentence that names what was probably meant."""
    import difflib

    if not name:
        return "a command is missing; see plum --help"
    close = difflib.get_close_matches(name, [command.name for command in COMMANDS], n=1)
    return f"{name!r} is no command; did you mean `plum {close[0]}`?" if close else f"{name!r} is no command; see plum --help"


def skip_typing_extensions() -> None:
    """Keep msgspec from loading typing_extensions, which costs 30 ms of every start: Python has all that msgspec wants of it."""
    sys.modules.setdefault("typing_extensions", cast("Any", None))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        if argv is None:
            skip_typing_extensions()
        code = run_command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except CliError as error:
        for line in str(error).splitlines() or [""]:
            print(f"error: {line}" if not line.startswith(" ") else line, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone; without this the interpreter would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
