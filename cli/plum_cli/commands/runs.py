"""`plum runs`: runs of workflows, and what people may ask of them. `plum run pause NAME` means the same."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, NOT_FOUND, OK, CliError, UsageError
from plum_cli.main import RUN_ACTIONS

if TYPE_CHECKING:
    from plum_cli.session import Session

NODE_ACTIONS = frozenset({"skip", "approve", "reject", "mark"})
ONLY_WHERE_USED = frozenset({"Node", "Away"})
"""Columns that are shown when some run has something to say in them."""
MARKS = {"succeeded": "markSucceeded", "failed": "markFailed", "canceled": "cancelNode"}
INNER = 50
"""Runs inside of a run that are looked at, to say where they are."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum runs`."""
    arguments.describe(
        parser,
        """
        Look at runs of workflows and steer them. What makes no sense for a run as it is now is refused with the reason.
        A run that has ended stays as it is: retry and rerun start a new one, which takes over results.
        """,
        """
        plum runs                                     the newest runs
        plum runs --workflow inspect-area --phase Failed
        plum run graph inspect-area-x7k2p             the graph, with states
        plum run logs inspect-area-x7k2p -f           what happens, node by node
        plum run pause|resume|cancel inspect-area-x7k2p
        plum run retry inspect-area-x7k2p             the nodes that failed, once more
        plum run rerun inspect-area-x7k2p --from scan
        plum run skip inspect-area-x7k2p --node sweep[2]
        plum run approve inspect-area-x7k2p --node release --message "looks good"
        plum run mark inspect-area-x7k2p --node scan --as succeeded --output '{"contacts": 0}'
        """,
    )
    parser.add_argument("action", nargs="?", default="list", choices=sorted(RUN_ACTIONS), help="what to do; list if absent")
    parser.add_argument("name", nargs="?", help="name of the run")
    parser.add_argument(
        "node_word", nargs="?", metavar="NODE", help="skip, approve, reject, mark, logs: the node, such as sweep[2]"
    )
    parser.add_argument("--node", help="the node, as above")
    parser.add_argument("--from", dest="start", metavar="NODE", help="rerun: first node to run again")
    parser.add_argument("--as", dest="mark", choices=sorted(MARKS), help="mark: how the node ends")
    parser.add_argument("--output", metavar="JSON", help="mark, approve: output of the node")
    parser.add_argument("--message", default="", help="why, for people")
    parser.add_argument("--workflow", help="list: only runs of this workflow")
    parser.add_argument("--phase", metavar="PHASE", help="list: only runs that are so, such as Failed")
    parser.add_argument(
        "--limit", type=arguments.count, default=100, metavar="N", help="list: the newest N, 0 for all; default: 100"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="logs: until the run has ended")
    parser.add_argument("-o", dest="form", choices=("table", "json"), default="table", help="nodes: table or json")
    arguments.server(parser)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from plum_cli import session

    if args.action != "list" and not args.name:
        raise UsageError(f"which run? Write: plum runs {args.action} NAME")
    args.node = args.node or args.node_word
    return session.run(args, lambda connected: _act(args, connected))


async def _act(args: argparse.Namespace, session: Session) -> int:
    match args.action:
        case "list":
            return await _list(args, session)
        case "graph":
            return await _graph(args, session)
        case "logs":
            from plum_cli.run_logs import show_logs

            return await show_logs(session, args.name, args.node or "", follow=args.follow)
        case "nodes":
            return await _nodes(args, session)
    return await _control(args, session)


async def _list(args: argparse.Namespace, session: Session) -> int:
    from plum_client.transport import Request

    from plum_cli.session import TABLE
    from plum_cli.tables import TableOptions, TableView

    info = await session.kind("workflowruns.plum.dev")
    query = {"fieldSelector": f"spec.workflowRef={args.workflow}"} if args.workflow else {}
    table = await session.ask(Request("GET", info, session.namespace, query=query, accept=TABLE))
    every = sorted(table.get("rows") or (), key=_created, reverse=True)
    titles = [column["name"] for column in table["columnDefinitions"]]
    if args.phase:
        wanted, at = args.phase.lower(), titles.index("Phase")
        every = [row for row in every if str(row["cells"][at]).lower() == wanted]
    if not every:
        what = f" of workflow {args.workflow}" if args.workflow else ""
        print(f"no runs{what}{f' that are {args.phase}' if args.phase else ''} in namespace {session.namespace}; "
              "start one with: plum run workflow/NAME")  # fmt: skip
        return OK
    shown = every[: args.limit] if args.limit else every
    columns = [
        column if column["name"] not in ONLY_WHERE_USED or any(row["cells"][at] for row in shown) else column | {"priority": 1}
        for at, column in enumerate(table["columnDefinitions"])
    ]
    view = TableView(TableOptions())
    print("\n".join(view.lines(view.rows({"columnDefinitions": columns, "rows": shown}))))
    if len(shown) < len(every):
        print(f"{len(every) - len(shown)} older ones with --limit 0", file=sys.stderr)
    return OK


