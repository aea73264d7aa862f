"""Builtins that change objects of the namespace of their run.

    builtin.apply     {manifest | manifests, force}           server-side apply, in order
    builtin.patch     {kind, name, patch, type, subresource}  merge or json
    builtin.delete    {kind, name}
    builtin.rollout   {name, timeout}                         until a Deployment runs its newest template; fails as that does
    builtin.rollback  {name, revision}                        a Deployment back to an earlier revision, 0 for the one before
    builtin.transact  {compare, then, else}                   one transaction over objects and keys

A run must not reach further than whoever may create it: objects of other namespaces, of the cluster, and those that give
rights or hold secrets are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiError, NotFoundError, RevisionCompactedError
from plum_client.transport import Request
from plum_flow.calls import Call, Surroundings, TaskFailedError
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.deployment import Deployment
from plum_schemas.durations import parse_duration

FIELD_MANAGER = "plum-workflow"
REFUSED_KINDS = frozenset({"Secret", "Token", "ServiceAccount", "Role", "RoleBinding", "Lease", "Sync", "Trigger"})
"""What a run neither reads nor writes. Syncs and Triggers act with the controller's rights: who writes one by hand is asked for
the rights that it uses, and nobody could be asked here."""
MAX_MANIFESTS = 100
TRANSACTION = KindInfo(kind="Transaction", plural="transactions", namespaced=False)
Payload = Mapping[str, Any]


async def apply(payload: Payload, call: Call, around: Surroundings) -> Any:
    """Apply manifests; the output names what they are now."""
    given = payload.get("manifests") if payload.get("manifests") is not None else [payload.get("manifest")]
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise unfit("manifest", given, "an object, or a list of objects in manifests")
    if len(given) > MAX_MANIFESTS:
        raise unfit("manifests", f"{len(given)} objects", f"at most {MAX_MANIFESTS}")
    applied = []
    for index, one in enumerate(given):
        manifest = dict(one)
        info = await _kind(around.api, str(manifest.get("kind") or ""), f"manifests[{index}].kind")
        metadata = dict(manifest.get("metadata") or {})
        if metadata.setdefault("namespace", call.namespace) != call.namespace:
            raise unfit(f"manifests[{index}].metadata.namespace", metadata["namespace"], f"{call.namespace}, that of the run")
        manifest |= {"apiVersion": info.api_version, "kind": info.kind, "metadata": metadata}
        with _told(f"apply {info.kind} {metadata.get('name')}"):
            made = await around.api.apply(
                manifest, kind=info, field_manager=FIELD_MANAGER, force=bool(payload.get("force", True))
            )
        applied.append(_shown(made))
    return {"applied": applied}


async def patch(payload: Payload, call: Call, around: Surroundings) -> Any:
    """Change part of an object; the output is what it is now."""
    info, key = await _target(payload, call, around)
    change, kind = payload.get("patch"), payload.get("type", "merge")
    if kind not in ("merge", "json"):
        raise unfit("type", kind, "merge or json")
    if not isinstance(change, dict if kind == "merge" else list):
        raise unfit("patch", change, "an object for a merge, a list of operations for json")
    with _told(f"patch {info.kind} {key.name}"):
        made = await around.api.patch(
            info, key, change, type=kind, subresource=_subresource(payload), field_manager=FIELD_MANAGER
        )
    return _shown(made)


async def delete(payload: Payload, call: Call, around: Surroundings) -> Any:
    """Delete an object; one that is not there is a success."""
    info, key = await _target(payload, call, around)
    with _told(f"delete {info.kind} {key.name}"):
        await around.api.delete(info, key)
    return {"kind": info.kind, "name": key.name, "deleted": True}


async def rollout(payload: Payload, call: Call, around: Surroundings) -> Any:
    """Wait until a Deployment runs its newest template everywhere. Fails when the rollout fails or takes too long."""
    key = ObjectKey(call.namespace, _name(payload))
    seconds = parse_duration(str(payload.get("timeout") or "10m"))
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    watch = around.api.watch(Deployment, key.namespace, fields=f"metadata.name={key.name}")
                    async with aclosing(watch) as events:
                        if await around.api.get(Deployment, key) is None:
                            raise TaskFailedError(f"there is no Deployment {key.name}", "NotFound", retryable=False)
                        async for event in events:
                            if event.type != "DELETED" and (found := _rolled_out(event.object)) is not None:
                                return found
                except RevisionCompactedError:
                    continue
                except ApiError:
                    await asyncio.sleep(0.5)
    except TimeoutError:
        raise TaskFailedError(f"Deployment {key.name} was not rolled out within {seconds:g} s", "Timeout") from None


def _rolled_out(deployment: Deployment) -> Any:
    """The output once a rollout is complete; None while it goes on. Raises `TaskFailedError` when it failed."""
    status = deployment.status
    if status.observed_generation < deployment.metadata.generation:
        return None
    failed = next((c for c in status.conditions if c.type == "Progressing" and c.status == "False"), None)
    if failed is not None:
        text = f"Deployment {deployment.metadata.name}: {failed.message or failed.reason}"
        raise TaskFailedError(text, failed.reason or "RolloutFailed", retryable=False)
    if not status.rollout.complete:
        return None
    return {"name": deployment.metadata.name, "revision": status.revision, "available": status.available_replicas}


async def rollback(payload: Payload, call: Call, around: Surroundings) -> Any:
    """Give a Deployment the template of an earlier revision."""
    from plum_schemas.revision import Revision

    key, wanted = ObjectKey(call.namespace, _name(payload)), payload.get("revision", 0)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise unfit("revision", wanted, "the number of a revision, or 0 for the one before the current one")
    with _told(f"roll back Deployment {key.name}"):
        deployment = await around.api.get(Deployment, key)
        if deployment is None:
            raise TaskFailedError(f"there is no Deployment {key.name}", "NotFound", retryable=False)
        revisions = [
            found
            for found in await around.api.list(Revision, key.namespace)
            if found.spec.target.kind == "Deployment" and found.spec.target.name == key.name and found.spec.template is not None
        ]
        numbers = sorted(found.spec.number for found in revisions)
        if wanted == 0:
            wanted = max((number for number in numbers if number < max(numbers)), default=0)
        chosen = next((found for found in revisions if found.spec.number == wanted), None)
        if chosen is None:
            text = f"Deployment {key.name} has no revision {wanted}; it has {', '.join(map(str, numbers)) or 'none'}"
            raise TaskFailedError(text, "RevisionMissing", retryable=False)
        template = msgspec.to_builtins(chosen.spec.template)
        operation = [{"op": "replace", "path": "/spec/template", "value": template}]
        await around.api.patch(Deployment, key, operation, type="json", field_manager=FIELD_MANAGER)
    return {"name": key.name, "revision": wanted}


async def transact(payload: Payload, call: Call, around: Surroundings) -> Any:
    """One transaction: compare, then or else. The body is that of the API, every part in the namespace of the run."""
    body: dict[str, Any] = {}
    for part in ("compare", "then", "else"):
        body[part] = [_inside(one, f"{part}[{index}]", call.namespace) for index, one in enumerate(payload.get(part) or [])]
    content = msgspec.json.encode(body)
    request = Request("POST", TRANSACTION, query={"fieldManager": FIELD_MANAGER}, body=content, content_type="application/json")
    with _told("the transaction"):
        response = await around.api.transport.send(request)
    found = msgspec.json.decode(response.body)
    if response.status >= 400:
        message = found.get("message", "") if isinstance(found, dict) else ""
        raise TaskFailedError(f"the transaction was refused: {message}", "Refused", str(response.status))
    return {"succeeded": found["succeeded"], "revision": found["revision"]}


def _inside(one: Any, path: str, namespace: str) -> Any:
    """A part of a transaction, in the namespace of the run."""
    if not isinstance(one, dict):
        raise unfit(path, one, "an object")
    for place in _targets(one):
        kind = str(place.get("kind") or ("KV" if "key" in place else ""))
        if kind in REFUSED_KINDS:
            raise unfit(f"{path}.kind", kind, "a kind that gives no rights and holds no secrets")
        metadata = place.get("metadata") if isinstance(place.get("metadata"), dict) else place
        assert metadata is not None  # noqa: S101
        if metadata.setdefault("namespace", namespace) != namespace:
            raise unfit(f"{path}.namespace", metadata["namespace"], f"{namespace}, that of the run")
    return one


def _targets(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    verbs = [value for name, value in one.items() if isinstance(value, dict) and name not in ("value", "metadata")]
    yield from verbs or [one]


async def _target(payload: Payload, call: Call, around: Surroundings) -> tuple[KindInfo, ObjectKey]:
    info = await _kind(around.api, str(payload.get("kind") or ""), "kind")
    return info, ObjectKey(call.namespace, _name(payload))


async def _kind(api: ApiClient, word: str, path: str) -> KindInfo:
    if not word:
        raise unfit(path, word, "a kind, such as Deployment")
    try:
        info = await api.resolve(word)
    except ApiError as error:
        raise TaskFailedError(f"spec.payload.{path}: {error.message}", "InvalidPayload", retryable=False) from error
    if info.kind in REFUSED_KINDS or not info.namespaced:
        raise unfit(path, word, "a kind of namespaced objects that give no rights and hold no secrets")
    return info


def _name(payload: Payload) -> str:
    name = payload.get("name")
    if not isinstance(name, str) or not name:
        raise unfit("name", name, "the name of an object")
    return name


def _subresource(payload: Payload) -> str:
    found = str(payload.get("subresource") or "")
    if found not in ("", "scale"):
        raise unfit("subresource", found, "scale, or nothing")
    return found


def _shown(made: Any) -> dict[str, Any]:
    metadata = made["metadata"]
    return {"kind": made["kind"], "name": metadata["name"], "resourceVersion": metadata.get("resourceVersion")}


def unfit(field: str, value: Any, wanted: str) -> TaskFailedError:
    """A payload that cannot be used."""
    return TaskFailedError(f"spec.payload.{field} is {value!r:.100}; give {wanted}", "InvalidPayload", retryable=False)


class _told:  # noqa: N801  reads as a word where it is used
    """Turns refusals of the API into failures of the task. What may have happened is tried again: each write may be repeated."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ApiError):
            retryable = not isinstance(error, NotFoundError) and (error.code or 500) not in (400, 403, 422)
            text = f"{self._what}: {error.message}"
            raise TaskFailedError(text, "Refused", str(error.code or ""), retryable=retryable) from error
