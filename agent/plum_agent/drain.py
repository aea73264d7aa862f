"""`onStop: drain`: ask the controller to move everything away before the agent ends, and take that back at the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_schemas.node import Node

logger = logging.getLogger(__name__)

DRAINED_ANNOTATION = "plum.dev/drained-by-agent"
"""Says that the drain came from a stopping agent and not from a person, so the next agent may end it."""


BOUND_SECONDS = 600.0
"""How long a drain waits for what can be nowhere else, as the deadline of `plum node drain`."""


async def drain(api: ApiClient, node: str, left: Callable[[], int], bound: Callable[[], int] = lambda: 0) -> None:
    """Return when nothing is left on the node. The caller bounds the time. `bound`: what can be nowhere else, waited for as long
    as a drain waits."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch = {
        "metadata": {"annotations": {DRAINED_ANNOTATION: since}},
        "spec": {"unschedulable": True, "drain": {"requestedAt": since}},
    }
    try:
        await api.patch(Node, node, patch)
    except ApiError as error:
        logger.warning("node could not be drained, workloads go on", extra={"node": node, "error": str(error)})
        return
    until = asyncio.get_running_loop().time() + BOUND_SECONDS
    while left() or (bound() and asyncio.get_running_loop().time() < until):  # noqa: ASYNC110 -- once, at the very end
        await asyncio.sleep(0.05)
    logger.info("node is drained", extra={"node": node})


async def end_drain(api: ApiClient, node: Node) -> None:
    """The agent is back: take instances again, unless a person drained the node."""
    if DRAINED_ANNOTATION in node.metadata.annotations:
        patch = {"metadata": {"annotations": {DRAINED_ANNOTATION: None}}, "spec": {"unschedulable": False, "drain": None}}
        await api.patch(Node, node.metadata.name, patch)
        logger.info("drain of the agent's stop is over", extra={"node": node.metadata.name})
