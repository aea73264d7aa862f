"""Runs of workflows that a node carries out by itself: what the node is given, what it sends back, what cannot be delegated.

    controller --Bundle--> node: everything that the run needs, so that it needs nobody     GET  .../workflowruns/NAME/delegation
    node --Merge--> controller: rows and ended tasks, newest state of each, any number      POST .../workflowruns/NAME/merge
                    of times; refused under an older fencing token

The node decides with the same code as the controller. Which of two results counts is decided by the token alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plum_schemas.base import Struct
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.markers import AnyJson
from plum_schemas.node_types import WorkflowNode
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun
from plum_schemas.validation import FieldError, forbidden
from plum_schemas.workflow import WorkflowSpec

from plum_flow.builtins import PURE

NODE_LOST = "NodeLost"
"""Reason of a run whose node was out of contact for too long."""
EXECUTORS = frozenset({"os_process", "container", "http"})
"""What a node can carry out by itself, besides builtins that only compute or wait."""
MOST_ROWS = 200
"""In one `Merge`."""
MOST_TASKS = 25
MOST_BYTES = 1 << 20
"""Of the rows of one `Merge`, about. A row has a mebibyte at most, and goes in any case."""


class Bundle(Struct):
    """Everything that a node needs to carry out a run."""

    definition: WorkflowSpec
    definition_hash: str
    params: dict[str, Any]
    tasks: dict[str, TaskDefinitionSpec] = {}
    """Definitions that nodes name, as they are when the run is delegated."""
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


class Merge(Struct):
    """What a node has to tell about a run."""

    fencing_token: int
    """With which it took the run."""
    number: int
    """Of its newest change. One that is not above that of the last one is an old copy, and changes nothing."""
    rows: list[MergedRow] = []
    tasks: list[TaskRun] = []
    """Tasks that have ended, each sent until it is known to have arrived."""


class Site(Struct):
    """The node a run may go to."""

    name: str
    labels: dict[str, str] = {}


def obstacles(
    spec: WorkflowSpec, tasks: Mapping[str, TaskDefinitionSpec | None], path: str = "spec", site: Site | None = None
) -> Iterator[FieldError]:
    """Why a definition cannot be delegated, with the place of each reason. `tasks` are the definitions that nodes name, None for
    those that do not exist; a name that is not in it is not judged, nor are places without a `site`."""
    for part, nodes in (
        ("nodes", spec.nodes),
        ("onFailure.nodes", spec.on_failure.nodes if spec.on_failure is not None else []),
        ("finally.nodes", spec.finally_.nodes if spec.finally_ is not None else []),
    ):
        yield from _in_graph(nodes, f"{path}.{part}", tasks, site)
    if spec.hooks:
        yield forbidden(f"{path}.hooks", "a delegated run has none: the controller sends them, and may not know what happens")


def _in_graph(
    nodes: Sequence[WorkflowNode], path: str, tasks: Mapping[str, TaskDefinitionSpec | None], site: Site | None
) -> Iterator[FieldError]:
    for index, node in enumerate(nodes):
        where = f"{path}[{index}]"
        yield from _node(node, where)
        if node.type == "task":
            yield from _task(node, where, tasks, site)
        if node.body is not None:
            yield from _in_graph(node.body.nodes, f"{where}.body.nodes", tasks, site)


def _node(node: WorkflowNode, path: str) -> Iterator[FieldError]:
    if node.type == "wait" and node.wait is not None:
        wait = node.wait
        for field, given, who in (
            ("approval", wait.approval, "people ask the controller"),
            ("event", wait.event, "the controller sees changes of objects"),
            ("condition", wait.condition, "the controller sees changes of objects"),
        ):
            if given:
                yield forbidden(f"{path}.wait.{field}", f"a delegated run cannot wait for this: {who}; wait before or after it")
    elif node.type == "subworkflow":
        yield forbidden(f"{path}.type", "a delegated run starts no further runs; put the nodes into it, or make it a task")
    elif node.type not in ("task", "branch", "condition", "parallel", "loop", "map"):
        text = (
            f"the controller carries out nodes of type {node.type}; a delegated run uses a task, such as one with executor http"
        )
        yield forbidden(f"{path}.type", text)
    if node.node_name or node.node_selector:
        yield forbidden(f"{path}.{'nodeName' if node.node_name else 'nodeSelector'}", "a delegated run stays on one machine")
    if node.concurrency is not None:
        yield forbidden(f"{path}.concurrency", "only the controller knows the runs of other machines")


def _task(
    node: WorkflowNode, path: str, tasks: Mapping[str, TaskDefinitionSpec | None], site: Site | None
) -> Iterator[FieldError]:
    name = node.task_ref
    if name.startswith(BUILTIN_PREFIX):
        if name not in PURE:
            yield forbidden(f"{path}.taskRef", f"{name} needs the controller; a delegated run has {', '.join(sorted(PURE))}")
        return
    if name not in tasks:
        return
    task = tasks[name]
    if task is None:
        yield forbidden(f"{path}.taskRef", f"there is no TaskDefinition {name}; what is delegated takes all definitions along")
        return
    pure = task.executor == "embedded" and task.task in PURE
    if task.executor not in EXECUTORS and not pure:
        kind = "a registered worker" if task.executor == "embedded" and task.task not in PURE else f"executor {task.executor}"
        text = f"TaskDefinition {name} is for {kind}, which needs the controller; a delegated run has os_process, container, http"
        yield forbidden(f"{path}.taskRef", text)
    if task.concurrency is not None:
        text = f"TaskDefinition {name} limits how many go on at once, and only the controller knows the runs of other machines"
        yield forbidden(f"{path}.taskRef", text)
    if site is not None and task.executor in ("os_process", "container"):
        elsewhere = task.node_name and task.node_name != site.name
        if elsewhere or not task.node_selector.items() <= site.labels.items():
            wanted = f"node {task.node_name}" if elsewhere else f"nodes with {_labels(task.node_selector)}"
            yield forbidden(f"{path}.taskRef", f"TaskDefinition {name} is for {wanted}, and the run is for {site.name}")


def _labels(selector: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in selector.items())


def task_names(spec: WorkflowSpec) -> list[str]:
    """The definitions that nodes name, builtins left out."""
    found: dict[str, None] = {}
    graphs = [spec.nodes, *(graph.nodes for graph in (spec.on_failure, spec.finally_) if graph is not None)]
    while graphs:
        for node in graphs.pop():
            if node.type == "task" and node.task_ref and not node.task_ref.startswith(BUILTIN_PREFIX):
                found[node.task_ref] = None
            if node.body is not None:
                graphs.append(node.body.nodes)
    return list(found)
