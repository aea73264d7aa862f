"""What goes into a decision and what comes out of it.

    event -> decide(run, event) -> Changes(rows, folds, effects)

The caller stores rows and folds in one transaction, and only then carries out the effects. Every effect may be asked for
again after a restart, with the same key and attempt: carrying it out twice must be the same as once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from plum_schemas.workflowrun import RunCommand

from plum_flow.workflow.rows import NodeRow, RunRow

if TYPE_CHECKING:
    from plum_flow.workflow.graph import NodePlan


class Begin(NamedTuple):
    """The run starts, or goes on after a restart."""

    now: datetime


class Done(NamedTuple):
    """What was asked for in an effect has ended."""

    key: str
    attempt: int
    phase: str
    """`Succeeded`, `Failed`, `Canceled`, or `Skipped` where somebody who was asked first said so."""
    now: datetime
    output: Any = None
    reason: str = ""
    message: str = ""
    retryable: bool = True
    """False: tried often enough already, or never worth another attempt."""


class Tick(NamedTuple):
    """Time has passed."""

    now: datetime


class SetState(NamedTuple):
    """`spec.state` of the run: `Running`, `Paused` or `Canceled`."""

    state: str
    now: datetime


class Ask(NamedTuple):
    """A command of a person. Refused ones change nothing but the number of commands dealt with."""

    command: RunCommand
    number: int
    """Its place in `spec.commands`, from 1: one that was dealt with is not dealt with again."""
    now: datetime


Event = Begin | Done | Tick | SetState | Ask


class Execute(NamedTuple):
    """Carry out a node and tell with `Done` how it ended."""

    key: str
    attempt: int
    node: NodePlan
    values: Mapping[str, Any]
    """What its expressions refer to, but for secrets."""
    again: bool
    """It may have been asked for before: after a restart."""
    name: str
    """Of the object that is made for it; empty for what only computes."""


class Await(NamedTuple):
    """Wait for an event or a condition and tell with `Done`."""

    key: str
    attempt: int
    node: NodePlan
    values: Mapping[str, Any]
    since: datetime | None


class Abort(NamedTuple):
    """Stop what an effect started; `Done` is expected as always if `told`."""

    key: str
    attempt: int
    told: bool


class Refused(NamedTuple):
    """A command could not be carried out."""

    command: RunCommand
    message: str


class Told(NamedTuple):
    """Something that hooks and events tell people: `RunStarted`, `NodeStarted`, `NodeFinished`, `RunFinished`."""

    what: str
    key: str = ""
    phase: str = ""


Effect = Execute | Await | Abort | Refused | Told


@dataclass(slots=True)
class Changes:
    """What one or more decisions change."""

    rows: dict[str, NodeRow | RunRow] = field(default_factory=dict)
    folds: list[str] = field(default_factory=list)
    """Prefixes of keys whose rows are history from now on."""
    effects: list[Effect] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.folds or self.effects)
