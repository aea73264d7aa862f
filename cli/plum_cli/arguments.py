"""Arguments that several commands share, declared once so that they mean the same everywhere."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable

from plum_cli.errors import UsageError
from plum_cli.times import parse_seconds

FILE_COMPLETION = {
    "bash": "_shtab_compgen_files",
    "zsh": "_files",
    "tcsh": "f",
    "fish": "(__fish_complete_path (commandline -ct))",
}
DIRECTORY_COMPLETION = {
    "bash": "_shtab_compgen_dirs",
    "zsh": "_files -/",
    "tcsh": "d",
    "fish": "(__fish_complete_directories (commandline -ct))",
}


def describe(parser: argparse.ArgumentParser, description: str, examples: str) -> None:
    """What the command does, and how it is used."""
    parser.description = textwrap.dedent(description).strip()
    parser.epilog = "examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  ")


def server(parser: argparse.ArgumentParser, *, namespace: bool = True) -> None:
    """Which server, with which credentials, in which namespace."""
    if namespace:
        parser.add_argument("-n", "--namespace", metavar="NAME", help="namespace; default: that of the kubeconfig, else default")
    group = parser.add_argument_group("server")
    group.add_argument("--server", metavar="URL", help="address of the server; default: PLUM_SERVER")
    group.add_argument("--token", metavar="TEXT", help="bearer token; default: PLUM_TOKEN")
    kubeconfig = group.add_argument(
        "--kubeconfig", metavar="FILE", help="default: PLUM_KUBECONFIG, KUBECONFIG, ./.plum/kubeconfig"
    )
    completes(kubeconfig, FILE_COMPLETION)
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")


def all_namespaces(parser: argparse.ArgumentParser) -> None:
    """-A"""
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="objects of all namespaces")


def selectors(parser: argparse.ArgumentParser) -> None:
    """-l and --field-selector"""
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="by labels, such as app=web,tier!=db")
    parser.add_argument("--field-selector", default="", metavar="SELECTOR", help="by fields, such as spec.nodeName=node-1")


def output(parser: argparse.ArgumentParser, *formats: str, default: str = "table") -> None:
    """-o with a fixed set of formats."""
    parser.add_argument("-o", "--output", default=default, choices=formats, help=f"{', '.join(formats)}; default: {default}")


def files(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """-f and -R"""
    action = parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        required=required,
        metavar="FILE|DIR|-",
        help="manifests; may be repeated",
    )
    completes(action, FILE_COMPLETION)
    parser.add_argument("-R", "--recursive", action="store_true", help="also the folders below a folder")


def timeout(parser: argparse.ArgumentParser, default: str, help_text: str) -> None:
    """--timeout as a duration"""
    parser.add_argument(
        "--timeout", type=seconds, default=seconds(default), metavar="DURATION", help=f"{help_text}; default: {default}"
    )


def completes(action: argparse.Action, how: dict[str, str]) -> None:
    """What a shell offers for an argument."""
    action.complete = how  # type: ignore[attr-defined]


def _checked(convert: Callable[[str], float | int | str]) -> Callable[[str], float | int | str]:
    def check(text: str) -> float | int | str:
        try:
            return convert(text)
        except (UsageError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return check


def seconds(text: str) -> float:
    """A duration in seconds, as a type for argparse."""
    return float(_checked(parse_seconds)(text))


def count(text: str) -> int:
    """A whole number from 0, as a type for argparse."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; use 0 or more")
    return int(text)
