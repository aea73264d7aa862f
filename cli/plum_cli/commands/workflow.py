"""`plum workflow`: workflows from templates."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.commands.run import parameters
from plum_cli.errors import OK

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum workflow`."""
    arguments.describe(
        parser,
        """
        A template is a Workflow with spec.template: true; it cannot run itself. `new` makes a workflow from one: the values
        that are given become the defaults of its parameters, and every parameter needs one.
        """,
        """
        plum workflow templates
        plum workflow new nightly-report --template report --param site=pier3 --param hour=2
        plum run workflow/nightly-report
        """,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="make a workflow from a template")
    new.add_argument("name", metavar="NAME", help="of the new workflow")
    new.add_argument("--template", required=True, metavar="NAME", help="the Workflow it is made from")
    new.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE",
        help="a parameter; JSON where it is JSON, else text; may be repeated",
    )  # fmt: skip
    arguments.server(new)
    templates = actions.add_parser("templates", help="templates and their parameters")
    templates.add_argument("-o", dest="form", choices=("table", "json"), default="table", help="table or json")
    arguments.server(templates)


def run(args: argparse.Namespace) -> int:
    """Make one, or list them."""
    from plum_cli import session

    if args.action == "new":
        values = parameters(args.param)
        return session.run(args, lambda connected: _new(args, connected, values))
    return session.run(args, lambda connected: _templates(args, connected))


async def _new(args: argparse.Namespace, session: Session, values: dict[str, Any]) -> int:
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflows/{args.template}/instantiate"
    made = await session.raw("POST", path, body={"name": args.name, "params": values})
    print(f"workflow.plum.dev/{made['metadata']['name']} created from {args.template}")
    return OK


async def _templates(args: argparse.Namespace, session: Session) -> int:
    info = await session.kind("workflows.plum.dev")
    found = [one for one in await session.api.list(info, session.namespace) if (one.get("spec") or {}).get("template")]
    if args.form == "json":
        shown = [(one["metadata"]["name"], one["spec"]) for one in found]
        facts = [{"name": name, **{field: spec.get(field) for field in ("description", "params")}} for name, spec in shown]
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return OK
    if not found:
        print(f"there are no templates in namespace {session.namespace}")
    for one in found:
        spec = one["spec"]
        about = spec.get("description")
        print(one["metadata"]["name"] + (f" - {about}" if about else ""))
        for param in spec.get("params") or ():
            print(f"  {_line(param)}")
    return OK


def _line(param: dict[str, Any]) -> str:
    default = param.get("default")
    words = [f"{param['name']}: {param.get('type', 'string')}"]
    words.append("(needed)" if default is None else f"= {json.dumps(default, ensure_ascii=False)}")
    if param.get("enum"):
        words.append("one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in param["enum"]))
    if param.get("description"):
        words.append(f"- {param['description']}")
    return " ".join(words)
