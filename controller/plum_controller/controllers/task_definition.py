"""The task definition controller: says whether anybody can execute it, and how many workers do.

watch TaskDefinition, Worker (by the tasks it registered) -> TaskDefinition.status: workers, condition Ready
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from plum_client.conditions import set_condition
from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinition, TaskDefinitionStatus
from plum_schemas.worker import Worker


def add_to(manager: Manager, has_plugin: Callable[[str], bool]) -> None:
    """Register the controller. `has_plugin` says whether an executor of this name is installed."""
    reconciler = TaskDefinitionReconciler(manager, has_plugin)
    manager.add(
        Controller("task-definition", reconciler, TaskDefinition, watches=[Watch(Worker, reconciler.of_worker)], workers=2)
    )


def by_task(worker: Worker) -> Sequence[str]:
    """Index of workers that are there, by the tasks they run."""
    ready = worker.status.phase == "Ready" and not worker.spec.unschedulable
    return [f"{worker.metadata.namespace}/{task}" for task in worker.spec.tasks] if ready else ()


def by_name(definition: TaskDefinition) -> Sequence[str]:
    """Index of definitions, by the task that workers register."""
    return [f"{definition.metadata.namespace}/{task_of(definition)}"] if definition.spec.executor == "embedded" else ()


def task_of(definition: TaskDefinition) -> str:
    return definition.spec.task or definition.metadata.name


class TaskDefinitionReconciler:
    """Writes the status of one definition."""

    def __init__(self, manager: Manager, has_plugin: Callable[[str], bool]) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._has_plugin = has_plugin
        self._definitions = manager.informer(TaskDefinition, indexers={"task": by_name})
        self._workers = manager.informer(Worker, indexers={"task": by_task})

    def of_worker(self, old: Worker | None, new: Worker | None) -> Iterable[ObjectKey]:
        """The definitions of the tasks that a worker gained or lost."""
        before, after = set(by_task(old) if old is not None else ()), set(by_task(new) if new is not None else ())
        return [key for task in before ^ after for key in self._definitions.index_keys("task", task)]

    async def reconcile(self, key: ObjectKey) -> Result:
        """Write what differs."""
        definition = self._definitions.get(key)
        if definition is None:
            return Result.wait_for_change()
        embedded = definition.spec.executor == "embedded"
        task = f"{key.namespace}/{task_of(definition)}"
        workers = len(self._workers.index_keys("task", task)) if embedded else 0
        condition = self._ready(definition, workers)
        conditions = set_condition(definition.status.conditions, condition, self._clock.now())
        status = TaskDefinitionStatus(observed_generation=definition.metadata.generation, workers=workers, conditions=conditions)
        if status != definition.status:
            await self._api.write_status(msgspec.structs.replace(definition, status=status))
        return Result.wait_for_change()

    def _ready(self, definition: TaskDefinition, workers: int) -> Condition:
        spec, generation = definition.spec, definition.metadata.generation
        problem = ("", "")
        if spec.executor == "embedded" and not spec.task.startswith(BUILTIN_PREFIX) and not workers:
            problem = ("NoWorker", f"no worker has registered the task {task_of(definition)}")
        elif spec.plugin is not None and not self._has_plugin(spec.plugin.name):
            problem = ("PluginMissing", f"no executor {spec.plugin.name} is installed beside the controller")
        if problem[0]:
            return Condition(type="Ready", status="False", reason=problem[0], message=problem[1], observed_generation=generation)
        reason = "WorkersRegistered" if workers else "Executable"
        return Condition(type="Ready", status="True", reason=reason, message="", observed_generation=generation)
