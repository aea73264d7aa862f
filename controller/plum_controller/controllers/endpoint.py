"""The endpoint controller: gives every instance that serves its endpoints, and takes them away before it stops.

    watch Instance           -> key of the instance --+
    watch Service (selector) -> instances it selects -+-> reconcile -> delete what must not be, create what must
    watch Endpoint           -> its instance ---------+
    watch Node (zone)        -> its instances --------+
    watch Artifact           -> instances that run it +

What must be is decided by `domain.endpoints`. Withdrawing goes first in every reconcile: an endpoint that lingers costs a
request, one that comes late costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.errors import NotFoundError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance
from plum_schemas.node import Node
from plum_schemas.service import Service

from plum_controller.domain import endpoints as decisions
from plum_controller.domain.endpoint_health import Health, is_news, status_of

WORKERS = 32


def add_to(manager: Manager) -> None:
    """Register the controller."""
    reconciler = EndpointReconciler(manager)
    watches = [
        Watch(Instance, reconciler.changed_instance),
        Watch(Service, reconciler.selected_instances),
        Watch(Endpoint, instance_of),
        Watch(Node, reconciler.moved_instances),
        Watch(Artifact, reconciler.packaged_instances),
    ]
    manager.add(Controller("endpoint", reconciler, watches=watches, workers=WORKERS))


def by_node(instance: Instance) -> Sequence[str]:
    """Index: the node of an instance that may offer services."""
    return [instance.spec.node_name] if instance.spec.node_name and instance.spec.template.ports else []


def instance_of(old: Endpoint | None, new: Endpoint | None) -> Iterable[ObjectKey]:
    """The instance of an endpoint that came, went or was changed by hand."""
    if old is not None and new is not None and old.spec == new.spec:
        return []
    changed = [endpoint for endpoint in (old, new) if endpoint is not None and decisions.by_instance(endpoint)]
    return {ObjectKey(endpoint.metadata.namespace, endpoint.spec.instance_name) for endpoint in changed}


class EndpointReconciler:
    """Sees to the endpoints of one instance."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._instances = manager.informer(Instance, indexers={"endpoints-node": by_node})
        self._endpoints = manager.informer(Endpoint, indexers={"instance": decisions.by_instance})
        self._services = manager.informer(Service)
        self._nodes = manager.informer(Node)
        self._artifacts = manager.informer(Artifact, indexers={"package": decisions.by_package})

    # ---- what the informers say

    def changed_instance(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        """The instance, if it offers something or has endpoints."""
        instance = new or old
        if instance is None:
            return []
        template = instance.spec.template
        offers = template.services or template.artifact is not None or self._selecting(instance)
        known = self._endpoints.index_keys("instance", str(instance.key))
        return [instance.key] if offers or known else []

    def selected_instances(self, old: Service | None, new: Service | None) -> Iterable[ObjectKey]:
        """The instances that a Service selected before or selects now."""
        if old is not None and new is not None and old.spec == new.spec:
            return []
        chosen = [service for service in (old, new) if service is not None and service.spec.selector]
        if not chosen:
            return []
        instances = self._instances.list(chosen[0].metadata.namespace)
        return [i.key for i in instances if any(decisions.selects(service, i.metadata.labels) for service in chosen)]

    def moved_instances(self, old: Node | None, new: Node | None) -> Iterable[ObjectKey]:
        """The instances of a node whose zone changed."""
        if old is None or new is None or _zone(old) == _zone(new):
            return []
        return self._instances.index_keys("endpoints-node", new.metadata.name)

    def packaged_instances(self, old: Artifact | None, new: Artifact | None) -> Iterable[ObjectKey]:
        """The instances of a package that came after them."""
        if old is not None or new is None or not new.spec.services:
            return []
        (package,) = decisions.by_package(new)
        return [i.key for i in self._instances.list(new.metadata.namespace) if decisions.package_of(i) == package]

    def _artifact(self, instance: Instance) -> Artifact | None:
        package = decisions.package_of(instance)
        return next(iter(self._artifacts.by_index("package", package)), None) if package else None

    def _selecting(self, instance: Instance) -> list[Service]:
        services = self._services.list(instance.metadata.namespace)
        return [service for service in services if decisions.selects(service, instance.metadata.labels)]

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Withdraw, then announce."""
        instance = self._instances.get(key)
        known = {endpoint.metadata.name: endpoint for endpoint in self._endpoints.by_index("instance", str(key))}
        wanted = {}
        if instance is not None:
            node = self._nodes.get(ObjectKey("", instance.spec.node_name))
            labels = node.metadata.labels if node is not None else {}
            endpoints = decisions.wanted(instance, self._selecting(instance), labels, self._artifact(instance))
            wanted = {endpoint.metadata.name: endpoint for endpoint in endpoints}
        surplus = [e for e in known.values() if e.metadata.name not in wanted and self._must_go(e, instance)]
        await asyncio.gather(*(self._withdraw(endpoint) for endpoint in surplus))
        for name, endpoint in wanted.items():
            await self._announce(endpoint, known.get(name))
        return Result.wait_for_change()

    @staticmethod
    def _must_go(endpoint: Endpoint, instance: Instance | None) -> bool:
        """What an application registered itself, it may register before it is ready; it goes when the application does."""
        if endpoint.spec.ttl is None or instance is None or endpoint.spec.instance_uid != instance.metadata.uid:
            return True
        return decisions.is_leaving(instance)

    async def _withdraw(self, endpoint: Endpoint) -> None:
        try:
            await self._api.delete(Endpoint, endpoint.key, uid=endpoint.metadata.uid)
        except NotFoundError:
            return

    async def _announce(self, endpoint: Endpoint, known: Endpoint | None) -> None:
        if known is None:
            known = await self._api.create(endpoint)
        elif decisions.differs(known, endpoint):
            known = await self._api.apply(endpoint, force=True)
        status = status_of(known, Health("passing", ""), "InstanceReady", self._clock.now())
        if is_news(known, status):
            await self._api.write_status(msgspec.structs.replace(known, status=status))


def _zone(node: Node) -> list[str]:
    return [node.metadata.labels.get(label, "") for label in decisions.ZONE_LABELS]
