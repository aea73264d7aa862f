"""TaskRuns as the gateway reads and writes them.

    get -> decide (domain) -> write the status with the resourceVersion it was decided from -> 409: get, decide again

So every step is taken once, and a decision that no longer holds is refused by the table of states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
from plum_flow import secret_marks
from plum_flow.calls import TaskFailedError
from plum_flow.task_states import Outcome, TransitionError
from plum_schemas.base import ObjectKey
from plum_schemas.core import Secret
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_controller.resources.encode import decode
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

TASKRUNS = "taskruns.plum.dev"
MANAGER = "plum-workers"
MAX_ATTEMPTS = 20
_OPTIONS = WriteOptions(field_manager=MANAGER, subresource="status", user="system:plum-controller")
_decode_run = msgspec.json.Decoder(TaskRun).decode
_decode_secret = msgspec.json.Decoder(Secret).decode

Step = Callable[[TaskRun], TaskRunStatus]


def run_of(value: bytes) -> TaskRun:
    """A stored run, typed."""
    return _decode_run(value)


class Runs:
    """Reads from the watch cache, writes through the resource service."""

    def __init__(self, service: ResourceService) -> None:
        self._service = service
        self._kind = service.registry.require(TASKRUNS)

    def get(self, key: ObjectKey) -> TaskRun | None:
        entry = self._service.cache.get(Key(TASKRUNS, key.namespace, key.name))
        return _decode_run(entry.value) if entry is not None else None

    def values(self, run: TaskRun) -> dict[str, str]:
        """Values of the run's marks. Raises `TaskFailedError` that names what is missing."""
        if not run.spec.secrets:
            return {}
        namespace = run.metadata.namespace
        entries = {
            name: self._service.cache.get(Key(Secret.info.resource, namespace, name)) for name in secret_marks.names_of(run)
        }
        secrets = {name: _decode_secret(entry.value) if entry is not None else None for name, entry in entries.items()}
        return secret_marks.values_of(run, secrets)

    def hidden(self, run: TaskRun, outcome: Outcome) -> Outcome:
        """An outcome without values of the run's secrets."""
        try:
            values = self.values(run)
        except TaskFailedError:
            return outcome  # the Secret has gone; nothing here knows its values any more
        hide = secret_marks.redactor_of(values)
        return replace(outcome, output=hide(outcome.output), error=hide(outcome.error)) if values else outcome

    async def step(self, key: ObjectKey, uid: str, step: Step) -> TaskRun:
        """Take one step of a run. Answers with the run after it.

        Raises `TransitionError` when the run cannot take it (any more), `ApiStatusError` when it cannot be written.
        """
        for _ in range(MAX_ATTEMPTS):
            entry = self._service.cache.get(Key(TASKRUNS, key.namespace, key.name))
            run = _decode_run(entry.value) if entry is not None else None
            if entry is None or run is None or run.metadata.uid != uid:
                raise TransitionError(f"taskrun {key} is gone")
            status = step(run)
            body = decode(entry.value)
            body["status"] = msgspec.to_builtins(status)
            body["metadata"]["resourceVersion"] = str(entry.revision)
            try:
                written = await self._service.update(self._kind, key, body, _OPTIONS)
            except ApiStatusError as error:
                if error.code == 404:
                    raise TransitionError(f"taskrun {key} is gone") from error
                if error.code != 409 or error.reason != "Conflict":
                    raise
                continue
            return _decode_run(written.value)
        raise ApiStatusError(503, "ServiceUnavailable", f"taskrun {key} is being written by many; try again")
