"""The API client: every request a program of Plum makes, typed or with plain dictionaries.

    ApiClient.get(Deployment, "web", "default") -> Deployment | None
    ApiClient.get(info, "web", "default")       -> dict | None        info: KindInfo, for kinds known only by name
          |
          +-> Request -> Transport -> Response -> object, or an error of `plum_client.errors`

The client keeps no state but its discovery, so any number of tasks may share one. Objects it returns belong to the caller.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, Literal, cast, overload

import msgspec
from plum_schemas.base import KindInfo, Object, ObjectKey

from plum_client import transactions
from plum_client.codec import AnyT, Codec, Head, JsonObject, T, codec_of, encode, head_of, metadata_of, revision_of
from plum_client.discovery import Discovery
from plum_client.errors import BadRequestError, NotFoundError, error_of
from plum_client.transactions import TransactionResult
from plum_client.transport import Request, Response, Transport
from plum_client.watch import WatchEvent, watch_events
from plum_client.writes import Written, record

PatchType = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]
PAGE_SIZE = 500
"""Objects per page of a list: about half a megabyte."""

_PATCH_CONTENT_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ObjectList(Generic[AnyT]):
    """The objects of one list, all from the same revision."""

    __slots__ = ("items", "revision")

    def __init__(self, items: list[AnyT], revision: str) -> None:
        self.items = items
        self.revision = revision
        """Resource version of the list: watch from here to miss nothing."""

    def __iter__(self) -> Iterator[AnyT]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class RawList(ObjectList[Any]):
    """A list whose items are still bytes."""


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _ListPage(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


_decode_page = msgspec.json.Decoder(_ListPage).decode


class ApiClient:
    """Requests to one API over one transport, in the name of one field manager.

    Methods raise the errors of `plum_client.errors`. With `dry_run=True` a write passes every check and is not stored.
    """

    def __init__(
        self,
        transport: Transport,
        field_manager: str = "plum-client",
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.transport = transport
        self.field_manager = field_manager
        """Named as the owner of the fields this client writes."""
        self.last_revision = 0
        """Highest store revision of a write of this client."""
        self.discovery = Discovery(transport)
        self._on_warning = on_warning

    async def close(self) -> None:
        await self.transport.close()

    # ---- reading

    @overload
    async def get(self, kind: type[T], name: str | ObjectKey, namespace: str = "") -> T | None: ...
    @overload
    async def get(self, kind: KindInfo, name: str | ObjectKey, namespace: str = "") -> JsonObject | None: ...
    async def get(self, kind: type[Any] | KindInfo, name: str | ObjectKey, namespace: str = "") -> Any:
        """One object by name or key, None if there is none."""
        codec = codec_of(kind)
        key = _key(codec.info, name, namespace)
        response = await self.transport.send(Request("GET", codec.info, key.namespace, key.name))
        if response.status == 404:
            return None
        return codec.decode(self._checked(response, f"get {codec.info.resource} {key}").body)

    @overload
    async def list(
        self, kind: type[T], namespace: str = "", labels: str = "", fields: str = "", limit: int = PAGE_SIZE
    ) -> ObjectList[T]: ...
    @overload
    async def list(
        self, kind: KindInfo, namespace: str = "", labels: str = "", fields: str = "", limit: int = PAGE_SIZE
    ) -> ObjectList[JsonObject]: ...
    async def list(
        self, kind: type[Any] | KindInfo, namespace: str = "", labels: str = "", fields: str = "", limit: int = PAGE_SIZE
    ) -> ObjectList[Any]:
        """All objects that match, of one namespace or (empty) of all, fetched in pages of `limit`."""
        codec = codec_of(kind)
        raw = await self.list_bytes(codec.info, namespace, labels, fields, limit)
        return ObjectList([codec.decode(item) for item in raw.items], raw.revision)

    async def list_bytes(
        self, info: KindInfo, namespace: str = "", labels: str = "", fields: str = "", limit: int = PAGE_SIZE
    ) -> RawList:
        """Like `list`, each object as its JSON bytes. Raises `RevisionCompactedError` when paging took too long."""
        query = _selectors(labels, fields)
        if limit:
            query["limit"] = str(limit)
        items: list[bytes] = []
        while True:
            request = Request("GET", info, namespace, query=query)
            page = _decode_page(self._checked(await self.transport.send(request), f"list {info.resource}").body)
            items.extend(bytes(item) for item in page.items or ())
            if not page.metadata.continue_:
                return RawList(items, page.metadata.resource_version)
            query = {**query, "continue": page.metadata.continue_}

    @overload
    def watch(
        self, kind: type[T], namespace: str = "", labels: str = "", fields: str = "", since: str = ""
    ) -> AsyncGenerator[WatchEvent[T], None]: ...
    @overload
    def watch(
        self, kind: KindInfo, namespace: str = "", labels: str = "", fields: str = "", since: str = ""
    ) -> AsyncGenerator[WatchEvent[JsonObject], None]: ...
    async def watch(
        self, kind: type[Any] | KindInfo, namespace: str = "", labels: str = "", fields: str = "", since: str = ""
    ) -> AsyncGenerator[WatchEvent[Any], None]:
        """Changes after revision `since`, or (empty) everything there is as ADDED and then changes, over one connection.

        Ends when the server ends it; raises `RevisionCompactedError` when `since` is too old. An `Informer` does the
        resuming. Close it early with `contextlib.aclosing`.
        """
        codec = codec_of(kind)
        async with aclosing(watch_events(self.transport, codec.info, namespace, _selectors(labels, fields), since)) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    yield WatchEvent(event.type, codec.decode(event.value), str(event.head.revision))

    # ---- writing

    async def create(
        self,
        obj: AnyT,
        namespace: str | None = None,
        *,
        kind: KindInfo | None = None,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> AnyT:
        """Create and return it as stored. Raises `AlreadyExistsError`. A dictionary needs its `kind`."""
        codec = self._codec(obj, kind)
        key, _ = metadata_of(obj)
        target = ObjectKey(namespace or key.namespace or "default", "") if codec.info.namespaced else ObjectKey("", "")
        query = self._write_query(dry_run, field_validation)
        response = await self._write("POST", codec.info, target, encode(obj), query)
        return codec.decode(response.body)

    async def update(self, obj: AnyT, *, kind: KindInfo | None = None, dry_run: bool = False, field_validation: str = "") -> AnyT:
        """Replace everything but the status. Raises `ConflictError` when the object's resource version is stale."""
        return await self._put(obj, kind, "", dry_run, field_validation)

    async def write_status(
        self, obj: AnyT, *, kind: KindInfo | None = None, dry_run: bool = False, field_validation: str = ""
    ) -> AnyT:
        """Replace only the status. Raises `ConflictError` when the object's resource version is stale."""
        return await self._put(obj, kind, "status", dry_run, field_validation)

    @overload
    async def patch(
        self,
        kind: type[T],
        key: ObjectKey | str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> T: ...
    @overload
    async def patch(
        self,
        kind: KindInfo,
        key: ObjectKey | str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> JsonObject: ...
    async def patch(
        self,
        kind: Any,
        key: ObjectKey | str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> Any:
        """Change part of an object: a dictionary for `merge`, `strategic` and `apply`, a list of operations for `json`.

        With `metadata.resourceVersion` in the patch it raises `ConflictError` when that is stale. `subresource="scale"`
        needs an untyped kind, because a Scale comes back.
        """
        codec = codec_of(kind)
        query = self._write_query(dry_run, field_validation, field_manager)
        if force:
            query["force"] = "true"
        target = _key(codec.info, key)
        response = await self._write("PATCH", codec.info, target, encode(patch), query, subresource, _PATCH_CONTENT_TYPES[type])
        return codec.decode(response.body)

    async def apply(
        self,
        obj: AnyT,
        *,
        force: bool = False,
        kind: KindInfo | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> AnyT:
        """Server-side apply: create or merge, owning exactly the fields given. Raises `ConflictError` unless `force`."""
        codec = self._codec(obj, kind)
        body = cast("JsonObject", msgspec.to_builtins(obj))
        body["metadata"] = {name: value for name, value in (body.get("metadata") or {}).items() if name != "managedFields"}
        query = self._write_query(dry_run, field_validation, field_manager) | {"force": "true" if force else "false"}
        key = _key(codec.info, metadata_of(obj)[0])
        response = await self._write("PATCH", codec.info, key, encode(body), query, "", _PATCH_CONTENT_TYPES["apply"])
        return codec.decode(response.body)

    async def delete(
        self,
        kind: type[Object] | KindInfo,
        key: ObjectKey | str,
        *,
        propagation: Propagation = "Background",
        uid: str = "",
        revision: str = "",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Delete, or start the deletion where finalizers hold it. A missing one is a success, unless `uid` or `revision`
        name what must be there: then `NotFoundError`, or `ConflictError` for another incarnation."""
        info = codec_of(kind).info
        options = _delete_options(propagation, uid, revision, grace_seconds)
        try:
            await self._write("DELETE", info, _key(info, key), encode(options), {"dryRun": "All"} if dry_run else {})
        except NotFoundError:
            if uid or revision:
                raise

    async def delete_collection(
        self,
        kind: type[Object] | KindInfo,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> None:
        """Delete all that match in one namespace."""
        info = codec_of(kind).info
        query = _selectors(labels, fields) | ({"dryRun": "All"} if dry_run else {})
        body = encode(_delete_options(propagation, "", "", None))
        await self._write("DELETE", info, ObjectKey(namespace, ""), body, query)

    async def scale(self, kind: type[Object] | KindInfo, key: ObjectKey | str, replicas: int, *, dry_run: bool = False) -> None:
        """Set the wanted number of copies through `/scale`."""
        info = codec_of(kind).info
        body = encode({"spec": {"replicas": replicas}})
        query = self._write_query(dry_run, "")
        await self._write("PATCH", info, _key(info, key), body, query, "scale", _PATCH_CONTENT_TYPES["merge"])

    async def transact(
        self,
        then: Sequence[transactions.Operation],
        *,
        compare: Sequence[transactions.Comparison] = (),
        otherwise: Sequence[transactions.Operation] = (),
        dry_run: bool = False,
        field_manager: str | None = None,
    ) -> TransactionResult:
        """Do `then` if every comparison holds and `otherwise` if not: all of it at one revision, or nothing.

        The parts come from `plum_client.transactions`. Raises the error of the first operation that is refused.
        """
        body = transactions.body_of(compare, then, otherwise)
        query = self._write_query(dry_run, "", field_manager)
        response = await self.transport.send(Request("POST", transactions.INFO, query=query, body=body))
        result = transactions.result_of(self._checked(response, "transaction").body, then, otherwise)
        if not dry_run:
            self._note_all(result)
        return result

    # ---- discovery

    async def discover(self) -> Sequence[KindInfo]:
        """All kinds the server has, read once; `resolve` uses them."""
        return await self.discovery.kinds()

    async def resolve(self, word: str) -> KindInfo:
        """The kind a person means by `deploy`, `deployments`, `Deployment` or `deployments.plum.dev`."""
        return await self.discovery.resolve(word)

    # ---- inside

    async def _put(self, obj: AnyT, kind: KindInfo | None, subresource: str, dry_run: bool, field_validation: str) -> AnyT:
        codec = self._codec(obj, kind)
        key = _key(codec.info, metadata_of(obj)[0])
        query = self._write_query(dry_run, field_validation)
        response = await self._write("PUT", codec.info, key, encode(obj), query, subresource)
        return codec.decode(response.body)

    async def _write(
        self,
        method: str,
        info: KindInfo,
        key: ObjectKey,
        body: bytes,
        query: Mapping[str, str],
        subresource: str = "",
        content_type: str = "application/json",
    ) -> Response:
        request = Request(method, info, key.namespace, key.name, subresource, query, body, content_type)
        response = self._checked(await self.transport.send(request), f"{method} {request.path}")
        if "dryRun" not in query:
            self._note(request, response)
        return response

    def _note(self, request: Request, response: Response) -> None:
        """Remember the revision of a write for whoever must read it back."""
        head = head_of(response.body) if response.body else Head(ObjectKey("", ""), 0, "")
        deleted = request.method == "DELETE"
        key = ObjectKey(request.namespace, request.name) if request.name else head.key
        revision = response.revision or (0 if deleted else head.revision)
        self.last_revision = max(self.last_revision, revision)
        record(Written(request.info, key, revision, b"" if deleted else response.body))

    def _note_all(self, result: TransactionResult) -> None:
        """The same for every write of a transaction."""
        revision = revision_of(result.revision)
        self.last_revision = max(self.last_revision, revision)
        for one in result:
            if one.operation.verb != "get" and not one.unchanged:
                record(Written(one.operation.info, one.key, revision, b"" if one.deleted else one.value))

    def _checked(self, response: Response, what: str) -> Response:
        if self._on_warning is not None:
            for warning in response.warnings:
                self._on_warning(warning)
        if response.status >= 400:
            raise error_of(response.status, response.body, what)
        return response

    def _codec(self, obj: AnyT, kind: KindInfo | None) -> Codec[AnyT]:
        if isinstance(obj, Object):
            return cast("Codec[AnyT]", codec_of(type(obj)))
        if kind is None:
            kind = self.discovery.known(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))
        if kind is None:
            raise BadRequestError(f"{obj.get('apiVersion')} {obj.get('kind')} is not known here; pass kind= or call discover()")
        return cast("Codec[AnyT]", codec_of(kind))

    def _write_query(self, dry_run: bool, field_validation: str, field_manager: str | None = None) -> dict[str, str]:
        query = {"fieldManager": field_manager or self.field_manager}
        if dry_run:
            query["dryRun"] = "All"
        if field_validation:
            query["fieldValidation"] = field_validation
        return query


def _key(info: KindInfo, name: str | ObjectKey, namespace: str = "") -> ObjectKey:
    if isinstance(name, str):
        name = ObjectKey(namespace, name)
    if not info.namespaced:
        return ObjectKey("", name.name)
    return name if name.namespace else ObjectKey("default", name.name)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    query: dict[str, str] = {}
    if labels:
        query["labelSelector"] = labels
    if fields:
        query["fieldSelector"] = fields
    return query


def _delete_options(propagation: str, uid: str, revision: str, grace_seconds: int | None) -> JsonObject:
    options: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    preconditions = {name: value for name, value in (("uid", uid), ("resourceVersion", revision)) if value}
    if preconditions:
        options["preconditions"] = preconditions
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return options


__all__ = ["ApiClient", "ObjectList", "PatchType", "Propagation", "RawList", "WatchEvent", "revision_of"]
