"""The short way to write an entry of the key-value store: what most puts are, without what only other writes need.

    put --entry new, or all of it owned by this writer--> bytes --> commit         about a third of the work
        --anything else--> the transaction that every other write could use

Both ways store the same object (`tests/integration/resources/test_kv.py` compares them). What makes the short one short:
an entry has no status, no short forms and no fields to prune, and its only owner owns all of it before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.kv import KV, kv_name
from plum_schemas.validation import FieldError

from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, same, tail_of, with_revision
from plum_controller.resources.errors import ApiStatusError, Cause, conflict, invalid, not_found
from plum_controller.resources.fields.tracking import track_update
from plum_controller.resources.kv_rules import expiry
from plum_controller.resources.namespaces import NAMESPACES, admit_create
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.transactions import Comparison, Operation, Plan, Transactor
from plum_controller.store.base import ABSENT, Check, Key, Revision, Transaction, Write
from plum_controller.store.cache import Entry
from plum_controller.store.errors import PreconditionError

if TYPE_CHECKING:
    from plum_controller.resources.kinds import ResourceKind

RESOURCE = KV.info.resource
MAX_ATTEMPTS = 50

Value = Callable[[str], Any]
"""Gives the value as JSON has it, for the type of the entry (empty: nobody has named one). Raises `ApiStatusError`."""


class Spec(msgspec.Struct, rename="camel"):
    """The part of an entry that readers want, its value not decoded."""

    type: str = "json"
    value: msgspec.Raw = msgspec.Raw(b"null")
    key: str = ""
    ttl: str | None = None
    lease: str = ""
    expires_at: str | None = None


class _Stored(msgspec.Struct):
    spec: Spec


class _Owner(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    manager: str
    operation: str
    api_version: str
    time: str
    fields_type: str
    fields_v1: Any = msgspec.field(name="fieldsV1")


class _Metadata(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Of an entry that nobody but its one writer has touched. An entry with more in it does not fit."""

    name: str
    namespace: str
    uid: str
    generation: int
    creation_timestamp: str
    managed_fields: list[_Owner]
    resource_version: str


