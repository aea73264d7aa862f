"""`plum workflow`: what workflows are and do, their versions, and workflows from templates."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK
from plum_cli.parameters import parameters, workflow_types

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum workflow`."""
    arguments.describe(
        parser,
        """
        Every definition that a workflow had is a version with a number; the last twenty are kept, however old they are.
        A rollback writes an earlier one as the newest, leaves state, tags and the keeping of runs alone, and changes no run.

        A template is a Workflow with spec.template: true; it cannot run itself. `new` makes a workflow from one: the values
        that are given become the defaults of its parameters, and every parameter needs one.
        """,
        """
        plum workflow show inspect-area
        plum workflow versions inspect-area
        plum workflow diff inspect-area             what the newest version changed
        plum workflow diff inspect-area 2 5
        plum workflow rollback inspect-area --to 4
        plum workflow templates
        plum workflow new nightly-report --template report --param site=pier3 --param hour=2
        plum run workflow/nightly-report
        """,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, text in (("show", "parameters, statistics, triggers"), ("versions", "the definitions it had, newest first")):
        one = actions.add_parser(action, help=text)
        one.add_argument("name", metavar="NAME", help="of the workflow")
        arguments.server(one)
    difference = actions.add_parser("diff", help="what differs between two versions")
    difference.add_argument("name", metavar="NAME", help="of the workflow")
    difference.add_argument("first", nargs="?", type=arguments.count, metavar="FROM", help="a version; default: the one before")
    difference.add_argument("second", nargs="?", type=arguments.count, metavar="TO", help="another; default: the current one")
    arguments.server(difference)
    rollback = actions.add_parser("rollback", help="write an earlier version as the newest")
    rollback.add_argument("name", metavar="NAME", help="of the workflow")
    rollback.add_argument("--to", type=arguments.count, metavar="VERSION", help="which; default: the one before the current")
    rollback.add_argument("--dry-run", action="store_true", help="check and show, change nothing")
    arguments.server(rollback)
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
    """Do it."""
    from plum_cli import session

    if args.action == "new":
        return session.run(args, lambda connected: _new(args, connected))
    if args.action != "templates":
        return session.run(
            args, lambda connected: _of_one(args, connected), "plum-rollback" if args.action == "rollback" else "plum"
        )
    return session.run(args, lambda connected: _templates(args, connected))


async def _new(args: argparse.Namespace, session: Session) -> int:
    values = parameters(args.param, await workflow_types(session, args.template) if args.param else None)
    path = f"/apis/plum.dev/v1/namespaces/{session.namespace}/workflows/{args.template}/instantiate"
    made = await session.raw("POST", path, body={"name": args.name, "params": values})
    print(f"workflow.plum.dev/{made['metadata']['name']} created from {args.template}")
    return OK


async def _of_one(args: argparse.Namespace, session: Session) -> int:
    from plum_cli import workflow_versions as kept
    from plum_cli.session import Target

    target = Target(await session.kind("workflows.plum.dev"), args.name)
    match args.action:
        case "show":
            return await kept.show_workflow(session, target)
        case "versions":
            return await kept.show_versions(session, target)
        case "diff":
            return await kept.show_difference(session, target, args.first, args.second)
    return await kept.roll_back(session, target, args.to, dry_run=args.dry_run)


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
            print(f"  {param_line(param)}")
    return OK


def param_line(param: dict[str, Any]) -> str:
    """A parameter on one line."""
    default = param.get("default")
    words = [f"{param['name']}: {param.get('type', 'string')}"]
    words.append("(needed)" if default is None else f"= {json.dumps(default, ensure_ascii=False)}")
    if param.get("enum"):
        words.append("one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in param["enum"]))
    if param.get("description"):
        words.append(f"- {param['description']}")
    return " ".join(words)
