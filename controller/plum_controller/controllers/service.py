"""The service controller: counts the endpoints of a Service and says who answers, or why nobody does.

    watch Service                   -> its key ----------------+
    watch Endpoint                  -> Service of that name ---+-> reconcile -> Service.status
    watch Instance (ready, message) -> Services it belongs to -+

A service with a thousand endpoints that come up together is counted a few times a second, not a thousand times.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance
from plum_schemas.service import Service

from plum_controller.domain.endpoints import belongs, by_package, by_service, package_of
from plum_controller.domain.service_status import status_of

PAUSE_SECONDS = 0.1
"""Between two counts of one service."""


def add_to(manager: Manager) -> None:
    """Register the controller."""
    reconciler = ServiceReconciler(manager)
    watches = [Watch(Endpoint, reconciler.of_endpoint), Watch(Instance, reconciler.of_instance)]
    manager.add(Controller("service", reconciler, Service, watches=watches, workers=4))


class ServiceReconciler:
    """Writes the status of one Service."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._services = manager.informer(Service)
        self._endpoints = manager.informer(Endpoint, indexers={"service": by_service})
        self._instances = manager.informer(Instance)
        self._artifacts = manager.informer(Artifact, indexers={"package": by_package})
        self._counted: dict[ObjectKey, float] = {}
        """When a service was counted last, in monotonic seconds."""

    def of_endpoint(self, old: Endpoint | None, new: Endpoint | None) -> Iterable[ObjectKey]:
        """The Services of an endpoint before and after a change."""
        keys = {ObjectKey(e.metadata.namespace, e.spec.service) for e in (old, new) if e is not None}
        return [key for key in keys if key in self._services]

    def of_instance(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        """The Services that an instance belongs to, when what keeps it from serving changes."""
        if old is not None and new is not None and _said(old) == _said(new):
            return []
        found = new or old
        if found is None:
            return []
        return [s.key for s in self._services.list(found.metadata.namespace) if self._belongs(found, s)]

    def _belongs(self, instance: Instance, service: Service) -> bool:
        package = package_of(instance)
        return belongs(instance, service, next(iter(self._artifacts.by_index("package", package)), None) if package else None)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Count, and write what differs."""
        service = self._services.get(key)
        if service is None:
            self._counted.pop(key, None)
            return Result.wait_for_change()
        left = self._counted.get(key, -PAUSE_SECONDS) + PAUSE_SECONDS - self._clock.monotonic()
        if left > 0:
            return Result.requeue(left)
        self._counted[key] = self._clock.monotonic()
        endpoints = self._endpoints.by_index("service", str(key))
        passing = any(endpoint.state == "passing" for endpoint in endpoints)
        # Who could serve and does not is looked for only when nobody serves: it means going through the instances.
        silent = [] if passing else [i for i in self._instances.list(key.namespace) if self._belongs(i, service)]
        status = status_of(service, endpoints, silent, self._clock.now())
        if status != service.status:
            await self._api.write_status(msgspec.structs.replace(service, status=status))
        return Result.wait_for_change()


def _said(instance: Instance) -> tuple[object, ...]:
    status = instance.status
    return status.ready, status.phase, status.message, instance.metadata.deletion_timestamp is None, instance.metadata.labels
