"""`plum agent`: become the agent program."""

from __future__ import annotations

import argparse

from plum_cli import arguments
from plum_cli.execute import become


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum agent`: those of the program."""
    arguments.describe(
        parser,
        """
        Run the agent of a node: it makes the node match the instances that are meant for it. Ending the agent leaves
        them running, and the next start adopts them.
        """,
        """
        plum agent --node node-1 --controller http://127.0.0.1:8080 --data-dir /var/lib/plum-agent
        plum agent --node edge-7 --controller https://plum.example.com:8443 --join plum_...
        plum agent --node fake --controller http://127.0.0.1:8080 --driver fake --count 50
        """,
    )
    parser.add_argument("--node", metavar="NAME", help="name of the node; default: the machine's")
    parser.add_argument("--controller", required=True, metavar="URL", help="address of the controller")
    data = parser.add_argument("--data-dir", metavar="DIR", help="ledger, output and working folders of instances")
    arguments.completes(data, arguments.DIRECTORY_COMPLETION)
    parser.add_argument("--token", metavar="TEXT", help="token of the node; better in PLUM_TOKEN, where no other user sees it")
    parser.add_argument("--join", metavar="TOKEN", help="token of `plum node token create`; needed once, ignored afterwards")
    ca = parser.add_argument("--ca-file", metavar="FILE", help="certificates to trust; a node that joined has them already")
    arguments.completes(ca, arguments.FILE_COMPLETION)
    parser.add_argument("--driver", choices=["process", "fake"], help="how instances are run; default: process")
    parser.add_argument(
        "--count", type=arguments.count, metavar="N", help="with the fake driver: stand for N nodes, NAME-1 to NAME-N"
    )
    parser.add_argument("--on-stop", choices=["leave", "drain", "stop"], help="what SIGTERM does with instances; default: leave")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")


def run(args: argparse.Namespace) -> int:
    """Replace this process by the program."""
    flags: list[str] = []
    for option in ("node", "controller", "data_dir", "token", "join", "ca_file", "driver", "count", "on_stop"):
        value = getattr(args, option)
        if value is not None:
            flags += [f"--{option.replace('_', '-')}", str(value)]
    if args.die_with_parent:
        flags.append("--die-with-parent")
    become("plum_agent", flags)