def _created(row: dict[str, Any]) -> tuple[str, int]:
    metadata = (row.get("object") or {}).get("metadata") or {}
    return str(metadata.get("creationTimestamp") or ""), int(metadata.get("resourceVersion") or 0)


async def pages(session: Session, name: str, **query: str) -> AsyncIterator[dict[str, Any]]:
    """All pages of a run's rows."""
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflowruns/{name}/nodes"
    after = ""
    while True:
        page = await session.raw("GET", path, {**query, **({"continue": after} if after else {}), "limit": "2000"})
        yield page
        after = page["metadata"].get("continue") or ""
        if not after:
            return


async def inner_runs(session: Session, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Runs inside of a run that go on, by name."""
    info = await session.kind("workflowruns.plum.dev")
    names = [
        str(row.get("made")).partition("/")[2]
        for row in rows
        if row.get("type") == "subworkflow" and row.get("phase") == "Running"
    ]
    found = await asyncio.gather(*(session.find(info, name, session.namespace) for name in names[:INNER]))
    return {name: dict(item) for name, item in zip(names, found, strict=False) if item is not None}


async def _graph(args: argparse.Namespace, session: Session) -> int:
    from plum_client.explaining.runs import whereabouts

    from plum_cli.run_graph import draw
    from plum_cli.run_logs import ENDED
    from plum_cli.session import Target

    item = await session.get(Target(await session.kind("workflowruns.plum.dev"), args.name))
    rows: dict[str, Any] = {}
    definition: dict[str, Any] = {}
    async for page in pages(session, args.name, definition="true", iterations="false"):
        definition = page.get("definition") or definition
        rows |= {row["key"]: row for row in page["items"] if "[" not in row["key"]}
    if not definition:
        raise CliError(f"run {args.name} has not started; see: plum explain run/{args.name}", FAILED)
    status = item.get("status") or {}
    now = datetime.now(UTC)
    print(
        "  ".join(
            part for part in (args.name, status.get("phase", "Queued"), whereabouts(item, now), status.get("message")) if part
        )
    )
    inner = await inner_runs(session, rows.values())
    for row in rows.values():
        row["place"] = whereabouts(inner.get(str(row.get("made") or "").partition("/")[2], {}), now)
    for line in draw(definition, rows, now, ended=status.get("phase") in ENDED):
        print(line)
    if status.get("outputs"):
        print(f"outputs: {json.dumps(status['outputs'], ensure_ascii=False)}")
    return OK


async def _nodes(args: argparse.Namespace, session: Session) -> int:
    from plum_cli.output import format_rows

    rows = [
        row async for page in pages(session, args.name, **({"node": args.node} if args.node else {})) for row in page["items"]
    ]
    if args.node and not rows:
        raise CliError(
            f"run {args.name} has no node {args.node}, or has not come to it; see: plum run nodes {args.name}", NOT_FOUND
        )
    if args.form == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return OK
    lines = []
    for row in rows:
        attempt, finished = str(row.get("attempt") or ""), str(row.get("finishedAt") or "")
        text = str(row.get("message") or row.get("waitsFor") or "")
        lines.append([str(row.get("name")), str(row.get("type", "")), str(row.get("phase")), attempt, finished, text])
    print("\n".join(format_rows(["NODE", "TYPE", "PHASE", "ATTEMPT", "FINISHED", "MESSAGE"], lines)))
    return OK


async def _control(args: argparse.Namespace, session: Session) -> int:
    action, body = args.action, {"message": args.message}
    if action in NODE_ACTIONS and not args.node:
        raise UsageError(f"which node? Write: plum runs {action} {args.name} --node NODE")
    if action == "mark":
        if not args.mark:
            raise UsageError("mark as what? Write --as succeeded, --as failed or --as canceled")
        action = MARKS[args.mark]
    if args.output:
        try:
            body["output"] = json.loads(args.output)
        except ValueError as error:
            raise UsageError(f"--output is no JSON: {error}") from error
    if action == "rerun" and not args.start and not args.node:
        raise UsageError(f"from which node? Write: plum runs rerun {args.name} --from NODE")
    body["node"] = (args.start if action == "rerun" else None) or args.node or ""
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflowruns/{args.name}/control"
    answer = await session.raw("POST", path, body={"action": action, **body})
    made = answer["metadata"]["name"]
    if made != args.name:
        print(f"workflowrun.plum.dev/{made} created: it takes over results of {args.name}")
    else:
        print(f"workflowrun.plum.dev/{args.name} {action}: asked")
    return OK