class _Plain(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: str
    kind: str
    metadata: _Metadata
    spec: Json


_decode = msgspec.json.Decoder(_Stored).decode
_decode_plain = msgspec.json.Decoder(_Plain).decode


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so for a write to happen. Raising is up to `refuse`."""

    exists: bool | None = None
    revision: Revision | None = None
    """Of the entry's last write."""
    fence: tuple[ObjectKey, int] | None = None
    """A lock and the token of who must hold it."""


NO_CONDITION = Condition()


@dataclass(frozen=True, slots=True)
class Put:
    """One put."""

    namespace: str
    key: str
    value: Value
    type: str = ""
    """Empty: that of the entry, for a new one what `value` says."""
    ttl: str = ""
    lease: str = ""
    condition: Condition = NO_CONDITION
    may_create: Callable[[], None] | None = None
    """Raises `ApiStatusError` where the writer may change entries, not make them."""
    dry_run: bool = False
    change: Callable[[Json | None], Typed] | None = None
    """Makes the value from the spec that is there (None: nothing is), instead of `value`."""


class Stored(NamedTuple):
    """What a put did."""

    value: bytes
    revision: Revision
    created: bool
    changed: bool


class FailedConditionError(Exception):
    """A condition of a write does not hold. The message says which."""


class Entries:
    """Entries by their keys."""

    def __init__(self, context: Context, transactor: Transactor) -> None:
        self._context = context
        self._transactor = transactor
        self._owned: dict[tuple[str, ...], Json] = {}
        """Owned fields by the fields of a spec; a handful."""

    @property
    def kind(self) -> ResourceKind:
        return self._context.registry.require(RESOURCE)

    def find(self, namespace: str, key: str) -> Entry | None:
        """The entry of a key; None if there is none. Another key's entry may have the name that this one would have."""
        entry = self._context.cache.get(Key(RESOURCE, namespace, kv_name(key)))
        return entry if entry is not None and key_of(entry) == key else None

    def require(self, namespace: str, key: str) -> Entry:
        """Raises `ApiStatusError` 404."""
        entry = self.find(namespace, key)
        if entry is None:
            raise not_found(KV.info, key)
        return entry

    async def put(self, put: Put, options: WriteOptions) -> Stored:
        """Raises `ApiStatusError`, `FailedConditionError`."""
        key = ObjectKey(put.namespace, kv_name(put.key))
        store_key = Key(RESOURCE, key.namespace, key.name)
        locks = self._context.locks
        for _ in range(MAX_ATTEMPTS):
            await locks.acquire(store_key)
            try:
                stored = await self._put_shortly(put, key, store_key, options)
            except PreconditionError:
                continue
            finally:
                locks.release(store_key)
            if stored is None:
                stored = await self._put_fully(put, key, store_key, options)
            if stored is not None:
                return stored
        raise conflict(KV.info, put.key, "it is written by others, again and again")

    async def delete(self, namespace: str, key: str, condition: Condition) -> Revision:
        """Raises `ApiStatusError` 404, `FailedConditionError`."""
        operation = Operation("delete", self.kind, ObjectKey(namespace, kv_name(key)), delete=DeleteOptions())
        for _ in range(MAX_ATTEMPTS):
            entry = self.find(namespace, key)
            checks = self.check(entry, condition)
            if entry is None:
                raise not_found(KV.info, key)
            plan = self._plan(operation, entry, condition, checks)
            result = await self._transactor.run(plan)
            if result.succeeded:
                return result.revision
        raise conflict(KV.info, key, "it is written by others, again and again")

    async def delete_some(self, namespace: str, names: Sequence[str]) -> Revision:
        """Delete those that are there, by the names of their objects, at one revision."""

        def plan() -> Plan:
            cache, kind = self._context.cache, self.kind
            live = [name for name in names if cache.get(Key(RESOURCE, namespace, name)) is not None]
            return Plan([], [Operation("delete", kind, ObjectKey(namespace, name)) for name in live], [], plan)

        while True:
            try:
                return (await self._transactor.run(plan())).revision
            except ApiStatusError as error:
                if error.code != 404:  # somebody else deleted one of them first
                    raise

    # ---- the short way

    async def _put_shortly(self, put: Put, key: ObjectKey, store_key: Key, options: WriteOptions) -> Stored | None:
        """None: this put needs the other way. Raises `PreconditionError` when somebody was faster."""
        context, kind = self._context, self.kind
        written = context.now()
        entry = context.cache.get(store_key)
        if entry is not None and key_of(entry) != put.key:
            raise conflict(KV.info, put.key, f"its name {key.name} is taken by the key {key_of(entry)!r}")
        checks = self.check(entry, put.condition)
        if entry is None:
            if put.may_create is not None:
                put.may_create()
            if context.cache.get(Key(NAMESPACES, "", key.namespace)) is None:
                return None
            checks = (*checks, admit_create(context, kind, key.namespace, key.name))
            spec = spec_of(put, None)
            _refuse_wrong(spec, key)
            metadata: Json = {
                "name": key.name,
                "namespace": key.namespace,
                "uid": context.new_uid(),
                "generation": 1,
                "creationTimestamp": context.now(),
            }
        else:
            plain = self._plain(entry, options.field_manager)
            if plain is None:
                return None
            spec = spec_of(put, plain.spec)
            if same(spec, plain.spec):
                return Stored(entry.value, entry.revision, False, False)
            _refuse_wrong(spec, key)
            found = plain.metadata
            if not put.ttl and _only_less(plain.spec, spec):
                written = found.managed_fields[0].time  # who only takes away has written nothing
            metadata = {
                "name": found.name,
                "namespace": found.namespace,
                "uid": found.uid,
                "generation": found.generation + 1,
                "creationTimestamp": found.creation_timestamp,
            }
        if put.ttl:
            spec["expiresAt"] = expiry(context.moment(), put.ttl)
        metadata["managedFields"] = [
            {
                "manager": options.field_manager,
                "operation": "Update",
                "apiVersion": kind.info.api_version,
                "time": written,
                "fieldsType": "FieldsV1",
                "fieldsV1": self._fields_of(spec),
            }
        ]
        tail = tail_of({"metadata": metadata, "spec": spec})
        if put.dry_run:
            return Stored(with_revision(kind.head, 0, tail), 0, entry is None, True)
        write = Write(store_key, kind.head, tail, ABSENT if entry is None else entry.revision)
        revision = await context.commit(Transaction((write,), checks))
        return Stored(with_revision(kind.head, revision, tail), revision, entry is None, True)

    def _plain(self, entry: Entry, manager: str) -> _Plain | None:
        """The entry, if its metadata is the least there can be and this writer owns all of it."""
        try:
            plain = _decode_plain(entry.value)
        except msgspec.ValidationError:
            return None
        owners = plain.metadata.managed_fields
        if len(owners) != 1 or owners[0].manager != manager or owners[0].operation != "Update":
            return None
        return plain if self._fields_of(plain.spec) == owners[0].fields_v1 else None

    def _fields_of(self, spec: Json) -> Json:
        """What somebody owns who wrote all of a spec."""
        # Only an object as a value has fields with owners of their own.
        names = tuple(spec)
        known = None if isinstance(spec.get("value"), dict) else self._owned.get(names)
        if known is None:
            whole: Json = {"metadata": {}, "spec": spec}
            track_update(None, whole, "", self.kind.info.api_version, "", "", self.kind.fields)
            known = whole["metadata"]["managedFields"][0]["fieldsV1"]
            if not isinstance(spec.get("value"), dict):
                self._owned[names] = known
        return known

    # ---- the other way

    async def _put_fully(self, put: Put, key: ObjectKey, store_key: Key, options: WriteOptions) -> Stored | None:
        """None: somebody was faster."""
        entry = self._context.cache.get(store_key)
        checks = self.check(entry, put.condition)
        live = None if entry is None else msgspec.json.decode(entry.value)["spec"]
        operation = Operation("put", self.kind, key, spec_of(put, live), options)
        plan = self._plan(operation, entry, put.condition, checks, dry_run=put.dry_run)
        result = await self._transactor.run(plan)
        if not result.succeeded:
            return None
        done = result.done[0]
        return Stored(done.value or b"", result.revision, done.created, done.changed)

    def _plan(
        self, operation: Operation, entry: Entry | None, condition: Condition, checks: Sequence[Check], *, dry_run: bool = False
    ) -> Plan:
        """The write, if entry and lock are still what was looked at."""
        compare = [Comparison(self.kind, operation.key, revision="0" if entry is None else str(entry.revision))]
        for check in checks:
            name = ObjectKey(check.key.namespace, check.key.name)
            compare.append(Comparison(self.kind, name, revision=str(check.expect)))

        def again() -> Plan:
            return Plan(compare, [operation], [], again, dry_run)

        return again()

    def check(self, entry: Entry | None, condition: Condition) -> tuple[Check, ...]:
        """What must stay as it is. Raises `FailedConditionError`."""
        if condition is NO_CONDITION:
            return ()
        if condition.exists is False and entry is not None:
            raise FailedConditionError(f"the entry exists, at revision {entry.revision}")
        if condition.exists is True and entry is None:
            raise FailedConditionError("the entry does not exist")
        if condition.revision is not None and (entry is None or entry.revision != condition.revision):
            found = "does not exist" if entry is None else f"is at revision {entry.revision}"
            raise FailedConditionError(f"the entry {found}, not at revision {condition.revision}")
        if condition.fence is None:
            return ()
        return (self._fence(*condition.fence),)

    def _fence(self, lock: ObjectKey, token: int) -> Check:
        entry = self.find(lock.namespace, lock.name)
        if entry is None:
            raise FailedConditionError(f"nobody holds the lock {lock.name!r}: token {token} is worth nothing any more")
        value = msgspec.json.decode(spec_in(entry).value)
        held = value.get("token") if isinstance(value, dict) else None
        if held != token:
            raise FailedConditionError(f"the lock {lock.name!r} is held with token {held}, not with {token}")
        return Check(entry.key, entry.revision)


def spec_in(entry: Entry) -> Spec:
    """What an entry holds."""
    return _decode(entry.value).spec


def key_of(entry: Entry) -> str:
    """The key of an entry."""
    return entry.field("spec.key") or entry.key.name


def spec_of(put: Put, live: Json | None) -> Json:
    """The spec that a put leaves behind, without the time at which it ends."""
    kind = put.type or (live["type"] if live is not None else "")
    value = put.value(kind) if put.change is None else put.change(live)
    spec: Json = {}
    if kv_name(put.key) != put.key:
        spec["key"] = put.key
    if isinstance(value, Typed):
        kind, value = value
    spec["type"] = kind
    if value is not None:  # an absent value is null
        spec["value"] = value
    if put.ttl:
        spec["ttl"] = put.ttl
    if put.lease:
        spec["lease"] = put.lease
    return spec


def _only_less(before: Any, after: Any) -> bool:
    """Whether nothing was added and nothing changed."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(name in before and _only_less(before[name], value) for name, value in after.items())
    return same(before, after)


class Typed(NamedTuple):
    """A value with the type that it gives its entry."""

    type: str
    value: Any


def _refuse_wrong(spec: Json, key: ObjectKey) -> None:
    """Raises `ApiStatusError` 422."""
    errors: list[FieldError] = list(msgspec.convert({"metadata": {"name": key.name}, "spec": spec}, KV).validate(None))
    if errors:
        raise invalid(KV.info, key.name, [Cause(error.reason, error.message, error.field) for error in errors])
