"""The short way to write an entry of the key-value store: what most puts are, without what only other writes need.

    put --entry new, or all of it owned by this writer--> bytes --> commit         about a third of the work
        --anything else--> the transaction that every other write could use

Both ways store the same object (`tests/integration/resources/test_kv.py` compares them). What makes the short one short:
an entry has no status, no short forms and no fields to prune, and its only owner owns all of it before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET
from plum_schemas.base import ObjectKey
from plum_schemas.kv import KV, kv_name
from plum_schemas.validation import FieldError

from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, with_revision
from plum_controller.resources.errors import ApiStatusError, Cause, conflict, invalid, not_found
from plum_controller.resources.kv_rules import expiry
from plum_controller.resources.kv_short import About, Ownership, Parts, Tails, encode, fits, is_less, is_same, read_owned
from plum_controller.resources.namespaces import NAMESPACES, admit_create
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.transactions import Comparison, Operation, Plan, Transactor
from plum_controller.store.base import ABSENT, Check, Key, Revision, Transaction, Write
from plum_controller.store.cache import Entry
from plum_controller.store.errors import PreconditionError, StoreOutcomeError

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


_decode = msgspec.json.Decoder(_Stored).decode


class Condition(NamedTuple):
    """What must be so for a write to happen. Raising is up to `refuse`."""

    exists: bool | None = None
    revision: Revision | None = None
    """Of the entry's last write."""
    fence: tuple[ObjectKey, int] | None = None
    """A lock and the token of who must hold it."""


NO_CONDITION = Condition()


class Put(NamedTuple):
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


class _Prepared(NamedTuple):
    """A put that only has to be committed."""

    transaction: Transaction
    head: bytes
    tail: bytes
    created: bool

    def stored(self, revision: Revision) -> Stored:
        return Stored(with_revision(self.head, revision, self.tail), revision, self.created, True)


class FailedConditionError(Exception):
    """A condition of a write does not hold. The message says which."""


class Entries:
    """Entries by their keys."""

    def __init__(self, context: Context, transactor: Transactor) -> None:
        self._context = context
        self._transactor = transactor
        self._made_ownership: Ownership | None = None
        self._tails = Tails()

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

    def begin(self, put: Put, options: WriteOptions, tell: Callable[[Stored | Exception], None]) -> bool:
        """Put without a task: `tell` gets what `put` would answer or raise, or `PreconditionError` when somebody was faster,
        in the moment in which it is on disk. False: this one may have to wait for others, or goes the other way; use `put`.

        Raises what is known at once: `ApiStatusError`, `FailedConditionError`.
        """
        context = self._context
        key = ObjectKey(put.namespace, kv_name(put.key))
        store_key = Key(RESOURCE, key.namespace, key.name)
        if not context.locks.try_acquire(store_key):
            return False
        future: asyncio.Future[Revision] | None = None
        try:
            prepared = self._prepare(put, key, store_key, options)
            if isinstance(prepared, _Prepared):
                future = context.begin(prepared.transaction)
        finally:
            if future is None:
                context.locks.release(store_key)
        if future is not None and isinstance(prepared, _Prepared):
            future.add_done_callback(partial(self._ended, prepared, store_key, tell))
        elif isinstance(prepared, Stored):
            tell(prepared)
        return prepared is not None

    def _ended(
        self, prepared: _Prepared, store_key: Key, tell: Callable[[Stored | Exception], None], future: asyncio.Future[Revision]
    ) -> None:
        self._context.locks.release(store_key)
        error = future.exception()
        if error is None:
            tell(prepared.stored(future.result()))
        else:
            tell(self._context.refusal(error) if isinstance(error, Exception) else StoreOutcomeError(str(error)))

    async def put(self, put: Put, options: WriteOptions) -> Stored:
        """Raises `ApiStatusError`, `FailedConditionError`."""
        key = ObjectKey(put.namespace, kv_name(put.key))
        store_key = Key(RESOURCE, key.namespace, key.name)
        locks = self._context.locks
        for _ in range(MAX_ATTEMPTS):
            await locks.acquire(store_key)
            try:
                prepared = self._prepare(put, key, store_key, options)
                if isinstance(prepared, Stored):
                    return prepared
                if prepared is not None:
                    return prepared.stored(await self._context.commit(prepared.transaction))
            except PreconditionError:
                continue
            finally:
                locks.release(store_key)
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

    def _prepare(self, put: Put, key: ObjectKey, store_key: Key, options: WriteOptions) -> _Prepared | Stored | None:
        """The bytes to commit, or what is there if they change nothing. None: this put needs the other way."""
        context, kind = self._context, self.kind
        time = context.now()
        entry = context.cache.get(store_key)
        if entry is not None and key_of(entry) != put.key:
            raise conflict(KV.info, put.key, f"its name {key.name} is taken by the key {key_of(entry)!r}")
        checks = self.check(entry, put.condition)
        manager, ownership = options.field_manager, self._ownership
        if entry is None:
            if put.may_create is not None:
                put.may_create()
            if context.cache.get(Key(NAMESPACES, "", key.namespace)) is None:
                return None
            checks = (*checks, admit_create(context, kind, key.namespace, key.name))
            parts = _parts_of(put, key, None)
            about = About(context.new_uid(), 1, time)
        else:
            owned = read_owned(entry.value, manager, ownership)
            if owned is None:
                return None
            metadata, before = owned
            parts = _parts_of(put, key, before)
            if is_same(before, parts):
                return Stored(entry.value, entry.revision, False, False)
            if not put.ttl and is_less(before, parts):
                time = metadata.managed_fields[0].time  # who only takes away has written nothing
            about = About(metadata.uid, metadata.generation + 1, metadata.creation_timestamp)
        if put.ttl:
            parts.expires_at = expiry(context.moment(), put.ttl)
        end = self._tails.make(key, about, manager, time, parts, ownership.of(parts))
        if put.dry_run:
            return Stored(with_revision(kind.head, 0, end), 0, entry is None, True)
        write = Write(store_key, kind.head, end, ABSENT if entry is None else entry.revision)
        return _Prepared(Transaction((write,), checks), kind.head, end, entry is None)

    @property
    def _ownership(self) -> Ownership:
        if self._made_ownership is None:
            self._made_ownership = Ownership(self.kind.fields)
        return self._made_ownership

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


class Typed(NamedTuple):
    """A value with the type that it gives its entry."""

    type: str
    value: Any


def _parts_of(put: Put, key: ObjectKey, before: Parts | None) -> Parts:
    """The spec that a put leaves behind, without the time at which it ends. Raises `ApiStatusError`, 422 for what is no entry."""
    if put.change is None:
        kind = put.type or (before.type if before is not None and before.type is not UNSET else "")
        made = put.value(kind)
    else:
        kind, made = "", put.change(None if before is None else msgspec.json.decode(encode(before)))
    if isinstance(made, Typed):
        kind, made = made
    parts = Parts(UNSET if key.name == put.key else put.key, kind)
    if made is not None:  # an absent value is null
        parts.value = msgspec.Raw(encode(made))
    if put.ttl:
        parts.ttl = put.ttl
    if put.lease:
        parts.lease = put.lease
    if not fits(parts, made):
        _refuse_wrong(msgspec.json.decode(encode(parts)), key)
    return parts


def _refuse_wrong(spec: Json, key: ObjectKey) -> None:
    """Raises `ApiStatusError` 422."""
    errors: list[FieldError] = list(msgspec.convert({"metadata": {"name": key.name}, "spec": spec}, KV).validate(None))
    if errors:
        raise invalid(KV.info, key.name, [Cause(error.reason, error.message, error.field) for error in errors])
