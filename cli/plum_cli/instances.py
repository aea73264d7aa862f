"""Finding the one instance that a person means: by its name, or the best one of a deployment."""

from __future__ import annotations

from typing import Any

from plum_cli.errors import NOT_FOUND, CliError, UsageError
from plum_cli.session import JsonObject, Session, Target

INSTANCES = "instances.plum.dev"


async def find_instance(session: Session, word: str) -> JsonObject:
    """The Instance of `NAME`, `instance/NAME` or `deployment/NAME`: of a deployment a ready one, else one that runs.

    Raises `CliError`.
    """
    if "/" not in word:
        return await session.get(Target(await session.kind(INSTANCES), word))
    target = await session.target([word])
    if target.info.kind == "Instance":
        return await session.get(target)
    if target.info.kind != "Deployment":
        raise UsageError(f"{target} has no process; name an instance or a deployment")
    await session.get(target)
    info = await session.kind(INSTANCES)
    items = (await session.api.list(info, session.namespace, labels=f"plum.dev/deployment={target.name}")).items
    running = [item for item in items if _is_running(item)]
    if not running:
        found = f"none of the {len(items)} instances of {target} runs" if items else f"{target} has no instances"
        raise CliError(f"{found}; `plum explain {target}` says why", NOT_FOUND)
    best: JsonObject = max(running, key=lambda item: (bool(item["status"].get("ready")), _name(item)))
    return best


def _is_running(item: dict[str, Any]) -> bool:
    return (item.get("status") or {}).get("phase") == "Running" and not item["metadata"].get("deletionTimestamp")


def _name(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])
