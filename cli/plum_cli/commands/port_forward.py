"""`plum port-forward`: ports of an instance as ports of this machine, through the node's agent."""

from __future__ import annotations

import argparse

from plum_cli import arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum port-forward`."""
    arguments.describe(
        parser,
        """
        Listen here and carry every connection to a port of an instance. The node needs no open port: it goes the way
        that its agent opened. Only ports on which the instance itself listens are reached. Goes on until Ctrl-C.
        """,
        """
        plum port-forward web-7c2f-0 8080             port 8080 here is port 8080 of the instance
        plum port-forward deployment/web 8080:80      of a ready instance; of another one when that is gone
        plum port-forward web-7c2f-0 :http            a free port here, the port named http there
        plum port-forward web-7c2f-0 8080:80 8443:443
        """,
    )
    parser.add_argument("what", metavar="INSTANCE | KIND/NAME", help="an instance, or deployment/NAME for a ready one of it")
    parser.add_argument(
        "ports", nargs="+", metavar="[LOCAL:]REMOTE", help="numbers, or for REMOTE a name; 0 or empty: a free one"
    )
    arguments.server(parser)
    parser.add_argument("--address", default="127.0.0.1", metavar="ADDRESS", help="where to listen; default: 127.0.0.1")


def run(args: argparse.Namespace) -> int:
    """Forward until interrupted."""
    from plum_cli import session
    from plum_cli.forwarding import Forwarder, parse_ports

    ports = parse_ports(args.ports)
    return session.run(args, lambda connected: Forwarder(connected, args.what, args.address).run(ports))
