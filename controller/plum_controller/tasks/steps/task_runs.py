"""Steps that are carried out elsewhere: a TaskRun is made for the attempt, and its end is the end of the step.

The name follows from run, node and attempt: a step that is carried out again after a restart of the controller finds its TaskRun.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ApiError, ApiUnavailableError, InvalidObjectError, NotFoundError
from plum_flow.calls import TaskFailedError
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step

PAUSE_SECONDS = 0.5
"""Before the API is asked again that did not answer."""


async def carry_out(api: ApiClient, step: Step, spec: TaskRunSpec) -> Any:
    """The output of a TaskRun of this spec. Raises `TaskFailedError`."""
    text = msgspec.json.encode(spec).decode()
    marks = [mark for mark in step.secrets if mark.marker in text]
    run = TaskRun(metadata=_metadata(step), spec=msgspec.structs.replace(spec, secrets=marks))
    await _create(api, run)
    try:
        ended = await _ended(api, run)
    except asyncio.CancelledError:
        await asyncio.shield(_cancel(api, run))
        raise
    status = ended.status
    if status.phase == "Succeeded":
        return status.output
    code = "" if status.exit_code is None else str(status.exit_code)
    text = status.error or f"it ended as {status.phase}"
    raise TaskFailedError(f"taskrun/{run.metadata.name}: {text}", status.reason or status.phase, code)


def _metadata(step: Step) -> ObjectMeta:
    digest = hashlib.sha256(f"{step.idempotency_key}/{step.attempt}".encode()).hexdigest()[:8]
    node = "".join(char if char.isalnum() else "-" for char in step.node.lower()).strip("-")
    name = f"{step.run[:180]}-{node[:50]}-{digest}"
    owner = OwnerReference(api_version="plum.dev/v1", kind="WorkflowRun", name=step.run, uid=step.run_uid, controller=True)
    labels = {"plum.dev/workflow-run": step.run[:63].rstrip("-._")}
    annotations = {"plum.dev/idempotency-key": step.idempotency_key}
    return ObjectMeta(name=name, namespace=step.namespace, labels=labels, annotations=annotations, owner_references=[owner])


async def _create(api: ApiClient, run: TaskRun) -> None:
    while True:
        try:
            await api.create(run)
            return
        except AlreadyExistsError:
            return  # made before the controller was restarted
        except InvalidObjectError as error:
            raise TaskFailedError(error.message, "InvalidConfig", retryable=False) from error
        except ApiUnavailableError:
            await asyncio.sleep(PAUSE_SECONDS)


async def _ended(api: ApiClient, run: TaskRun) -> TaskRun:
    fields = f"metadata.name={run.metadata.name}"
    while True:
        try:
            found = await api.get(TaskRun, run.key)
            if found is None:
                raise TaskFailedError(f"taskrun/{run.metadata.name} was deleted", "Deleted")
            if found.status.phase in TERMINAL_PHASES:
                return found
            events = api.watch(TaskRun, run.metadata.namespace, fields=fields, since=found.metadata.resource_version)
            async with aclosing(events) as changes:
                async for event in changes:
                    if event.type == "DELETED" or event.object.status.phase in TERMINAL_PHASES:
                        break
        except ApiError:
            await asyncio.sleep(PAUSE_SECONDS)


async def _cancel(api: ApiClient, run: TaskRun) -> None:
    try:
        await api.patch(TaskRun, run.key, {"spec": {"canceled": True}})
    except NotFoundError:
        return
    except ApiError:
        return  # its owner, the run, takes it along
