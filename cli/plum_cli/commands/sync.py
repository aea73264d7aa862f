"""`plum sync`: what Syncs did and would do, and to hold them, have them go on, go back or go ahead."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, NOT_FOUND, OK, TIMEOUT, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

REQUESTED = "plum.dev/sync-requested"
SIGNS = {
    "create": ("+", "green", "to create"),
    "change": ("~", "yellow", "to change"),
    "correct": ("!", "yellow", "to set right"),
    "report": ("?", "cyan", "that differ and are only reported"),
    "later": ("+", "green", "to create once their kind is there"),
    "delete": ("-", "red", "to delete"),
    "keep": (" ", "dim", "that left the source and are kept"),
}
"""Action of a plan to its sign, its colour and what is said of the number of them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum sync`."""
    arguments.describe(
        parser,
        """
        Syncs make the store equal to a folder, a Git repository or a bundle. See what they did and would do; stop them, let
        them go on, go back to an earlier revision, approve deletions.
        """,
        """
        plum sync list
        plum sync status fleet
        plum sync plan fleet
        plum sync diff fleet
        plum sync now fleet
        plum sync suspend fleet --for 2h --reason "repairs at pier 3"
        plum sync rollback fleet
        plum sync approve fleet
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "all Syncs and where they are", one=False)
    arguments.all_namespaces(listing)
    arguments.output(_action(actions, "status", "what a Sync applied, object by object, and what differed"), "table", "json")
    arguments.output(_action(actions, "plan", "what it would do now, one line per object"), "table", "json")
    _action(actions, "diff", "what it would change, as a diff; exit code 1 when there are differences")
    now = _action(actions, "now", "read the source and apply it now")
    now.add_argument(
        "--wait", choices=["true", "false"], nargs="?", const="true", default="true", help="until done; default: true"
    )
    arguments.timeout(now, "5m", "how long to wait")
    suspending = _action(actions, "suspend", "change nothing until it is resumed")
    suspending.add_argument(
        "--for", dest="duration", type=arguments.seconds, metavar="DURATION", help="and go on by itself after this"
    )
    suspending.add_argument("--reason", default="", metavar="TEXT", help="why, for people")
    _action(actions, "resume", "end a suspension, and what holds it at an earlier revision")
    back = _action(actions, "rollback", "go back to an earlier revision and stay there until the source is newer")
    back.add_argument("--to", default="", metavar="REVISION", help="one of those in its history; default: the one before")
    back.add_argument("--reason", default="", metavar="TEXT", help="why, for people")
    _action(actions, "approve", "let it delete what it asked for")


def _action(actions: Any, name: str, text: str, *, one: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if one:
        parser.add_argument("name", metavar="NAME", help="name of the Sync")
    arguments.server(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one of the actions."""
    from plum_cli import session

    actions = {
        "list": show_list, "status": status, "plan": plan, "diff": diff, "now": now, "suspend": suspend, "resume": resume,
        "rollback": rollback, "approve": approve,
    }  # fmt: skip
    return session.run(args, lambda connected: actions[args.action](args, connected))


async def _target(args: argparse.Namespace, session: Session) -> tuple[Target, dict[str, Any]]:
    from plum_cli.session import Target

    target = Target(await session.kind("syncs.plum.dev"), args.name)
    return target, await session.get(target)


# ---- looking


async def show_list(args: argparse.Namespace, session: Session) -> int:
    """A line per Sync."""
    info = await session.kind("syncs.plum.dev")
    found = list(await session.api.list(info, session.namespace_of(info, args.all_namespaces)))
    if not found:
        print("there is no Sync; make one, or follow a folder: plum dev --manifests DIR")
        return OK
    rows = [["NAME", "PHASE", "REVISION", "OBJECTS", "SOURCE", "MESSAGE"]]
    for sync in found:
        now, meta = sync.get("status") or {}, sync["metadata"]
        name = f"{meta['namespace']}/{meta['name']}" if args.all_namespaces else meta["name"]
        revision, objects = str(now.get("appliedRevision") or "-")[:10], str(len(now.get("inventory") or ()))
        rows.append([name, now.get("phase") or "Pending", revision, objects, source_text(sync), now.get("message") or ""])
    print("\n".join(columns(rows)))
    return OK


def source_text(sync: Mapping[str, Any]) -> str:
    """Where a Sync's manifests are, on one line."""
    source = (sync.get("spec") or {}).get("source") or {}
    if git := source.get("git"):
        at = git.get("branch") or git.get("tag") or git.get("commit") or ""
        return f"{git['url']}{'@' + at if at else ''}"
    return str((source.get("folder") or source.get("bundle") or {}).get("path") or "")


def columns(rows: list[list[str]]) -> list[str]:
    """Rows with their columns below each other."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


async def status(args: argparse.Namespace, session: Session) -> int:
    """Everything the status says. Exit code 1 when it is not synced."""
    _, sync = await _target(args, session)
    if args.output == "json":
        print(json.dumps(sync.get("status") or {}, indent=4, ensure_ascii=False))
    else:
        print("\n".join(status_lines(sync)))
    return OK if (sync.get("status") or {}).get("phase") == "Synced" else FAILED


def status_lines(sync: Mapping[str, Any]) -> list[str]:
    """The status for people."""
    now = sync.get("status") or {}
    lines = [f"{sync['metadata']['name']}: {now.get('phase', 'Pending')}: {now.get('message') or 'not looked at yet'}"]
    lines.append(f"  source    {source_text(sync)} at {str(now.get('sourceRevision') or 'unknown')[:12]}")
    lines.append(f"  applied   {str(now.get('appliedRevision') or 'nothing')[:12]} {now.get('appliedAt') or ''}".rstrip())
    shown = {entry["type"]: entry for entry in now.get("conditions") or ()}
    for name in ("Healthy", "Drifted", "DeletesBlocked", "Held"):
        entry = shown.get(name)
        if entry and (entry["status"] == "True") != (name == "Healthy"):
            lines.append(f"  {name.lower():<9} {entry.get('message') or entry.get('reason')}")
    rows = [["  KIND", "NAME", "RESULT", "HEALTH", "MESSAGE"]]
    for item in now.get("inventory") or ():
        where = f"{item['namespace']}/{item['name']}" if item.get("namespace") else item["name"]
        rows.append([f"  {item['kind']}", where, item.get("result", ""), item.get("health", ""), item.get("message", "")])
    if len(rows) > 1:
        lines += ["", *columns(rows)]
    if now.get("drift"):
        lines += ["", "  differed:"]
        for entry in now["drift"][:10]:
            who, done = entry.get("manager") or "somebody", "set right" if entry.get("corrected") else "reported"
            lines.append(
                f"  {entry.get('time', '')}  {entry['kind']} {entry['name']}: {', '.join(entry['fields'])} by {who}, {done}"
            )
    if now.get("history"):
        lines += ["", "  revisions:"]
        lines += [f"  {entry.get('time', '')}  {entry['revision'][:12]}" for entry in now["history"]]
    return lines


async def ask_plan(args: argparse.Namespace, session: Session) -> dict[str, Any]:
    """The server's plan. Raises `CliError` when the manifests cannot be applied."""
    target, _ = await _target(args, session)
    namespace = session.namespace_of(target.info)
    path = f"/apis/plum.dev/v1/namespaces/{namespace}/syncs/{args.name}/plan"
    return dict(await session.raw("GET", path))


def fail_on_problems(answer: Mapping[str, Any]) -> None:
    """Raises `CliError` with every problem."""
    problems = answer.get("problems") or ()
    if problems:
        raise CliError("\n".join(f"{entry['where']}: {entry['message']}" for entry in problems), code=FAILED)


async def plan(args: argparse.Namespace, session: Session) -> int:
    """A line per object that would change."""
    from plum_cli.terminal import paint, warn

    answer = await ask_plan(args, session)
    if args.output == "json":
        print(json.dumps(answer, indent=4, ensure_ascii=False))
        return OK
    fail_on_problems(answer)
    counts: dict[str, int] = {}
    for change in answer["changes"]:
        sign, style, _ = SIGNS[change["action"]]
        counts[change["action"]] = counts.get(change["action"], 0) + 1
        where = f"{change['namespace']}/" if change["namespace"] else ""
        detail = f": {change['detail']}" if change["detail"] else ""
        who = f" (changed by {change['manager']})" if change.get("manager") else ""
        print(paint(f"{sign} {change['action']:<8}", style, sys.stdout), f"{change['kind']} {where}{change['name']}{detail}{who}")
    parts = [f"{counts[action]} {text}" for action, (_, _, text) in SIGNS.items() if action in counts]
    print(f"{', '.join(parts) or 'nothing to do'}; {answer['unchanged']} as they should be; revision {answer['revision'][:12]}")
    if answer["blocked"]:
        warn(answer["blocked"])
    return OK


async def diff(args: argparse.Namespace, session: Session) -> int:
    """A unified diff per object. Exit code 1 when there are differences."""
    from plum_cli.differences import unified
    from plum_cli.terminal import paint

    answer = await ask_plan(args, session)
    fail_on_problems(answer)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    different = False
    for change in answer["changes"]:
        if change["action"] == "keep":
            continue
        for line in unified(f"{change['kind'].lower()}/{change['name']}", change["live"], change["wanted"]):
            different = True
            style = styles.get(line[:1], "")
            print(paint(line, style, sys.stdout) if style else line)
    return FAILED if different else OK


# ---- acting


async def now(args: argparse.Namespace, session: Session) -> int:
    """Ask for a sync; wait until it was tried."""
    target, _ = await _target(args, session)
    mark = datetime.now(UTC).isoformat()
    await session.merge(target, {"metadata": {"annotations": {REQUESTED: mark}}})
    if args.wait == "false":
        print(f"{target} will be synced")
        return OK
    end = asyncio.get_running_loop().time() + args.timeout
    while asyncio.get_running_loop().time() < end:
        found = (await session.get(target)).get("status") or {}
        if found.get("observedRequest") == mark and found.get("phase") != "Syncing":
            print(f"{target}: {found['phase']}: {found.get('message', '')}")
            return OK if found["phase"] == "Synced" else FAILED
        if found.get("phase") in ("Suspended", "Pending") and found.get("message"):
            print(f"{target}: {found['phase']}: {found['message']}")
            return FAILED
        await asyncio.sleep(0.1)
    raise CliError(f"{target} was not synced within {args.timeout:.0f} s; see plum sync status {args.name}", TIMEOUT)


async def suspend(args: argparse.Namespace, session: Session) -> int:
    """Have it change nothing."""
    target, _ = await _target(args, session)
    until = None
    if args.duration is not None:
        until = (datetime.now(UTC) + timedelta(seconds=args.duration)).isoformat(timespec="seconds").replace("+00:00", "Z")
    spec = {"suspend": until is None, "suspendUntil": until, "suspendReason": args.reason or None}
    await session.merge(target, {"spec": spec})
    print(f"{target} is suspended{f' until {until}' if until else ''}")
    return OK


async def resume(args: argparse.Namespace, session: Session) -> int:
    """End suspension and hold."""
    target, _ = await _target(args, session)
    await session.merge(target, {"spec": {"suspend": None, "suspendUntil": None, "suspendReason": None, "hold": None}})
    print(f"{target} goes on")
    return OK


async def rollback(args: argparse.Namespace, session: Session) -> int:
    """Write the hold."""
    target, sync = await _target(args, session)
    found = sync.get("status") or {}
    history = [str(entry["revision"]) for entry in found.get("history") or ()]
    if args.to:
        chosen = [revision for revision in history if revision.startswith(args.to)]
        if not chosen and (
            ((sync.get("spec") or {}).get("source") or {}).get("git") and re.fullmatch("[0-9a-f]{40,64}", args.to)
        ):
            chosen = [args.to]  # its repository has more commits than its history
        if not chosen:
            known = ", ".join(one[:12] for one in history) or "nothing yet"
            raise CliError(f"{target} was never at {args.to}; its history has {known}", NOT_FOUND)
        if len(chosen) > 1:
            raise CliError(f"{args.to} begins more than one revision: {', '.join(one[:12] for one in chosen)}")
    else:
        applied = str(found.get("appliedRevision") or "")
        chosen = [revision for revision in history if revision != applied][:1]
    if not chosen:
        raise CliError(f"{target} has no revision before this one; see plum sync status {args.name}", NOT_FOUND)
    hold = {"revision": chosen[0], "newest": str(found.get("sourceRevision") or ""), "reason": args.reason or None}
    await session.merge(target, {"spec": {"hold": hold}})
    until = f"until its source has something newer, or: plum sync resume {args.name}"
    print(f"{target} goes back to {chosen[0][:12]} and stays there {until}")
    return OK


async def approve(args: argparse.Namespace, session: Session) -> int:
    """Allow the deletions of the revision that is blocked."""
    target, sync = await _target(args, session)
    found = sync.get("status") or {}
    if found.get("phase") != "Blocked":
        raise CliError(f"{target} waits for no approval; it is {found.get('phase', 'Pending')}")
    await session.merge(target, {"spec": {"approveDelete": found["attemptedRevision"]}})
    waiting = [item for item in found.get("inventory") or () if item.get("pendingDelete")]
    print(f"{target} may delete {len(waiting)} objects")
    return OK
