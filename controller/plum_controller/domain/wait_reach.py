"""What waits of a workflow may look at: objects of the namespace of its run, but for those that hold secrets or give rights.

A wait acts with the controller's rights, so whatever it may see is seen by everybody who may create a run: the object that an
event is about becomes the output of the node, and a condition answers any question about what it looks at.

    spec, "default" --reach_errors--> FieldError("spec.nodes[0].wait.event.namespace", ...)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plum_flow.expressions import ExpressionError, compile_condition
from plum_flow.expressions.expression import References
from plum_flow.expressions.template import TABLES
from plum_flow.workflow.graph import LOOP_ROOTS, ROOTS
from plum_schemas.kinds import builtin
from plum_schemas.node_types import WorkflowNode
from plum_schemas.validation import FieldError, forbidden
from plum_schemas.workflow import WorkflowSpec

from plum_controller.domain.trigger_conditions import inputs_of

HIDDEN_KINDS = frozenset({"Secret", "Token", "ServiceAccount"})
OF_CLUSTER = "it belongs to the cluster; let a Trigger look at it, which needs the rights of who writes it"


def out_of_reach(kind: str, wanted: str, namespace: str) -> str:
    """Why a wait of a run in one namespace may not look at a kind in another; empty if it may."""
    if kind in HIDDEN_KINDS:
        return "its values would be seen by everybody who may run the workflow"
    if wanted != namespace:
        return f"it is in namespace {wanted}, and the run in {namespace}; let a Trigger look there, which needs the rights for it"
    return ""


def reach_errors(spec: WorkflowSpec, path: str, namespace: str) -> Iterator[FieldError]:
    """Waits of a definition that look too far, as far as that is written out."""
    main = frozenset(node.name for node in spec.nodes)
    yield from _of_nodes(spec.nodes, f"{path}.nodes", namespace, frozenset())
    for name, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        if graph is not None:
            yield from _of_nodes(graph.nodes, f"{path}.{name}.nodes", namespace, main)


def _of_nodes(nodes: Sequence[WorkflowNode], path: str, namespace: str, outer: frozenset[str]) -> Iterator[FieldError]:
    names = outer | frozenset(node.name for node in nodes)
    for index, node in enumerate(nodes):
        where = f"{path}[{index}]"
        if node.body is not None:
            yield from _of_nodes(node.body.nodes, f"{where}.body.nodes", namespace, names)
        if node.wait is None:
            continue
        if node.wait.event is not None:
            event = node.wait.event
            why = out_of_reach(_kind(event.kind), event.namespace or namespace, namespace)
            if why:
                yield forbidden(f"{where}.wait.event.{'kind' if event.kind in HIDDEN_KINDS else 'namespace'}", why)
        if node.wait.condition:
            yield from _of_condition(node.wait.condition, f"{where}.wait.condition", namespace, names)


def _of_condition(text: str, path: str, namespace: str, names: frozenset[str]) -> Iterator[FieldError]:
    try:
        found = compile_condition(text, ROOTS | LOOP_ROOTS, members=names, tables=TABLES)
        looks = list(inputs_of(_Looks(text, found.references), namespace))
    except ExpressionError:
        return  # refused for what it is
    for _, _, word, key in looks:
        why = out_of_reach(_kind(word), key.namespace, namespace)
        if why:
            yield forbidden(path, why)


class _Looks:
    """The part of a condition that looks at objects, as `inputs_of` wants it."""

    def __init__(self, text: str, references: References) -> None:
        self.text = text
        self.references = References(path for path in references.paths if path[0] in TABLES)


def _kind(word: str) -> str:
    """The kind that a word names, where it is one of those that are hidden."""
    name = word.lower().partition(".")[0]
    for kind in builtin():
        if kind.info.kind in HIDDEN_KINDS and name in (kind.info.kind.lower(), kind.info.plural, *kind.info.short_names):
            return kind.info.kind
    return ""
