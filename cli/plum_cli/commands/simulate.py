"""`plum simulate workflow`: what a run would do, with results that are given. Nothing is carried out."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, OK, CliError, UsageError
from plum_cli.parameters import parameters, types_of_workflow, workflow_types

if TYPE_CHECKING:
    from plum_cli.manifests import Manifest
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum simulate`."""
    arguments.describe(
        parser,
        """
        Play a run of a workflow by the server's own rules, with a clock that jumps, and print what happens when. Nodes
        succeed after a second with their payload as output (builtins that only compute do so), waits and approvals are met
        then, unless --result says otherwise:
        {"output": ..., "seconds": 5}, {"fail": "no signal", "times": 1}, {"never": true}, {"reject": true}. Retries and
        timeouts are those of the nodes; secrets stand for themselves.
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
    from plum_client.errors import ApiUnavailableError, BadRequestError, InvalidObjectError

    manifest = _manifest(args.filename) if args.filename else None
    types = types_of_workflow(manifest.data) if manifest is not None else await workflow_types(session, name)
    body: dict[str, Any] = {"params": parameters(args.param, types), "results": results}
    if manifest is not None:
        body["definition"], name = manifest.data.get("spec") or {}, manifest.name or "workflow"
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflows/{name}/simulate"
    try:
        found = await session.raw("POST", path, body=body)
    except (BadRequestError, InvalidObjectError) as error:
        if manifest is None or isinstance(error, ApiUnavailableError):
            raise
        await _tell_places(session, manifest, error)
        raise
    if args.form == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)
    return OK if found["phase"] == "Succeeded" else FAILED


async def _tell_places(session: Session, manifest: Manifest, error: Any) -> None:
    """Raises `ManifestError` when the manifest is what is wrong, with the lines."""
    from plum_cli.apply import Item
    from plum_cli.manifests import ManifestError
    from plum_cli.refusals import by_line, problems_of

    if any(cause.field.startswith(("params", "results")) for cause in error.causes):
        return
    item = Item(manifest, await session.kind("workflows.plum.dev"), session.namespace, manifest.data)
    found = await problems_of(session, item, error)
    raise ManifestError([problem for problem, _ in sorted(((one, False) for one in found), key=by_line)]) from error


def _manifest(path: str) -> Manifest:
    """The one workflow in a file."""
    from plum_cli.manifests import load_manifests

    found = [manifest for manifest in load_manifests([path]).manifests if manifest.kind == "Workflow"]
    if len(found) != 1:
        raise CliError(f"{path} holds {len(found)} workflows; simulate one at a time", FAILED)
    return found[0]


def _print(found: dict[str, Any]) -> None:
    for entry in found["schedule"]:
        parts = (f"-> {entry['outcome']}" if entry.get("outcome") else "", entry.get("waitsFor", ""), entry.get("message", ""))
        more = " ".join(part for part in parts if part)
        print(f"{entry['at']:>9.1f}s  {entry['node']}  {entry['what']}  {more}".rstrip())
    print(f"{found['seconds']:>9.1f}s  {found['phase']}  {found['message']}".rstrip())
    if found["outputs"]:
        print(f"outputs: {json.dumps(found['outputs'], ensure_ascii=False)}")
