"""`plum diff`: what an apply would change. Exit code 1 when there are differences."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from plum_cli import arguments
from plum_cli.errors import FAILED, OK, USAGE, CliError

if TYPE_CHECKING:
    from plum_cli.manifests import Loaded
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum diff`."""
    arguments.describe(
        parser,
        """
        Show what an apply of manifests would change, as the server answers a dry run: defaults and other owners' fields
        included. Exit code 0: nothing; 1: there are differences; more: it failed.
        """,
        """
        plum diff -f manifests/ -R
        plum diff -f web.yaml || plum apply -f web.yaml
        """,
    )
    arguments.files(parser)
    arguments.server(parser)
    parser.add_argument("--force-conflicts", action="store_true", help="as if the apply took over fields of others")
    parser.add_argument("--field-manager", default="plum", metavar="NAME", help="in whose name; default: plum")


def run(args: argparse.Namespace) -> int:
    """Print a unified diff per object."""
    from plum_cli import session
    from plum_cli.manifests import load_manifests
    from plum_cli.terminal import warn

    try:
        loaded = load_manifests(args.filename, recursive=args.recursive)
        for warning in loaded.warnings:
            warn(str(warning))
        return session.run(args, lambda connected: diff(args, connected, loaded))
    except CliError as error:
        if error.code == FAILED:
            error.code = USAGE  # 1 is an answer here
        raise


async def diff(args: argparse.Namespace, session: Session, loaded: Loaded) -> int:
    """Compare what is there with the answer of the dry run."""
    from plum_cli import apply as engine
    from plum_cli.differences import unified
    from plum_cli.terminal import paint

    options = engine.ApplyOptions(force=args.force_conflicts, field_manager=args.field_manager)
    items = await engine.prepare(session, loaded, options, namespace_given=bool(args.namespace))
    await engine.check(session, items, options)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    different = False
    for item in items:
        wanted = item.result or item.data
        if item.new_namespace and item.result:
            wanted = {**wanted, "metadata": {**wanted["metadata"], "namespace": item.namespace}}
        for line in unified(str(item.target), item.live, wanted):
            different = True
            style = styles.get(line[:1], "")
            print(paint(line, style, sys.stdout) if style else line)
    return FAILED if different else OK
