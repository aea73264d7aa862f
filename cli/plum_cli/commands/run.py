"""`plum run`: run a task or a workflow, on a server that has the controllers for it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, CliError, UsageError
from plum_cli.parameters import parameters, types_of_task, types_of_workflow

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

TAKE_UP_SECONDS = 5.0
"""Time a controller has to write the first status of a run."""
RUNS = {
    "task": ("TaskDefinition", "TaskRun", "taskRef", "payload"),
    "taskdefinition": ("TaskDefinition", "TaskRun", "taskRef", "payload"),
    "workflow": ("Workflow", "WorkflowRun", "workflowRef", "params"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum run`."""
    arguments.describe(
        parser,
        """
        Start a run of a task definition or of a workflow. When no controller of the server takes it up, it is
        deleted again and the command says so: it would wait for ever.
        """,
        """
        plum run task/resize --param width=200 --wait
        plum run task/resize --payload '{"width": 200, "crop": {"top": 5}}'
        plum run task/builtin.echo --param text=hello --wait
        plum run workflow/inspect-area --param zone=7
        """,
    )
    parser.add_argument("what", metavar="task/NAME | workflow/NAME", help="what to run")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter; a text where one is declared, else JSON where it is JSON; may be repeated",
    )
    parser.add_argument("--payload", metavar="JSON", help="all parameters as one JSON object; --param goes over it")
    arguments.server(parser)
    parser.add_argument(
        "--wait", action="store_true", help="until it has ended; prints output or outputs; exit code 1 unless it succeeded"
    )
    arguments.timeout(parser, "1h", "how long --wait waits")


def run(args: argparse.Namespace) -> int:
    """Start the run."""
    from plum_cli import session

    kind, _, name = args.what.partition("/")
    if kind.lower() not in RUNS or not name:
        raise UsageError(f"{args.what!r} cannot be run; write task/NAME or workflow/NAME")
    values = payload(args.payload)
    parameters(args.param)  # what is no KEY=VALUE is told before anything is asked
    return session.run(args, lambda connected: start(args, connected, kind.lower(), name, values))


def payload(text: str | None) -> dict[str, Any]:
    """`--payload` as an object. Raises `UsageError`."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--payload is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f'--payload is {text!r}; give a JSON object such as {{"width": 200}}')
    return value


async def start(args: argparse.Namespace, session: Session, kind: str, name: str, values: dict[str, Any]) -> int:
    """Create the run object and see that somebody carries it out. Raises `CliError`."""
    from plum_cli.session import Target
    from plum_cli.waiting import Waiter

    definition_kind, run_kind, reference, field = RUNS[kind]
    types: dict[str, str] = {}
    if not name.startswith("builtin."):
        definition = await session.get(Target(await session.kind(f"{definition_kind.lower()}s.plum.dev"), name))
        types = types_of_task(definition) if definition_kind == "TaskDefinition" else types_of_workflow(definition)
    values = values | parameters(args.param, types)
    info = await session.kind(f"{run_kind.lower()}s.plum.dev")
    manifest: dict[str, Any] = {
        "apiVersion": info.api_version,
        "kind": info.kind,
        "metadata": {"generateName": f"{name}-", "namespace": session.namespace},
        "spec": {reference: name, **({field: values} if values else {})},
    }
    created = await session.api.create(manifest, kind=info)
    target = Target(info, created["metadata"]["name"])
    if not await taken_up(session, target, created):
        raise CliError(
            f"no controller took up {target} within {TAKE_UP_SECONDS:.0f} s, so it was deleted again: "
            f"this server does not carry out {run_kind} objects"
        )
    print(f"{target} created")
    if not args.wait:
        return OK
    waiter = Waiter(session)
    waiter.add(target, session.namespace)
    code = await waiter.wait(args.timeout)
    if code != OK:
        await waiter.explain_rest()
    output = ((await session.get(target)).get("status") or {}).get("output" if run_kind == "TaskRun" else "outputs")
    if output is not None and (output or run_kind == "TaskRun"):
        print(json.dumps(output, indent=2, ensure_ascii=False))
    return code


async def taken_up(session: Session, target: Target, created: dict[str, Any]) -> bool:
    """Whether a controller wrote a status within a few seconds. If none did, the run is deleted again."""
    import asyncio

    from plum_client.errors import ConflictError

    deadline = asyncio.get_running_loop().time() + TAKE_UP_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if (await session.get(target)).get("status"):
            return True
        await asyncio.sleep(0.1)
    metadata = created["metadata"]
    try:
        await session.api.delete(target.info, session.key(target), uid=metadata["uid"], revision=metadata["resourceVersion"])
    except ConflictError:
        return True  # it was written in this very moment
    return False
