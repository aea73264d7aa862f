"""Transactions over objects: the parts to build one from, and what comes back.

    from plum_client import transactions as tx

    result = await api.transact(
        [tx.create(run), tx.update_status(workflow), tx.put("plant", "level", 80)],
        compare=[tx.at_revision(workflow), tx.exists(Node, "edge-1")],
        otherwise=[tx.get(Workflow, "build")],
    )
    result.succeeded, result.revision, result[0].decode(TaskRun)

All operations of the branch that is done become one revision of the store; when one of them is refused nothing happens
and `transact` raises that operation's error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import msgspec
from plum_schemas.base import KindInfo, Object, ObjectKey

from plum_client.codec import JsonObject, T, codec_of, encode, head_of, metadata_of

INFO = KindInfo(kind="Transaction", plural="transactions", namespaced=False)
KV = KindInfo(kind="KV", plural="kvs", has_status=False)
"""Entries of the key-value store, for the look-ups of this module."""

Verb = Literal["create", "update", "updateStatus", "patch", "delete", "get", "put"]
PatchType = Literal["merge", "json", "strategic", "apply"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
AnyKind = type[Object] | KindInfo
AnyObject = Object | JsonObject

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a branch."""

    verb: Verb
    info: KindInfo
    key: ObjectKey
    """The name is empty where the server chooses it."""
    body: bytes
    """The operation's fields as JSON."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that must be so for `then` to be done."""

    body: bytes


# ---- operations


def create(obj: AnyObject, *, kind: KindInfo | None = None) -> Operation:
    """Create an object. A dictionary needs its `kind`."""
    return _whole("create", obj, kind)


def update(obj: AnyObject, *, kind: KindInfo | None = None) -> Operation:
    """Replace everything but the status; at its resource version, if it has one."""
    return _whole("update", obj, kind)


def update_status(obj: AnyObject, *, kind: KindInfo | None = None) -> Operation:
    """Replace only the status; at its resource version, if it has one."""
    return _whole("updateStatus", obj, kind)


def patch(
    kind: AnyKind, key: ObjectKey | str, patch: Any, *, type: PatchType = "merge", subresource: str = "", force: bool = False
) -> Operation:
    """Change part of an object."""
    fields: JsonObject = {"patch": patch, "type": type}
    if subresource:
        fields["subresource"] = subresource
    if force:
        fields["force"] = True
    return _targeted("patch", kind, key, fields)


def delete(
    kind: AnyKind, key: ObjectKey | str, *, propagation: str = "Background", uid: str = "", revision: str = ""
) -> Operation:
    """Delete an object, or start its deletion where finalizers hold it. A missing one is refused."""
    fields: JsonObject = {"propagationPolicy": propagation}
    preconditions = {name: value for name, value in (("uid", uid), ("resourceVersion", revision)) if value}
    if preconditions:
        fields["preconditions"] = preconditions
    return _targeted("delete", kind, key, fields)


def get(kind: AnyKind, key: ObjectKey | str) -> Operation:
    """Read an object as the operations before this one leave it. A missing one is no error."""
    return _targeted("get", kind, key, {})


def put(namespace: str, key: str, value: Any, type: str = "", *, ttl: str = "", lease: str = "") -> Operation:
    """Set an entry of the key-value store, whatever it was. Without a `type` it keeps its own; a new one gets the value's."""
    fields: JsonObject = {"namespace": namespace, "key": key, "value": value}
    fields |= {name: given for name, given in (("type", type), ("ttl", ttl), ("lease", lease)) if given}
    return Operation("put", KV, ObjectKey(namespace, ""), _encode(fields))


# ---- comparisons


def exists(kind: AnyKind, key: ObjectKey | str) -> Comparison:
    return _comparison(kind, key, {"exists": True})


def absent(kind: AnyKind, key: ObjectKey | str) -> Comparison:
    return _comparison(kind, key, {"exists": False})


def at_revision(obj: Object | AnyKind, key: ObjectKey | str = "", revision: str = "") -> Comparison:
    """The object is unchanged: one that was read, or a kind, a key and a resource version (`0`: it does not exist)."""
    if isinstance(obj, Object):
        return _comparison(type(obj), obj.key, {"resourceVersion": obj.metadata.resource_version})
    return _comparison(obj, key, {"resourceVersion": revision})


def field(kind: AnyKind, key: ObjectKey | str, path: str, value: Any, operator: Operator = "=") -> Comparison:
    """A field of the object compares so. `path` is `status.phase`, or a JSON pointer where names hold dots."""
    return _comparison(kind, key, {"field": path, "value": value, "operator": operator})


def value(namespace: str, key: str, value: Any, operator: Operator = "=") -> Comparison:
    """An entry of the key-value store compares so."""
    return Comparison(_encode({"namespace": namespace, "key": key, "value": value, "operator": operator}))


