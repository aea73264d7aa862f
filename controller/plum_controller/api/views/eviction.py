"""`POST .../pods/NAME/eviction`: one instance asked to leave its node, with the guards of `plum node drain`.

    of a Deployment --annotation--> its Deployment replaces it as its strategy allows
                    201 once it is going, 429 with the reason while the Deployment cannot spare it
    of nobody       --delete-->     201
    of nodeReplicas --> 403: it belongs to this node, and no drain moves it

The annotation stays when the client gives up: an eviction that was asked for happens when it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.deployment import Deployment

from plum_controller.api.bodies import is_dry_run
from plum_controller.api.requests import Answer
from plum_controller.api.views.kind import ViewKind
from plum_controller.domain.drain import EVICT_ANNOTATION
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError, bad_request, forbidden, precondition_failed
from plum_controller.resources.options import DeleteOptions, WatchOptions, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.cache import WatchEvent

WAIT_SECONDS = 2.0
"""How long an answer waits for the Deployment: long enough for one that can spare the instance, short for a request."""
_SUCCESS = msgspec.json.encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})


async def evict(service: ResourceService, view: ViewKind, key: ObjectKey, body: Json, options: WriteOptions) -> Answer:
    """Ask one instance to go. Raises `ApiStatusError`."""
    named = (body.get("metadata") or {}).get("name") or key.name
    if body.get("kind") not in (None, "Eviction") or named != key.name:
        raise bad_request(f"the body of an eviction is an Eviction of policy/v1 with the name {key.name}")
    delete = _delete_options(body, options)
    service.get(view, key)  # 404 in the words of the view
    stored = service.registry.require(view.resource)
    instance = decode(service.get(stored, key))
    metadata = instance["metadata"]
    if delete.uid and delete.uid != metadata["uid"]:
        message = f"Precondition failed: UID in precondition: {delete.uid}, UID in object meta: {metadata['uid']}"
        raise precondition_failed(view.info, key.name, message)
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    node = (instance.get("spec") or {}).get("nodeName")
    finished = (instance.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if owner is None or owner.get("kind") != "Deployment" or not node or finished or "deletionTimestamp" in metadata:
        await service.delete(stored, key, delete)
        return Answer(_SUCCESS, status=201)
    _refuse_pinned(service, view, key, owner["name"], node)
    patch = {"metadata": {"uid": metadata["uid"], "annotations": {EVICT_ANNOTATION: node}}}
    if delete.dry_run:
        return Answer(_SUCCESS, status=201)
    return await _ask(service, view, key, patch, options, owner["name"])


async def _ask(
    service: ResourceService, view: ViewKind, key: ObjectKey, patch: Json, options: WriteOptions, deployment: str
) -> Answer:
    """Annotate, and wait a moment for the Deployment to act."""
    stored = service.registry.require(view.resource)
    going = asyncio.Event()

    def deliver(events: Sequence[WatchEvent]) -> None:
        if any(event.type == "DELETED" or b'"deletionTimestamp"' in event.entry.value for event in events):
            going.set()

    watcher = service.watch(stored, WatchOptions(key.namespace, fields=f"metadata.name={key.name}"), deliver)
    try:
        outcome = await service.patch(stored, key, "merge", patch, options)
        async with asyncio.timeout(WAIT_SECONDS):
            await going.wait()
    except TimeoutError:
        message = (
            f"Cannot evict pod as it would violate the pod's disruption budget: Deployment {deployment} has been asked to "
            f"replace instance {key.name} and cannot spare it yet (spec.strategy.maxUnavailable); it goes as soon as it can"
        )
        causes = [{"reason": "DisruptionBudget", "message": message}]
        raise ApiStatusError(429, "TooManyRequests", message, {"name": key.name, "kind": "pods", "causes": causes}) from None
    finally:
        watcher.close()
    return Answer(_SUCCESS, status=201, revision=outcome.revision)


def _refuse_pinned(service: ResourceService, view: ViewKind, key: ObjectKey, deployment: str, node: str) -> None:
    kind = service.registry.require(Deployment.info.resource)
    try:
        spec = decode(service.get(kind, ObjectKey(key.namespace, deployment))).get("spec") or {}
    except ApiStatusError as error:
        if error.code != 404:
            raise
        return
    if node in (spec.get("nodeReplicas") or {}):
        raise forbidden(
            view.info,
            key.name,
            f"spec.nodeReplicas of Deployment {deployment} wants it on node {node}; `plum node drain {node}` leaves it there, "
            f"--pod-selector='plum.dev/deployment notin ({deployment})' does so here",
        )


def _delete_options(body: Json, options: WriteOptions) -> DeleteOptions:
    given = body.get("deleteOptions") or {}
    preconditions = given.get("preconditions") or {}
    dry_run = options.dry_run or is_dry_run(given.get("dryRun"), "DeleteOptions")
    return DeleteOptions(uid=preconditions.get("uid"), dry_run=dry_run, user=options.user)
