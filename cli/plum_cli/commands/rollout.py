"""`plum rollout`: follow, undo, restart, pause and resume the rollout of a deployment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, TIMEOUT, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

RESTARTED = "plum.dev/restartedAt"
CANARY_RESUME = "plum.dev/canary-resume"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum rollout`."""
    arguments.describe(
        parser,
        """
        Follow and control how a new template of a deployment replaces the old one.
        """,
        """
        plum rollout status deployment/web              waits until it is complete; exit code 1 when it failed
        plum rollout history deployment/web
        plum rollout undo deployment/web                back to the template before
        plum rollout undo deployment/web --to-revision 3
        plum rollout restart deployment/web             new instances of the same template, as the strategy says
        plum rollout pause deployment/web
        plum rollout resume deployment/web              also goes on from a canary step
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("status", "wait for the rollout and show how far it is"),
        ("history", "the templates that are kept"),
        ("undo", "back to an earlier template"),
        ("restart", "replace all instances"),
        ("pause", "a new template changes nothing for now"),
        ("resume", "go on"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("what", nargs="+", metavar="KIND NAME | KIND/NAME", help="a deployment")
        arguments.server(action)
        if name in ("status", "undo", "restart"):
            arguments.timeout(action, "10m", "how long to wait")
        if name == "status":
            action.add_argument(
                "--watch", choices=["true", "false"], nargs="?", const="true", default="true", help="wait; default: true"
            )
        if name in ("undo", "restart"):
            action.add_argument("--wait", action="store_true", help="until it is complete")
        if name == "undo":
            action.add_argument(
                "--to-revision",
                type=arguments.count,
                default=0,
                metavar="N",
                help="number of `rollout history`; default: the one before",
            )
        if name == "history":
            action.add_argument("--revision", type=arguments.count, default=0, metavar="N", help="the template of one revision")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    actions = {"status": status, "history": history, "undo": undo, "restart": restart, "pause": pause, "resume": resume}
    return session.run(args, lambda connected: actions[args.action](args, connected), "plum-rollout")


async def deployments(args: argparse.Namespace, session: Session) -> list[Target]:
    """The deployments that were named. Raises `UsageError` for other kinds."""
    words = args.what
    if len(words) == 1 and "/" not in words[0]:
        words = ["deployments.plum.dev", words[0]]
    targets = await session.targets(words, names=True)
    for target in targets:
        if target.info.kind != "Deployment":
            raise UsageError(f"{target} has no rollout; only deployments have")
    return targets


async def status(args: argparse.Namespace, session: Session) -> int:
    """Wait until the rollouts are complete, or show where they are."""
    from plum_cli.waiting import readiness

    targets = await deployments(args, session)
    if args.watch == "true":
        return await wait(session, targets, args.timeout)
    for target in targets:
        print(f"{target}: {readiness(await session.get(target)).text}")
    return OK


async def wait(session: Session, targets: Sequence[Target], timeout: float) -> int:
    """Wait, say how it went, and why when it did not."""
    from plum_cli.terminal import note
    from plum_cli.waiting import Waiter

    waiter = Waiter(session)
    for target in targets:
        waiter.add(target, session.namespace_of(target.info))
    code = await waiter.wait(timeout)
    for (target, _), state in waiter.states.items():
        if state.done:
            print(f"{target} is rolled out: {state.text}")
    if code != OK:
        note("error: the rollout is not complete in time" if code == TIMEOUT else "error: the rollout failed")
        await waiter.explain_rest()
    return code


async def revisions(session: Session, target: Target) -> list[dict[str, Any]]:
    """The kept revisions of a deployment, by number."""
    info = await session.kind("revisions.plum.dev")
    fields = f"spec.target.kind={target.info.kind},spec.target.name={target.name}"
    listed = await session.api.list(info, session.namespace_of(info), fields=fields)
    return sorted(listed, key=lambda item: int(item["spec"]["number"]))


async def history(args: argparse.Namespace, session: Session) -> int:
    """Print the kept templates."""
    from plum_client.explaining.times import age

    from plum_cli.differences import changes, describe
    from plum_cli.output import print_rows, to_yaml

    now = datetime.now(UTC)
    for target in await deployments(args, session):
        current = str(((await session.get(target)).get("status") or {}).get("revisionHash") or "")
        found = await revisions(session, target)
        if args.revision:
            print(to_yaml(pick(found, args.revision, target)["spec"].get("template") or {}), end="")
            continue
        rows = []
        before: Mapping[str, Any] | None = None
        for item in found:
            spec, state = item["spec"], item.get("status") or {}
            differences = [describe(change, 40) for change in changes(before, spec.get("template"))] if before else []
            change = spec.get("changeCause") or "; ".join(differences[:3]) + ("; ..." if len(differences) > 3 else "")
            worked = "available" if state.get("availableAt") else "failed" if state.get("failedAt") else "not yet available"
            mark = " (current)" if spec["hash"] == current else ""
            rows.append(
                [
                    f"{spec['number']}{mark}",
                    age(item["metadata"].get("creationTimestamp"), now),
                    str(spec["hash"]),
                    worked,
                    change,
                ]
            )
            before = spec.get("template")
        print_rows(["REVISION", "AGE", "HASH", "STATE", "CHANGE"], rows)
    return OK


def pick(found: Sequence[dict[str, Any]], number: int, target: Target) -> dict[str, Any]:
    """One revision by number. Raises `CliError`."""
    for item in found:
        if int(item["spec"]["number"]) == number:
            return item
    kept = ", ".join(str(item["spec"]["number"]) for item in found) or "none"
    raise CliError(f"{target} has no revision {number}; kept are {kept}", NOT_FOUND)


def previous(found: Sequence[dict[str, Any]], live: dict[str, Any], target: Target) -> dict[str, Any]:
    """The revision before the one the spec asks for. Raises `CliError`.

    After an automatic rollback that is the one that runs: the spec still has the template that failed.
    """
    from plum_client.explaining.findings import condition

    current = str((live.get("status") or {}).get("revisionHash") or "")
    if (condition(live, "Progressing") or {}).get("reason") == "RolledBack":
        return next(item for item in found if item["spec"]["hash"] == current)
    numbers = [item for item in found if item["spec"]["hash"] != current]
    if not numbers:
        raise CliError(f"{target} has no earlier revision to go back to", NOT_FOUND)
    return numbers[-1]


async def undo(args: argparse.Namespace, session: Session) -> int:
    """Write an earlier template into the spec."""
    targets = await deployments(args, session)
    for target in targets:
        live = await session.get(target)
        if (live.get("spec") or {}).get("paused"):
            raise CliError(f"{target} is paused, so an undo would change nothing; first plum rollout resume {target}")
        found = await revisions(session, target)
        chosen = pick(found, args.to_revision, target) if args.to_revision else previous(found, live, target)
        number, template = chosen["spec"]["number"], chosen["spec"].get("template")
        if template == live["spec"]["template"]:
            print(f"{target} unchanged: it has the template of revision {number}")
            continue
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        await session.merge_json(target, operations)
        print(f"{target} goes back to the template of revision {number}")
    return await wait(session, targets, args.timeout) if args.wait else OK


async def restart(args: argparse.Namespace, session: Session) -> int:
    """Note a time in the template, which makes a new revision of the same content."""
    from plum_cli.times import format_time

    targets = await deployments(args, session)
    for target in targets:
        moment = format_time(datetime.now(UTC))
        await session.merge(target, {"spec": {"template": {"metadata": {"annotations": {RESTARTED: moment}}}}})
        print(f"{target} restarts")
    return await wait(session, targets, args.timeout) if args.wait else OK


async def pause(args: argparse.Namespace, session: Session) -> int:
    """Set spec.paused."""
    for target in await deployments(args, session):
        if (await session.get(target))["spec"].get("paused"):
            print(f"{target} is paused already")
            continue
        await session.merge(target, {"spec": {"paused": True}})
        print(f"{target} paused")
    return OK


async def resume(args: argparse.Namespace, session: Session) -> int:
    """Unset spec.paused, or let a canary go on from the step it waits at."""
    from plum_client.explaining.findings import condition

    for target in await deployments(args, session):
        live = await session.get(target)
        rollout = (live.get("status") or {}).get("rollout") or {}
        progressing = condition(live, "Progressing") or {}
        if live["spec"].get("paused"):
            await session.merge(target, {"spec": {"paused": False}})
            print(f"{target} resumed")
        elif progressing.get("reason") == "CanaryPaused":
            step = f"{rollout.get('hash', '')}/{rollout.get('canaryStep') or 0}"
            await session.merge(target, {"metadata": {"annotations": {CANARY_RESUME: step}}})
            print(f"{target} goes on from canary step {int(rollout.get('canaryStep') or 0) + 1}")
        else:
            print(f"{target} is not paused")
    return OK
