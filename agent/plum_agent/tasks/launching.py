"""From an attempt to a launch. The parts that start instances get a task as an instance of its own, which no API knows.

TaskRun.status.task -> instance_of -> environment, image, container -> Launch
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.quantities import parse_bytes, parse_cpu
from plum_schemas.taskrun import TaskRun
from plum_schemas.template import Template

from plum_agent import environment
from plum_agent.containing import OF_IMAGES, container_of, environment_in
from plum_agent.drivers.base import Driver, Launch
from plum_agent.drivers.run_files import STDIN, check_names
from plum_agent.environment import Place
from plum_agent.errors import RefusedError
from plum_agent.preparing import owner_of
from plum_agent.starter import give_to, home_of
from plum_agent.tasks.allow import AllowList
from plum_agent.tasks.record import AttemptRecord, TaskLedger

if TYPE_CHECKING:
    from plum_agent.container_runtime import ContainerRuntime


class UnstartableError(Exception):
    """The attempt failed before it could start; another one may fare better."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class TaskLauncher:
    """Prepares launches on one node."""

    place: Place
    api: ApiClient
    driver: Driver
    ledger: TaskLedger
    allow: AllowList
    containers: ContainerRuntime | None = None

    def check(self, run: TaskRun) -> None:
        """Can this node execute it at all? Raises `RefusedError`."""
        instance = instance_of(run, self.place.node)
        template = instance.spec.template
        if template.runtime not in self.driver.runtimes:
            text = f"this node cannot run a {template.runtime}; it runs: {', '.join(self.driver.runtimes)}"
            raise RefusedError("RuntimeNotSupported", text)
        if template.runtime == "container":
            self.allow.image(template.image)
        elif not template.command:
            raise RefusedError("CommandMissing", "spec.process.command is empty; name the program to run")
        self.driver.check(template)
        if self.driver.keeps_runs:
            self.place.devices.check(template.resources.devices)

    async def prepare(self, record: AttemptRecord) -> Launch:
        """Everything that the start needs: values, image, folders. Raises `RefusedError`, `UnstartableError`, `OSError`."""
        await self._read_secrets(record)
        instance = instance_of(record.executed, self.place.node)
        template = instance.spec.template
        if environment.needs_api(instance):
            try:
                record.environment = await environment.resolve(self.api, instance)
            except ApiError as error:
                text = f"values of env could not be read, the controller does not answer: {error}"
                raise UnstartableError("EnvironmentUnavailable", text) from error
            except RefusedError as error:
                raise UnstartableError(error.reason, error.message) from error
        if template.runtime == "container" and self.containers is not None and self.driver.keeps_runs:
            try:
                await self.containers.prepare(self.api, instance, lambda reason, message: None)
            except RefusedError as error:
                raise UnstartableError(error.reason, error.message) from error
        if not self.driver.keeps_runs:
            return self._launch(record, instance, Path("/"))
        work = await self.ledger.make_folders(record)
        owner = owner_of(template)
        if owner is not None:
            give_to(work, owner, template.user)
        self._write_input(record)
        return self._launch(record, instance, work)

    async def _read_secrets(self, record: AttemptRecord) -> None:
        """Values of the marks in the payload. Raises `UnstartableError`."""
        if not record.run.spec.secrets:
            return
        from plum_flow.calls import TaskFailedError  # few agents ever need it
        from plum_flow.secret_marks import names_of, values_of

        names = names_of(record.run)
        try:
            found = {name: await self.api.get(Secret, name, record.run.metadata.namespace) for name in names}
            record.secrets = values_of(record.run, found)
        except ApiError as error:
            text = f"secrets could not be read, the controller does not answer: {error}"
            raise UnstartableError("SecretsUnavailable", text) from error
        except TaskFailedError as error:
            raise UnstartableError(error.reason, error.message) from error

    def _write_input(self, record: AttemptRecord) -> None:
        """What the program reads. Opened for it by the shim, so nobody else needs to be able to read it."""
        run = record.executed
        task = run.status.task
        call = task.process or task.container if task is not None else None
        text = call.input if call is not None else ""
        data = text.encode() if text else msgspec.json.encode(run.input)
        path = self.ledger.run_of(record).directory / STDIN
        path.write_bytes(data)
        path.chmod(0o644 if task is not None and task.container is not None else 0o600)

    def _launch(self, record: AttemptRecord, instance: Instance, work: Path) -> Launch:
        template, run = instance.spec.template, record.run
        directory = work / template.working_dir if template.runtime == "process" else work
        if self.driver.keeps_runs and not directory.is_dir():
            raise RefusedError("WorkingDirMissing", f"workingDir {directory} does not exist on this node; create it")
        values = environment.environment_of(instance, record.environment, self.place, {}, home_of(template.user, directory))
        values.pop("PLUM_INSTANCE_ID", None)
        values |= {
            "PLUM_TASK_RUN": run.metadata.name,
            "PLUM_TASK_NAMESPACE": run.metadata.namespace,
            "PLUM_TASK_ATTEMPT": str(record.attempt),
            "PLUM_TASK_IDEMPOTENCY_KEY": run.status.idempotency_key,
        }
        if not self.driver.keeps_runs:
            values.setdefault("FAKE_EXIT_AFTER", "0")  # a played task ends at once unless it says when
        check_names(values)
        limits = template.resources.limits
        launch = Launch(
            run=self.ledger.run_of(record),
            command=tuple(template.command),
            environment=values,
            work_directory=directory,
            user=template.user,
            cpu_millis=parse_cpu(limits["cpu"]) if "cpu" in limits else None,
            memory_bytes=parse_bytes(limits["memory"]) if "memory" in limits else None,
        )
        if template.runtime != "container" or self.containers is None:
            allowed = self.allow.program(launch.command, str(directory)) if self.driver.keeps_runs else launch.command
            return replace(launch, command=allowed)
        defaults = self.containers.defaults
        weak = {name: values[name] for name in OF_IMAGES if name in values}
        return replace(
            launch,
            environment=environment_in(values, template, None, defaults, weak),
            cpu_millis=launch.cpu_millis or defaults.cpu_millis,
            memory_bytes=launch.memory_bytes or defaults.memory_bytes,
            container=replace(
                container_of(instance, self.ledger.folder(record), None, {}, self.place, defaults),
                name=f"task-{run.metadata.name}-{record.token}",
            ),
        )


def instance_of(run: TaskRun, node: str) -> Instance:
    """The task as the instance that it would be. Raises `RefusedError` for a run that is none of a node."""
    task = run.status.task
    if task is None or (task.process is None and task.container is None):
        raise RefusedError("NotForNodes", f"executor {task.executor if task is not None else 'none'} runs on no node")
    if task.process is not None:
        call = task.process
        template = Template(
            runtime="process",
            command=call.command,
            env=call.env,
            working_dir=call.working_dir,
            user=call.user,
            resources=task.resources,
            restart_policy="Never",
        )
    else:
        assert task.container is not None  # noqa: S101  one of the two is there
        image = task.container
        template = Template(
            runtime="container",
            image=image.image,
            command=image.command,
            env=image.env,
            working_dir=image.working_dir,
            resources=task.resources,
            restart_policy="Never",
        )
    metadata = ObjectMeta(
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        uid=run.metadata.uid,
        labels=run.metadata.labels,
        annotations=run.metadata.annotations,
    )
    return Instance(metadata=metadata, spec=InstanceSpec(node_name=node, template=template))
