"""Transactions over HTTP: `POST /apis/plum.dev/v1/transactions`, answered with a `TransactionResult`.

    {"compare": [{"apiVersion": .., "kind": .., "namespace": .., "name": .., "exists": true}],
     "then":    [{"create": {...}}, {"updateStatus": {...}}, {"patch": {..., "patch": {...}}}, {"delete": {...}}],
     "else":    [{"get": {...}}]}
        --read--> Plan --authorise each--> ResourceService.transact --> {"succeeded": true, "revision": "42", "results": [...]}

Both branches are checked before anything is done, so that a transaction is refused for what it asks and not for how the
comparison went. Nobody needs a right on transactions: each operation needs its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.kv import kv_name

from plum_controller.api import tokens
from plum_controller.api.access import TRANSACTIONS, Gate, refusal
from plum_controller.api.admission import admission
from plum_controller.api.bodies import delete_options, is_dry_run, read_object
from plum_controller.api.identity import Identity
from plum_controller.api.negotiation import Form, object_form
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.views import events
from plum_controller.api.yamls import as_yaml
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, bad_request, method_not_allowed
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import PatchType, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.resources.transaction_values import OPERATORS, path_of
from plum_controller.resources.transactions import MAX_OPERATIONS, Comparison, Done, Operation, Plan, Result, Verb

PATH = TRANSACTIONS
INFO = KindInfo(kind="Transaction", plural="transactions", namespaced=False)
VERBS = ("create", "update", "updateStatus", "patch", "delete", "get", "put")
PATCH_TYPES: tuple[PatchType, ...] = ("merge", "json", "strategic", "apply")
_FIELDS = frozenset({"apiVersion", "kind", "metadata", "compare", "then", "else"})
_TARGET_FIELDS = frozenset({"apiVersion", "kind", "namespace", "name", "key"})
_COMPARE_FIELDS = _TARGET_FIELDS | {"exists", "resourceVersion", "uid", "field", "operator", "value"}
_OWN_FIELDS: dict[str, frozenset[str]] = {
    "patch": frozenset({"type", "patch", "subresource", "force"}),
    "delete": frozenset({"propagationPolicy", "preconditions", "gracePeriodSeconds"}),
    "get": frozenset(),
    "put": frozenset({"type", "value", "ttl", "lease"}),
}
_VERB_OF: dict[str, str] = {"updateStatus": "update", "put": "create"}

_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class Transactions:
    """Answers requests for transactions."""

    def __init__(self, service: ResourceService, gate: Gate) -> None:
        self._service = service
        self._gate = gate

    async def answer(self, request: ApiRequest) -> Answer:
        """Raises `ApiStatusError`: 400, 403 and whatever an operation is refused with."""
        if request.method != "POST":
            raise method_not_allowed(INFO, request.method.lower())
        result = await self._service.transact(self.read(request))
        answer = Answer(result_body(result), revision=result.revision, warnings=tuple(result.warnings))
        return as_yaml(answer) if object_form(request.accept) is Form.YAML else answer

    def read(self, request: ApiRequest) -> Plan:
        """The transaction in a body, every part of it allowed to who asks. Raises `ApiStatusError`."""
        body, duplicates = read_object(request)
        if duplicates:
            raise bad_request(f"a transaction may hold no field twice: {', '.join(duplicates)}")
        return self.plan(body, request, lambda: self.read(request))

    def plan(self, body: Json, request: ApiRequest, again: Callable[[], Plan], namespace: str = "default") -> Plan:
        """The plan of a decoded body; `namespace` is that of parts that name none. Raises `ApiStatusError`."""
        unknown = sorted(body.keys() - _FIELDS)
        if unknown:
            raise bad_request(f"{unknown[0]} is no field of a transaction; use compare, then and else")
        parts = {name: _list_of(body, name) for name in ("compare", "then", "else")}
        count = sum(map(len, parts.values()))
        if count > MAX_OPERATIONS:
            raise bad_request(f"a transaction may hold {MAX_OPERATIONS} comparisons and operations together, not {count}")
        if not count:
            raise bad_request("the transaction is empty; give it at least one comparison or operation")
        reader = _Reader(self._service, self._gate, request, namespace)
        return Plan(
            [reader.compare(item, f"compare[{index}]") for index, item in enumerate(parts["compare"])],
            [reader.operation(item, f"then[{index}]") for index, item in enumerate(parts["then"])],
            [reader.operation(item, f"else[{index}]") for index, item in enumerate(parts["else"])],
            again,
            is_dry_run(request.query.get("dryRun"), "TransactionOptions"),
        )


class _Reader:
    """Reads the parts of one transaction."""

    def __init__(self, service: ResourceService, gate: Gate, request: ApiRequest, namespace: str) -> None:
        self._service = service
        self._gate = gate
        self._namespace = namespace
        self._identity: Identity = request.identity
        self._manager = request.query.get("fieldManager") or request.user_agent.partition("/")[0] or "unknown"
        self._validation = request.query.get("fieldValidation") or "Warn"
        self._options: dict[tuple[str, str, bool], WriteOptions] = {}

    def compare(self, item: Any, where: str) -> Comparison:
        if not isinstance(item, dict):
            raise bad_request(f"{where} is {_shown(item)}; use an object such as {{kind: Node, name: a, exists: true}}")
        unknown = sorted(item.keys() - _COMPARE_FIELDS)
        if unknown:
            raise bad_request(f"{where}.{unknown[0]} is no field of a comparison; use {', '.join(sorted(_COMPARE_FIELDS))}")
        kind, key = self._target(item, where)
        self._authorise(kind, key, "get", "")
        exists = item.get("exists")
        if exists is not None and not isinstance(exists, bool):
            raise bad_request(f"{where}.exists is {_shown(exists)}; use true or false")
        operator = item.get("operator", "=")
        if operator not in OPERATORS:
            raise bad_request(f"{where}.operator is {_shown(operator)}; use one of {' '.join(OPERATORS)}")
        path = None
        if "value" in item or "field" in item:
            path = self._path(item, where, kind)
        compared = Comparison(
            kind, key, exists, _text(item, "resourceVersion", where), _text(item, "uid", where), path, operator, item.get("value")
        )
        if exists is None and compared.revision is None and compared.uid is None and path is None:
            raise bad_request(f"{where} compares nothing; give it exists, resourceVersion, uid, or field and value")
        return compared

    @staticmethod
    def _path(item: Json, where: str, kind: ResourceKind) -> tuple[str | int, ...]:
        text = item.get("field", "spec.value" if kind.info.resource == "kvs.plum.dev" else None)
        if not isinstance(text, str):
            raise bad_request(f"{where}.field is {_shown(text)}; use the path of a field, such as status.phase")
        if "value" not in item:
            raise bad_request(f"{where} has a field and no value to compare it with; null stands for a field that is not there")
        try:
            return path_of(text)
        except ValueError as error:
            raise bad_request(f"{where}.field is {_shown(text)}; {error}") from error

    def operation(self, item: Any, where: str) -> Operation:
        if not isinstance(item, dict) or len(item) != 1:
            raise bad_request(f"{where} is {_shown(item)}; use an object with one of the fields {', '.join(VERBS)}")
        verb, given = next(iter(item.items()))
        if verb not in VERBS:
            raise bad_request(f"{where}.{verb} is no operation; use one of {', '.join(VERBS)}")
        where = f"{where}.{verb}"
        if not isinstance(given, dict):
            raise bad_request(f"{where} is {_shown(given)}; use an object")
        if verb in ("create", "update", "updateStatus"):
            return self._whole(verb, given, where)
        unknown = sorted(given.keys() - _TARGET_FIELDS - _OWN_FIELDS[verb])
        if unknown:
            allowed = ", ".join(sorted(_TARGET_FIELDS | _OWN_FIELDS[verb]))
            raise bad_request(f"{where}.{unknown[0]} is no field of this operation; use {allowed}")
        kind, key = self._target(given, where)
        if verb == "put":
            return self._put(kind, key, given, where)
        if verb == "patch":
            return self._patch(kind, key, given, where)
        self._authorise(kind, key, verb, "")
        if verb == "get":
            return Operation("get", kind, key)
        return Operation("delete", kind, key, delete=delete_options(given, {}, self._identity.name))

    def _whole(self, verb: str, data: Json, where: str) -> Operation:
        kind = self._kind(data, where)
        metadata = data.get("metadata")
        if not isinstance(metadata, dict):
            raise bad_request(f"{where}.metadata is {_shown(metadata)}; use an object with a name")
        name = metadata.get("name", "")
        key = self._key(kind, metadata.get("namespace"), name, f"{where}.metadata", needs_name=verb != "create")
        subresource = "status" if verb == "updateStatus" else ""
        self._authorise(kind, key, verb, subresource)
        if verb == "create":
            if kind.info.resource == tokens.TOKENS:
                raise bad_request(f"{where}: a Token shows its secret once and is created alone")
            if kind.info.resource == events.EVENTS:
                events.prepare(data)
        done: Verb = "create" if verb == "create" else "update"
        return Operation(done, kind, key, data, self._write(kind, subresource))

    def _patch(self, kind: ResourceKind, key: ObjectKey, given: Json, where: str) -> Operation:
        type_ = given.get("type", "merge")
        if type_ not in PATCH_TYPES or (type_ == "strategic" and not kind.info.strategic_merge):
            raise bad_request(f"{where}.type is {_shown(type_)}; use merge, json or apply")
        subresource = given.get("subresource", "")
        if subresource not in ("", "status"):
            raise bad_request(f"{where}.subresource is {_shown(subresource)}; use status, or leave it out")
        if "patch" not in given:
            raise bad_request(f"{where}.patch is missing")
        force = given.get("force", False)
        if force and type_ != "apply":
            raise bad_request(f"{where}.force is only for apply")
        self._authorise(kind, key, "patch", subresource)
        return Operation(
            "patch", kind, key, given["patch"], self._write(kind, subresource, force=force is True), patch_type=type_
        )

    def _put(self, kind: ResourceKind, key: ObjectKey, given: Json, where: str) -> Operation:
        if kind.info.resource != "kvs.plum.dev":
            raise bad_request(f"{where} is for entries of kind KV; use create, update or patch for a {kind.info.kind}")
        spec: Json = {name: given[name] for name in ("type", "value", "ttl", "lease") if name in given}
        if "value" not in spec:
            raise bad_request(f"{where}.value is missing")
        if "key" in given and key.name != given["key"]:
            spec["key"] = given["key"]
        self._authorise(kind, key, "put", "")
        return Operation("put", kind, key, spec, self._write(kind, ""))

    def _target(self, item: Json, where: str) -> tuple[ResourceKind, ObjectKey]:
        """The object that `apiVersion`, `kind`, `namespace` and `name` mean; a `key` alone means an entry of kind KV."""
        name = item.get("name")
        if "key" in item:
            if "name" in item or item.get("kind", "KV") != "KV":
                raise bad_request(f"{where} has a key, which is for entries of kind KV, and is given without a name")
            entry_key = item["key"]
            if not isinstance(entry_key, str) or not entry_key:
                raise bad_request(f"{where}.key is {_shown(entry_key)}; use a text")
            item = {"apiVersion": "plum.dev/v1", **item, "kind": "KV"}
            name = kv_name(entry_key)
        kind = self._kind(item, where)
        return kind, self._key(kind, item.get("namespace"), name, where)

    def _kind(self, item: Json, where: str) -> ResourceKind:
        api_version, name = item.get("apiVersion", "plum.dev/v1"), item.get("kind")
        kind = None
        if isinstance(api_version, str) and isinstance(name, str):
            kind = self._service.registry.by_kind(api_version, name)
        if kind is None:
            raise bad_request(f"{where}: no kind {_shown(name)} of version {_shown(api_version)} is stored here")
        return kind

    def _key(self, kind: ResourceKind, namespace: Any, name: Any, where: str, *, needs_name: bool = True) -> ObjectKey:
        if not isinstance(name, str) or (needs_name and not name):
            raise bad_request(f"{where}.name is {_shown(name)}; use the name of the object")
        if not kind.info.namespaced:
            if namespace:
                raise bad_request(f"{where}.namespace is {_shown(namespace)}; a {kind.info.kind} is in no namespace")
            return ObjectKey("", name)
        if namespace is None:
            namespace = self._namespace
        if not isinstance(namespace, str) or not namespace:
            raise bad_request(f"{where}.namespace is {_shown(namespace)}; use the name of a namespace")
        return ObjectKey(namespace, name)

    def _authorise(self, kind: ResourceKind, key: ObjectKey, verb: str, subresource: str) -> None:
        """Raises `ApiStatusError` 401 or 403."""
        if self._identity.may_all:
            return
        info = kind.info
        wanted = Attributes(_VERB_OF.get(verb, verb), info.group, info.plural, subresource, key.namespace, key.name)
        asked = [wanted]
        if verb == "put":
            asked.append(wanted._replace(verb="update"))
        for one in asked:
            if not self._gate.allows(self._identity, one):
                raise refusal(self._identity, one)

    def _write(self, kind: ResourceKind, subresource: str, *, force: bool = False) -> WriteOptions:
        """The options of a write. Operations of one kind share them."""
        known = self._options.get((kind.info.resource, subresource, force))
        if known is None:
            admit = None if self._identity.may_all else admission(self._gate, self._identity, kind.info)
            known = self._options[kind.info.resource, subresource, force] = WriteOptions(
                field_manager=self._manager,
                field_validation=self._validation,
                force=force,
                subresource=subresource,
                user=self._identity.name,
                admit=admit,
            )
        return known


def result_body(result: Result) -> bytes:
    """A result as JSON, its objects as they are stored."""
    head = b'{"apiVersion":"plum.dev/v1","kind":"TransactionResult","succeeded":%b,"revision":"%d","results":[' % (
        b"true" if result.succeeded else b"false",
        result.revision,
    )
    return b"%b%b]}\n" % (head, b",".join([_done_body(done) for done in result.done]))


def _done_body(done: Done) -> bytes:
    if done.value is None:
        return b'{"object":null}'
    flags = b""
    if done.created:
        flags += b',"created":true'
    if done.gone:
        flags += b',"deleted":true'
    if not done.changed and done.verb != "get":
        flags += b',"unchanged":true'
    return b'{"object":%b%b}' % (done.value, flags)


def _list_of(body: Json, name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad_request(f"{name} is {_shown(value)}; use a list")
    return value


def _text(item: Json, name: str, where: str) -> str | None:
    value = item.get(name)
    if value is None or isinstance(value, str):
        return value
    raise bad_request(f"{where}.{name} is {_shown(value)}; use a text")


def _shown(value: Any) -> str:
    text = _encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


__all__ = ["INFO", "PATH", "ApiStatusError", "Transactions", "result_body"]
