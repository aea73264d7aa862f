"""Transactions over objects: compare, then one of two lists of operations, all or none, at one revision.

    compare --all true?--> then | else --each like a single write--> Staging (nothing leaves it) --> one store.commit
       ^                                                                                             |
       +------------------- what was read is no longer so: from the beginning -----------------------+

Every operation passes the same code as a single write: it only meets a context whose cache shows what the operations
before it did, and whose commit keeps what it gets. Whatever that cache was asked for becomes a precondition of the real
commit, so the transaction happens as if nobody else wrote while it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from plum_schemas.base import ObjectKey
from plum_schemas.kv import type_of
from plum_schemas.selectors import FieldSelector, LabelSelector

from plum_controller.resources.context import Context, KeyLocks
from plum_controller.resources.deletion import Deleter
from plum_controller.resources.encode import Json, decode, with_revision, without_revision
from plum_controller.resources.errors import ApiStatusError, bad_request, conflict
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.merging import check_subresource
from plum_controller.resources.metadata import revision_in
from plum_controller.resources.namespaces import NAMESPACES
from plum_controller.resources.options import DeleteOptions, Outcome, PatchType, WriteOptions
from plum_controller.resources.shaping import open_body
from plum_controller.resources.transaction_values import compare, value_at
from plum_controller.resources.writing import Writer
from plum_controller.store.base import ABSENT, Check, Key, Revision, RowChange, Transaction, Write
from plum_controller.store.errors import PreconditionError
from plum_controller.store.events import Entry
from plum_controller.store.index import selecting

if TYPE_CHECKING:
    from plum_controller.store.cache import WatchCache

MAX_OPERATIONS = 128
"""Comparisons and operations of both branches, together."""
MAX_ATTEMPTS = 50
"""Of one transaction, when what it read is written by others before it is committed."""

Verb = Literal["create", "update", "patch", "delete", "get", "put"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that must be so. Fields that are None are not looked at."""

    kind: ResourceKind
    key: ObjectKey
    exists: bool | None = None
    revision: str | None = None
    """Of the object's last write; `0` says that there is none."""
    uid: str | None = None
    path: tuple[str | int, ...] | None = None
    operator: str = "="
    value: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as `ResourceService` would be asked for it alone."""

    verb: Verb
    kind: ResourceKind
    key: ObjectKey
    """For a create only the namespace counts."""
    body: Any = None
    """Object or patch; used up by one attempt."""
    write: WriteOptions = field(default_factory=WriteOptions)
    delete: DeleteOptions | None = None
    patch_type: PatchType = "merge"


@dataclass(frozen=True, slots=True)
class Plan:
    """A transaction as it was asked for."""

    compare: Sequence[Comparison]
    then: Sequence[Operation]
    otherwise: Sequence[Operation]
    again: Callable[[], Plan]
    """The same once more, with bodies that nobody has used up."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What one operation did."""

    verb: Verb
    key: Key
    value: bytes | None
    """The object after the operation, after a deletion its last state; None for a get that found nothing."""
    created: bool = False
    changed: bool = False
    gone: bool = False
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a transaction did."""

    succeeded: bool
    """Every comparison held, so `then` was done."""
    revision: Revision
    """Of the commit; where nothing was written, the one that the answers show."""
    done: Sequence[Done]
    warnings: Sequence[str] = ()


class NoLocks(KeyLocks):
    """The transaction holds the locks of all its keys already."""

    async def acquire(self, key: Key) -> None:
        return

    def release(self, key: Key) -> None:
        return


NO_LOCKS = NoLocks()


class Staging(Context):
    """A context in which one transaction is made. Commits stay here until the transaction is complete."""

    def __init__(self, base: Context) -> None:
        self._base = base
        self.store = base.store
        self.registry = base.registry
        self.locks = NO_LOCKS
        self.staged = StagedCache(base.cache, base)
        self._rows: list[RowChange] = []
        self.cache = cast("WatchCache", self.staged)

    def now(self) -> str:
        return self._base.now()

    def moment(self) -> datetime:
        return self._base.moment()

    def new_uid(self) -> str:
        return self._base.new_uid()

    def generate_name(self, base: str) -> str:
        return self._base.generate_name(base)

    async def commit(self, transaction: Transaction) -> Revision:
        """Keep the writes and rows. Answers with the revision that the key has before the transaction."""
        revision = ABSENT
        for write in transaction.writes:
            revision = self.staged.put(write)
        self._rows += transaction.rows
        return revision

    def transaction(self) -> Transaction:
        staged = self.staged
        checks = [Check(key, revision) for key, revision in staged.reads.items() if key not in staged.writes]
        return Transaction(list(staged.writes.values()), checks, self._rows)


class StagedCache:
    """The watch cache, with what the transaction has done so far. Remembers what it was asked for."""

    def __init__(self, cache: WatchCache, base: Context) -> None:
        self._cache = cache
        self._base = base
        self._entries: dict[Key, Entry | None] = {}
        self.writes: dict[Key, Write] = {}
        self.last = Key("", "", "")
        """Of the last write."""
        self.reads: dict[Key, Revision] = {}
        """Revision of each key that was looked at; `ABSENT` for one that was not there."""

    def get(self, key: Key) -> Entry | None:
        if key in self._entries:
            return self._entries[key]
        entry = self._cache.get(key)
        self.reads[key] = ABSENT if entry is None else entry.revision
        return entry

    def list(
        self, resource: str, namespace: str = "", labels: LabelSelector | None = None, fields: FieldSelector | None = None
    ) -> Sequence[Entry]:
        found = self._cache.list(resource, namespace, labels, fields)
        if not any(key.resource == resource for key in self._entries):
            return found
        selects = selecting(namespace, labels, fields)
        kept = [entry for entry in found if entry.key not in self._entries]
        own = [entry for entry in self._entries.values() if entry is not None and entry.key.resource == resource]
        return sorted([*kept, *(entry for entry in own if selects is None or selects(entry))])

    def put(self, write: Write) -> Revision:
        """Take in one write. Writes of one key become one, which expects what the first of them found."""
        key, before = write.key, self.writes.get(write.key)
        if before is not None:
            if before.deleted or (write.deleted and before.expect == ABSENT):
                raise bad_request("a transaction may not delete an object that it creates, nor create one that it deletes")
            write = write._replace(expect=before.expect)
        self.writes[key] = write
        self.last = key
        revision = max(write.expect, ABSENT)
        if write.deleted:
            self._entries[key] = None
        else:
            value = with_revision(write.head, revision, write.tail)
            self._entries[key] = Entry(key, revision, value, self._base.registry.index(key, value))
        return revision


class Transactor:
    """Does transactions. Holds no state."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, plan: Plan) -> Result:
        """Raises `ApiStatusError`: that of an operation names it, and then nothing was written."""
        keys = sorted({_store_key(one) for one in (*plan.then, *plan.otherwise) if one.verb not in ("create", "get")})
        locks, held = self._context.locks, list[Key]()
        try:
            for key in keys:
                await locks.acquire(key)
                held.append(key)
            for _ in range(MAX_ATTEMPTS):
                try:
                    return await self._attempt(plan)
                except PreconditionError:
                    plan = plan.again()
        finally:
            for key in held:
                locks.release(key)
        first = (*plan.then, *plan.otherwise)[0]  # only a transaction that writes can be too late
        raise conflict(first.kind.info, first.key.name, "what the transaction read was written by others, again and again")

    async def _attempt(self, plan: Plan) -> Result:
        staging = Staging(self._context)
        succeeded = all(holds_now(staging.staged, one) for one in plan.compare)
        worker = _Worker(staging)
        branch, operations = ("then", plan.then) if succeeded else ("else", plan.otherwise)
        for index, operation in enumerate(operations):
            try:
                await worker.do(operation)
            except ApiStatusError as error:
                raise named(error, branch, index, operation) from error
        transaction = staging.transaction()
        revision = self._context.cache.revision
        if transaction.writes and not plan.dry_run:
            revision = await self._context.commit(transaction)
        return Result(succeeded, revision, worker.done(revision, dry_run=plan.dry_run), worker.warnings)


