"""Telling the API about an instance: its status through the delivery queue, and events for people."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from plum_client.clock import Clock
from plum_client.events import EventRecorder
from plum_client.informer import Informer
from plum_schemas.instance import Instance, InstanceStatus

from plum_agent import status as statuses
from plum_agent.delivery import DeliveryQueue, Report
from plum_agent.unit import Unit


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts together what is to be told, and puts it on its way if it says anything new."""

    informer: Informer[Instance]
    delivery: DeliveryQueue
    events: EventRecorder | None
    clock: Clock
    boot_id: str
    address: str

    def report(self, unit: Unit, instance: Instance) -> None:
        """The status as it is now.

        Nothing is told before the first list: only the object itself says since when its conditions are what they are.
        Everything is told again then.
        """
        if not self.informer.is_synced:
            return
        moment = statuses.Moment(self.clock.now(), self.clock.monotonic(), self.boot_id, self.address)
        status = statuses.status_of(unit, instance, moment)
        changed = self._is_news(unit, instance, status)
        before = unit.told
        unit.conditions, unit.told = status.conditions, status
        if changed:
            (namespace, name), uid = unit.key, instance.metadata.uid
            fields = statuses.builtins_of(status)
            self.delivery.put(Report(namespace=namespace, name=name, uid=uid, status=fields, conditions=status.conditions))
            if status.reason == statuses.BACK_OFF and (before is None or before.reason != statuses.BACK_OFF):
                self.warn(instance, statuses.BACK_OFF, status.message)

    def _is_news(self, unit: Unit, instance: Instance, status: InstanceStatus) -> bool:
        """Compared with the newest that is known: what waits, what arrived after this object was read, or the object."""
        waiting = self.delivery.newest(unit.key)
        if waiting is not None and waiting.uid == instance.metadata.uid:
            return unit.told is None or statuses.differs(unit.told, status)
        if unit.told is not None and int(instance.metadata.resource_version or 0) < unit.delivered:
            return statuses.differs(unit.told, status)
        return statuses.differs(instance.status, status)

    def warn(self, instance: Instance, reason: str, message: str) -> None:
        """An event; it may be lost, and it never fails."""
        if self.events is not None:
            with suppress(Exception):
                self.events.event(instance, "Warning", reason, message)
