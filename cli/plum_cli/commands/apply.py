"""`plum apply`: make the server's desired state equal to manifests."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import FAILED, INVALID, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.apply import ApplyOptions, Item
    from plum_cli.manifests import Loaded
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum apply`."""
    arguments.describe(
        parser,
        """
        Make the server's desired state equal to manifests (server-side apply, field manager plum). All documents are
        parsed and tried on the server before the first one is applied: a file with a mistake changes nothing, and each
        mistake is shown with file and line. Namespaces and definitions of kinds come first.
        """,
        """
        plum apply -f web.yaml
        plum apply -f manifests/ -R --wait --timeout 2m
        cat web.yaml | plum apply -f -
        plum apply -f manifests/ --dry-run          what would happen, checked by the server
        plum apply -f manifests/ --prune            also delete what left the folder since the last --prune
        plum apply -f web.yaml --plan 3f9c0a1d      only if the plan is still the one that was seen
        """,
    )
    arguments.files(parser)
    arguments.server(parser)
    parser.add_argument(
        "--dry-run",
        nargs="?",
        const="server",
        default="none",
        choices=["server", "client", "none"],
        help="check and show, change nothing",
    )
    parser.add_argument("--wait", action="store_true", help="until everything is where it should be")
    arguments.timeout(parser, "5m", "how long --wait waits")
    parser.add_argument("--prune", action="store_true", help="delete members of the set that are no longer in the manifests")
    parser.add_argument(
        "--set",
        dest="set_name",
        default="",
        metavar="NAME",
        help="name of the set for --prune; default: that of the folder or file",
    )
    parser.add_argument(
        "--server-side", action="store_true", default=True, help="always on; accepted because kubectl users write it"
    )
    parser.add_argument("--force-conflicts", action="store_true", help="take over fields that belong to others")
    parser.add_argument("--field-manager", default="plum", metavar="NAME", help="in whose name fields are owned; default: plum")
    parser.add_argument(
        "--validate", default="strict", choices=["strict", "warn", "ignore"], help="unknown fields; default: strict"
    )
    parser.add_argument(
        "--plan", dest="plan_hash", default="", metavar="HASH", help="refuse unless `plum plan` still gives this hash"
    )
    parser.add_argument(
        "-o", "--output", default="", choices=["name", "json", "yaml"], help="print the objects instead of a line for each"
    )


def run(args: argparse.Namespace) -> int:
    """Apply the manifests."""
    from plum_cli.manifests import load_manifests
    from plum_cli.terminal import warn

    loaded = load_manifests(args.filename, recursive=args.recursive)
    for warning in loaded.warnings:
        warn(str(warning))
    if args.set_name and not args.prune:
        raise UsageError("--set names the set for --prune; add --prune")
    if args.dry_run == "client" and (args.prune or args.wait):
        raise UsageError("--dry-run=client asks the server for kinds only; --prune and --wait need more")
    from plum_cli import session

    return session.run(args, lambda connected: apply(args, connected, loaded))


async def apply(args: argparse.Namespace, session: Session, loaded: Loaded) -> int:
    """Check all, then write all, then prune, then wait."""
    from plum_cli import apply as engine
    from plum_cli.prune import ApplySet, default_name
    from plum_cli.terminal import warn

    group = ApplySet(session, args.set_name or default_name(args.filename)) if args.prune else None
    options = engine.ApplyOptions(
        force=args.force_conflicts,
        field_manager=args.field_manager,
        validation=args.validate.capitalize(),
        part_of=group.id if group else "",
    )
    items = await engine.prepare(session, loaded, options, namespace_given=bool(args.namespace))
    if args.plan_hash:
        await check_plan(session, items, args.plan_hash)
    if args.dry_run == "client":
        for item in items:
            print(f"{item.target} parsed (client dry run)")
        return OK
    await engine.check(session, items, options)
    for item in items:
        if item.taken_back:
            warn(f"{item.target}: taking back {', '.join(item.taken_back)}, which was changed by hand since the last apply")
    leavers: list[Any] = []
    if group is not None:
        await group.load()
        leavers = await group.leavers(items)
    if args.dry_run == "server":
        report(items, args.output, " (server dry run)")
        for member in leavers:
            print(f"{describe_member(member)} {'kept: ' + member.kept if member.kept else 'pruned (server dry run)'}")
        return OK
    if group is not None:
        await group.widen(items)
    await write_all(session, items, options, args.output)
    if group is not None:
        for member in leavers:
            if member.kept:
                print(f"{describe_member(member)} kept: {member.kept}")
                continue
            await group.delete(member)
            print(f"{describe_member(member)} pruned")
        await group.shrink(items, [member for member in leavers if member.kept])
    return await wait_for(session, items, args.timeout) if args.wait else OK


async def write_all(session: Session, items: list[Item], options: ApplyOptions, output: str) -> None:
    """Apply, and print each object when it is written."""
    from plum_cli import apply as engine

    written = []
    try:
        async for item in engine.apply_all(session, items, options):
            written.append(item)
            if not output:
                print(f"{item.target} {item.outcome}", flush=True)
    finally:
        if output:
            report(written, output, "")


def report(items: list[Item], output: str, suffix: str) -> None:
    """Print what was or would be done."""
    if output:
        from plum_cli.output import print_objects

        print_objects([item.result for item in items], output, single=len(items) == 1, managed_fields=False)
        return
    for item in items:
        outcome = "created, not checked: its kind comes with this set" if item.new_kind else item.outcome
        print(f"{item.target} {outcome}{suffix}")


def describe_member(member: Any) -> str:
    """`deployment.plum.dev/web`."""
    from plum_cli.session import Target

    return str(Target(member.info, member.key.name))


async def check_plan(session: Session, items: list[Item], wanted: str) -> None:
    """Refuse when the controllers would now do something else than what was seen. Raises `CliError`."""
    from plum_cli.commands.plan import ask_plan

    plan = await ask_plan(session, [item.data for item in items])
    if not str(plan["hash"]).startswith(wanted) or len(wanted) < 8:
        text = (
            f"the plan is now {plan['hash']}, not {wanted}: manifests or cluster have changed since; look again with `plum plan`"
        )
        raise CliError(text, INVALID if len(wanted) < 8 else FAILED)


async def wait_for(session: Session, items: list[Item], timeout: float) -> int:
    """Wait until every object is where it should be; say why not, if not."""
    from plum_cli.errors import TIMEOUT
    from plum_cli.terminal import note
    from plum_cli.waiting import Waiter

    waiter = Waiter(session)
    for item in items:
        waiter.add(item.target, item.namespace)
    code = await waiter.wait(timeout)
    if code != OK:
        note("error: not everything is where it should be in time" if code == TIMEOUT else "error: something failed")
        await waiter.explain_rest()
    return code
