"""Step `operation`: ask a device to do something, and wait for how it ends.

    {resource, method, arguments, notAfter, delivery}  ->  result of the operation

The Operation is named after run, node and attempt, and has them as its key: one attempt asks once, whatever restarts in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    NotFoundError,
    RevisionCompactedError,
    TooManyRequestsError,
)
from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config, wrong
from plum_schemas.base import ObjectKey, ObjectMeta, OwnerReference
from plum_schemas.durations import format_duration
from plum_schemas.operation import TERMINAL_OPERATION_PHASES, Operation, OperationSpec
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.tasks.steps.runners import Around

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step

logger = logging.getLogger(__name__)

FIELDS = ("resource", "method", "arguments", "notAfter", "delivery")
RETRY_SECONDS = 0.5
"""Before the API is asked again that did not answer."""
CANCEL_SECONDS = 30.0
"""So long a cancellation is tried; the operation itself goes with its run at the latest."""
TRIED_AGAIN = frozenset({"Failed", "Expired"})
"""Ends after which the node's retry may ask once more. Nobody knows what an Unknown one did, so it is not asked again."""


async def run(step: Step, around: Around) -> Any:
    """Ask once, and follow it to its end. Raises `TaskFailedError`."""
    wanted = operation_of(step)
    await _make(around.api, step, wanted)
    try:
        ended = await _follow(around.api, wanted.key)
    except asyncio.CancelledError:
        if step.is_aborted():
            await _cancel(around.api, wanted.key)
        raise
    status = ended.status
    if status.phase == "Succeeded":
        return status.result
    text = status.error or f"it ended as {status.phase}"
    reason = "OperationFailed" if status.phase == "Failed" else f"Operation{status.phase}"
    raise TaskFailedError(f"operation {wanted.metadata.name}: {text}", reason, retryable=status.phase in TRIED_AGAIN)


def operation_of(step: Step) -> Operation:
    """The object that one attempt of a node makes. Raises `TaskFailedError` for settings that cannot be used."""
    config = Config(step.config, FIELDS)
    resource, method = config.text("resource"), config.text("method")
    not_after = config.seconds("notAfter", 0.0)
    identity = f"{step.run_uid}/{step.node}/{step.attempt}"
    spec = OperationSpec(
        resource_ref=resource,
        method=method,
        arguments=config.mapping("arguments"),
        not_after=format_duration(not_after) if not_after else None,
        delivery="AtLeastOnce"
        if config.choice("delivery", ("AtMostOnce", "AtLeastOnce"), "AtMostOnce") == "AtLeastOnce"
        else "AtMostOnce",
        idempotency_key=identity,
        timeout=format_duration(step.timeout) if step.timeout else None,
    )
    try:
        spec = msgspec.json.decode(msgspec.json.encode(spec), type=OperationSpec)
    except msgspec.ValidationError as error:
        raise wrong("resource" if "resource" in str(error) else "method", resource, str(error)) from None
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    owner = OwnerReference(
        api_version=WorkflowRun.info.api_version, kind="WorkflowRun", name=step.run, uid=step.run_uid, controller=True
    )
    metadata = ObjectMeta(
        name=f"{step.run[:40].rstrip('-.')}-{digest}",
        namespace=step.namespace,
        annotations={"plum.dev/workflow-node": step.node, "plum.dev/workflow-attempt": str(step.attempt)},
        owner_references=[owner],
    )
    return Operation(metadata=metadata, spec=spec)


async def _make(api: ApiClient, step: Step, wanted: Operation) -> None:
    while True:
        try:
            await api.create(wanted)
            return
        except AlreadyExistsError:
            found = await api.get(Operation, wanted.key)
            if found is None:
                continue
            if any(owner.uid == step.run_uid for owner in found.metadata.owner_references):
                return
            text = f"operation {wanted.metadata.name} is there and belongs to something else"
            raise TaskFailedError(text, "NameTaken", retryable=False) from None
        except (ApiUnavailableError, TooManyRequestsError) as error:
            logger.info("operation cannot be made now", extra={"key": str(wanted.key), "error": str(error)})
            await asyncio.sleep(RETRY_SECONDS)
        except ApiError as error:
            raise TaskFailedError(error.message, "Refused", retryable=False) from error


async def _follow(api: ApiClient, key: ObjectKey) -> Operation:
    """The operation, once it has ended."""
    fields, since = f"metadata.name={key.name}", ""
    while True:
        try:
            if not since:
                listed = await api.list(Operation, key.namespace, fields=fields)
                found = list(listed)
                if not found:
                    raise TaskFailedError(
                        f"operation {key.name} was deleted before it ended", "OperationDeleted", retryable=False
                    )
                if found[0].status.phase in TERMINAL_OPERATION_PHASES:
                    return found[0]
                since = listed.revision
            async with aclosing(api.watch(Operation, key.namespace, fields=fields, since=since)) as events:
                async for event in events:
                    since = event.revision
                    if event.object.status.phase in TERMINAL_OPERATION_PHASES:
                        return event.object
                    if event.type == "DELETED":
                        since = ""
                        break
        except RevisionCompactedError:
            since = ""
        except (ApiUnavailableError, TooManyRequestsError) as error:
            logger.debug("following an operation was interrupted", extra={"key": str(key), "error": str(error)})
            await asyncio.sleep(RETRY_SECONDS)


async def _cancel(api: ApiClient, key: ObjectKey) -> None:
    """Ask it to stop. Its end is not waited for: the node has ended."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            while True:
                try:
                    await api.patch(Operation, key, {"spec": {"canceled": True}})
                    return
                except (NotFoundError, AlreadyExistsError):
                    return
                except (ApiUnavailableError, TooManyRequestsError):
                    await asyncio.sleep(RETRY_SECONDS)
                except ApiError as error:
                    logger.info("operation not cancelled", extra={"key": str(key), "error": error.message})
                    return
    except TimeoutError:
        logger.warning("operation not cancelled: the API does not answer", extra={"key": str(key)})
