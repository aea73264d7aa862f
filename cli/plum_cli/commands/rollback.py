"""`plum rollback`: give an object back the state it had at a revision."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session

ATTEMPTS = 5
"""Tries when somebody else writes the object at the same time."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum rollback`."""
    arguments.describe(
        parser,
        """
        Write the desired state that an object had at an earlier revision, as a new revision. Labels and annotations come
        back with it, except those of Plum itself. An object that was deleted is created again. Works for every kind;
        `plum rollout undo` knows only the templates of deployments.
        """,
        """
        plum history deployment/web
        plum rollback deployment/web --to 4711
        plum rollback configmap/settings --to 15m      as it was a quarter of an hour ago
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND NAME | KIND/NAME", help="which object")
    parser.add_argument(
        "--to", required=True, metavar="REVISION|TIME", help="a revision of `plum history`, 15m (ago), 14:30 or RFC 3339"
    )
    arguments.server(parser)
    parser.add_argument("--dry-run", action="store_true", help="check and show, change nothing")


def run(args: argparse.Namespace) -> int:
    """Write the old state."""
    from plum_cli import session

    return session.run(args, lambda connected: rollback(args, connected), "plum-rollback")


async def rollback(args: argparse.Namespace, session: Session) -> int:
    """Read the old state and write it over the new one, or create the object."""
    from plum_client.errors import ConflictError

    from plum_cli.commands.get import moment
    from plum_cli.differences import changes, comparable, describe

    target = await session.target(args.what)
    old = await session.get(target, at=moment(args.to))
    suffix = " (server dry run)" if args.dry_run else ""
    for attempt in range(ATTEMPTS):
        live = await session.find(target.info, target.name, session.namespace_of(target.info))
        try:
            if live is None:
                await session.api.create(restored(old, None), kind=target.info, dry_run=args.dry_run)
                print(f"{target} created again as of revision {old['metadata']['resourceVersion']}{suffix}")
                return OK
            wanted = restored(old, live)
            found = list(changes(comparable(live), comparable(wanted)))
            if not found:
                print(f"{target} unchanged: it is as it was then")
                return OK
            await session.api.update(wanted, kind=target.info, dry_run=args.dry_run)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        print(f"{target} rolled back to revision {old['metadata']['resourceVersion']}{suffix}")
        for change in found:
            print(f"  {describe(change)}")
        return OK
    raise CliError(f"{target} changes all the time; try again")


def restored(old: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
    """The object to write: content, labels and annotations of then, identity and Plum's own annotations of now."""
    content = {key: value for key, value in old.items() if key not in ("metadata", "status")}
    metadata = {key: old["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in old["metadata"]}
    if live is None:
        metadata["annotations"] = {key: value for key, value in (metadata.get("annotations") or {}).items() if not _own(key)}
        return {**content, "metadata": metadata}
    kept = {key: value for key, value in live["metadata"].items() if key not in ("labels", "annotations", "managedFields")}
    for part in ("labels", "annotations"):
        mine = {key: value for key, value in (live["metadata"].get(part) or {}).items() if _own(key)}
        kept[part] = {**{key: value for key, value in (metadata.get(part) or {}).items() if not _own(key)}, **mine}
        if not kept[part]:
            del kept[part]
    return {**content, "metadata": kept, **({"status": live["status"]} if "status" in live else {})}


def _own(key: str) -> bool:
    """Whether a controller of Plum writes this label or annotation."""
    return key.startswith(("plum.dev/", "applyset.kubernetes.io/"))
