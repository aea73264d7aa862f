"""The namespace controller: empties a namespace that is being deleted, then lets it go.

    Namespace with deletionTimestamp -> delete all of every kind in it -> nothing left -> PUT /finalize

The API refuses creations in such a namespace, so what is found is deleted and does not come back.
"""

from __future__ import annotations

from typing import Any

import msgspec
from plum_client.conditions import set_condition
from plum_client.controller import Controller
from plum_client.errors import NotFoundError, error_of
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_client.transport import Request
from plum_schemas.base import Condition, KindInfo, ObjectKey
from plum_schemas.core import Namespace

from plum_controller.controllers.served_kinds import ServedKinds

LOOK_AGAIN_SECONDS = 0.5
"""Pause between looks at what is left. Each look lists one object of each kind; deletions of namespaces are rare."""
FINALIZER = "kubernetes"


def add_to(manager: Manager) -> None:
    """Register the controller."""
    manager.add(Controller("namespace", NamespaceReconciler(manager), Namespace, workers=2))


class NamespaceReconciler:
    """Drives the deletion of one namespace."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._namespaces = manager.informer(Namespace)
        self._kinds = ServedKinds(manager, lambda info, informer: None)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete what is in it; finalize when nothing is left. Does nothing for a namespace that is not being deleted."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None or FINALIZER not in namespace.spec.finalizers:
            return Result.wait_for_change()
        left: list[str] = []
        for info in self._kinds.namespaced():
            count = await self._empty(info, key.name)
            if count:
                left.append(f"{count} {info.resource}")
        if left:
            await self._report(namespace, "some objects are left: " + ", ".join(left))
            return Result.requeue(after=LOOK_AGAIN_SECONDS)
        await self._finalize(namespace)
        return Result.wait_for_change()

    async def _empty(self, info: KindInfo, namespace: str) -> int:
        """Delete all objects of a kind; the number that finalizers still hold."""
        found = await self._api.list_bytes(info, namespace)
        if not found.items:
            return 0
        await self._api.delete_collection(info, namespace)
        return len((await self._api.list_bytes(info, namespace)).items)

    async def _finalize(self, namespace: Namespace) -> None:
        """Take the finalizer out of the spec, which no other endpoint does."""
        body: dict[str, Any] = msgspec.to_builtins(namespace)
        body["spec"] = {"finalizers": [name for name in namespace.spec.finalizers if name != FINALIZER]}
        request = Request(
            "PUT", Namespace.info, name=namespace.metadata.name, subresource="finalize", body=msgspec.json.encode(body)
        )
        response = await self._api.transport.send(request)
        if response.status >= 400 and response.status != 404:
            raise error_of(response.status, response.body, f"finalize namespace {namespace.metadata.name}")

    async def _report(self, namespace: Namespace, message: str) -> None:
        """Say what keeps the deletion from finishing."""
        condition = Condition(type="NamespaceContentRemaining", status="True", reason="SomeResourcesRemain", message=message)
        conditions = set_condition(namespace.status.conditions, condition, self._clock.now())
        if conditions == namespace.status.conditions:
            return
        try:
            patch = {"status": {"conditions": msgspec.to_builtins(conditions)}}
            await self._api.patch(Namespace, namespace.key, patch, subresource="status")
        except NotFoundError:
            pass
