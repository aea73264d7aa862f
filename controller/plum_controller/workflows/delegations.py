"""Runs that a node carries out by itself: offered here, taken by the agent, watched, given up.

    Queued --prepare, choose a node--> Pending --taken by the agent--> Running | Paused --> end
                                                       | node away for longer than lostAfter
                                                       v
                         Failed/NodeLost, with the next fencing token: what comes later is refused

What the node has done arrives as rows (`api/run_delegation.py`) and as its status. This side decides nothing about nodes of the
run; it knows who has it, since when that one is away, and whether its result still counts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError, NotFoundError
from plum_client.informer import Informer
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.delegable import Known, obstacles
from plum_flow.delegation import NODE_LOST
from plum_flow.running.journal import Journal, space_of
from plum_flow.running.made import run_uid_of
from plum_flow.running.statuses import conditions_of
from plum_flow.workflow import phases
from plum_flow.workflow.rows import RUN_KEY, RunRow, decode_node, decode_run, encode
from plum_schemas.base import ObjectKey
from plum_schemas.node import Node
from plum_schemas.node_types import Delegate
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflow import Workflow, WorkflowSpec
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun, WorkflowRunStatus

from plum_controller.domain.delegation import answers, away_since, choose, seconds_left, site_of

logger = logging.getLogger(__name__)

Prepared = tuple[WorkflowSpec, RunRow, Mapping[str, bytes]]
"""What a run executes, how it begins, and the rows that say so."""


class NotDelegableError(Exception):
    """What a run executes cannot be done by a node alone."""


def by_node(run: WorkflowRun) -> Sequence[str]:
    """Index of runs that a node has."""
    return [run.status.node] if run.status.node and run.status.phase not in TERMINAL_RUN_PHASES else ()


class Delegations:
    """For all runs with `spec.delegate`."""

    def __init__(
        self,
        manager: Manager,
        journal: Journal,
        prepare: Callable[[WorkflowRun], Awaitable[Prepared | None]],
        changed: Callable[[str, Mapping[str, bytes]], None],
    ) -> None:
        """`prepare` admits a run; None: it waits. `changed` is told of rows that were written, with the uid of their run."""
        self._api: ApiClient = manager.api
        self._clock: Clock = manager.clock
        self._journal = journal
        self._prepare = prepare
        self._changed = changed
        self._recorder = manager.recorder("workflow-engine")
        self._nodes = manager.informer(Node)
        self._nodes.add_handler(self._node_changed)
        self._definitions = manager.informer(TaskDefinition)
        self._workflows = manager.informer(Workflow)
        self._runs = manager.informer(WorkflowRun, indexers={"delegated-to": by_node, "workflow-run": run_uid_of})
        self._waiting: set[ObjectKey] = set()
        self._away: dict[str, float] = {}
        """Nodes that do not answer, and since when this process has known, by its monotonic clock."""

    # ---- what is watched

    def of_node(self, old: Node | None, new: Node | None) -> Iterable[ObjectKey]:
        """Runs of a node that came or went, and those that wait for one."""
        found = new or old
        assert found is not None  # noqa: S101
        if old is not None and new is not None and _shown(old) == _shown(new):
            return []
        return [*self._runs.index_keys("delegated-to", found.metadata.name), *self._waiting]

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        found = new or old
        assert found is not None  # noqa: S101
        if new is not None and answers(new):
            self._away.pop(found.metadata.name, None)
        else:
            self._away.setdefault(found.metadata.name, self._clock.monotonic())

    # ---- the work

    async def reconcile(self, run: WorkflowRun) -> Result:
        """One step of a run that has not ended. Raises `NotDelegableError`."""
        delegate = run.spec.delegate
        assert delegate is not None  # noqa: S101
        self._waiting.discard(run.key)
        if not run.status.node:
            return await self._offer(run, delegate)
        await self.tell(run.status.node)
        if run.status.phase == "Pending":
            moved = await self._offer_elsewhere(run, delegate)
            if moved is not None:
                return moved
        return await self._watch(run, delegate)

    async def _offer(self, run: WorkflowRun, delegate: Delegate) -> Result:
        if await self._journal.get(space_of(run.metadata.uid), RUN_KEY) is None:
            prepared = await self._prepare(run)
            if prepared is None:
                return Result.wait_for_change()
            spec, row, rows = prepared
            self._check(run, spec, None)
            await self._journal.commit(space_of(run.metadata.uid), {**rows, RUN_KEY: encode(row)})
        return await self._give(run, delegate, self._nodes.list())

    async def _offer_elsewhere(self, run: WorkflowRun, delegate: Delegate) -> Result | None:
        """Nobody has taken it yet, and the node it was offered to is away: another one that fits may have it."""
        if delegate.node_name or answers(self._nodes.get(ObjectKey("", run.status.node))):
            return None
        others = [node for node in self._nodes.list() if node.metadata.name != run.status.node]
        return await self._give(run, delegate, others) if choose(delegate, others, {})[0] else None

    async def _give(self, run: WorkflowRun, delegate: Delegate, nodes: Iterable[Node]) -> Result:
        value = await self._journal.get(space_of(run.metadata.uid), RUN_KEY)
        assert value is not None  # noqa: S101
        row = decode_run(value)
        spec = await self._spec_of(row.hash)
        known = list(nodes) if spec is None else self._fitting(run, delegate, spec, nodes)
        load = {node.metadata.name: len(self._runs.index_keys("delegated-to", node.metadata.name)) for node in known}
        name, refusal = choose(delegate, known, load)
        status = run.status
        if not name:
            self._waiting.add(run.key)
            found = msgspec.structs.replace(status, phase="Queued", reason="NoNodeFits", message=refusal)
            await self._write(run, found)
            return Result.wait_for_change()
        found = msgspec.structs.replace(
            status, phase="Pending", node=name, definition_hash=row.hash, revision=row.revision, reason="Offered",
            message=f"waits for node {name} to take it", out_of_contact_since=None,
        )  # fmt: skip
        await self._write(run, found)
        await self.tell(name, 1)
        return Result.wait_for_change()

    def _fitting(self, run: WorkflowRun, delegate: Delegate, spec: WorkflowSpec, nodes: Iterable[Node]) -> list[Node]:
        """The nodes that may have all of it. Raises `NotDelegableError` when no node of those that are asked for may."""
        found: list[Node] = []
        refused: NotDelegableError | None = None
        for node in nodes:
            if not _is_asked(delegate, node):
                continue
            try:
                self._check(run, spec, node)
                found.append(node)
            except NotDelegableError as error:
                refused = refused or error
        if refused is not None and not found:
            raise refused
        return found

    def _check(self, run: WorkflowRun, spec: WorkflowSpec, node: Node | None) -> None:
        path = f"Workflow {run.spec.workflow_ref}: spec" if run.spec.workflow_ref else "spec.definition"
        found = [
            f"{error.field}: {error.message}"
            for error in obstacles(spec, self._known(run), path, site_of(node) if node is not None else None)
        ]
        if found:
            raise NotDelegableError("; ".join(found))

    def _known(self, run: WorkflowRun) -> Known:
        """The definitions that the run may name."""
        namespace = run.metadata.namespace

        def spec_in(informer: Informer[Any], name: str) -> Any:
            found = informer.get(ObjectKey(namespace, name))
            return found.spec if found is not None else None

        return Known(partial(spec_in, self._definitions), partial(spec_in, self._workflows), complete=True)

    async def _spec_of(self, digest: str) -> WorkflowSpec | None:
        value = await self._journal.get(f"definitions/{digest}", "definition")
        return msgspec.json.decode(value, type=WorkflowSpec) if value is not None else None

    # ---- while a node has it

    async def _watch(self, run: WorkflowRun, delegate: Delegate) -> Result:
        """Tell since when the node is away, and give it up when that was too long."""
        status, now = run.status, self._clock.now()
        node = self._nodes.get(ObjectKey("", status.node))
        away = away_since(node, now)
        if away is None:
            await self._write(run, msgspec.structs.replace(status, out_of_contact_since=None))
            return Result.wait_for_change()
        since = status.out_of_contact_since or away
        left = seconds_left(delegate, since, now)
        if left is not None:
            # A controller that comes back gives agents a full lease to report before it believes what it knew.
            lease = float(node.spec.lease_seconds) if node is not None else 0.0
            seen = self._away.setdefault(status.node, self._clock.monotonic())
            left = max(left, seen + lease - self._clock.monotonic())
            if left <= 0:
                await self._give_up(run, delegate, since)
                return Result.wait_for_change()
        await self._write(run, msgspec.structs.replace(status, out_of_contact_since=since))
        return Result.requeue(after=left) if left is not None else Result.wait_for_change()

    async def _give_up(self, run: WorkflowRun, delegate: Delegate, since: object) -> None:
        text = (
            f"node {run.status.node} has been out of contact since {since}, longer than lostAfter {delegate.lost_after}; given up"
        )
        await self._end_lost(run, f"{text}; given up")

    async def _end_lost(self, run: WorkflowRun, text: str) -> None:
        status, now = run.status, self._clock.now()
        found = msgspec.structs.replace(
            status, phase="Failed", reason=NODE_LOST, message=text, finished_at=now.replace(microsecond=0),
            fencing_token=status.fencing_token + 1, current=[],
        )  # fmt: skip
        found.conditions = conditions_of(status, found, now)
        await self._write(run, found)
        self._recorder.event(run, "Warning", NODE_LOST, text)
        await self.tell(status.node)

    async def settle(self, run: WorkflowRun) -> None:
        """A run that was given up: its rows say so too. Safe to repeat."""
        await self.tell(run.status.node)
        if run.status.reason != NODE_LOST:
            return
        for inner in self._runs.index_keys("workflow-run", run.metadata.uid):
            inside = self._runs.get(inner)
            if inside is not None and inside.status.phase not in TERMINAL_RUN_PHASES:
                await self._end_lost(inside, f"run {run.metadata.name}, around it, was given up: {run.status.message}")
        space = space_of(run.metadata.uid)
        value = await self._journal.get(space, RUN_KEY)
        if value is None or (row := decode_run(value)).stage == "done":
            return
        changes = {}
        now = self._clock.now()
        for key, raw in await self._journal.live(space):
            if key != RUN_KEY and (node := decode_node(raw)).phase in phases.ACTIVE:
                node.phase, node.reason, node.finished_at, node.waits_for = phases.CANCELED, NODE_LOST, now, ""
                node.message = f"node {run.status.node} was given up; what became of it there is not known"
                changes[key] = encode(node)
        row.stage, row.phase, row.reason, row.message, row.finished_at = "done", "Failed", NODE_LOST, run.status.message, now
        await self._journal.commit(space, {**changes, RUN_KEY: encode(row)})
        self._changed(run.metadata.uid, changes)

    async def tell(self, name: str, more: int = 0) -> None:
        """Let a node know whether it has runs to look for. `more`: those that the cache does not show yet."""
        node = self._nodes.get(ObjectKey("", name))
        count = len(self._runs.index_keys("delegated-to", name))
        count = max(count, more)
        if node is None or node.status.delegated_runs == count:
            return
        try:
            await self._api.patch(Node, name, {"status": {"delegatedRuns": count}}, subresource="status")
        except NotFoundError:
            return
        except ApiError as error:
            logger.info("node could not be told of its runs", extra={"node": name, "error": error.message})

    async def _write(self, run: WorkflowRun, status: WorkflowRunStatus) -> None:
        status = msgspec.structs.replace(status, observed_generation=run.metadata.generation)
        if status != run.status:
            await self._api.write_status(msgspec.structs.replace(run, status=status))


def _is_asked(delegate: Delegate, node: Node) -> bool:
    if delegate.node_name:
        return node.metadata.name == delegate.node_name
    return delegate.node_selector.items() <= node.metadata.labels.items()


def _shown(node: Node) -> tuple[object, ...]:
    """What matters here of a node."""
    return answers(node), node.metadata.labels, node.spec.unschedulable, node.status.delegated_runs


__all__ = ["Delegations", "NotDelegableError", "Prepared"]
