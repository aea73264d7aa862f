"""What happened in a run, as lines in the order in which it happened.

rows, definition --in_order--> rows: ended first, first told; within one step causes before what they caused
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from plum_cli.errors import FAILED, NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session

ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Timeout"})
POLL_SECONDS = 0.5
SHOWN = 200
"""Characters of an output on its line."""
STAGES = ("", "onFailure", "finally")
Row = Mapping[str, Any]


def in_order(rows: Iterable[Row], definition: Mapping[str, Any]) -> list[Row]:
    """Rows as they ended. Several end in one step: then those that others wait for come first, and bodies before their loop."""
    ranks: dict[int, Mapping[str, int]] = {}

    def place(row: Row) -> tuple[str, tuple[float, ...]]:
        when = str(row.get("finishedAt") or row.get("startedAt") or "~")
        return when, tuple(_place(str(row.get("key") or ""), definition, ranks))

    return sorted(rows, key=place)


def _place(key: str, definition: Mapping[str, Any], ranks: dict[int, Mapping[str, int]]) -> Iterator[float]:
    """Where `onFailure:again[00000001].sweep` stands: stage, rank of the loop, iteration, rank inside of it."""
    from plum_cli.run_graph import ranks_of

    part, _, path = key.rpartition(":")
    yield float(STAGES.index(part)) if part in STAGES else 0.0
    nodes = (definition.get(part) or {}).get("nodes") or [] if part else definition.get("nodes") or []
    for segment in path.split("."):
        name, _, index = segment.partition("[")
        known = ranks.get(id(nodes))
        if known is None:
            known = ranks[id(nodes)] = ranks_of(nodes)
        yield float(known.get(name, 0))
        if index:
            yield float(index.rstrip("]"))
        nodes = next(((node.get("body") or {}).get("nodes") or [] for node in nodes if node["name"] == name), [])
    yield inf  # what is inside comes before


async def show_logs(session: Session, name: str, node: str, *, follow: bool) -> int:
    """Print them, oldest first; to the end of the run if that is followed."""
    from plum_cli.commands.runs import pages
    from plum_cli.session import Target

    target = Target(await session.kind("workflowruns.plum.dev"), name)
    told: set[tuple[str, Any, Any]] = set()
    definition: dict[str, Any] = {}
    while True:
        item = await session.get(target)
        rows: list[Row] = []
        async for page in pages(session, name, **({} if definition else {"definition": "true"})):
            definition = page.get("definition") or definition
            rows += page["items"]
        if node:
            rows = [row for row in rows if node in (row.get("name"), row.get("key"))]
            if not rows and not follow:
                raise CliError(f"run {name} has no node {node}, or has not come to it; see: plum run nodes {name}", NOT_FOUND)
        for row in in_order(rows, definition):
            at = (row["key"], row.get("phase"), row.get("attempt"))
            if row.get("phase") == "Pending" or at in told:
                continue
            told.add(at)
            await _tell(row, session)
        status = item.get("status") or {}
        if status.get("phase") in ENDED or not follow:
            if not node:
                when, phase = status.get("finishedAt") or "-", status.get("phase", "Queued")
                print(f"{when:<27} run {name}  {phase}  {status.get('message', '')}".rstrip())
            return OK if status.get("phase") in ("Succeeded", None) or not follow else FAILED
        await asyncio.sleep(POLL_SECONDS)


async def _tell(row: Row, session: Session) -> None:
    when = row.get("finishedAt") or row.get("startedAt") or "-"
    output = "" if row.get("output") is None else json.dumps(row["output"], ensure_ascii=False)
    text = row.get("message") or row.get("waitsFor") or (output if len(output) <= SHOWN else output[: SHOWN - 3] + "...")
    outcome = f" -> {row['outcome']}" if row.get("outcome") else ""
    print(f"{when:<27} {row.get('name')}  {row.get('phase')}{outcome}  {text}".rstrip())
    made = str(row.get("made") or "")
    if made.startswith("TaskRun/") and row.get("phase") in ("Succeeded", "Failed"):
        found = await session.find(await session.kind("taskruns.plum.dev"), made.partition("/")[2], session.namespace)
        status = (found or {}).get("status") or {}
        for stream in ("stdout", "stderr"):
            for line in str(status.get(stream) or "").splitlines():
                print(f"    {stream}: {line}")
