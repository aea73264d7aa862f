"""`plum resolve`: where a service answers: one endpoint for scripts, all of them for people, and every change."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plum_cli.session import Session

STRATEGIES = ("random", "roundRobin", "leastActive", "consistentHash", "sticky", "lazy")
TITLES = ("ADDRESS", "HEALTHY", "PROTOCOL", "VERSION", "INSTANCE", "NODE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum resolve`."""
    arguments.describe(
        parser,
        """
        Print the address of one endpoint of a service that takes requests now, chosen as the Service says. Nobody there is
        exit code 3; `plum explain service/NAME` says why.
        """,
        """
        curl http://$(plum resolve orders)/health
        plum resolve orders --all                               everyone, also those that take no requests
        plum resolve orders --strategy consistentHash --key ann
        plum resolve orders -w                                  who takes requests, after every change
        """,
    )
    parser.add_argument("service", metavar="NAME", help="name of the service")
    parser.add_argument("--all", action="store_true", help="every endpoint as a table, whatever its state")
    parser.add_argument("-w", "--watch", action="store_true", help="addresses now and after every change, until Ctrl-C")
    parser.add_argument("--version", default="", metavar="TEXT", dest="service_version", help="only endpoints of this version")
    parser.add_argument("--protocol", default="", metavar="NAME", help="only endpoints that speak this")
    parser.add_argument("--strategy", default="", choices=STRATEGIES, help="default: that of the Service, else roundRobin")
    parser.add_argument("--key", default="", metavar="TEXT", help="what consistentHash and sticky follow")
    arguments.server(parser)
    arguments.output(parser, "table", "json")


def run(args: argparse.Namespace) -> int:
    """Resolve."""
    from plum_cli import session

    return session.run(args, lambda connected: resolve(args, connected))


async def resolve(args: argparse.Namespace, session: Session) -> int:
    """Ask the server, and print."""
    from plum_client.errors import NotFoundError

    from plum_cli import output

    asked = {"service": args.service, "namespace": session.namespace, "version": args.service_version, "protocol": args.protocol}
    query = {name: value for name, value in asked.items() if value}
    if args.watch:
        async for found in changes(session, query):
            print(as_json(found) if args.output == "json" else " ".join(address(one) for one in found) or "-", flush=True)
    elif args.all:
        found = await session.raw("GET", "/v1/discovery", {**query, "all": "true"})
        if args.output == "json":
            print(as_json(found))
        else:
            rows = [cells(one) for one in found]
            for line in output.format_rows(TITLES, rows, headers=True, stream=sys.stdout):
                print(line)
    else:
        choice = {name: value for name, value in (("strategy", args.strategy), ("key", args.key)) if value}
        try:
            one = await session.raw("GET", "/v1/discovery/one", {**query, **choice})
        except NotFoundError as error:
            text = f"nobody takes requests for service {args.service} in namespace {session.namespace}"
            raise CliError(f"{text}\n  plum explain service/{args.service} says why, if it has a Service", NOT_FOUND) from error
        print(as_json(one) if args.output == "json" else address(one))
    return OK


async def changes(session: Session, query: dict[str, str]) -> AsyncIterator[list[Any]]:
    """The endpoints that take requests, now and after every change; the connection is made again when it ends."""
    import asyncio

    import msgspec
    from plum_client.errors import error_of

    path = f"/v1/discovery/stream?{urlencode(query)}"
    while True:
        async with session.transport.stream_path("GET", path) as stream:
            rest = b""
            async for chunk in stream.chunks:
                if stream.status >= 400:
                    raise error_of(stream.status, chunk, path)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        yield msgspec.json.decode(line.removeprefix(b"data: "))
        await asyncio.sleep(1)


def as_json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def address(one: Any) -> str:
    """`HOST:PORT`, with brackets around a host that has colons."""
    host = f"[{one['ip']}]" if ":" in one["ip"] else one["ip"]
    return f"{host}:{one['port']}"


def cells(one: Any) -> list[str]:
    """A row of the table."""
    healthy = "true" if one["healthy"] else "false"
    return [address(one), healthy, one["protocol"], one["version"], one["instanceId"], one["nodeId"]]
