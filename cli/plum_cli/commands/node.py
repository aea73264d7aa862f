"""`plum node`: let machines join and put them out; keep new instances away from a node, or empty it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, TIMEOUT

if TYPE_CHECKING:
    from plum_cli.session import Session, Target
    from plum_cli.waiting import Readiness


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum node`."""
    arguments.describe(
        parser,
        """
        Let a machine become a node with a token that works once; `revoke` puts it out again, and what runs there goes on.
        Prepare a node for maintenance: `drain` cordons it and moves everything away while deployments stay available;
        `uncordon` takes it back into service and ends a drain.
        """,
        """
        plum node token create --node edge-7
        plum node revoke edge-7
        plum node cordon node-1
        plum node drain node-1 --deadline 10m
        plum node drain node-1 --wait=false
        plum node uncordon node-1
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _configure_joining(actions)
    for name, text in (
        ("cordon", "nothing new is placed on it"),
        ("uncordon", "take it back into service"),
        ("drain", "cordon it and move everything away"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("names", nargs="+", metavar="NODE", help="name of a node")
        arguments.server(action, namespace=False)
        if name == "drain":
            action.add_argument(
                "--deadline",
                type=arguments.seconds,
                default=600.0,
                metavar="DURATION",
                help="after this what is left goes without regard to availability; 0: never; default: 10m",
            )
            action.add_argument("--delete-pinned", action="store_true", help="also what can only run on this node")
            action.add_argument(
                "--wait",
                choices=["true", "false"],
                nargs="?",
                const="true",
                default="true",
                help="until it is empty; default: true",
            )
            arguments.timeout(action, "30m", "how long to wait")


def _configure_joining(actions: Any) -> None:
    """The arguments of `plum node token` and `plum node revoke`."""
    revoking = actions.add_parser(
        "revoke", help="end the certificates of nodes", description="End what proves that somebody is this node, at once."
    )
    revoking.add_argument("names", nargs="+", metavar="NODE", help="name of a node")
    arguments.server(revoking, namespace=False)
    token = actions.add_parser("token", help="tokens with which machines become nodes", description="Tokens to join with.")
    parts = token.add_subparsers(dest="token_action", required=True, metavar="ACTION")
    creating = parts.add_parser(
        "create",
        help="make one and print the line to run on the machine",
        description="Make a token that one machine joins with.",
    )
    creating.add_argument("--node", default="", metavar="NAME", help="good for this name alone; default: any new node")
    creating.add_argument("--ttl", default="1h", metavar="DURATION", help="how long it may be used; default: 1h")
    creating.add_argument("--controller", default="", metavar="URL", help="address at which the machine reaches the controller")
    creating.add_argument("-o", "--output", choices=["line", "token", "json"], default="line", help="default: line")
    arguments.server(creating, namespace=False)
    listing = parts.add_parser("list", help="which there are, and who used them", description="Tokens to join with, and who did.")
    arguments.server(listing, namespace=False)
    ending = parts.add_parser("revoke", help="make them worthless", description="Make tokens to join with worthless, at once.")
    ending.add_argument("names", nargs="+", metavar="TOKEN", help="name of a Token object")
    arguments.server(ending, namespace=False)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    if args.action in ("token", "revoke"):
        from plum_cli import joining

        return session.run(args, lambda connected: joining.run(args, connected), "plum-node")
    return session.run(args, lambda connected: act(args, connected), "plum-node")


async def act(args: argparse.Namespace, session: Session) -> int:
    """Change the spec of each node; wait for a drain."""
    from plum_cli.session import Target
    from plum_cli.times import format_time

    info = await session.kind("nodes.plum.dev")
    targets = [Target(info, name.removeprefix("node/")) for name in args.names]
    for target in targets:
        spec = (await session.get(target)).get("spec") or {}
        if args.action == "cordon":
            changed = not spec.get("unschedulable")
            patch: dict[str, Any] = {"unschedulable": True}
        elif args.action == "uncordon":
            changed = bool(spec.get("unschedulable") or spec.get("drain"))
            patch = {"unschedulable": False, "drain": None}
        else:
            changed = True
            moment = format_time(datetime.now(UTC).replace(microsecond=0))
            drain = {"deadlineSeconds": round(args.deadline), "requestedAt": moment, "ignorePinned": not args.delete_pinned}
            patch = {"unschedulable": True, "drain": drain}
        if changed:
            await session.merge(target, {"spec": patch})
        words = {"cordon": "cordoned", "uncordon": "uncordoned", "drain": "is being drained"}
        print(f"{target} {words[args.action]}{'' if changed else ' already'}", flush=True)
    if args.action == "drain" and args.wait == "true":
        return await wait_for_drain(session, targets, args.timeout)
    return OK


async def wait_for_drain(session: Session, targets: list[Target], timeout: float) -> int:
    """Wait until the node controller says that each node is drained."""
    from plum_cli.terminal import note
    from plum_cli.waiting import Waiter

    waiter = Waiter(session, judge=drained)
    for target in targets:
        waiter.add(target, "")
    code = await waiter.wait(timeout)
    for (target, _), state in waiter.states.items():
        if state.done:
            stays = await staying(session, target.name)
            print(f"{target} is drained; {', '.join(stays)} stays: it may run only here" if stays else f"{target} is empty")
    if code != OK:
        note("error: not empty in time; the drain goes on by itself" if code == TIMEOUT else "error: the drain ended")
        await waiter.explain_rest()
    return code


async def staying(session: Session, node: str) -> list[str]:
    """Instances that are still there after a drain."""
    info = await session.kind("instances.plum.dev")
    items = (await session.api.list(info, "", fields=f"spec.nodeName={node}")).items
    ended = ("Succeeded", "Failed")
    return sorted(
        f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        for item in items
        if (item.get("status") or {}).get("phase") not in ended and not item["metadata"].get("deletionTimestamp")
    )


def drained(item: Any) -> Readiness:
    """Whether a drain is complete."""
    from plum_client.explaining.findings import condition

    from plum_cli.waiting import Readiness

    if (item.get("spec") or {}).get("drain") is None:
        return Readiness(False, "the drain was cancelled", failed=True)
    entry = condition(item, "Drained")
    if entry is None or int(entry.get("observedGeneration") or 0) < int(item["metadata"].get("generation") or 0):
        return Readiness(False, "the drain begins")
    done = entry.get("status") == "True"
    return Readiness(
        done, "is empty" if done else str(entry.get("message") or entry.get("reason") or "instances are moving away")
    )
