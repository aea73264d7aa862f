"""`plum scale`: set the number of replicas."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from plum_cli import arguments
from plum_cli.errors import CONFLICT, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum scale`."""
    arguments.describe(
        parser,
        """
        Set the number of replicas of objects that can be scaled. Nothing that runs is restarted.
        """,
        """
        plum scale deployment/web --replicas 5
        plum scale deployment web api --replicas 0 --wait
        plum scale deployment/web --replicas 4 --current-replicas 3      only if it is 3 now
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND NAME ... | KIND/NAME", help="what to scale")
    parser.add_argument("--replicas", type=arguments.count, required=True, metavar="N", help="wanted number")
    parser.add_argument("--current-replicas", type=arguments.count, metavar="N", help="refuse unless this is the number now")
    arguments.server(parser)
    parser.add_argument("--wait", action="store_true", help="until the number is reached")
    arguments.timeout(parser, "5m", "how long --wait waits")


def run(args: argparse.Namespace) -> int:
    """Scale."""
    from plum_cli import session

    return session.run(args, lambda connected: scale(args, connected), "plum-scale")


async def scale(args: argparse.Namespace, session: Session) -> int:
    """Write the number through the scale subresource."""
    from plum_client.transport import Request

    from plum_cli.waiting import Waiter

    targets = await session.targets(args.what, names=True)
    for target in targets:
        if target.info.scale is None:
            raise UsageError(f"{target.info.resource} cannot be scaled")
    waiter = Waiter(session)
    for target in targets:
        namespace = session.namespace_of(target.info)
        patch: dict[str, object] = {"spec": {"replicas": args.replicas}}
        if args.current_replicas is not None:
            now = await session.ask(Request("GET", target.info, namespace, target.name, "scale"))
            replicas = int((now.get("spec") or {}).get("replicas") or 0)
            if replicas != args.current_replicas:
                raise CliError(f"{target} has {replicas} replicas, not {args.current_replicas}; nothing was changed", CONFLICT)
            patch["metadata"] = {"resourceVersion": now["metadata"]["resourceVersion"]}
        await session.merge(target, patch, "scale")
        print(f"{target} scaled to {args.replicas}")
        waiter.add(target, namespace)
    if not args.wait:
        return OK
    code = await waiter.wait(args.timeout)
    if code != OK:
        await waiter.explain_rest()
    return code