@dataclass(frozen=True, slots=True)
class _Step:
    operation: Operation
    key: Key
    value: bytes | None
    tail: bytes | None
    """What the transaction stores; None where it changes nothing of this object."""
    created: bool = False
    changed: bool = False
    gone: bool = False
    uid: str = ""


class _Worker:
    """Does the operations of one attempt, in their order."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._writer = Writer(staging)
        self._deleter = Deleter(staging)
        self._steps: list[_Step] = []
        self.warnings: list[str] = []

    async def do(self, operation: Operation) -> None:
        staged = self._staging.staged
        store_key = _store_key(operation)
        if operation.verb == "get":
            entry = staged.get(store_key)
            write = staged.writes.get(store_key)
            value = None if entry is None else operation.kind.present(entry.value)
            self._steps.append(_Step(operation, store_key, value, None if write is None or entry is None else write.tail))
            return
        outcome = await self._write(operation)
        if operation.verb == "create":
            store_key = staged.last
        write = staged.writes.get(store_key)
        tail = None if write is None else write.tail
        self.warnings.extend(outcome.warnings)
        self._steps.append(
            _Step(operation, store_key, outcome.value, tail, outcome.created, outcome.changed, outcome.gone, outcome.uid)
        )

    async def _write(self, operation: Operation) -> Outcome:
        kind, key, options = operation.kind, operation.key, operation.write
        match operation.verb:
            case "delete":
                return await self._deleter.delete(kind, key, operation.delete or DeleteOptions())
            case "create":
                return await self._writer.create(kind, key.namespace, operation.body, options)
            case "update":
                return await self._update(operation)
            case "put":
                return await self._put(operation)
            case _:
                return await self._writer.patch(kind, key, operation.patch_type, operation.body, options)

    async def _update(self, operation: Operation) -> Outcome:
        kind, key, options, body = operation.kind, operation.key, operation.write, operation.body
        if _store_key(operation) not in self._staging.staged.writes or revision_in(body):
            return await self._writer.update(kind, key, body, options)
        # Nobody knows the revision of what this same transaction wrote, so none has to be named.
        check_subresource(kind, options.subresource)
        body = open_body(kind, body, key.name)
        return await self._writer.change(kind, key, lambda _entry, _live: body, options, "replace")

    async def _put(self, operation: Operation) -> Outcome:
        """Create an entry, with its namespace where there is none, or replace what it holds."""
        kind, key, options = operation.kind, operation.key, operation.write
        namespace = Key(NAMESPACES, "", key.namespace)
        if self._staging.staged.get(_store_key(operation)) is not None:
            return await self._writer.change(kind, key, partial(_with_value, operation.body), options, "patch")
        if self._staging.staged.get(namespace) is None:
            place = self._staging.registry.require(NAMESPACES)
            await self._writer.create(place, "", {"metadata": {"name": key.namespace}}, WriteOptions(options.field_manager))
        data = {"metadata": {"name": key.name}, "spec": {"type": type_of(operation.body.get("value")), **operation.body}}
        return await self._writer.create(kind, key.namespace, data, options)

    def done(self, revision: Revision, *, dry_run: bool) -> list[Done]:
        """What the operations did, once the revision is known."""
        return [self._finished(step, revision, dry_run) for step in self._steps]

    def _finished(self, step: _Step, revision: Revision, dry_run: bool) -> Done:
        kind, value = step.operation.kind, step.value
        if step.tail is not None and not dry_run:
            value = with_revision(kind.head, revision, step.tail)
        elif step.tail is not None and step.created:
            value = without_revision(kind.head, step.tail)
        return Done(step.operation.verb, step.key, value, step.created, step.changed, step.gone, step.uid)


def _with_value(spec: Json, _entry: Entry, live: Json) -> Json:
    """The entry with another value, of its own type if no other is named."""
    return {**live, "spec": {"type": live["spec"]["type"], **spec}}


def _store_key(one: Operation | Comparison) -> Key:
    return Key(one.kind.info.resource, one.key.namespace, one.key.name)


def holds_now(staged: StagedCache, comparison: Comparison) -> bool:
    """Whether a comparison is true. What it looked at stays so until the commit."""
    entry = staged.get(_store_key(comparison))
    if comparison.exists is not None and comparison.exists is not (entry is not None):
        return False
    if comparison.revision is not None and comparison.revision != ("0" if entry is None else str(entry.revision)):
        return False
    if comparison.uid is None and comparison.path is None:
        return True
    live: Json | None = None if entry is None else decode(comparison.kind.present(entry.value))
    if comparison.uid is not None and (live is None or live["metadata"]["uid"] != comparison.uid):
        return False
    return comparison.path is None or compare(value_at(live, comparison.path), comparison.operator, comparison.value)


def named(error: ApiStatusError, branch: str, index: int, operation: Operation) -> ApiStatusError:
    """The refusal of one operation, as that of the whole transaction."""
    key = f"{operation.key.namespace}/{operation.key.name}".strip("/")
    where = f"{branch}[{index}]"
    message = f"{where} ({operation.verb} {operation.kind.info.resource} {key}): {error.message}; nothing was written"
    return ApiStatusError(error.code, error.reason, message, {**error.details, "operation": where})
