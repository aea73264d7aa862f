"""`plum top`: what nodes and instances use now, measured by their agents while the command waits."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, UNAVAILABLE, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session

METRICS = "/apis/metrics.k8s.io/v1beta1"
UNKNOWN = "<unknown>"
NODES = ("nodes", "node", "no")
INSTANCES = ("instances", "instance", "pods", "pod", "po")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum top`."""
    arguments.describe(
        parser,
        """
        Show processor time and memory in use, as the agents measure them for a second while this waits. 1000m is one core.
        Memory of an instance is its proportional share (PSS); of a node, what could not be freed. What cannot be measured,
        because it does not run or its agent is away, is shown as <unknown>.
        """,
        """
        plum top nodes
        plum top instances -A --sort-by memory
        plum top instances -l app=web
        plum top instance web-7c2f-0
        """,
    )
    parser.add_argument("what", choices=[*NODES, *INSTANCES], metavar="nodes|instances", help="of what")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="of this one alone")
    arguments.all_namespaces(parser)
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="by labels, such as app=web,tier!=db")
    parser.add_argument("--sort-by", choices=["name", "cpu", "memory"], default="name", help="most first; default: name")
    parser.add_argument("--no-headers", action="store_true", help="without the line of titles")
    parser.add_argument("--sum", action="store_true", help="a last line with the sums")
    arguments.server(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    from plum_cli import session

    if args.name and args.selector:
        raise UsageError("a NAME and -l SELECTOR exclude each other")
    return session.run(args, lambda connected: top(args, connected))


async def top(args: argparse.Namespace, session: Session) -> int:
    """Print the table."""
    import asyncio

    nodes = args.what in NODES
    info = await session.kind("nodes.plum.dev" if nodes else "instances.plum.dev")
    namespace = session.namespace_of(info, args.all_namespaces)
    place = METRICS + (f"/namespaces/{namespace}" if namespace else "") + ("/nodes" if nodes else "/pods")
    query = (
        {"labelSelector": args.selector}
        if args.selector
        else {"fieldSelector": f"metadata.name={args.name}"}
        if args.name
        else {}
    )
    fields = f"metadata.name={args.name}" if args.name else ""
    measured, objects = await asyncio.gather(
        session.raw("GET", place, query), session.api.list(info, namespace, labels=args.selector, fields=fields)
    )
    items = list(objects)
    if args.name and not items:
        raise CliError(f"there is no {info.singular} {args.name}{f' in namespace {namespace}' if namespace else ''}", NOT_FOUND)
    if not items:
        from plum_cli.terminal import note

        note(f"no {info.plural}{f' in namespace {namespace}' if namespace else ''}")
        return OK
    used = {(one["metadata"].get("namespace", ""), one["metadata"]["name"]): usage(one) for one in measured["items"]}
    rows = [(item, used.get((item["metadata"].get("namespace", ""), item["metadata"]["name"]))) for item in items]
    if args.sort_by != "name":
        which = ("cpu", "memory").index(args.sort_by)
        rows.sort(key=lambda row: -1.0 if row[1] is None else row[1][which], reverse=True)
    _print(args, [(_node(*row) if nodes else _instance(*row, args.all_namespaces)) for row in rows], nodes, used.values())
    return UNAVAILABLE if args.name and not used else OK


def usage(item: Mapping[str, Any]) -> tuple[float, float]:
    """Cores and bytes of a NodeMetrics or a PodMetrics."""
    parts = [item["usage"]] if "usage" in item else [one["usage"] for one in item["containers"]]
    return sum(quantity(part["cpu"]) for part in parts), sum(quantity(part["memory"]) for part in parts)


def quantity(text: str) -> float:
    """A quantity as a number."""
    from plum_schemas.quantities import parse_quantity

    return float(parse_quantity(text))


def _node(item: Mapping[str, Any], used: tuple[float, float] | None) -> list[str]:
    capacity = (item.get("status") or {}).get("capacity") or {}
    cells = [item["metadata"]["name"]]
    for place, (name, show) in enumerate((("cpu", cores), ("memory", amount))):
        if used is None:
            cells += [UNKNOWN, UNKNOWN]
            continue
        whole = quantity(capacity[name]) if name in capacity else 0.0
        cells += [show(used[place]), f"{100 * used[place] / whole:.0f}%" if whole else UNKNOWN]
    return cells


def _instance(item: Mapping[str, Any], used: tuple[float, float] | None, everywhere: bool) -> list[str]:
    cells = [item["metadata"]["namespace"]] if everywhere else []
    cells += [item["metadata"]["name"], *([UNKNOWN, UNKNOWN] if used is None else [cores(used[0]), amount(used[1])])]
    return [*cells, (item.get("spec") or {}).get("nodeName") or "<none>"]


def _print(args: argparse.Namespace, rows: list[list[str]], nodes: bool, used: Iterable[tuple[float, float]]) -> None:
    from plum_cli.output import print_rows

    front = ["NAMESPACE"] if args.all_namespaces and not nodes else []
    titles = (
        ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
        if nodes
        else ["NAME", "CPU(cores)", "MEMORY(bytes)", "NODE"]
    )
    if args.sum:
        totals = list(used)
        cells = [cores(sum(one[0] for one in totals)), amount(sum(one[1] for one in totals))]
        rows.append([*("" for _ in front), "", cells[0], "", cells[1], ""] if nodes else [*("" for _ in front), "", *cells, ""])
    print_rows([*front, *titles], rows, headers=not args.no_headers)


def cores(number: float) -> str:
    """Thousandths of a core, as kubectl shows them."""
    return f"{round(number * 1000)}m"


def amount(size: float) -> str:
    """Mebibytes, as kubectl shows them."""
    return f"{round(size / 2**20)}Mi"
