"""One attempt of one node that is a step, and what steps may reach.

    Step(type, config, payload, ...) + Reach -> output, or TaskFailedError

A step that was under way when its program stopped is carried out again with the same idempotency key.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plum_client.outgoing import OutgoingClient
from plum_schemas.taskrun import SecretMark

BY_REQUEST: Mapping[str, str] = {"http": "http_step", "webhook": "webhook_step", "llm": "llm_step", "mcp": "mcp_step"}
"""Steps of this package, and their modules."""


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of one node, its expressions filled in."""

    type: str
    config: Mapping[str, Any]
    payload: Mapping[str, Any]
    namespace: str
    run: str
    """Name of the run."""
    run_uid: str
    node: str
    attempt: int
    idempotency_key: str
    """The same for every attempt."""
    timeout: float | None
    """Seconds of the attempt; the engine ends it then."""
    secrets: Sequence[SecretMark] = ()
    """Marks in config and payload, for steps that are carried out by a TaskRun; all others have the values."""
    is_aborted: Callable[[], bool] = lambda: False
    """Whether it is cancelled because its end is not wanted any more, and not because its program stops."""


class Reach(Protocol):
    """What steps of this package may reach."""

    @property
    def outgoing(self) -> OutgoingClient:
        """Makes their requests."""

    @property
    def llm_url(self) -> str:
        """Address of the language model of steps that name none."""


@dataclass(frozen=True, slots=True)
class Network:
    """Nothing but requests."""

    outgoing: OutgoingClient
    llm_url: str = ""


async def run_step(step: Step, reach: Reach) -> Any:
    """Carry out a step of this package. Raises `TaskFailedError`."""
    module = importlib.import_module(f"plum_flow.steps.{BY_REQUEST[step.type]}")
    return await module.run(step, reach)
