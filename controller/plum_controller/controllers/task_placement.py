"""Task placement: chooses a node for every Pending run of an `os_process` or `container` task, and says why there is none.

    watch TaskRun, Node, accounting of the scheduler -> key -> reconcile -> status.node
                                                                         -> or status.reason NoNodeFits with the refusals

The agent of the node takes the attempt with a write of its own before it starts anything. So a run that nobody took can be
given to another node at once when its node goes away, also one that must be executed at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.errors import ApiError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.task_admission import is_on_node
from plum_flow.task_retry import order
from plum_flow.task_states import is_final
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import Node
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun

from plum_controller.controllers.task import by_node
from plum_controller.domain.accounting import Accounting
from plum_controller.domain.placement import Placer
from plum_controller.domain.task_node import demand_of_task

WORKERS = 32
PAUSE_SECONDS = 0.05
"""Waiting runs are looked at again this long after room appeared, so that many small changes cost one look."""
ENDED = ("Succeeded", "Failed")


def add_to(manager: Manager, accounting: Accounting, on_room: Callable[[], None]) -> None:
    """Register the controller. `accounting` is the scheduler's; `on_room` tells it that a task gave some back."""
    placement = TaskPlacement(manager, accounting, on_room)
    watches = [Watch(TaskRun, placement.to_place), Watch(Node, placement.of_node)]
    placement.controller = Controller("task-placement", placement, watches=watches, workers=WORKERS)
    manager.add(placement.controller)


def needs_node(run: TaskRun) -> bool:
    return run.status.phase == "Pending" and run.status.task is not None and is_on_node(run.status.task)


class TaskPlacement:
    """Places one run."""

    controller: Controller

    def __init__(self, manager: Manager, accounting: Accounting, on_room: Callable[[], None]) -> None:
        self._api = manager.api
        self._accounting = accounting
        self._on_room = on_room
        self._placer = Placer(accounting)
        self._waiting: dict[ObjectKey, tuple[int, float, str]] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._runs = manager.informer(TaskRun, indexers={"node": by_node})
        self._runs.add_handler(self._account)
        self._nodes = manager.informer(Node)
        manager.informer(Instance).add_handler(self._instance_changed)

    # ---- what the informers say

    def to_place(self, old: TaskRun | None, new: TaskRun | None) -> Iterable[ObjectKey]:
        """The key, if the run needs a node, or has one and nobody took it."""
        return [new.key] if new is not None and needs_node(new) else []

    def of_node(self, old: Node | None, new: Node | None) -> Iterable[ObjectKey]:
        """Runs that nobody has taken yet on a node that went away."""
        self._look_again()
        node = new or old
        if node is None or (new is not None and _may_run(new) and new.spec.drain is None):
            return []
        runs = self._runs.by_index("node", node.metadata.name)
        return [run.key for run in runs if run.status.phase == "Pending"]

    def _account(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        if run is None or run.status.task is None or not is_on_node(run.status.task):
            return
        uid, node = run.metadata.uid, run.status.node
        if new is not None and node and not is_final(new.status.phase):
            if old is None or old.status.node != node:
                self._accounting.place(uid, node, demand_of_task(new, run.status.task))
        elif self._accounting.release(uid):
            self._look_again()
            self._on_room()
        if new is None or not needs_node(new):
            self._waiting.pop(run.key, None)

    def _instance_changed(self, old: Instance | None, new: Instance | None) -> None:
        gone = new is None or (old is not None and new.status.phase in ENDED and old.status.phase not in ENDED)
        if gone:
            self._look_again()

    def _look_again(self) -> None:
        if self._waiting and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._enqueue_waiting)

    def _enqueue_waiting(self) -> None:
        self._retry = None
        for key in sorted(self._waiting, key=lambda key: self._waiting[key]):
            self.controller.enqueue(key)

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Choose the best node, or say why there is none and wait for room."""
        run = self._runs.get(key)
        task = run.status.task if run is not None else None
        if run is None or task is None or not needs_node(run) or run.spec.canceled:
            self._waiting.pop(key, None)
            return Result.wait_for_change()
        if run.status.node:
            given = self._nodes.get(ObjectKey("", run.status.node))
            stays = given is not None and (_may_run(given) or task.node_name == run.status.node)
            if given is not None and stays and given.spec.drain is None:
                return Result.wait_for_change()
        node, refusal = self._choose(run, task)
        if not node:
            self._waiting[key] = order(run)
            await self._write(run, "", "NoNodeFits", refusal)
            return Result.wait_for_change()
        self._waiting.pop(key, None)
        self._accounting.place(run.metadata.uid, node, demand_of_task(run, task))
        try:
            await self._write(run, node, "", "")
        except ApiError:
            self._accounting.release(run.metadata.uid)
            raise
        return Result.wait_for_change()

    def _choose(self, run: TaskRun, task: TaskDefinitionSpec) -> tuple[str, str]:
        if task.node_name:
            named = self._nodes.get(ObjectKey("", task.node_name))
            if named is None:
                return "", f"node {task.node_name} does not exist"
            if named.spec.drain is not None:
                return "", f"node {task.node_name} is being drained"
            return task.node_name, ""
        self._accounting.release(run.metadata.uid)
        placement = self._placer.place(demand_of_task(run, task))
        return placement.node, placement.message if not placement.node else ""

    async def _write(self, run: TaskRun, node: str, reason: str, message: str) -> None:
        status = msgspec.structs.replace(run.status, node=node, reason=reason, error=message)
        if status != run.status:
            await self._api.write_status(msgspec.structs.replace(run, status=status))


def _may_run(node: Node) -> bool:
    """Whether its agent answers, as far as anybody knows."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
