"""The parts of devices in the controller, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plum_client.devices.drivers import Device, Drivers
from plum_client.manager import Manager
from plum_client.outgoing import OutgoingClient
from plum_schemas.operation import Operation
from plum_schemas.resource import Resource
from plum_schemas.taskrun import TaskRun
from plum_schemas.worker import Worker

from plum_controller.devices import operations, presence, reserving, retention
from plum_controller.devices.host import ControllerHost
from plum_controller.devices.recording import Recorder
from plum_controller.devices.worker_driver import ConnectedWorkers, RunEnds, WorkerDevice
from plum_controller.domain.operation_plan import host_of


class DeviceSettings(retention.RetentionSettings, Protocol):
    """What devices need of the settings."""

    @property
    def operation_lost_seconds(self) -> float:
        """How long a node may be away before operations that it has count as lost."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What the API answers devices with."""

    recorder: Recorder
    host: ControllerHost
    drivers: Drivers

    def close(self) -> None:
        """End all streams."""
        self.drivers.close()
        self.host.close()


def add_to(manager: Manager, settings: DeviceSettings, outgoing: OutgoingClient) -> Devices:
    """Register everything that concerns devices. `outgoing` calls those that are reached by HTTP."""
    recorder = Recorder(manager.api, manager.informer(Resource), manager.clock)
    host = ControllerHost(manager.api, manager.clock, recorder, manager.informer(Operation))
    turns = operations.add_to(manager, host, settings.operation_lost_seconds)
    reserving.add_to(manager, turns)
    presence.add_to(manager, host)
    retention.add_to(manager, settings)
    drivers = _drivers(manager, host, outgoing)
    return Devices(recorder, host, drivers)


def _drivers(manager: Manager, host: ControllerHost, outgoing: OutgoingClient) -> Drivers:
    ends = RunEnds(manager.api, manager.informer(TaskRun))

    def workers_changed(namespace: str, task: str) -> None:
        for key, driver in drivers.specs():
            if key.namespace == namespace and driver.worker is not None and driver.worker.task == task:
                drivers.look(key)

    workers = ConnectedWorkers(manager.informer(Worker), workers_changed)

    def make(resource: Resource) -> Device | None:
        driver = resource.spec.driver
        if driver.worker is not None:
            return WorkerDevice(resource, driver.worker, manager.api, ends, workers)
        if driver.http is not None and not resource.spec.node_name:
            from plum_client.devices.http_driver import HttpDevice

            return HttpDevice(resource, driver.http, outgoing)
        return None

    drivers = Drivers(host.desk, make)
    host.on_restored = drivers.look

    def changed(old: Resource | None, new: Resource | None) -> None:
        resource = new or old
        if resource is not None:
            drivers.set_resource(resource.key, None if new is None or host_of(new.spec) else new)

    manager.informer(Resource).add_handler(changed)
    return drivers
