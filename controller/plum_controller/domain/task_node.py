"""Tasks on nodes: which node gets one.

task -> demand_of_task -> placement (the scheduler's own filters) -> node, or the reason why none fits
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from plum_schemas.quantities import parse_bytes, parse_cpu
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun

from plum_controller.domain.demand import Demand


def demand_of_task(run: TaskRun, task: TaskDefinitionSpec) -> Demand:
    """What the node of a task must have."""
    requests = task.resources.requests
    return Demand(
        namespace=run.metadata.namespace,
        owner=f"task/{run.metadata.namespace}/{run.spec.task_ref or run.metadata.uid}",
        labels=run.metadata.labels,
        revision=_digest(task),
        runtime="container" if task.executor == "container" else "process",
        cpu=parse_cpu(requests["cpu"]) if "cpu" in requests else 0,
        memory=parse_bytes(requests["memory"]) if "memory" in requests else 0,
        other=tuple((name, parse_bytes(amount)) for name, amount in requests.items() if name not in ("cpu", "memory")),
        ports=(),
        devices=tuple(task.resources.devices),
        node_selector=task.node_selector,
        affinity=None,
        tolerations=tuple(task.tolerations),
        topology_spread=(),
        priority=task.priority,
    )


def _digest(task: TaskDefinitionSpec) -> str:
    """Names what decides which nodes fit; what was found out about it once is remembered."""
    parts = [task.executor, task.node_selector, task.tolerations]
    return blake2b(msgspec.json.encode(parts, order="sorted"), digest_size=8).hexdigest()
