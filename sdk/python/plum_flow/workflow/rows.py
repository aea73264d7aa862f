"""What is kept of a run: a row per node, and one for the run as a whole.

    key  "scan"   "again[00000002].sweep"   "finally:close"   "!run"        display  scan   sweep[2]   finally:close

Rows are facts; what follows from them (who may start next) is worked out again when they are loaded.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
from plum_schemas.base import Struct
from plum_schemas.markers import AnyJson
from plum_schemas.taskrun import SecretMark

RUN_KEY = "!run"
DIGITS = 8
"""Of an iteration in a key, so that rows sort as they ran."""
_INDEX = re.compile(r"\[0*(\d+)\]")


class NodeRow(Struct):
    """One node of a run, or one iteration of a map."""

    name: str = ""
    """As people write it: `scan`, `sweep[2]`."""
    type: str = ""
    phase: str = "Pending"
    attempt: int = 0
    reason: str = ""
    message: str = ""
    outcome: str = ""
    """The edge that a branch took."""
    output: AnyJson = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    """Waiting: when it goes on."""
    timeout_at: datetime | None = None
    """When the attempt has taken too long."""
    waits_for: str = ""
    """Waiting: on what, for people."""
    made: str = ""
    """What was made to carry it out: `TaskRun/NAME`, `WorkflowRun/NAME`."""
    iteration: int | None = None
    """Loop, map: the last iteration that was started."""
    total: int | None = None
    """Loop, map: how many there will be, where that is known."""
    folded: dict[str, int] = {}
    """Loop, map: phases of nodes in iterations that have ended."""
    failures: int = 0
    """Map: bodies that failed."""
    reused: bool = False
    """Taken over from an earlier run."""


class RunRow(Struct):
    """The run as a whole."""

    hash: str = ""
    revision: int = 0
    """Number of the Revision, where it was known when the run started."""
    stage: str = "main"
    """`main`, `onFailure`, `finally`, `done`."""
    phase: str = "Running"
    """Where it will end, once that is known; then how it ended."""
    paused: bool = False
    stopping: str = ""
    """`Canceled` or `Timeout` while the stage named in `stopped_stage` is being stopped."""
    stopped_stage: str = ""
    reason: str = ""
    message: str = ""
    failed_node: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline: datetime | None = None
    commands: int = 0
    """Commands that were dealt with."""
    params: dict[str, Any] = {}
    """With their defaults."""
    secrets: list[SecretMark] = []
    """What stands in `params` instead of values of Secrets."""
    outputs: dict[str, Any] = {}
    counts: dict[str, int] = {}
    """At the end: nodes by phase."""


encode = msgspec.json.Encoder().encode
_decode_node = msgspec.json.Decoder(NodeRow).decode
_decode_run = msgspec.json.Decoder(RunRow).decode


def decode_node(value: bytes) -> NodeRow:
    """A node's row from its bytes."""
    return _decode_node(value)


def decode_run(value: bytes) -> RunRow:
    """The run's row from its bytes."""
    return _decode_run(value)


def iteration_key(key: str, index: int) -> str:
    """The key of an iteration of a loop or map."""
    return f"{key}[{index:0{DIGITS}}]"


def shown(key: str) -> str:
    """A key with plain numbers: `again[2].sweep`."""
    return _INDEX.sub(r"[\1]", key)


def key_of(shown_name: str) -> str:
    """The key of a name as `shown` gives it."""
    return re.sub(r"\[(\d+)\]", lambda match: f"[{int(match[1]):0{DIGITS}}]", shown_name)
