"""`plum simulate workflow`: what a run would do, with results that are given. Nothing is carried out."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.commands.run import parameters
from plum_cli.errors import FAILED, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum simulate`."""
    arguments.describe(
        parser,
        """
        Play a run of a workflow by the server's own rules, with a clock that jumps, and print what happens when. Nodes
        succeed after a second with their payload as output, waits and approvals are met then, unless --result says otherwise:
        {"output": ..., "seconds": 5}, {"fail": "no signal", "times": 1}, {"never": true}, {"reject": true}.
        """,
        """
        plum simulate workflow -f inspect-area.yaml --param zone=7
        plum simulate workflow/inspect-area --result 'scan={"output": {"contacts": 0}, "seconds": 30}'
        plum simulate workflow -f flow.yaml --result 'photo={"fail": "dark"}' --result 'sweep[1]={"seconds": 60}'
        """,
    )
    parser.add_argument("what", metavar="workflow | workflow/NAME", help="a stored workflow, or `workflow` with -f")
    parser.add_argument("-f", "--filename", metavar="FILE", help="manifest of the workflow; - for standard input")
    parser.add_argument("--param", action="append", default=[], metavar="KEY=VALUE", help="a parameter; may be repeated")
    parser.add_argument("--result", action="append", default=[], metavar="NODE=JSON", help="how a node ends; may be repeated")
    parser.add_argument("-o", dest="form", choices=("text", "json"), default="text", help="text or json")
    arguments.server(parser)


def run(args: argparse.Namespace) -> int:
    """Simulate it."""
    from plum_cli import session

    kind, _, name = args.what.partition("/")
    if kind.lower() not in ("workflow", "workflows", "wf") or bool(name) is bool(args.filename):
        raise UsageError("write either: plum simulate workflow/NAME, or: plum simulate workflow -f FILE")
    results = parameters(args.result)
    for node, result in results.items():
        if not isinstance(result, dict):
            raise UsageError(f'--result {node}: give an object such as {{"output": 1}}, {{"fail": "why"}} or {{"seconds": 5}}')
    return session.run(args, lambda connected: _simulate(args, connected, name, results))


async def _simulate(args: argparse.Namespace, session: Session, name: str, results: dict[str, Any]) -> int:
    body: dict[str, Any] = {"params": parameters(args.param), "results": results}
    if args.filename:
        body["definition"], name = _definition(args.filename)
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflows/{name}/simulate"
    found = await session.raw("POST", path, body=body)
    if args.form == "json":
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return OK if found["phase"] == "Succeeded" else FAILED


def _definition(path: str) -> tuple[Any, str]:
    """The spec of the one workflow in a file, and its name."""
    from plum_cli.manifests import load_manifests

    loaded = load_manifests([path])
    found = [manifest.data for manifest in loaded.manifests if manifest.data.get("kind") == "Workflow"]
    if len(found) != 1:
        raise CliError(f"{path} holds {len(found)} workflows; simulate one at a time", FAILED)
    return found[0].get("spec") or {}, str(found[0]["metadata"].get("name") or "workflow")


def _print(found: dict[str, Any]) -> None:
    for entry in found["schedule"]:
        parts = (f"-> {entry['outcome']}" if entry.get("outcome") else "", entry.get("waitsFor", ""), entry.get("message", ""))
        more = " ".join(part for part in parts if part)
        print(f"{entry['at']:>9.1f}s  {entry['node']}  {entry['what']}  {more}".rstrip())
    print(f"{found['seconds']:>9.1f}s  {found['phase']}  {found['message']}".rstrip())
    if found["outputs"]:
        print(f"outputs: {json.dumps(found['outputs'])}")
