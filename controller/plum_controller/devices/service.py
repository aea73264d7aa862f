"""The parts of devices in the controller, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plum_client.manager import Manager
from plum_schemas.operation import Operation
from plum_schemas.resource import Resource

from plum_controller.devices import operations, presence, reserving, retention
from plum_controller.devices.host import ControllerHost
from plum_controller.devices.recording import Recorder


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

    def close(self) -> None:
        """End all streams."""
        self.host.close()


def add_to(manager: Manager, settings: DeviceSettings) -> Devices:
    """Register everything that concerns devices."""
    recorder = Recorder(manager.api, manager.informer(Resource), manager.clock)
    host = ControllerHost(manager.api, manager.clock, recorder, manager.informer(Operation))
    turns = operations.add_to(manager, host, settings.operation_lost_seconds)
    reserving.add_to(manager, turns)
    presence.add_to(manager, host)
    retention.add_to(manager, settings)
    return Devices(recorder, host)
