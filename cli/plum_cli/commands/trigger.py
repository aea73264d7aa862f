"""`plum trigger`: fire triggers by hand, fill back what a schedule missed, see what they did, send events."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from plum_cli import arguments
from plum_cli.errors import OK, CliError, UsageError
from plum_cli.parameters import parameters, workflow_types

if TYPE_CHECKING:
    from plum_cli.session import Session

ACTIONS = ("fire", "backfill", "show", "enable", "disable", "emit")
ENDED = ("Succeeded", "Failed", "Canceled", "Timeout")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum trigger`."""
    arguments.describe(
        parser,
        """
        Fire triggers, and see what they did. Without an action the trigger is fired.

          fire      start a run now
          backfill  start a run for every time of the schedule in a span that has none
          show      the next times, and the last firings with their reasons
          enable, disable
          emit      send an event that triggers and waiting workflows can wait for, with data
        """,
        """
        plum trigger nightly
        plum trigger fire deploy -p ref=main -p count=3 --wait
        plum trigger fire orders --key order-7          the same key starts one run, however often
        plum trigger backfill nightly --from 2026-03-01 --to 2026-03-08 --dry-run
        plum trigger show nightly
        plum trigger disable nightly
        plum trigger emit TankFull --data '{"level": 97}'
        """,
    )
    parser.add_argument("what", nargs="+", metavar="[ACTION] NAME", help=f"{', '.join(ACTIONS)}; default: fire")
    arguments.server(parser)
    parser.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="fire: a parameter; JSON, or a text"
    )
    parser.add_argument("--data", metavar="JSON", help="fire, emit: what expressions see as event.data")
    parser.add_argument("--key", default="", metavar="TEXT", help="fire: repeating it starts nothing more")
    parser.add_argument("--from", dest="begin", metavar="TIME", help="backfill: first time: 2026-03-01, 2026-03-01T08:00Z")
    parser.add_argument("--to", dest="end", metavar="TIME", help="backfill: last time; default: now")
    parser.add_argument("--max", type=arguments.count, default=100, metavar="N", help="backfill: most runs; default: 100")
    parser.add_argument("--dry-run", action="store_true", help="backfill: only show the runs")
    parser.add_argument("--wait", action="store_true", help="fire: until the run has ended; exit code 1 if it did not succeed")
    arguments.timeout(parser, "10m", "how long --wait waits")
    arguments.output(parser, "table", "json")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    words = list(args.what)
    action = words.pop(0) if len(words) > 1 and words[0] in ACTIONS else "fire"
    if len(words) != 1:
        raise UsageError(f"plum trigger {action} takes one name, not {len(words)}")
    name = words[0].rpartition("/")[2]
    actions = {"fire": fire, "backfill": backfill, "show": show, "enable": enable, "disable": enable, "emit": emit}
    return session.run(args, lambda connected: actions[action](args, connected, action, name), "plum-trigger")


async def fire(args: argparse.Namespace, session: Session, action: str, name: str) -> int:
    """Start a run."""
    types: dict[str, str] = {}
    if args.param:
        trigger = await session.get(await session.target(["triggers.plum.dev", name]))
        types = await workflow_types(session, str(trigger["spec"]["workflowRef"]))
    given = parameters(args.param, types, "")
    body: dict[str, Any] = {"params": given, "data": value(args.data, "--data"), "key": args.key or uuid4().hex[:12]}
    answer = await session.raw("POST", f"{path(session, name)}/fire", body=body)
    _print(args, answer)
    if not args.wait:
        return OK
    return await wait(session, [*answer["runs"], *answer["known"]][0], args.timeout)


async def backfill(args: argparse.Namespace, session: Session, action: str, name: str) -> int:
    """Start what is missing."""
    if not args.begin:
        raise UsageError("plum trigger backfill needs --from")
    end = moment(args.end) if args.end else datetime.now(UTC)
    body = {"from": moment(args.begin).isoformat(), "to": end.isoformat(), "max": args.max, "dryRun": args.dry_run}
    answer = await session.raw("POST", f"{path(session, name)}/backfill", body=body)
    if args.output == "table" and args.dry_run:
        for one in answer["runs"]:
            print(f"workflowrun/{one} would be there")
        return OK
    _print(args, answer)
    if args.output == "table" and not answer["runs"] and not answer["refusals"]:
        print("nothing is missing" if answer["known"] else "the schedule has no time in this span")
    return OK


