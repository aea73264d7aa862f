"""`plum controller`: become the controller program."""

from __future__ import annotations

import argparse

from plum_cli import arguments
from plum_cli.execute import become


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum controller`: those of the program."""
    arguments.describe(
        parser,
        """
        Run the controller: store, API and controllers. `plum dev` runs it together with agents. Further settings come from
        the environment: docs/settings.md lists them.
        """,
        """
        plum controller --listen 127.0.0.1:8080 --data-dir /var/lib/plum
        plum controller --secure-listen 0.0.0.0:8443
        plum controller --store sqlite:////var/lib/plum/plum.db --log-format json
        """,
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="address of the API; default: 127.0.0.1:8080; port 0 takes a free one"
    )
    parser.add_argument("--secure-listen", metavar="HOST:PORT", help="a second listener, with TLS and authentication")
    data = parser.add_argument("--data-dir", metavar="DIR", help="where the store is; default: .plum")
    arguments.completes(data, arguments.DIRECTORY_COMPLETION)
    sync = parser.add_argument(
        "--sync", action="append", metavar="DIR", help="make the store equal to this folder, and keep it so; may be repeated"
    )
    arguments.completes(sync, arguments.DIRECTORY_COMPLETION)
    parser.add_argument("--store", metavar="URL", help="sqlite:///PATH or memory:; default: plum.db in the data folder")
    parser.add_argument("--log-format", choices=["text", "json"], help="default: text")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default: info")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")


def run(args: argparse.Namespace) -> int:
    """Replace this process by the program."""
    flags: list[str] = []
    for option in ("listen", "secure_listen", "data_dir", "store", "log_format", "log_level"):
        value = getattr(args, option)
        if value is not None:
            flags += [f"--{option.replace('_', '-')}", value]
    for folder in args.sync or ():
        flags += ["--sync", folder]
    if args.die_with_parent:
        flags.append("--die-with-parent")
    become("plum_controller", flags)
