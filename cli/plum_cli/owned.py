"""What an object owns: found through `ownerReferences`, in its own namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plum_schemas.base import KindInfo

    from plum_cli.session import Session

OWNED_KINDS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("instances", "revisions"),
    "Workflow": ("workflowruns", "revisions"),
    "WorkflowRun": ("taskruns",),
    "Service": ("endpoints",),
    "Node": (),
    "Instance": ("endpoints",),
}
"""Kinds that a kind's controller creates. A kind that is not here may own anything of its namespace."""
NEVER_OWNED = frozenset({"Event", "Lease", "Namespace", "Node", "CustomResourceDefinition"})


async def owned_objects(session: Session, owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects whose owner this is, by kind and name."""
    kinds = await owned_kinds(session, owner)
    uid = owner["metadata"]["uid"]
    namespace = str(owner["metadata"].get("namespace") or "")
    # Views show objects of ours a second time, under the same uid: ours come first, and count.
    kinds = sorted(kinds, key=lambda info: info.group != "plum.dev")
    lists = await asyncio.gather(*(_list(session, info, namespace) for info in kinds))
    found: dict[str, dict[str, Any]] = {}
    for items in lists:
        for item in items:
            if any(reference.get("uid") == uid for reference in item["metadata"].get("ownerReferences") or ()):
                found.setdefault(item["metadata"]["uid"], item)
    return sorted(found.values(), key=lambda item: (item["kind"], item["metadata"]["name"]))


async def owned_kinds(session: Session, owner: Mapping[str, Any]) -> list[KindInfo]:
    """The kinds to look at."""
    known = await session.api.discover()
    if str(owner.get("apiVersion", "")).startswith("plum.dev/") and owner["kind"] in OWNED_KINDS:
        plurals = OWNED_KINDS[owner["kind"]]
        return [info for info in known if info.group == "plum.dev" and info.plural in plurals]
    return [info for info in known if info.namespaced and info.kind not in NEVER_OWNED and not info.kind.endswith("Review")]


async def _list(session: Session, info: KindInfo, namespace: str) -> list[dict[str, Any]]:
    from plum_client.errors import ApiError, ApiUnavailableError

    try:
        items = (await session.api.list(info, namespace)).items
    except ApiUnavailableError:
        raise
    except ApiError:
        return []  # a kind that cannot be listed, or not by this user, owns nothing that could be shown
    return [{"apiVersion": info.api_version, "kind": info.kind, **item} for item in items]