async def show(args: argparse.Namespace, session: Session, action: str, name: str) -> int:
    """The next times and the last firings."""
    from plum_client.explaining.times import age

    from plum_cli.output import print_rows

    found = await session.get(await session.target(["triggers.plum.dev", name]))
    spec, status = found["spec"], found.get("status") or {}
    if args.output == "json":
        print(json.dumps(status, indent=2, ensure_ascii=False))
        return OK
    now = datetime.now(UTC)
    ready: dict[str, Any] = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    print(f"trigger/{name} starts workflow/{spec['workflowRef']}: {ready.get('message') or 'it was not looked at yet'}")
    print(f"fired {status.get('fired', 0)} times, missed or refused {status.get('missed', 0)}")
    times = [datetime.fromisoformat(text) for text in status.get("nextTimes") or ()]
    if times:
        print(f"next: {', '.join(_local(time, (spec.get('cron') or {}).get('timezone', 'UTC')) for time in times)}")
    if status.get("queue"):
        print(f"waiting for a run to end: {', '.join(status['queue'])}")
    rows = []
    for one in status.get("firings") or ():
        what = one.get("run") or one.get("reason", "")
        rows.append([f"{age(one['at'], now)} ago", one["result"], one.get("source", ""), what, _detail(one)])
    if rows:
        print_rows(["WHEN", "RESULT", "BY", "RUN OR REASON", "DETAIL"], rows)
    return OK


async def enable(args: argparse.Namespace, session: Session, action: str, name: str) -> int:
    """Fire again, or no longer."""
    target = await session.target(["triggers.plum.dev", name])
    await session.merge(target, {"spec": {"enabled": action == "enable"}})
    print(f"trigger/{name} {action}d")
    return OK


async def emit(args: argparse.Namespace, session: Session, action: str, name: str) -> int:
    """Send an event, as an object of kind Event."""
    data = value(args.data, "--data")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = session.namespace
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "generateName": f"{''.join(c for c in name.lower() if c.isascii() and c.isalnum())[:40] or 'event'}-",
            "namespace": namespace,
            "annotations": {} if data is None else {"plum.dev/data": json.dumps(data)},
        },
        "reason": name,
        "type": "Normal",
        "message": f"sent with {json.dumps(data, ensure_ascii=False)}"[:1000] if data is not None else "sent",
        "involvedObject": {"namespace": namespace},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "reportingComponent": "plum",
    }
    made = await session.raw("POST", f"/api/v1/namespaces/{namespace}/events", body=event)
    print(f"event/{made['metadata']['name']} sent")
    return OK


async def wait(session: Session, run: str, timeout: float) -> int:
    """Until a run has ended."""
    import asyncio

    from plum_cli.errors import FAILED, TIMEOUT

    target = await session.target(["workflowruns.plum.dev", run])
    try:
        async with asyncio.timeout(timeout):
            while True:
                status = (await session.get(target)).get("status") or {}
                if status.get("phase") in ENDED:
                    break
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise CliError(f"workflowrun/{run} is still {status.get('phase') or 'not started'}", TIMEOUT) from None
    message = f": {status['message']}" if status.get("message") else ""
    print(f"workflowrun/{run} {status['phase']}{message}")
    if status.get("outputs"):
        print(json.dumps(status["outputs"], indent=2, ensure_ascii=False))
    return OK if status["phase"] == "Succeeded" else FAILED


def path(session: Session, name: str) -> str:
    """The path of a trigger."""
    return f"/apis/plum.dev/v1/namespaces/{session.namespace}/triggers/{name}"


def value(text: str | None, option: str) -> Any:
    """A JSON argument. Raises `UsageError`."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{option} is no JSON: {error}") from None


def moment(text: str) -> datetime:
    """A time; without a zone it is UTC. Raises `UsageError`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time; write 2026-03-01 or 2026-03-01T08:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _print(args: argparse.Namespace, answer: dict[str, Any]) -> None:
    if args.output == "json":
        print(json.dumps(answer))
        return
    for one in answer["runs"]:
        print(f"workflowrun/{one} started")
    for one in answer["known"]:
        print(f"workflowrun/{one} was there already")
    for one in answer["refusals"]:
        print(f"refused: {one['message']} ({one['reason']})")


def _local(time: datetime, zone: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return time.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
    except (ZoneInfoNotFoundError, ValueError):
        return time.strftime("%Y-%m-%d %H:%M UTC")


def _detail(one: dict[str, Any]) -> str:
    parts = [f"for {one['scheduledFor']}"] if one.get("scheduledFor") else []
    if one.get("count", 1) > 1:
        parts.append(f"{one['count']} times")
    if one.get("message"):
        parts.append(one["message"])
    return ", ".join(parts)
