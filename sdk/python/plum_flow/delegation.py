"""Runs of workflows that a node carries out by itself: what the node is given, and what it sends back.

    controller --Bundle--> node: everything that the run needs, so that it needs nobody     GET  .../workflowruns/NAME/delegation
    node --Merge--> controller: rows, ended tasks, runs inside, newest state, any number    POST .../workflowruns/NAME/merge
                    of times; refused under an older fencing token

The node decides with the same code as the controller. Which of two results counts is decided by the token alone.
"""

from __future__ import annotations

from typing import Any

from plum_schemas.base import Struct
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.markers import AnyJson
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import WorkflowRun

NODE_LOST = "NodeLost"
"""Reason of a run whose node was out of contact for too long."""
MOST_ROWS = 200
"""In one `Merge`."""
MOST_TASKS = 25
MOST_BYTES = 1 << 20
"""Of the rows of one `Merge`, about. A row has a mebibyte at most, and goes in any case."""


class Inside(Struct):
    """A workflow that nodes of a delegated run start."""

    definition: WorkflowSpec
    definition_hash: str
    revision: int = 0
    """Number of its Revision, where that is known."""


class Bundle(Struct):
    """Everything that a node needs to carry out a run."""

    definition: WorkflowSpec
    definition_hash: str
    params: dict[str, Any]
    tasks: dict[str, TaskDefinitionSpec] = {}
    """Definitions that nodes name, as they are when the run is delegated."""
    workflows: dict[str, Inside] = {}
    """Workflows that nodes start, however deep, in the same way."""
    secrets: list[Secret] = []
    config_maps: list[ConfigMap] = []
    rows: dict[str, AnyJson] = {}
    """What the run begins with: results that a rerun takes over."""


class MergedRow(Struct):
    """The newest state of one row."""

    key: str
    value: AnyJson
    live: bool = True
    """False: history, as an iteration that has ended."""


class InnerRun(Struct):
    """A run that the node has begun inside of the run."""

    run: WorkflowRun
    """With the uid that the node gave it."""
    definition: WorkflowSpec


class Merge(Struct):
    """What a node has to tell about a run."""

    fencing_token: int
    """With which it took the run."""
    number: int
    """Of its newest change. One that is not above that of the last one is an old copy, and changes nothing."""
    rows: list[MergedRow] = []
    tasks: list[TaskRun] = []
    """Tasks that have ended, each sent until it is known to have arrived."""
    runs: list[InnerRun] = []
    """Runs inside, made in the controller if they are not there yet; their rows come with their own merges."""
