"""The objects of the fake API and the rules of every write, without transport or event loop.

    create, replace, patch, delete -> rules (revision, generation, status, finalizers) -> history -> watchers

What is left out is what reconcilers do not notice: schemas and defaults, field owners of updates, name checks,
namespaces (every one exists). Garbage collection is a controller, here as there.
"""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple, cast

import msgspec
from plum_schemas.base import KindInfo, ObjectKey

from plum_client.clock import Clock, to_timestamp
from plum_client.codec import JsonObject, encode
from plum_client.fake_patches import PatchError, Path, json_patch, leaves, merge_patch, without

HISTORY = 50_000
"""Changes kept at least; a watch from before gets 410."""
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_APPLY_IGNORED = frozenset(
    {("apiVersion",), ("kind",), *(("metadata", name) for name in ("name", "namespace", "uid", "resourceVersion", "generation"))}
)


class RefusedError(Exception):
    """An answer of 400 or more."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})

    def body(self) -> bytes:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return encode(status | {"message": self.message, "reason": self.reason, "details": self.details, "code": self.code})


class Change(NamedTuple):
    """One entry of the history."""

    revision: int
    info: KindInfo
    key: ObjectKey
    old: JsonObject | None
    new: JsonObject | None
    """None after a deletion."""
    value: bytes
    """The object as stored, for a deletion its last state with the revision of the deletion."""


class Outcome(NamedTuple):
    """What a write answers."""

    value: JsonObject
    revision: int
    changed: bool
    created: bool = False
    gone: bool = False


class Objects:
    """All objects, their history, and the rules."""

    def __init__(self, clock: Callable[[], Clock], random: Random) -> None:
        self.revision = 1
        """Of the last write."""
        self.compacted = 0
        """Watches from before this revision are refused."""
        self.history: list[Change] = []
        self.kinds: dict[str, KindInfo] = {}
        self._by_resource: dict[str, dict[ObjectKey, JsonObject]] = {}
        self._applied: dict[tuple[str, ObjectKey], dict[str, frozenset[Path]]] = {}
        """Fields each manager applied last, for server-side apply."""
        self._clock = clock
        self._random = random
        self._together = 0
        """Revision of the transaction that is being done; 0 outside of one."""

    # ---- transactions

    @contextmanager
    def together(self, *, keep: bool) -> Iterator[None]:
        """Make the writes inside the block one revision; none of them, if it raises or is not to be kept."""
        before = (self.revision, len(self.history), {name: dict(kept) for name, kept in self._by_resource.items()})
        applied = dict(self._applied)
        self._together = self.revision + 1
        try:
            yield
        except BaseException:
            keep = False
            raise
        finally:
            self._together = 0
            if not keep:
                self.revision, count, stored = before
                del self.history[count:]
                for name, kept in self._by_resource.items():
                    kept.clear()
                    kept.update(stored.get(name, {}))
                self._applied = applied

    # ---- reading

    def of(self, info: KindInfo) -> dict[ObjectKey, JsonObject]:
        self.kinds.setdefault(info.resource, info)
        return self._by_resource.setdefault(info.resource, {})

    def read(self, info: KindInfo, key: ObjectKey) -> JsonObject:
        """The stored object, not to be changed. Raises `RefusedError` 404."""
        found = self.of(info).get(key)
        if found is None:
            raise RefusedError(404, "NotFound", f'{info.resource} "{key.name}" not found', _details(info, key))
        return found

    def since(self, revision: int) -> Sequence[Change]:
        """The kept changes after a revision, in order."""
        return self.history[bisect_right(self.history, revision, key=lambda change: change.revision) :]

    # ---- writing

    def load(self, info: KindInfo, body: JsonObject) -> None:
        """Put an object in as it is, with its status and the metadata it names; only the revision is new."""
        given = body.get("metadata") or {}
        key = ObjectKey(str(given.get("namespace") or "default") if info.namespaced else "", str(given["name"]))
        own: JsonObject = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {}), "uid": self._uid()}
        own |= {"creationTimestamp": self._now(), **({"generation": 1} if info.has_generation else {})}
        value = {**body, "apiVersion": info.api_version, "kind": info.kind, "metadata": own | given}
        self._store(info, key, self.of(info).get(key), value, False)

    def create(self, info: KindInfo, namespace: str, body: JsonObject, dry_run: bool) -> Outcome:
        """Raises `RefusedError` for a taken name."""
        metadata = {name: value for name, value in (body.get("metadata") or {}).items() if value}
        key = ObjectKey(namespace if info.namespaced else "", str(metadata.get("name") or self._generated(metadata)))
        if metadata.get("resourceVersion"):
            raise RefusedError(500, "", "resourceVersion should not be set on objects to be created")
        self._check_identity(info, key, body)
        existing = self.of(info).get(key)
        if existing is not None:
            deleting = "object is being deleted: " if existing["metadata"].get("deletionTimestamp") else ""
            message = f'{deleting}{info.resource} "{key.name}" already exists'
            raise RefusedError(409, "AlreadyExists", message, _details(info, key))
        metadata = {
            name: metadata[name] for name in ("labels", "annotations", "finalizers", "ownerReferences") if metadata.get(name)
        }
        own: JsonObject = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
        own |= {"uid": self._uid(), "creationTimestamp": self._now()}
        if info.has_generation:
            own["generation"] = 1
        value = {"apiVersion": info.api_version, "kind": info.kind, "metadata": own | metadata}
        value |= {name: part for name, part in body.items() if name not in ("apiVersion", "kind", "metadata")}
        if info.has_status:
            value.pop("status", None)
        return self._store(info, key, None, value, dry_run)

    def replace(self, info: KindInfo, key: ObjectKey, subresource: str, body: JsonObject, dry_run: bool) -> Outcome:
        """PUT. Raises `RefusedError` for a missing object or a stale resource version."""
        if info.kind == "Lease" and key not in self.of(info):
            return self.create(info, key.namespace, body, dry_run)
        live = self.read(info, key)
        self._check_identity(info, key, body)
        written_before = live["metadata"]["resourceVersion"] == str(self._together)
        if not (body.get("metadata") or {}).get("resourceVersion") and not info.strategic_merge and not written_before:
            message = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise self._invalid(info, key, "metadata.resourceVersion", message)
        return self._update(info, key, subresource, live, body, dry_run)

    def patch(self, info: KindInfo, key: ObjectKey, subresource: str, kind: str, patch: Any, dry_run: bool) -> Outcome:
        """Merge or JSON patch. Raises `RefusedError`."""
        live = self.read(info, key)
        try:
            if kind == "json":
                changed = json_patch(live, patch)
            elif isinstance(patch, dict):
                changed = merge_patch(live, patch)
            else:
                raise RefusedError(400, "BadRequest", "error decoding patch: a merge patch is an object")
        except PatchError as error:
            raise RefusedError(422, "Invalid", f"the patch does not apply: {error}") from error
        return self._update(info, key, subresource, live, cast("JsonObject", changed), dry_run)

    def apply(self, info: KindInfo, key: ObjectKey, config: JsonObject, manager: str, force: bool, dry_run: bool) -> Outcome:
        """Server-side apply, ownership by path. Raises `RefusedError` 409 naming the owner of a field."""
        live = self.of(info).get(key)
        owners = dict(self._applied.get((info.resource, key), {})) if live is not None else {}
        fields = {path: value for path, value in leaves(config).items() if path not in _APPLY_IGNORED}
        stored = leaves(live) if live is not None else {}
        for owner, owned in owners.items():
            stolen = frozenset(path for path in owned if path in fields and stored.get(path) != fields[path])
            if owner == manager or not stolen:
                continue
            if not force:
                path = min(stolen)
                message = f'Apply failed with 1 conflict: conflict with "{owner}": .{".".join(path)}'
                cause = {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": f".{'.'.join(path)}"}
                raise RefusedError(409, "Conflict", message, {"causes": [cause]})
            owners[owner] = owned - stolen
        if live is None:
            outcome = self.create(info, key.namespace, config, dry_run)
        else:
            merged = cast("JsonObject", merge_patch(live, config))
            others = frozenset[Path]().union(*(owned for owner, owned in owners.items() if owner != manager))
            for path in owners.get(manager, frozenset()) - fields.keys() - others:
                merged = cast("JsonObject", without(merged, path))
            outcome = self._update(info, key, "", live, merged, dry_run)
        if not dry_run:
            owners[manager] = frozenset(fields)
            self._applied[(info.resource, key)] = owners
        return outcome

    def delete(self, info: KindInfo, key: ObjectKey, options: Mapping[str, Any], dry_run: bool) -> Outcome:
        """Delete, or mark where finalizers hold it. Raises `RefusedError`."""
        live = self.read(info, key)
        metadata = live["metadata"]
        for name, wanted in (options.get("preconditions") or {}).items():
            if wanted and metadata.get(name) != wanted:
                message = f"Precondition failed: {name} in precondition: {wanted}, in object meta: {metadata.get(name)}"
                raise RefusedError(409, "Conflict", message, _details(info, key))
        finalizers = list(metadata.get("finalizers") or ())
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(str(options.get("propagationPolicy") or ""))
        if extra and extra not in finalizers and not metadata.get("deletionTimestamp"):
            finalizers.append(extra)
        if not finalizers:
            return self._remove(info, key, live, dry_run)
        if metadata.get("deletionTimestamp"):
            return Outcome(live, int(metadata["resourceVersion"]), False)
        marked = metadata | {"finalizers": finalizers, "deletionTimestamp": self._now(), "deletionGracePeriodSeconds": 0}
        if info.has_generation:
            marked["generation"] = int(metadata.get("generation") or 0) + 1
        return self._store(info, key, live, live | {"metadata": marked}, dry_run)

    def compact(self, revision: int) -> None:
        """Forget the history up to and including a revision."""
        self.compacted = max(self.compacted, min(revision, self.revision))
        self.history = [change for change in self.history if change.revision > self.compacted]

    # ---- inside

    def _update(
        self, info: KindInfo, key: ObjectKey, subresource: str, live: JsonObject, body: JsonObject, dry_run: bool
    ) -> Outcome:
        before, after = live["metadata"], body.get("metadata") or {}
        sent = after.get("resourceVersion")
        if sent and sent != before["resourceVersion"] and before["resourceVersion"] != str(self._together):
            message = (
                f'Operation cannot be fulfilled on {info.resource} "{key.name}": the object has been modified; '
                "please apply your changes to the latest version and try again"
            )
            raise RefusedError(409, "Conflict", message, _details(info, key))
        if after.get("uid") and after["uid"] != before["uid"]:
            raise RefusedError(409, "Conflict", f"Precondition failed: UID in precondition: {after['uid']}", _details(info, key))
        if subresource == "status":
            new = {**live, "status": body["status"]} if body.get("status") is not None else dict(live)
            return self._store(info, key, live, new, dry_run)
        metadata = self._new_metadata(info, key, before, after)
        new = {**body, "apiVersion": info.api_version, "kind": info.kind, "metadata": metadata}
        if info.has_status:
            new.pop("status", None)
            if "status" in live:
                new["status"] = live["status"]
        if info.has_generation and _desired(info, new) != _desired(info, live):
            metadata["generation"] = int(before.get("generation") or 0) + 1
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return self._remove(info, key, new, dry_run)
        return self._store(info, key, live, new, dry_run)

    def _new_metadata(self, info: KindInfo, key: ObjectKey, before: Mapping[str, Any], after: Mapping[str, Any]) -> JsonObject:
        """What a client may write, over what only the server writes."""
        added = [name for name in after.get("finalizers") or () if name not in (before.get("finalizers") or ())]
        if before.get("deletionTimestamp") and added:
            text = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
            raise self._invalid(info, key, "metadata.finalizers", f"{text}, found new finalizers {added}")
        written = ("labels", "annotations", "finalizers", "ownerReferences")
        kept = {name: value for name, value in before.items() if name not in written}
        return kept | {name: after[name] for name in written if after.get(name)}

    def _store(self, info: KindInfo, key: ObjectKey, live: JsonObject | None, new: JsonObject, dry_run: bool) -> Outcome:
        if live is not None and new == live:
            return Outcome(live, int(live["metadata"]["resourceVersion"]), False)
        if dry_run:
            return Outcome(new, 0, False, live is None)
        self.revision = self._together or self.revision + 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.revision)}}
        self.of(info)[key] = new
        self._log(Change(self.revision, info, key, live, new, encode(new)))
        return Outcome(new, self.revision, True, live is None)

    def _remove(self, info: KindInfo, key: ObjectKey, last: JsonObject, dry_run: bool) -> Outcome:
        if dry_run:
            return Outcome(last, 0, False, gone=True)
        self.revision = self._together or self.revision + 1
        live = self.of(info).pop(key)
        self._applied.pop((info.resource, key), None)
        last = {**live, "metadata": {**live["metadata"], "resourceVersion": str(self.revision)}}
        self._log(Change(self.revision, info, key, live, None, encode(last)))
        return Outcome(last, self.revision, True, gone=True)

    def _log(self, change: Change) -> None:
        if self._together:
            change = self._joined(change)
        self.history.append(change)
        if len(self.history) > 2 * HISTORY:
            self.compact(self.history[-HISTORY].revision - 1)

    def _joined(self, change: Change) -> Change:
        """One change for all writes of an object in a transaction."""
        for index in range(len(self.history) - 1, -1, -1):
            earlier = self.history[index]
            if earlier.revision != change.revision:
                break
            if (earlier.info, earlier.key) == (change.info, change.key):
                del self.history[index]
                return change._replace(old=earlier.old)
        return change

    def _check_identity(self, info: KindInfo, key: ObjectKey, body: Mapping[str, Any]) -> None:
        metadata = body.get("metadata") or {}
        name, namespace = metadata.get("name"), metadata.get("namespace")
        if name and name != key.name:
            text = f"the name of the object ({name}) does not match the name on the URL ({key.name})"
            raise RefusedError(400, "BadRequest", text)
        if namespace and info.namespaced and namespace != key.namespace:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise RefusedError(400, "BadRequest", text)
        if body.get("apiVersion") not in (None, "", info.api_version):
            text = f"the API version in the data ({body['apiVersion']}) does not match the expected API version"
            raise RefusedError(400, "BadRequest", f"{text} ({info.api_version})")

    def _generated(self, metadata: Mapping[str, Any]) -> str:
        prefix = str(metadata.get("generateName") or "")
        if not prefix:
            raise RefusedError(422, "Invalid", "metadata.name: Required value: name or generateName is required")
        return prefix[:58] + "".join(self._random.choices(_NAME_LETTERS, k=5))

    def _invalid(self, info: KindInfo, key: ObjectKey, field: str, message: str) -> RefusedError:
        cause = {"reason": "FieldValueInvalid", "message": message.partition(": ")[2], "field": field}
        group = f".{info.group}" if info.group else ""
        details = {"name": key.name, "group": info.group, "kind": info.kind, "causes": [cause]}
        return RefusedError(422, "Invalid", f'{info.kind}{group} "{key.name}" is invalid: {message}', details)

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _now(self) -> str:
        return to_timestamp(self._clock().now())


def _details(info: KindInfo, key: ObjectKey) -> JsonObject:
    return {"name": key.name, "group": info.group, "kind": info.plural}


def _desired(info: KindInfo, value: Mapping[str, Any]) -> JsonObject:
    """The part whose changes move the generation."""
    ignored = ("apiVersion", "kind", "metadata", "status") if info.has_status else ("apiVersion", "kind", "metadata")
    return {name: part for name, part in value.items() if name not in ignored}


def decode_body(body: bytes) -> Any:
    """The JSON of a request. Raises `RefusedError` 400."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise RefusedError(400, "BadRequest", f"couldn't get version/kind; json parse error: {error}") from error
