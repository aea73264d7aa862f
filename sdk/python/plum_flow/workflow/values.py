"""What the names in a run's expressions stand for. Only what an expression refers to is gathered.

params, input   parameters of the run           loop   index and variables of the iterations around
variables       constants of the definition     item   the item of the nearest map
nodes, steps    output, phase and outcome of nodes of this graph and of those around it
run             id, name, namespace, workflow, triggeredBy, scheduledFor, phase, failedNode
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plum_flow.expressions.expression import References
from plum_flow.workflow.graph import NAMED_ROOTS
from plum_flow.workflow.state import Run, Scope


def values_for(run: Run, scope: Scope, references: References) -> dict[str, Any]:
    """The values of these references, seen from a scope."""
    values: dict[str, Any] = {}
    for root in references.roots():
        match root:
            case "params" | "input":
                values[root] = run.row.params
            case "variables":
                values[root] = run.plan.variables
            case "loop":
                values[root] = scope.loop
            case "item":
                values[root] = scope.loop.get("item")
            case "run":
                ended_well = run.row.stage == "finally" and run.row.phase == "Running"
                phase = "Succeeded" if ended_well else run.row.phase
                values[root] = {**run.facts, "phase": phase, "failedNode": run.row.failed_node, "error": run.row.message}
            case "nodes" | "steps":
                values[root] = _nodes(run, scope, references.below(*NAMED_ROOTS))
    return values


def _nodes(run: Run, scope: Scope, names: Iterable[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    scopes = scope.chain()
    main = run.scopes.get("main")
    if main is not None and main not in scopes:
        scopes.append(main)
    for one in scopes:
        wanted = one.graph.by_name if names is None else names
        for name in wanted:
            node = one.graph.by_name.get(name)
            if node is not None and name not in found:
                row = one.rows.get(node.index)
                found[name] = {
                    "output": one.output.get(node.index),
                    "phase": one.phase[node.index],
                    "outcome": one.outcome.get(node.index, ""),
                    "error": row.message if row is not None else "",
                }
    if names is not None:
        for name in names:
            found.setdefault(name, {"output": None, "phase": "Pending", "outcome": "", "error": ""})
    return found
