"""Versions of a workflow: listed, compared, and brought back, however long ago they were written.

Every definition is a Revision with a number, kept beside the history of changes: `plum history` reaches as far as the history
does (an hour, by default), versions are there until twenty newer ones are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli.errors import NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

NOT_DEFINITION = (
    "state", "archived", "tags", "owner", "keepRuns", "concurrencyPolicy", "maxConcurrent", "description",
)  # fmt: skip
"""Fields of a workflow that are no part of what a run does: they make no version, and a rollback leaves them as they are."""
ATTEMPTS = 5
"""Tries when somebody else writes the workflow at the same time."""
Json = dict[str, Any]


async def versions(session: Session, target: Target) -> list[Json]:
    """The kept versions of a workflow, newest first. Raises `NotFoundError` when there is no such workflow."""
    workflow = await session.get(target)
    info = await session.kind("revisions.plum.dev")
    fields = f"spec.target.kind=Workflow,spec.target.name={target.name}"
    found = [dict(item) for item in await session.api.list(info, session.namespace, fields=fields)]
    mine = [item for item in found if _owned(item, str(workflow["metadata"]["uid"]))]
    return sorted(mine, key=lambda item: -int(item["spec"]["number"]))


def pick(found: Sequence[Json], number: int, target: Target) -> Json:
    """One version by its number. Raises `CliError`."""
    for item in found:
        if item["spec"]["number"] == number:
            return item
    kept = ", ".join(str(item["spec"]["number"]) for item in found) or "none"
    raise CliError(f"{target} has no version {number}; kept are {kept}", NOT_FOUND)


async def show_versions(session: Session, target: Target) -> int:
    """A line for each version: number, when, why, and what it changed."""
    from plum_client.explaining.times import age

    from plum_cli.differences import summarize
    from plum_cli.output import print_rows

    found, now = await versions(session, target), datetime.now(UTC)
    if not found:
        print(f"{target} has no version yet: its controller has not seen it")
        return OK
    rows = []
    for item, before in zip(found, [*found[1:], None], strict=True):
        spec = item["spec"]
        change = "the oldest version that is kept" if before is None else summarize(definition(before), definition(item))
        cause = spec.get("changeCause") or ""
        mark = " (current)" if item is found[0] else ""
        rows.append([f"{spec['number']}{mark}", age(item["metadata"]["creationTimestamp"], now), spec["hash"], cause, change])
    print_rows(["VERSION", "FIRST USED", "HASH", "CAUSE", "CHANGE"], rows)
    return OK


async def show_difference(session: Session, target: Target, first: int | None, second: int | None) -> int:
    """The differences of two versions as YAML; of the last two if none is named, of one and the current one if one is."""
    import sys

    from plum_cli.differences import unified
    from plum_cli.terminal import paint

    found = await versions(session, target)
    if first is None and len(found) < 2:
        print(f"{target} has one version")
        return OK
    old = pick(found, first, target) if first is not None else found[1]
    new = pick(found, second, target) if second is not None else found[0]
    lines = unified(str(target), definition(old), definition(new))[2:]
    if not lines:
        print(f"versions {old['spec']['number']} and {new['spec']['number']} of {target} do the same")
        return OK
    for line in (f"--- version {old['spec']['number']}", f"+++ version {new['spec']['number']}", *lines):
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        print(paint(line, style, sys.stdout) if style else line)
    return OK


async def roll_back(session: Session, target: Target, number: int | None, *, dry_run: bool) -> int:
    """Write the definition of an earlier version, as the newest one. Runs that go on are not changed."""
    from plum_client.errors import ConflictError

    from plum_cli.differences import changes, describe

    for attempt in range(ATTEMPTS):
        found = await versions(session, target)
        live = await session.get(target)
        if number is None and len(found) < 2:
            raise CliError(f"{target} has no earlier version to go back to", NOT_FOUND)
        chosen = pick(found, number, target) if number is not None else found[1]
        wanted = {**live, "spec": restored(chosen["spec"].get("definition") or {}, live.get("spec") or {})}
        shown = chosen["spec"]["number"]
        try:
            tried = await session.api.update(wanted, kind=target.info, dry_run=True)
            differences = list(changes(live.get("spec") or {}, tried.get("spec") or {}, "spec"))
            if not differences:
                print(f"{target} unchanged: it does what version {shown} does")
                return OK
            if not dry_run:
                await session.api.update(wanted, kind=target.info)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        print(f"{target} rolled back to version {shown}{' (server dry run)' if dry_run else ''}")
        for change in differences:
            print(f"  {describe(change)}")
        return OK
    raise CliError(f"{target} changes all the time; try again")


def restored(then: Mapping[str, Any], live: Mapping[str, Any]) -> Json:
    """The definition of then, with the state and the keeping of now."""
    kept = {name: live[name] for name in NOT_DEFINITION if name in live}
    return {**{name: value for name, value in then.items() if name not in NOT_DEFINITION}, **kept}


def definition(version: Json) -> Json:
    """What a version does, as an object to compare."""
    found = version["spec"].get("definition") or {}
    return {"spec": {name: value for name, value in found.items() if name not in NOT_DEFINITION}}


async def show_workflow(session: Session, target: Target) -> int:
    """What a workflow is, how its runs went, and what starts them."""
    item = await session.get(target)
    info, fields = await session.kind("triggers.plum.dev"), f"spec.workflowRef={target.name}"
    triggers = await session.api.list(info, session.namespace, fields=fields)
    print("\n".join(about(item, list(triggers), datetime.now(UTC))))
    return OK


def about(item: Mapping[str, Any], triggers: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    """The lines of `show_workflow`."""
    from plum_client.explaining.findings import condition
    from plum_client.explaining.times import age

    from plum_cli.commands.workflow import param_line

    spec, status = item.get("spec") or {}, item.get("status") or {}
    state = "archived" if spec.get("archived") else "template" if spec.get("template") else spec.get("state", "Active")
    words = [str(item["metadata"]["name"]), str(state), f"version {status.get('revision') or 0}"]
    words += [f'"{spec["version"]}"'] if spec.get("version") else []
    yield "  ".join([*words, *([f"owner {spec['owner']}"] if spec.get("owner") else [])])
    if spec.get("description"):
        yield f"  {spec['description']}"
    for param in spec.get("params") or ():
        yield f"  param {param_line(param)}"
    yield f"  runs  {_statistics(status)}"
    if status.get("lastRun"):
        yield f"  last  {status['lastRun']}, {age(status.get('lastRunAt') or '', now)} ago; the last that ended: " + (
            str(status.get("lastPhase") or "none yet")
        )
    for trigger in triggers:
        ready = condition(trigger, "Ready") or {}
        upcoming = ((trigger.get("status") or {}).get("nextTimes") or [None])[0]
        said = f"next {upcoming}" if upcoming and ready.get("status") == "True" else str(ready.get("message") or "")
        yield f"  trigger {trigger['metadata']['name']}  {said}".rstrip()
    ready = condition(item, "Ready") or {}
    if ready.get("status") == "False":
        yield f"  not ready: {ready.get('message')}"


def _statistics(status: Mapping[str, Any]) -> str:
    known = status.get("statistics") or {}
    count, good = int(known.get("runs") or 0), int(known.get("succeeded") or 0)
    words = [f"{count} ended"]
    if count:
        words.append(f"{good / count:.0%} succeeded")
    if known.get("p50Seconds") is not None:
        words.append(f"half took at most {known['p50Seconds']:g}s, 95% at most {known.get('p95Seconds') or 0:g}s")
    words += [f"{status.get('activeRuns') or 0} going on", f"{status.get('queuedRuns') or 0} queued"]
    return ", ".join(words)


def _owned(item: Mapping[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or ())
