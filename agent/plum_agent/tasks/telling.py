"""What an attempt tells of itself, however long the controller is away: limits that are not kept, and how it ended.

    AttemptRecord -> status of the TaskRun: condition ResourceLimits while it runs; report, output and the condition at its end

Each write is guarded by the revision it was computed from, and made only while the attempt is the one under way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from plum_client.backoff import Backoff, Pause
from plum_client.conditions import set_condition
from plum_client.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError, TooManyRequestsError
from plum_schemas.base import Condition
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_agent.drivers.run_files import STDERR, STDOUT
from plum_agent.tasks.output import read_end
from plum_agent.tasks.record import AttemptRecord
from plum_agent.tasks.surroundings import Surroundings

logger = logging.getLogger(__name__)

RETRY = Backoff(initial=0.1, maximum=15.0)
LIMITS = "ResourceLimits"
"""Type of the condition, as in instances."""
NOT_ENFORCED = "NotEnforced"


class Patience:
    """Waits between requests that fail, longer each time, until somebody says that the controller answers again."""

    def __init__(self, around: Surroundings) -> None:
        self.failures = 0
        self._random = around.random
        self._pause = Pause()

    async def wait(self, error: ApiError | None) -> None:
        """After one more failure."""
        self.failures += 1
        at_least = error.retry_after if error is not None else 0.0
        await self._pause.wait(max(at_least, RETRY.delay(self.failures, self._random)))

    def end(self) -> None:
        """Go on now."""
        self._pause.end()


def warn_of_limits(record: AttemptRecord, around: Surroundings) -> None:
    """Say in the log, and in an event, that limits are not kept. An agent that finds the attempt says it again."""
    if record.unenforced:
        text = "; ".join(record.unenforced)
        logger.warning("limits of a task are not enforced", extra={"key": str(record.key), "why": text})
        if around.events is not None:
            with suppress(Exception):  # it may be lost, and holds up nothing
                around.events.event(record.run, "Warning", NOT_ENFORCED, text)


async def tell_limits(record: AttemptRecord, around: Surroundings) -> None:
    """Say in the run that runs that limits are not kept. What is not told now is told with the end."""
    patience = Patience(around)
    while record.unenforced:
        try:
            run = await around.api.get(TaskRun, record.key)
            if run is None or not is_awaited(record, run):
                return
            conditions = conditions_of(record, run.status, around)
            if conditions == run.status.conditions:
                return
            status = {"conditions": msgspec.to_builtins(conditions)}
            await around.api.patch(TaskRun, record.key, guarded(run, status), subresource="status")
            return
        except ConflictError:
            continue
        except NotFoundError:
            return
        except (ApiUnavailableError, TooManyRequestsError) as error:
            await patience.wait(error)
        except ApiError as error:
            logger.warning("condition of a task was refused", extra={"key": str(record.key), "error": error.message})
            return


async def tell_end(record: AttemptRecord, around: Surroundings, patience: Patience, latest: TaskRun | None) -> None:
    """Deliver the report, unless nobody waits for it any more. `latest` is the newest version of the run that was seen."""
    with_output = True
    patience.failures = 0
    while record.stop_reason != "Dropped":
        try:
            run = latest or await around.api.get(TaskRun, record.key)
            latest = None
            if run is None or not is_awaited(record, run):
                return
            status = _end_of(record, around, run.status, with_output)
            await around.api.patch(TaskRun, record.key, guarded(run, status), subresource="status")
            return
        except ConflictError:
            continue
        except NotFoundError:
            return
        except (ApiUnavailableError, TooManyRequestsError) as error:
            if not patience.failures:
                logger.info(
                    "result of a task waits until the api answers", extra={"key": str(record.key), "error": error.message}
                )
            await patience.wait(error)
        except ApiError as error:
            logger.warning("result of a task was refused", extra={"key": str(record.key), "error": error.message})
            if not with_output:
                return
            with_output = False


def is_awaited(record: AttemptRecord, run: TaskRun) -> bool:
    """Is this attempt the one that the run has under way?"""
    status = run.status
    same = (run.metadata.uid, status.attempt, status.fencing_token) == (record.run.metadata.uid, record.attempt, record.token)
    return same and status.phase == "Running"


def guarded(run: TaskRun, status: dict[str, Any]) -> dict[str, Any]:
    """A patch that changes only the version it was computed from."""
    return {"metadata": {"resourceVersion": run.metadata.resource_version}, "status": status}


def conditions_of(record: AttemptRecord, status: TaskRunStatus, around: Surroundings) -> list[Condition]:
    """Those of the run, with what is known of its limits."""
    task = record.run.status.task
    if record.unenforced:
        found = Condition(type=LIMITS, status="False", reason=NOT_ENFORCED, message="; ".join(record.unenforced))
    elif record.unenforced is not None and task is not None and task.resources.limits:
        found = Condition(type=LIMITS, status="True", reason="Enforced")
    else:
        return status.conditions
    return set_condition(status.conditions, found, around.clock.now())


def _end_of(record: AttemptRecord, around: Surroundings, known: TaskRunStatus, with_output: bool) -> dict[str, Any]:
    status: dict[str, Any] = {"report": msgspec.to_builtins(record.report)}
    if record.report is not None and record.report.exit_code is not None:
        status["exitCode"] = record.report.exit_code
    conditions = conditions_of(record, known, around)
    if conditions != known.conditions:
        status["conditions"] = msgspec.to_builtins(conditions)
    if with_output and around.ledger.directory is not None:
        folder = around.ledger.run_of(record).directory
        for name, file in (("stdout", STDOUT), ("stderr", STDERR)):
            text = read_end(folder / file)
            if text:
                status[name] = without_secrets(text, record.secrets)
    return status


def without_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """What a run gives back, without the values that were put into its payload."""
    if not secrets:
        return text
    from plum_flow.secret_marks import redactor_of  # few agents ever need it

    return str(redactor_of(secrets)(text))
