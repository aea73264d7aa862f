"""What a node can carry out by itself, and with its place what it cannot.

    obstacles(spec, known, "spec")              of a definition and of the workflows that its nodes start
    delegated_errors(spec, known, "spec")       of the workflows that nodes of a definition delegate

A definition that is stored may name others that do not exist yet; those are judged when they are stored, or when a run is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plum_schemas.base import Struct
from plum_schemas.node_types import WorkflowNode
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinitionSpec
from plum_schemas.validation import FieldError, forbidden, invalid
from plum_schemas.workflow import WorkflowSpec

from plum_flow.builtins import PURE

EXECUTORS = frozenset({"os_process", "container", "http"})
"""What a node can carry out by itself, besides builtins that only compute or wait."""
STEPS = ("http", "webhook", "llm", "mcp", "script")
"""Steps of the same kind."""
_PLAIN = frozenset({"branch", "condition", "parallel", "loop", "map"})


class Site(Struct):
    """The node a run may go to."""

    name: str
    labels: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Known:
    """Definitions of a namespace by name."""

    task: Callable[[str], TaskDefinitionSpec | None]
    workflow: Callable[[str], WorkflowSpec | None]
    complete: bool = False
    """What is not known does not exist. False: it is not judged."""


class Delegated(NamedTuple):
    """A node that a machine is to carry out."""

    path: str
    node: WorkflowNode


def graphs_of(spec: WorkflowSpec, path: str) -> Iterator[tuple[Sequence[WorkflowNode], str]]:
    """All graphs of a definition, bodies included."""
    pending = [(spec.nodes, f"{path}.nodes")]
    pending += [
        (graph.nodes, f"{path}.{name}.nodes")
        for name, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_))
        if graph is not None
    ]
    while pending:
        nodes, where = pending.pop(0)
        yield nodes, where
        pending += [(node.body.nodes, f"{where}[{i}].body.nodes") for i, node in enumerate(nodes) if node.body is not None]


def nodes_of(spec: WorkflowSpec, path: str = "spec") -> Iterator[tuple[WorkflowNode, str]]:
    """All nodes of a definition, and their places."""
    for nodes, where in graphs_of(spec, path):
        for index, node in enumerate(nodes):
            yield node, f"{where}[{index}]"


def workflow_names(spec: WorkflowSpec) -> list[str]:
    """The workflows that nodes start."""
    return list(
        dict.fromkeys(node.workflow_ref for node, _ in nodes_of(spec) if node.type == "subworkflow" and node.workflow_ref)
    )


def task_names(spec: WorkflowSpec) -> list[str]:
    """The task definitions that nodes name, builtins left out."""
    named = (node.task_ref for node, _ in nodes_of(spec) if node.type == "task" and node.task_ref)
    return list(dict.fromkeys(name for name in named if not name.startswith(BUILTIN_PREFIX)))


def workflows_inside(spec: WorkflowSpec, known: Known) -> dict[str, WorkflowSpec]:
    """All workflows that a run of a definition may start, however deep."""
    found: dict[str, WorkflowSpec] = {}
    pending = workflow_names(spec)
    while pending:
        name = pending.pop()
        inside = known.workflow(name) if name not in found else None
        if inside is not None:
            found[name] = inside
            pending += workflow_names(inside)
    return found


def delegated_nodes(spec: WorkflowSpec, path: str = "spec") -> Iterator[Delegated]:
    """The nodes of a definition that machines are to carry out."""
    for node, where in nodes_of(spec, path):
        if node.delegate is not None and node.workflow_ref:
            yield Delegated(where, node)


def delegated_errors(spec: WorkflowSpec, known: Known, path: str = "spec") -> Iterator[FieldError]:
    """Why the workflows that a definition delegates cannot be delegated, at the nodes that do so."""
    for where, node in delegated_nodes(spec, path):
        name = node.workflow_ref
        inside = known.workflow(name)
        if inside is None:
            continue
        for error in obstacles(inside, known, f"Workflow {name}: spec"):
            yield invalid(f"{where}.workflowRef", name, f"a machine alone cannot carry it out: {error.field}: {error.message}")


def obstacles(spec: WorkflowSpec, known: Known, path: str = "spec", site: Site | None = None) -> Iterator[FieldError]:
    """Why a definition cannot be delegated, with the place of each reason. Places of tasks are not judged without a `site`."""
    yield from _obstacles(spec, known, path, site)
    for name, inside in sorted(workflows_inside(spec, known).items()):
        own = f"Workflow {name}: spec"
        yield from _obstacles(inside, known, own, site)
        if inside.concurrency_policy != "Allow" or inside.max_concurrent is not None:
            field = "concurrencyPolicy" if inside.concurrency_policy != "Allow" else "maxConcurrent"
            yield forbidden(f"{own}.{field}", "inside a delegated run only the controller knows how many of its runs go on")
        if inside.reservations:
            yield forbidden(f"{own}.reservations", "inside a delegated run: the controller gives devices; reserve them outside")
        if known.complete and (inside.archived or inside.template or inside.state != "Active"):
            what = "archived" if inside.archived else "a template" if inside.template else inside.state
            yield forbidden(f"{own}.state", f"it is {what}, so nothing can run it")


def _obstacles(spec: WorkflowSpec, known: Known, path: str, site: Site | None) -> Iterator[FieldError]:
    for node, where in nodes_of(spec, path):
        yield from _node(node, where)
        if node.type == "task":
            yield from _task(node, where, known, site)
        elif node.type == "subworkflow":
            yield from _inside(node, where, known)
        elif node.type == "script":
            name = str(node.config.get("node") or "")
            selector = node.config.get("nodeSelector")
            labels = {str(key): str(value) for key, value in selector.items()} if isinstance(selector, dict) else {}
            yield from _place(name, labels, f"{where}.config", "it", site)
        if node.type in ("task", "script"):
            yield from _place(node.node_name, node.node_selector, where, "it", site)


def _node(node: WorkflowNode, path: str) -> Iterator[FieldError]:
    if node.type == "wait" and node.wait is not None:
        for field, given in (("event", node.wait.event), ("condition", node.wait.condition)):
            if given:
                text = "the controller sees changes of objects, a delegated run cannot wait for them; wait before or after it"
                yield forbidden(f"{path}.wait.{field}", text)
    elif node.type == "llm" and not node.config.get("url"):
        yield forbidden(f"{path}.config.url", "the controller's setting PLUM_LLM_URL is not known to a machine; name the address")
    elif node.type not in _PLAIN and node.type not in STEPS and node.type not in ("task", "subworkflow", "wait"):
        text = f"the controller carries out nodes of type {node.type}; a delegated run has tasks and {', '.join(STEPS)}"
        yield forbidden(f"{path}.type", text)


def _inside(node: WorkflowNode, path: str, known: Known) -> Iterator[FieldError]:
    if node.delegate is not None:
        text = "what is inside a delegated run stays on its machine; take this out, or delegate it from outside"
        yield forbidden(f"{path}.delegate", text)
    if known.complete and node.workflow_ref and known.workflow(node.workflow_ref) is None:
        text = f"there is no Workflow {node.workflow_ref}; what is delegated takes all definitions along"
        yield forbidden(f"{path}.workflowRef", text)


def _task(node: WorkflowNode, path: str, known: Known, site: Site | None) -> Iterator[FieldError]:
    name = node.task_ref
    if name.startswith(BUILTIN_PREFIX):
        if name not in PURE:
            yield forbidden(f"{path}.taskRef", f"{name} needs the controller; a delegated run has {', '.join(sorted(PURE))}")
        return
    task = known.task(name) if name else None
    if task is None:
        if known.complete and name:
            text = f"there is no TaskDefinition {name}; what is delegated takes all definitions along"
            yield forbidden(f"{path}.taskRef", text)
        return
    pure = task.executor == "embedded" and task.task in PURE
    if task.executor not in EXECUTORS and not pure:
        kind = "a registered worker" if task.executor == "embedded" else f"executor {task.executor}"
        text = f"TaskDefinition {name} is for {kind}, which needs the controller; a delegated run has os_process, container, http"
        yield forbidden(f"{path}.taskRef", text)
    if task.executor in ("os_process", "container"):
        yield from _place(task.node_name, task.node_selector, path, f"TaskDefinition {name}", site, "taskRef")


def _place(
    name: str, selector: Mapping[str, str], path: str, what: str, site: Site | None, field: str = ""
) -> Iterator[FieldError]:
    """Whether something is for another machine than the run."""
    if site is None or "${{" in name:
        return
    elsewhere = bool(name) and name != site.name
    if elsewhere or not selector.items() <= site.labels.items():
        wanted = f"node {name}" if elsewhere else f"nodes with {','.join(f'{key}={value}' for key, value in selector.items())}"
        where = field or ("node" if path.endswith(".config") else "nodeName") if elsewhere else field or "nodeSelector"
        yield forbidden(f"{path}.{where}", f"{what} is for {wanted}, and the run is for {site.name}")
