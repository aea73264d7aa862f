"""The routes below `/kv`, on bytes: what each method of each path does.

    GET    /kv                       namespaces that hold entries
    GET    /kv/NAMESPACE             a list; with ?watch=true a stream, also of one entry
    POST   /kv/NAMESPACE?batch       several puts and deletes as one revision        POST /kv/NAMESPACE?txn   a transaction
    DELETE /kv/NAMESPACE?prefix=     what begins so
    GET, HEAD, PUT, DELETE /kv/NAMESPACE/KEY     a value, as it is
    POST   /kv/NAMESPACE/KEY?add=1   a number, changed where it is                    ?lock=acquire|renew|release

Whoever may write an entry into a namespace that is not there makes the namespace with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.kv import KV, kv_name

from plum_controller.api.access import Gate, refusal
from plum_controller.api.bodies import is_dry_run, read_object
from plum_controller.api.kv import stream, values
from plum_controller.api.kv.listing import Listing, entry_json
from plum_controller.api.kv.locks import DEFAULT_TTL, Locks, check_ttl
from plum_controller.api.kv.paths import Place, check_key, place_of
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, flag, number
from plum_controller.api.transactions import Transactions, result_body
from plum_controller.api.watch import WatchPlan
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, bad_request, method_not_allowed
from plum_controller.resources.kv import NO_CONDITION, Condition, FailedConditionError, Put, Stored, Typed, spec_in
from plum_controller.resources.kv_index import KeyIndex
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.resources.transactions import MAX_OPERATIONS, Plan, Result

BATCH_FIELDS = ("key", "value", "type", "ttl", "lease")
BATCH_TRIES = 5
"""Times a batch is tried whose keys to delete go meanwhile."""
_encode = msgspec.json.Encoder().encode
_PART = re.compile(r"then\[(\d+)\]( \(put kvs\.plum\.dev [^)]*\))?(?:\.put)?")
Json = dict[str, Any]
MAX_WRITERS = 1000
"""Whose options are remembered."""


def _in_batch(error: ApiStatusError, puts: int) -> ApiStatusError:
    """The refusal of a transaction in the words of the batch that it was made of."""
    found = _PART.match(error.message)
    if found is None:
        return error
    number = int(found[1])
    part = f"put[{number}]" if number < puts else "delete"
    details = error.details | ({"operation": part} if "operation" in error.details else {})
    return ApiStatusError(error.code, error.reason, part + error.message[found.end() :], details)


class KvApi:
    """Answers requests below `/kv`."""

    def __init__(self, service: ResourceService, gate: Gate, transactions: Transactions) -> None:
        self._service = service
        self._gate = gate
        self._transactions = transactions
        self._entries = service.entries
        self.index = KeyIndex(service.cache)
        self._listing = Listing(self._entries, self.index, service.cache)
        self.locks = Locks(self._entries, service.cache)
        self._options_of: dict[tuple[str, str], WriteOptions] = {}
        """By manager and user."""

    def close(self) -> None:
        self.index.close()

    def answer_now(self, request: ApiRequest) -> Answer | None:
        """A value, answered without a task switch. None: ask `answer`. Raises `ApiStatusError`."""
        place = place_of(request.raw_path, request.query)
        return self._get(request, place) if place.key else None

    def begin(self, request: ApiRequest, tell: Callable[[Answer | Exception], None]) -> bool:
        """Put a value without a task: `tell` gets the answer, or the error, in the moment in which it is on disk. False: ask
        `answer`. Raises `ApiStatusError`."""
        place = place_of(request.raw_path, request.query)
        if not place.key:
            return False

        def ended(result: Stored | Exception) -> None:
            tell(self._stored(place, result) if isinstance(result, Stored) else result)

        try:
            return self._entries.begin(self._put_of(request, place), self._options(request), ended)
        except FailedConditionError as error:
            raise _failed(place, error) from error

    async def answer(self, request: ApiRequest) -> Answer | WatchAnswer:
        """Raises `ApiStatusError`."""
        place = place_of(request.raw_path, request.query)
        try:
            if place.key:
                return await self._on_entry(request, place)
            return await self._on_namespace(request, place)
        except FailedConditionError as error:
            raise _failed(place, error) from error

    # ---- one entry

    async def _on_entry(self, request: ApiRequest, place: Place) -> Answer | WatchAnswer:
        match request.method:
            case "GET" if request.query and flag(request.query, "watch"):
                return WatchAnswer(self._stream(request, place))
            case "GET" | "HEAD":
                return self._get(request, place)
            case "PUT":
                return await self._put(request, place)
            case "DELETE":
                revision = await self._entries.delete(place.namespace, place.key, self._condition(request, place))
                return Answer(b"", status=204, revision=revision)
            case "POST" if "add" in request.query:
                return await self._add(request, place)
            case "POST" if "lock" in request.query:
                return await self._lock(request, place)
        raise method_not_allowed(KV.info, request.method.lower(), place.key)

    def _get(self, request: ApiRequest, place: Place) -> Answer:
        entry = self._entries.require(place.namespace, place.key)
        tag = b'"%d"' % entry.revision
        known = request.headers.get(b"if-none-match")
        if known is not None and _names(known, tag):
            return Answer(b"", status=304, headers=((b"etag", tag),))
        if request.query.get("as") == "entry":
            shown = {"namespace": place.namespace, **entry_json(entry, with_value=True)}
            return Answer(_encode(shown), headers=((b"etag", tag),))
        spec = spec_in(entry)
        body, content_type = values.body_of(spec)
        headers: tuple[tuple[bytes, bytes], ...] = ((b"etag", tag), (b"x-plum-type", spec.type.encode()))
        if spec.expires_at:
            headers += ((b"x-plum-expires", spec.expires_at.encode()),)
        if spec.type in ("string", "bytes"):
            headers += ((b"x-content-type-options", b"nosniff"),)
        return Answer(body, content_type=content_type, headers=headers)

    async def _put(self, request: ApiRequest, place: Place) -> Answer:
        return self._stored(place, await self._entries.put(self._put_of(request, place), self._options(request)))

    def _put_of(self, request: ApiRequest, place: Place) -> Put:
        query = request.query
        condition, may_create = self._condition(request, place), self._may_create(request, place)
        if not query:
            read = values.reader(request.body, request.content_type, "")
            return Put(place.namespace, place.key, read, condition=condition, may_create=may_create)
        kind, ttl = values.check_type(query.get("type", "")), query.get("ttl", "")
        check_ttl(ttl)
        return Put(
            place.namespace,
            place.key,
            values.reader(request.body, request.content_type, kind),
            "" if kind == values.AUTO else kind,
            ttl,
            query.get("lease", ""),
            condition,
            may_create,
            is_dry_run(query.get("dryRun"), "PutOptions"),
        )

    async def _add(self, request: ApiRequest, place: Place) -> Answer:
        """Change a number where it is. A new entry begins at 0."""
        text = request.query["add"] or "1"
        by = msgspec.json.decode(text) if _is_number(text) else None
        if by is None:
            raise bad_request(f"add is {text!r}; use a number")
        ttl = request.query.get("ttl", "")
        check_ttl(ttl)
        put = Put(
            place.namespace,
            place.key,
            values.given(None),
            "",
            ttl,
            condition=self._condition(request, place),
            may_create=self._may_create(request, place),
            change=lambda live: _sum(live, by),
        )
        stored = await self._entries.put(put, self._options(request))
        return self._stored(place, stored, msgspec.json.decode(stored.value)["spec"]["value"])

    async def _lock(self, request: ApiRequest, place: Place) -> Answer:
        query, key = request.query, ObjectKey(place.namespace, place.key)
        options = self._options(request)
        action = query["lock"]
        if action == "acquire":
            self._may_create(request, place, always=True)
            wait = query.get("wait", "")
            check_ttl(wait)
            lock = await self.locks.acquire(
                key, query.get("holder", ""), query.get("ttl") or DEFAULT_TTL, _seconds(wait), options
            )
            return Answer(_encode(lock))
        token = number(query, "token")
        if token is None:
            raise bad_request("token is missing: it came with the lock")
        if action == "renew":
            return Answer(_encode(await self.locks.renew(key, token, query.get("ttl", ""), options)))
        if action == "release":
            return Answer(b"", status=204, revision=await self.locks.release(key, token))
        raise bad_request(f"lock is {action!r}; use acquire, renew or release")

    # ---- many

    async def _on_namespace(self, request: ApiRequest, place: Place) -> Answer | WatchAnswer:
        query, method = request.query, request.method
        if method in ("GET", "HEAD"):
            if not place.namespace:
                return Answer(_encode({"namespaces": self.index.namespaces()}))
            if flag(query, "watch"):
                return WatchAnswer(self._stream(request, place))
            return Answer(await self._listing.page(place.namespace, query))
        if method == "POST" and place.namespace and "batch" in query:
            return await self._batch(request, place.namespace)
        if method == "POST" and place.namespace and "txn" in query:
            return await self._transaction(request, place.namespace)
        if method == "DELETE" and place.namespace and query.get("prefix"):
            return await self._delete_all(request, place.namespace, query["prefix"])
        raise method_not_allowed(KV.info, method.lower(), place.namespace)

    def _stream(self, request: ApiRequest, place: Place) -> WatchPlan:
        query, identity = request.query, request.identity
        since = request.headers.get(b"last-event-id", b"").decode("latin-1") or query.get("since", "")
        seconds: float | None = number(query, "timeoutSeconds")
        if identity.expires:
            left = max(0.1, identity.expires - time.time())
            seconds = min(seconds or left, left)
        kind, prefix = self._entries.kind, query.get("prefix", "")
        check_key(prefix)
        return stream.plan(kind, place.namespace, prefix, place.key, since, seconds, identity.credential)

    async def _batch(self, request: ApiRequest, namespace: str) -> Answer:
        body, _ = read_object(request)
        unknown = sorted(body.keys() - {"put", "delete"})
        if unknown:
            raise bad_request(f"{unknown[0]} is no field of a batch; use put, a list of entries, and delete, a list of keys")
        puts, deletes = body.get("put") or [], body.get("delete") or []
        if not isinstance(puts, list) or not isinstance(deletes, list):
            raise bad_request("put and delete are lists")
        then: list[Json] = []
        for index, item in enumerate(puts):
            if not isinstance(item, dict):
                raise bad_request(f"put[{index}] is no object; use {{key, value, type, ttl, lease}}")
            strange = sorted(item.keys() - BATCH_FIELDS)
            if strange:
                raise bad_request(f"put[{index}].{strange[0]} is no field of an entry; use {', '.join(BATCH_FIELDS)}")
            if not isinstance(item.get("key"), str) or "value" not in item:
                raise bad_request(f"put[{index}] needs a key, which is a text, and a value")
            then.append({"put": {"namespace": namespace, **item}})
        wrong = next((key for key in deletes if not isinstance(key, str)), None)
        if wrong is not None:
            raise bad_request(f"delete holds {wrong!r}; use keys")
        for left in reversed(range(BATCH_TRIES)):
            live = [key for key in dict.fromkeys(deletes) if self._entries.find(namespace, key) is not None]
            parts = [*then, *({"delete": {"namespace": namespace, "key": key}} for key in live)]
            if not parts:
                break
            try:
                result = await self._run({"then": parts}, request, namespace)
            except ApiStatusError as error:
                if error.code == 404 and left:
                    continue  # one of those to be deleted went meanwhile
                raise _in_batch(error, len(puts)) from error
            done = {"namespace": namespace, "put": len(puts), "deleted": len(live), "revision": str(result.revision)}
            return Answer(_encode(done), revision=result.revision, warnings=tuple(result.warnings))
        return Answer(_encode({"namespace": namespace, "put": 0, "deleted": 0, "revision": str(self._service.cache.revision)}))

    async def _transaction(self, request: ApiRequest, namespace: str) -> Answer:
        body, _ = read_object(request)
        result = await self._run(body, request, namespace)
        return Answer(result_body(result), revision=result.revision, warnings=tuple(result.warnings))

    async def _run(self, body: Json, request: ApiRequest, namespace: str) -> Result:
        encoded = _encode(body)
        plan = self._transactions.plan(body, request, lambda: self._again(encoded, request, namespace), namespace)
        return await self._service.transact(plan)

    def _again(self, encoded: bytes, request: ApiRequest, namespace: str) -> Plan:
        body = msgspec.json.decode(encoded)
        return self._transactions.plan(body, request, lambda: self._again(encoded, request, namespace), namespace)

    async def _delete_all(self, request: ApiRequest, namespace: str, prefix: str) -> Answer:
        """Delete what begins so, in transactions of as many as fit."""
        self._require(request, "deletecollection", namespace, "")
        keys, revision = self.index.keys(namespace, prefix), self._service.cache.revision
        for start in range(0, len(keys), MAX_OPERATIONS):
            names = [kv_name(key) for key in keys[start : start + MAX_OPERATIONS]]
            revision = await self._entries.delete_some(namespace, names)
        return Answer(_encode({"deleted": len(keys)}), revision=revision)

    # ---- shared

    def _condition(self, request: ApiRequest, place: Place) -> Condition:
        """What the headers demand. Raises `ApiStatusError` 400."""
        headers = request.headers
        match, none_match, fence = headers.get(b"if-match"), headers.get(b"if-none-match"), headers.get(b"if-lock")
        if match is None and none_match is None and fence is None:
            return NO_CONDITION
        exists: bool | None = None
        revision = None
        if match is not None:
            exists = True
            if match.strip() != b"*":
                revision = _revision_of(match)
        if none_match is not None:
            if none_match.strip() != b"*" or match is not None:
                raise bad_request("with a write only If-None-Match: * makes sense, and only without If-Match")
            exists = False
        return Condition(exists, revision, None if fence is None else _fence(fence, place.namespace))

    def _options(self, request: ApiRequest) -> WriteOptions:
        manager = request.query.get("fieldManager") or request.user_agent.partition("/")[0] or "unknown"
        options = self._options_of.get((manager, request.identity.name))
        if options is None:
            if len(manager) > 128 or not manager.isprintable():
                raise bad_request("fieldManager may have 128 printable characters")
            if len(self._options_of) >= MAX_WRITERS:
                self._options_of.clear()
            options = WriteOptions(field_manager=manager, user=request.identity.name)
            self._options_of[manager, request.identity.name] = options
        return options

    def _may_create(self, request: ApiRequest, place: Place, *, always: bool = False) -> Any:
        """What refuses a writer who may change entries and not make them; None where it need not be asked."""
        if request.identity.may_all:
            return None

        def check() -> None:
            self._require(request, "create", place.namespace, kv_name(place.key))

        if always:
            check()
        return check

    def _require(self, request: ApiRequest, verb: str, namespace: str, name: str) -> None:
        wanted = Attributes(verb, "plum.dev", "kvs", "", namespace, name)
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)

    @staticmethod
    def _stored(place: Place, stored: Stored, value: Any = None) -> Answer:
        """Kept short: whoever puts a value has it."""
        shown: Json = {"namespace": place.namespace, "key": place.key, "revision": str(stored.revision)}
        if stored.created:
            shown["created"] = True
        if not stored.changed:
            shown["unchanged"] = True
        if value is not None:
            shown["value"] = value
        return Answer(
            _encode(shown),
            status=201 if stored.created else 200,
            revision=stored.revision,
            headers=((b"etag", b'"%d"' % stored.revision),),
        )


def _failed(place: Place, error: FailedConditionError) -> ApiStatusError:
    return ApiStatusError(412, "Conflict", f"{place.namespace}/{place.key}: {error}; nothing was written", {})


def _names(header: bytes, tag: bytes) -> bool:
    return header.strip() == b"*" or tag in [part.strip().removeprefix(b"W/") for part in header.split(b",")]


def _revision_of(header: bytes) -> int:
    text = header.strip().removeprefix(b"W/").strip(b'"')
    if not text.isdigit() or len(text) > 18:
        raise bad_request(f"If-Match is {header.decode('latin-1')!r}; use the ETag of one answer, or *")
    return int(text)


def _fence(header: bytes, namespace: str) -> tuple[ObjectKey, int]:
    name, equals, token = header.decode("latin-1").rpartition("=")
    if not equals or not name or not token.strip().isdigit():
        raise bad_request(f"If-Lock is {header.decode('latin-1')!r}; use LOCK=TOKEN, the key percent-encoded")
    return ObjectKey(namespace, unquote(name.strip())), int(token)


def _is_number(text: str) -> bool:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(live: Json | None, by: float) -> Typed:
    """What is there and a number more. Raises `ApiStatusError` 422."""
    if live is None:
        return Typed("int" if isinstance(by, int) else "double", by)
    kind = live["type"]
    if kind not in ("int", "double"):
        raise ApiStatusError(422, "Invalid", f"the entry is of type {kind}; only int and double can be added to", {})
    if kind == "int" and not isinstance(by, int):
        raise ApiStatusError(422, "Invalid", f"{by} cannot be added to an entry of type int", {})
    return Typed(kind, live["value"] + by)


def _seconds(text: str) -> float:
    return parse_duration(text) if text else 0.0
