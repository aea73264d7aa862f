"""`plum task`: cancel runs of tasks, and run them again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session

ENDED = ("Succeeded", "Failed", "Timeout", "Canceled", "Unknown")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum task`."""
    arguments.describe(
        parser,
        """
        Cancel runs of tasks, or start ended ones again with what they were given. An end is final: a retry is a new run.
        `plum run task/NAME` starts one, `plum get taskruns` lists them, `plum explain taskrun/NAME` says what one waits for.
        """,
        """
        plum task cancel resize-x7k2
        plum task cancel resize-x7k2 resize-m3q9 --wait
        plum task retry resize-x7k2 --wait
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (("cancel", "end runs, whatever they do"), ("retry", "run ended ones again, as new runs")):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        action.add_argument("names", nargs="+", metavar="NAME", help="names of taskruns")
        arguments.server(action)
        action.add_argument("--wait", action="store_true", help="until they have ended; exit code 1 if one of a retry failed")
        arguments.timeout(action, "1h", "how long --wait waits")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from plum_cli import session

    act = {"cancel": cancel, "retry": retry}[args.action]
    return session.run(args, lambda connected: act(args, connected), "plum-task")


async def cancel(args: argparse.Namespace, session: Session) -> int:
    """Ask every run to end. One that has ended is left alone, and said so."""
    from plum_cli.session import Target
    from plum_cli.terminal import note

    info = await session.kind("taskruns.plum.dev")
    found = [(target := Target(info, _plain(name)), await session.get(target)) for name in args.names]
    ended = 0
    for target, item in found:
        phase = str((item.get("status") or {}).get("phase") or "")
        if phase in ENDED:
            note(f"{target} has ended as {phase} already")
            ended += 1
            continue
        await session.merge(target, {"spec": {"canceled": True}})
        print(f"{target} cancelled")
    if args.wait:
        for target, _ in found:
            await wait_ended(session, target.name, args.timeout)
    return FAILED if ended == len(found) else OK


async def retry(args: argparse.Namespace, session: Session) -> int:
    """Create a run like each of these."""
    from plum_cli.session import Target

    info = await session.kind("taskruns.plum.dev")
    found = [await session.get(Target(info, _plain(name))) for name in args.names]
    for item in found:
        phase = str((item.get("status") or {}).get("phase") or "Queued")
        if phase not in ENDED:
            raise CliError(f"taskrun {item['metadata']['name']} is {phase}; only one that has ended can be run again")
    made = []
    for item in found:
        metadata = item["metadata"]
        spec = {field: value for field, value in item["spec"].items() if field not in ("canceled", "deadline")}
        labels = {**(metadata.get("labels") or {}), "plum.dev/retry-of": metadata["name"][:63].rstrip("-.")}
        base = labels_base(metadata)
        manifest: dict[str, Any] = {
            "apiVersion": info.api_version,
            "kind": info.kind,
            "metadata": {"generateName": f"{base}-", "namespace": metadata["namespace"], "labels": labels},
            "spec": spec,
        }
        created = await session.api.create(manifest, kind=info)
        made.append(created["metadata"]["name"])
        print(f"{Target(info, made[-1])} created")
    if not args.wait:
        return OK
    phases = [(await wait_ended(session, name, args.timeout))["status"]["phase"] for name in made]
    return OK if all(phase == "Succeeded" for phase in phases) else FAILED


def labels_base(metadata: dict[str, Any]) -> str:
    """What names of further runs begin with: that of the first, without what the server added."""
    return str(metadata.get("generateName") or metadata["name"]).rstrip("-")[:200]


async def wait_ended(session: Session, name: str, seconds: float) -> dict[str, Any]:
    """The run once it has ended; its phase is printed. Raises `CliError` when the time is over."""
    import asyncio
    from contextlib import aclosing

    from plum_cli.errors import TIMEOUT

    info = await session.kind("taskruns.plum.dev")
    item: dict[str, Any] = {}
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with aclosing(session.api.watch(info, session.namespace, fields=f"metadata.name={name}")) as events:
                    async for event in events:
                        item = event.object
                        status = item.get("status") or {}
                        if event.type == "DELETED":
                            raise CliError(f"taskrun {name} was deleted")
                        if status.get("phase") in ENDED:
                            return item
    except TimeoutError:
        phase = (item.get("status") or {}).get("phase") or "Queued"
        raise CliError(f"taskrun {name} is {phase} still; see `plum explain taskrun/{name}`", TIMEOUT) from None


def _plain(name: str) -> str:
    return name.partition("/")[2] if name.startswith(("taskrun/", "taskruns/", "tr/")) else name