def entry_exists(namespace: str, key: str, exists: bool = True) -> Comparison:
    """An entry of the key-value store is there, or is not."""
    return Comparison(_encode({"namespace": namespace, "key": key, "exists": exists}))


def entry_revision(namespace: str, key: str, revision: str) -> Comparison:
    """An entry of the key-value store is unchanged since that resource version; `0`: it does not exist."""
    return Comparison(_encode({"namespace": namespace, "key": key, "resourceVersion": revision}))


# ---- results


class _ResultItem(msgspec.Struct):
    object: msgspec.Raw = msgspec.Raw(b"null")
    created: bool = False
    deleted: bool = False
    unchanged: bool = False


class _Answer(msgspec.Struct):
    succeeded: bool
    revision: str
    results: list[_ResultItem]


_decode_answer = msgspec.json.Decoder(_Answer).decode


@dataclass(frozen=True, slots=True)
class OperationResult:
    """What one operation did. The object is decoded when it is asked for."""

    operation: Operation
    value: bytes
    """The object as JSON, after the operation; of a deletion its last state. Empty for a get that found nothing."""
    created: bool
    deleted: bool
    """It is gone, not only marked."""
    unchanged: bool
    """The write changed nothing."""

    def __bool__(self) -> bool:
        return bool(self.value)

    @property
    def key(self) -> ObjectKey:
        return head_of(self.value).key if self.value else self.operation.key

    @overload
    def decode(self, kind: type[T]) -> T: ...
    @overload
    def decode(self, kind: KindInfo) -> JsonObject: ...
    def decode(self, kind: type[Any] | KindInfo) -> Any:
        """The object. Raises `msgspec.DecodeError` where there is none."""
        return codec_of(kind).decode(self.value)


class TransactionResult(Sequence[OperationResult]):
    """What a transaction did, operation by operation."""

    __slots__ = ("_results", "revision", "succeeded")

    def __init__(self, succeeded: bool, revision: str, results: Sequence[OperationResult]) -> None:
        self.succeeded = succeeded
        """Every comparison held, so `then` was done; else the other branch."""
        self.revision = revision
        """Store revision of everything that was written, or that the answers show."""
        self._results = results

    @overload
    def __getitem__(self, index: int) -> OperationResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[OperationResult]: ...
    def __getitem__(self, index: int | slice) -> OperationResult | Sequence[OperationResult]:
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[OperationResult]:
        return iter(self._results)


def body_of(compare: Sequence[Comparison], then: Sequence[Operation], otherwise: Sequence[Operation]) -> bytes:
    """A transaction as JSON. The parts are encoded already, so this only joins them."""
    return b'{"compare":[%b],"then":[%b],"else":[%b]}' % (
        b",".join([one.body for one in compare]),
        b",".join([b'{"%b":%b}' % (one.verb.encode(), one.body) for one in then]),
        b",".join([b'{"%b":%b}' % (one.verb.encode(), one.body) for one in otherwise]),
    )


def result_of(body: bytes, then: Sequence[Operation], otherwise: Sequence[Operation]) -> TransactionResult:
    """The result in an answer."""
    answer = _decode_answer(body)
    operations = then if answer.succeeded else otherwise
    results = [
        OperationResult(
            operation, b"" if bytes(item.object) == b"null" else bytes(item.object), item.created, item.deleted, item.unchanged
        )
        for operation, item in zip(operations, answer.results, strict=True)
    ]
    return TransactionResult(answer.succeeded, answer.revision, results)


# ---- inside


def _whole(verb: Verb, obj: AnyObject, kind: KindInfo | None) -> Operation:
    if isinstance(obj, Object):
        info = obj.info
    elif kind is None:
        raise ValueError("a dictionary needs its kind=")
    else:
        info = kind
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
    key, _ = metadata_of(obj)
    if info.namespaced and not key.namespace:
        key = ObjectKey("default", key.name)
    return Operation(verb, info, key, encode(obj))


def _target(kind: AnyKind, key: ObjectKey | str) -> tuple[KindInfo, ObjectKey, JsonObject]:
    info = kind if isinstance(kind, KindInfo) else kind.info
    if isinstance(key, str):
        key = ObjectKey("default" if info.namespaced else "", key)
    elif info.namespaced and not key.namespace:
        key = ObjectKey("default", key.name)
    fields: JsonObject = {"apiVersion": info.api_version, "kind": info.kind, "name": key.name}
    if info.namespaced:
        fields["namespace"] = key.namespace
    return info, key, fields


def _targeted(verb: Verb, kind: AnyKind, key: ObjectKey | str, more: JsonObject) -> Operation:
    info, key, fields = _target(kind, key)
    return Operation(verb, info, key, _encode(fields | more))


def _comparison(kind: AnyKind, key: ObjectKey | str, more: JsonObject) -> Comparison:
    return Comparison(_encode(_target(kind, key)[2] | more))
