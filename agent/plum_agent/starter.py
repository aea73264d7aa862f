"""From an instance to a launch: environment, ports, folders, limits. What the node cannot do is refused with a reason.

prepare (may ask the API) -> intent in the ledger -> driver.start -> handle in the record
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import TAINT_UNREACHABLE, Node
from plum_schemas.quantities import parse_bytes, parse_cpu
from plum_schemas.resource import Resource
from plum_schemas.template import Template

from plum_agent import environment
from plum_agent.artifacts.package import PreparedPackage, as_packaged, read_package
from plum_agent.containing import (
    OF_IMAGES,
    ContainerDefaults,
    container_of,
    entry_command,
    environment_in,
    inside_numbers,
    outside_ports,
)
from plum_agent.drivers.base import Driver, Launch, Run
from plum_agent.environment import Place
from plum_agent.errors import RefusedError
from plum_agent.ledger import Ledger, Record, RunRecord
from plum_agent.main_control import MAIN_CONTROL_BASE, MainControl
from plum_agent.plan import RunState
from plum_agent.ports import PortBook
from plum_agent.preparing import make_folder, owner_of
from plum_agent.unit import Unit, launch_hash

WAITS_FOR_RESERVATION = "WaitsForReservation"


@dataclass(slots=True)
class Starter:
    """Prepares and starts runs of one node."""

    place: Place
    api: ApiClient
    driver: Driver
    ledger: Ledger
    ports: PortBook
    clock: Clock
    boot_id: str
    fence_file: Path | None
    """Deadline of exclusive runs, kept by the lease keeper."""
    containers: ContainerDefaults | None = None
    """None: this node has no containers."""
    main_control: MainControl = field(init=False)

    def __post_init__(self) -> None:
        self.main_control = MainControl(self.api)

    async def start(self, unit: Unit, instance: Instance) -> None:
        """Write down the intent, then start. Raises `RefusedError` before anything was written, `StartError` after."""
        try:
            launch, numbers = await self._prepare(unit, instance)
            record, run = await self._intend(unit, instance, launch.run.marker, numbers)
        except OSError as error:
            self.ports.release(str(unit.key))
            message = f"the node could not write down what it starts, so it does not start it: {error}"
            raise RefusedError("NodeStorageFailed", message) from error
        unit.record = record
        unit.state, unit.run, unit.launch = RunState.STARTING, launch.run, launch
        started = await self.driver.start(launch)
        self.note_start(run, started.handle.started_at)
        run.handle = started.handle
        run.unenforced = list(started.unenforced)
        unit.state, unit.adopted = RunState.RUNNING, False

    async def _intend(self, unit: Unit, instance: Instance, marker: str, numbers: dict[str, int]) -> tuple[Record, RunRecord]:
        """The intent on disk: from here on every later agent looks for this run."""
        known = unit.record
        run = RunRecord(
            number=known.runs + 1,
            marker=marker,
            boot_id=self.boot_id,
            launch=launch_hash(instance.spec.template),
            restart_request=instance.spec.restart_request,
            ports=numbers,
        )
        record = msgspec.structs.replace(known, run=run, runs=run.number, at_rest=False, finished="")
        self.ledger.make_run_folder(unit.key, run.number)
        await self.ledger.record(unit.key, record)
        return record, run

    def note_start(self, run: RunRecord, started_at: float) -> None:
        """Keep when a run began, on both clocks. `started_at` in Unix seconds."""
        run.started_at = datetime.fromtimestamp(int(started_at), UTC)
        run.started_seconds = self.clock.monotonic() - max(0.0, self.clock.now().timestamp() - started_at)

    def check(self, instance: Instance) -> None:
        """Before anything is fetched for it: can this node run such a thing at all? Raises `RefusedError`."""
        template = instance.spec.template
        if template.runtime not in self.driver.runtimes:
            can = ", ".join(self.driver.runtimes)
            message = f"runtime {template.runtime} is not supported by this node; it can run: {can}"
            raise RefusedError("RuntimeNotSupported", message)
        self.driver.check(template)

    async def _prepare(self, unit: Unit, instance: Instance) -> tuple[Launch, dict[str, int]]:
        template = instance.spec.template
        if self.driver.keeps_runs:
            self.place.devices.check(template.resources.devices)
        if template.exclusive:
            await self._confirm(instance)
        if template.reservations and not unit.record.runs:
            await self._check_reservations(instance)
        if environment.needs_api(instance):
            await self._resolve(unit, instance)
        if self.driver.keeps_runs:
            await self._tell_main_control(unit, instance)
        owner = str(unit.key)
        numbers = self.ports.acquire(owner, outside_ports(as_packaged(instance, self._package(unit, template)).spec.template))
        try:
            launch = self.launch_of(unit, instance, unit.record.runs + 1, numbers)
            if template.files and self.driver.keeps_runs:
                await self._write_files(unit, instance)
            return launch, numbers
        except BaseException:
            self.ports.release(owner)
            raise

    def launch_of(self, unit: Unit, instance: Instance, number: int, numbers: dict[str, int], marker: str = "") -> Launch:
        """The launch of a run: of a new one, or (with its marker) of one that is adopted."""
        package = self._package(unit, instance.spec.template)
        instance = as_packaged(instance, package)
        template = instance.spec.template
        base = self._base_folder(self.ledger.folder(unit.key), template, package, unit.image_owner)
        work = self._work_directory(base, template)
        application = environment.Application.of(instance, package)
        home = home_of(template.user, work)
        inside = inside_numbers(template, numbers)
        values = environment.environment_of(instance, unit.record.environment, self.place, inside, home, application)
        limits = template.resources.limits
        launch = Launch(
            run=Run(marker or self._new_marker(instance, number), self.ledger.run_folder(unit.key, number)),
            command=tuple(template.command) or (package.command if package is not None else ()),
            environment=values,
            work_directory=work,
            user=template.user,
            cpu_millis=parse_cpu(limits["cpu"]) if "cpu" in limits else None,
            memory_bytes=parse_bytes(limits["memory"]) if "memory" in limits else None,
            fence=self.fence_file if template.exclusive else None,
        )
        if template.runtime != "container" or self.containers is None:
            return launch
        return self._in_container(launch, instance, package, numbers, self.containers, unit.image_owner)

    def _in_container(
        self,
        launch: Launch,
        instance: Instance,
        package: PreparedPackage | None,
        numbers: dict[str, int],
        defaults: ContainerDefaults,
        image_owner: tuple[int, int] | None,
    ) -> Launch:
        """The same launch as it is in a container."""
        template = instance.spec.template
        weak = {name: launch.environment[name] for name in OF_IMAGES if name in launch.environment}
        return replace(
            launch,
            command=tuple(entry_command(template, package)),
            environment=environment_in(launch.environment, template, package, defaults, weak),
            cpu_millis=launch.cpu_millis or defaults.cpu_millis,
            memory_bytes=launch.memory_bytes or defaults.memory_bytes,
            container=container_of(
                instance, self.ledger.folder(instance.key), package, numbers, self.place, defaults, image_owner
            ),
        )

    def _new_marker(self, instance: Instance, number: int) -> str:
        """Which agent, which object, which run; the end keeps a run that was never seen apart from its successor."""
        return f"{self.ledger.agent_id}.{instance.metadata.uid}.{number}.{secrets.token_hex(3)}"

    def _package(self, unit: Unit, template: Template) -> PreparedPackage | None:
        """What was prepared for the instance, also after a restart of the agent."""
        if template.artifact is None or not self.driver.keeps_runs:
            return None
        if unit.package is None:
            unit.package = read_package(self.ledger.folder(unit.key), template.artifact)
        if unit.package is None:
            raise RefusedError("ArtifactMissing", "the unpacked package is gone from this node; it is fetched again")
        return unit.package

    def _base_folder(
        self, folder: Path, template: Template, package: PreparedPackage | None, image_owner: tuple[int, int] | None
    ) -> Path:
        """Where relative paths of the template begin."""
        if not self.driver.keeps_runs:
            return folder
        if package is not None and not package.image:
            return package.folder
        own = folder / "work"
        if not own.exists():
            make_folder(folder)
            own.mkdir(parents=True, exist_ok=True)
            own.chmod(0o755)
        owner = owner_of(template) or image_owner
        if owner is not None:
            give_to(own, owner, template.user)
        return own

    def _work_directory(self, base: Path, template: Template) -> Path:
        if template.runtime == "container":
            return base  # where it starts is inside, and the engine makes it
        work = base / template.working_dir
        if self.driver.keeps_runs and not work.is_dir():
            raise RefusedError("WorkingDirMissing", f"workingDir {work} does not exist on this node; create it")
        return work

    async def _resolve(self, unit: Unit, instance: Instance) -> None:
        try:
            unit.record.environment = await environment.resolve(self.api, instance)
        except ApiError as error:
            if not unit.record.environment:
                message = f"the values of env could not be read, the controller does not answer: {error}"
                raise RefusedError("EnvironmentUnavailable", message) from error

    async def _tell_main_control(self, unit: Unit, instance: Instance) -> None:
        address = await self.main_control.base(instance.metadata.namespace)
        if address and all(variable.name != MAIN_CONTROL_BASE for variable in instance.spec.template.env):
            unit.record.environment = {**unit.record.environment, MAIN_CONTROL_BASE: address}

    async def _write_files(self, unit: Unit, instance: Instance) -> None:
        from plum_agent import config_files

        template, folder = instance.spec.template, self.ledger.folder(unit.key)
        base = self._base_folder(folder, template, unit.package, unit.image_owner)
        try:
            files = await config_files.resolve(self.api, instance)
        except ApiError as error:
            if config_files.were_written(instance, folder, base):
                return
            message = f"the content of files could not be read, the controller does not answer: {error}"
            raise RefusedError("FilesUnavailable", message) from error
        owner = owner_of(template) or unit.image_owner
        await asyncio.to_thread(config_files.write, files, folder, base, owner)

    async def _check_reservations(self, instance: Instance) -> None:
        """The first run begins only when every device is its own: what it has got stays its own until it has ended."""
        for wanted in instance.spec.template.reservations:
            try:
                device = await self.api.get(Resource, ObjectKey(instance.metadata.namespace, wanted.resource))
            except ApiError as error:
                message = f"whether {wanted.resource} is reserved for it is not known, the controller does not answer: {error}"
                raise RefusedError(WAITS_FOR_RESERVATION, message) from error
            if device is None:
                raise RefusedError(WAITS_FOR_RESERVATION, f"there is no Resource {wanted.resource}; create it")
            if all(claim.uid != instance.metadata.uid for claim in device.status.reservations):
                claims = [claim.reason for claim in device.status.waiting if claim.uid == instance.metadata.uid]
                raise RefusedError(
                    WAITS_FOR_RESERVATION, claims[0] if claims else f"{wanted.resource} is not reserved for it yet"
                )

    async def _confirm(self, instance: Instance) -> None:
        """An exclusive run starts only on the word of the controller, given now: a cached object may be from before a
        partition, and somebody else may hold the right to run since then."""
        try:
            fresh = await self.api.get(Instance, instance.key)
            node = await self.api.get(Node, self.place.node)
        except ApiError as error:
            message = f"an exclusive instance starts only while the controller answers: {error}"
            raise RefusedError("LeaseNotHeld", message) from error
        metadata = instance.metadata
        if fresh is None or fresh.metadata.uid != metadata.uid or fresh.metadata.deletion_timestamp is not None:
            raise RefusedError("Replaced", "the instance is being deleted or was replaced; it does not start again")
        if node is not None and any(taint.key == TAINT_UNREACHABLE for taint in node.spec.taints):
            raise RefusedError(
                "NodeUnreachable", "the controller still counts this node as unreachable; waiting until it does not"
            )


def home_of(user: str, work: Path) -> str:
    name = user.partition(":")[0]
    try:
        if not name:
            return str(work)
        return (pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)).pw_dir
    except KeyError:
        return str(work)


def give_to(folder: Path, owner: tuple[int, int], user: str) -> None:
    """The workload owns the folder it starts in. A user that does not exist is refused by the driver."""
    uid, gid = owner
    status = folder.stat()
    if (status.st_uid, status.st_gid) != (uid, gid):
        try:
            os.chown(folder, uid, gid)
        except PermissionError as error:
            raise RefusedError("UserNotPermitted", f"the agent may not run anything as user {user!r}: {error}") from error
