"""`plum delete`: delete objects, by name, by selector, or those of manifests."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, TIMEOUT, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

PROPAGATION: Any = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum delete`."""
    arguments.describe(
        parser,
        """
        Delete objects and wait until they are gone. What an object owns is deleted with it (--cascade says how).
        """,
        """
        plum delete deployment web
        plum delete deployment/web instance/web-7c2f-0
        plum delete -f manifests/
        plum delete deployments -l demo=true --wait=false
        plum delete deployment web --cascade orphan      its instances run on
        """,
    )
    parser.add_argument("what", nargs="*", metavar="KIND [NAME ...] | KIND/NAME", help="what to delete")
    arguments.files(parser, required=False)
    arguments.server(parser)
    arguments.all_namespaces(parser)
    arguments.selectors(parser)
    parser.add_argument("--all", action="store_true", help="all objects of the kind in the namespace")
    parser.add_argument(
        "--cascade", choices=list(PROPAGATION), default="background", help="what happens to what it owns; default: background"
    )
    parser.add_argument(
        "--wait", choices=["true", "false"], nargs="?", const="true", default="true", help="until they are gone; default: true"
    )
    arguments.timeout(parser, "5m", "how long to wait")
    parser.add_argument(
        "--grace-period", type=arguments.count, metavar="SECONDS", help="time to stop, instead of the object's own"
    )
    parser.add_argument("--now", action="store_true", help="the same as --grace-period 1")
    parser.add_argument("--force", action="store_true", help="also remove finalizers: gone at once, whatever still runs")
    parser.add_argument("--ignore-not-found", action="store_true", help="a missing object is no failure")
    parser.add_argument("--dry-run", choices=["server", "none"], nargs="?", const="server", default="none", help="show only")


def run(args: argparse.Namespace) -> int:
    """Delete and wait."""
    from plum_cli import session

    if bool(args.what) == bool(args.filename):
        raise UsageError("say what to delete: KIND/NAME, KIND NAME ..., or -f FILE")
    return session.run(args, lambda connected: delete(args, connected))


async def delete(args: argparse.Namespace, session: Session) -> int:
    """Delete every object that was meant."""
    from plum_client.errors import NotFoundError

    from plum_cli.terminal import note, warn
    from plum_cli.waiting import Readiness, Waiter

    found = await (from_files(args, session) if args.filename else from_words(args, session))
    if not found:
        note("nothing found")
        return OK
    waiter = Waiter(session, judge=lambda item: Readiness(False, held_by(item)), gone_is_done=True)
    missing = 0
    grace = 1 if args.now else args.grace_period
    if args.force:
        grace = 0
        warn("finalizers are removed: processes of deleted instances may go on running on their nodes")
    for target, namespace in found:
        from plum_schemas.base import ObjectKey

        key = ObjectKey(namespace, target.name)
        item = await session.find(target.info, target.name, namespace)
        if item is None:
            missing += 1
            if not args.ignore_not_found:
                note(f"error: {target} is not there")
            continue
        uid = str(item["metadata"]["uid"])
        try:
            await session.api.delete(
                target.info,
                key,
                propagation=PROPAGATION[args.cascade],
                uid=uid,
                grace_seconds=grace,
                dry_run=args.dry_run == "server",
            )
        except NotFoundError:
            pass  # it went by itself between the two requests: that is what was wanted
        if args.dry_run == "server":
            print(f"{target} deleted (server dry run)")
            continue
        if args.force:
            await release(session, target, namespace)
        print(f"{target} deleted", flush=True)
        waiter.add(target, namespace)
    code = OK
    if args.wait == "true" and waiter.states:
        code = await waiter.wait(args.timeout)
        if code == TIMEOUT:
            note("error: these are still there; the deletion goes on by itself")
            await waiter.explain_rest()
    return code or (NOT_FOUND if missing and not args.ignore_not_found else OK)


async def from_files(args: argparse.Namespace, session: Session) -> list[tuple[Target, str]]:
    """The objects of manifests, the last one first: what others need goes after them."""
    from plum_cli import apply as engine
    from plum_cli.manifests import load_manifests

    loaded = load_manifests(args.filename, recursive=args.recursive)
    items = await engine.prepare(session, loaded, engine.ApplyOptions(), namespace_given=bool(args.namespace))
    late = ("Namespace", "CustomResourceDefinition")
    ordered = [item for item in items if item.info.kind not in late] + [item for item in items if item.info.kind in late]
    return [(item.target, item.namespace) for item in ordered if not item.new_kind]


async def from_words(args: argparse.Namespace, session: Session) -> list[tuple[Target, str]]:
    """The objects that were named or selected. Raises `UsageError`."""
    from plum_cli.session import Target

    targets = await session.targets(args.what)
    named = [(target, session.namespace_of(target.info)) for target in targets if target.name]
    if named:
        return named
    if not (args.all or args.selector or args.field_selector):
        raise UsageError(f"which of the {args.what[0]}? Name them, select with -l, or use --all")
    found = []
    for target in targets:
        listed = await session.api.list(
            target.info, session.namespace_of(target.info, args.all_namespaces), labels=args.selector, fields=args.field_selector
        )
        found += [
            (Target(target.info, item["metadata"]["name"]), str(item["metadata"].get("namespace") or "")) for item in listed
        ]
    return found


async def release(session: Session, target: Target, namespace: str) -> None:
    """Remove the finalizers, so that the object goes whatever still waits for it."""
    from plum_client.errors import NotFoundError
    from plum_schemas.base import ObjectKey

    item = await session.find(target.info, target.name, namespace)
    if item is None or not item["metadata"].get("finalizers"):
        return
    try:
        await session.api.patch(target.info, ObjectKey(namespace, target.name), {"metadata": {"finalizers": None}})
    except NotFoundError:
        pass


def held_by(item: Any) -> str:
    """What a deletion waits for."""
    holders = ", ".join(item["metadata"].get("finalizers") or ())
    return f"is being deleted, held by {holders}" if holders else "is being deleted"
