"""The object routes: from a request to the resource service and back, on bytes.

    GET ---------------------> stored bytes, as they are
    list --------------------> stored bytes, joined
    POST, PUT, PATCH, DELETE -> decode -> ResourceService -> the stored bytes of the new version
    watch -------------------> WatchAnswer, streamed by whoever carries it

Used by the ASGI app and, without any HTTP, by `LocalTransport`. Every refusal is an `ApiStatusError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from plum_schemas.base import KindInfo, ObjectKey

from plum_controller.api import tokens
from plum_controller.api.absent import absent, read_only
from plum_controller.api.access import Gate
from plum_controller.api.admission import admission
from plum_controller.api.bodies import is_dry_run, read_delete_options, read_object, read_patch
from plum_controller.api.discovery import SERVICES
from plum_controller.api.negotiation import YAML_TYPE, Form, object_form
from plum_controller.api.omitting import Omission, omission
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, flag, number
from plum_controller.api.routes import Router, Target
from plum_controller.api.table import partial
from plum_controller.api.views import events, writes
from plum_controller.api.views.eviction import evict
from plum_controller.api.views.kind import ViewKind
from plum_controller.api.watch import WatchHub, WatchPlan
from plum_controller.api.yamls import as_yaml
from plum_controller.resources.errors import (
    Cause,
    invalid_option,
    method_not_allowed,
    no_such_resource,
    not_acceptable,
    success,
)
from plum_controller.resources.options import ListOptions, ListResult, Outcome, WatchOptions, WriteOptions
from plum_controller.resources.service import ResourceService

_encode = msgspec.json.Encoder().encode

ACCEPTED = ("application/json", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io")
ROWS_AT_ONCE = 250
"""Rows of a table made before others get their turn: about 10 ms."""
HISTORY_LIMIT = 100

_SCALE = KindInfo(kind="Scale", plural="scales", group="autoscaling", version="v1")


class ObjectsApi:
    """Answers requests on objects."""

    def __init__(self, service: ResourceService, hub: WatchHub, gate: Gate) -> None:
        self.service = service
        self.hub = hub
        self._gate = gate
        self.router = Router(service.registry)

    def answer_now(self, request: ApiRequest) -> Answer | None:
        """A read of one object as JSON, answered without a task switch. None: ask `answer`. Raises `ApiStatusError`."""
        if request.query or (request.accept and object_form(request.accept) is not Form.JSON):
            return None
        target = self.router.find(request.path)
        if target is None or not target.name or target.subresource or target.watch or target.kind.deprecation:
            return None
        return Answer(self.service.get(target.kind, ObjectKey(target.namespace, target.name)))

    async def answer(self, request: ApiRequest) -> Answer | WatchAnswer:
        """The answer to any request on objects. Raises `ApiStatusError`."""
        target = self.router.find(request.path)
        if target is None:
            raise absent(request.path)
        if target.subresource and not target.name:
            raise no_such_resource()
        answer = await self._answer(request, target)
        if target.kind.deprecation and isinstance(answer, Answer):
            answer.warnings = (target.kind.deprecation, *answer.warnings)
        return answer

    async def _answer(self, request: ApiRequest, target: Target) -> Answer | WatchAnswer:
        form = object_form(request.accept)
        if form is None:
            raise not_acceptable(ACCEPTED)
        method = request.method
        if method in ("GET", "HEAD"):
            return await self._read(request, target, form)
        if method == "POST" and target.subresource == "token" and target.kind.info.resource == tokens.ACCOUNTS:
            return await tokens.answer(self.service, request, target)
        if isinstance(target.kind, ViewKind):
            return await self._write_view(request, target, target.kind)
        if target.watch or target.kind.info is SERVICES:
            raise read_only(target.kind.info, _verb(method), target.name)
        if not target.name:
            return await self._write_collection(request, target)
        if method == "DELETE" and not target.subresource:
            return await self._delete(request, target)
        if method in ("PUT", "PATCH"):
            return await self._write_object(request, target)
        raise method_not_allowed(target.kind.info, _verb(method), target.name)

    # Reading

    async def _read(self, request: ApiRequest, target: Target, form: Form) -> Answer | WatchAnswer:
        if target.name:
            if target.watch:
                return self._watch(request, target, form)
            return await self._get(request, target, form)
        if target.watch or flag(request.query, "watch"):
            return self._watch(request, target, form)
        return await self._list(request, target, form)

    async def _get(self, request: ApiRequest, target: Target, form: Form) -> Answer:
        kind, part = target.kind, target.subresource
        key = ObjectKey(target.namespace, target.name)
        if isinstance(kind, ViewKind):
            if part == "scale" and kind.has_scale:
                return await self._get(request, target._replace(kind=self.service.registry.require(kind.resource)), form)
            if part not in ("", "status"):
                raise absent(request.path)
            return self._shaped(request, target, self.service.get(kind, key, request.query.get("resourceVersion")), form)
        if part == "history":
            return await self._history(request, target, form)
        if part == "scale" and kind.info.scale is not None:
            return self._shaped(request, target, self.service.get_scale(kind, key), form, info=_SCALE)
        if part and not (part == "status" and kind.info.has_status):
            raise no_such_resource()
        at = request.query.get("at")
        if at:
            value = await self.service.get_at(kind, key, at)
        else:
            value = self.service.get(kind, key, request.query.get("resourceVersion"))
        return self._shaped(request, target, value, form)

    async def _list(self, request: ApiRequest, target: Target, form: Form) -> Answer:
        left_out = omission(request.query.get("omit", ""), form, "ListOptions")
        result = await self.service.list(target.kind, self._list_options(request, target))
        info = target.kind.info
        if form is Form.TABLE:
            return Answer(await self._table(request, target, result))
        values: Sequence[bytes] = result.values
        api_version, kind = info.api_version, info.list_kind
        if form is Form.PARTIAL:
            values = [partial(value) for value in values]
            api_version, kind = "meta.k8s.io/v1", "PartialObjectMetadataList"
        elif left_out is not None:
            values = await _shortened(values, left_out)
        answer = Answer(list_body(api_version, kind, result, values))
        return as_yaml(answer) if form is Form.YAML else answer

    async def _table(self, request: ApiRequest, target: Target, result: ListResult) -> bytes:
        """The table of a list. Long ones are made in pieces, so that a list of everything stalls nobody."""
        tabulator = self.hub.tabulator(target.kind.info)
        include = request.query.get("includeObject") or "Metadata"
        values = result.values
        head = tabulator.table(
            values[:ROWS_AT_ONCE],
            revision=str(result.revision),
            include=include,
            continue_token=result.continue_token,
            remaining=result.remaining,
        )
        if len(values) <= ROWS_AT_ONCE:
            return head
        parts = [head.removesuffix(b"]}")]
        for start in range(ROWS_AT_ONCE, len(values), ROWS_AT_ONCE):
            await asyncio.sleep(0)
            parts.append(tabulator.rows(values[start : start + ROWS_AT_ONCE], include))
        return b",".join(parts) + b"]}"

    async def _history(self, request: ApiRequest, target: Target, form: Form) -> Answer:
        if form not in (Form.JSON, Form.YAML):
            form = Form.JSON
        limit = number(request.query, "limit") or HISTORY_LIMIT
        versions = await self.service.history(target.kind, ObjectKey(target.namespace, target.name), limit)
        items = [
            {
                "revision": str(version.revision),
                "time": datetime.fromtimestamp(version.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "operation": version.operation,
                "manager": version.manager,
                "object": msgspec.Raw(version.value),
            }
            for version in versions
        ]
        answer = Answer(_encode({"kind": "ObjectHistory", "apiVersion": "plum.dev/v1", "items": items}))
        return as_yaml(answer) if form is Form.YAML else answer

    def _watch(self, request: ApiRequest, target: Target, form: Form) -> WatchAnswer:
        if form is Form.YAML:
            raise not_acceptable(ACCEPTED[:1])
        query = request.query
        fields = _fields(query, target)
        if target.name:
            fields = f"metadata.name={target.name},{fields}".rstrip(",")
        options = WatchOptions(
            namespace=target.namespace,
            labels=query.get("labelSelector", ""),
            fields=fields,
            revision=query.get("resourceVersion"),
            match=query.get("resourceVersionMatch"),
            send_initial_events=_optional_flag(query, "sendInitialEvents"),
            allow_bookmarks=flag(query, "allowWatchBookmarks"),
            continue_token=query.get("continue", ""),
        )
        include = query.get("includeObject") or "Metadata"
        left_out = omission(query.get("omit", ""), form, "WatchOptions")
        identity = request.identity
        seconds = identity.seconds_left(number(query, "timeoutSeconds"))
        return WatchAnswer(WatchPlan(target.kind, options, form, include, seconds, identity.credential, omission=left_out))

    # Writing

    async def _write_collection(self, request: ApiRequest, target: Target) -> Answer:
        kind = target.kind
        if request.method == "POST" and not (kind.info.namespaced and not target.namespace):
            data, duplicates = read_object(request)
            options = self._write_options(request, target, "CreateOptions", "", duplicates)
            token = tokens.prepare(data) if kind.info.resource == tokens.TOKENS else ""
            if kind.info.resource == events.EVENTS:
                events.prepare(data)
            outcome = await self.service.create(kind, target.namespace, data, options)
            if token:
                outcome = tokens.reveal(outcome, token)
            return self._written(request, target, outcome)
        if request.method == "DELETE" and not (kind.info.namespaced and not target.namespace):
            values = await self.service.delete_collection(kind, self._list_options(request, target), read_delete_options(request))
            result = ListResult(self.service.cache.revision, ())
            return Answer(list_body(kind.info.api_version, kind.info.list_kind, result, values), revision=result.revision)
        raise method_not_allowed(kind.info, _verb(request.method))

    async def _write_object(self, request: ApiRequest, target: Target) -> Answer:
        kind, part = target.kind, target.subresource
        key = ObjectKey(target.namespace, target.name)
        is_scale = part == "scale" and kind.info.scale is not None
        known = not part or is_scale or (part == "status" and kind.info.has_status)
        if request.method == "PUT":
            if not known and not (part == "finalize" and kind.info.resource == "namespaces"):
                raise no_such_resource()
            data, duplicates = read_object(request)
            options = self._write_options(request, target, "UpdateOptions", "" if is_scale else part, duplicates)
            update = self.service.update_scale if is_scale else self.service.update
            return self._written(request, target, await update(kind, key, data, options))
        if not known:
            raise no_such_resource()
        type_, patch, duplicates = read_patch(request, kind.info)
        options = self._write_options(request, target, "PatchOptions", "" if is_scale else part, duplicates)
        if "force" in request.query and type_ != "apply":
            raise invalid_option(
                "PatchOptions", [Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")]
            )
        if type_ == "apply" and not request.query.get("fieldManager"):
            message = "Required value: is required for apply patch"
            raise invalid_option("PatchOptions", [Cause("FieldValueRequired", message, "fieldManager")])
        change = self.service.patch_scale if is_scale else self.service.patch
        return self._written(request, target, await change(kind, key, type_, patch, options))

    async def _delete(self, request: ApiRequest, target: Target) -> Answer:
        options = read_delete_options(request)
        outcome = await self.service.delete(target.kind, ObjectKey(target.namespace, target.name), options)
        if outcome.gone:
            return Answer(
                success(target.kind.info, target.name, outcome.uid), revision=outcome.revision, warnings=outcome.warnings
            )
        return self._written(request, target, outcome)

    async def _write_view(self, request: ApiRequest, target: Target, view: ViewKind) -> Answer:
        """A change of what another kind stores."""
        key, method = ObjectKey(target.namespace, target.name), request.method
        stored = target._replace(kind=self.service.registry.require(view.resource))
        if method == "DELETE" and not target.subresource and not target.watch and (target.name or target.namespace):
            options = read_delete_options(request)
            if not target.name:
                values = await writes.delete_all(self.service, view, self._list_options(request, target), options)
                result = ListResult(self.service.cache.revision, ())
                return Answer(list_body(view.info.api_version, view.info.list_kind, result, values), revision=result.revision)
            self.service.get(view, key)  # 404 in the words of the view
            outcome = await self.service.delete(stored.kind, key, options)
            if outcome.gone:
                return Answer(success(view.info, target.name, outcome.uid), revision=outcome.revision)
            return self._written(request, target, writes.shown(view, outcome))
        if method in ("PUT", "PATCH") and target.name and not target.subresource:
            write_options = self._write_options(request, stored, "PatchOptions", "", ())
            return self._written(request, target, await writes.change(self.service, view, request, key, write_options))
        if method == "POST" and (target.subresource, target.kind.resource) == ("eviction", "instances.plum.dev"):
            body = read_object(request)[0] if request.body.strip() else {}
            return await evict(self.service, view, key, body, self._write_options(request, stored, "CreateOptions", "", ()))
        if method in ("PUT", "PATCH") and target.subresource == "scale" and view.has_scale:
            return await self._write_object(request, stored)
        raise writes.refused(view, _verb(method), target.name, target.subresource)

    def _written(self, request: ApiRequest, target: Target, outcome: Outcome) -> Answer:
        form = object_form(request.accept) or Form.JSON
        answer = self._shaped(request, target, outcome.value, form, info=_SCALE if target.subresource == "scale" else None)
        if outcome.created:
            answer.status = 201
        answer.revision = outcome.revision
        answer.warnings = outcome.warnings
        return answer

    def _shaped(self, request: ApiRequest, target: Target, value: bytes, form: Form, info: KindInfo | None = None) -> Answer:
        """One object in the form that was asked for."""
        if form is Form.JSON:
            return Answer(value)
        if form is Form.YAML:
            return as_yaml(Answer(value, content_type=YAML_TYPE))
        if form is Form.PARTIAL:
            return Answer(partial(value))
        tabulator = self.hub.tabulator(info or target.kind.info)
        metadata = msgspec.json.decode(value).get("metadata", {})
        revision = str(metadata.get("resourceVersion", ""))
        return Answer(tabulator.table([value], revision=revision, include=request.query.get("includeObject") or "Metadata"))

    @staticmethod
    def _list_options(request: ApiRequest, target: Target) -> ListOptions:
        query = request.query
        if not query:
            return ListOptions(namespace=target.namespace)
        return ListOptions(
            namespace=target.namespace,
            labels=query.get("labelSelector", ""),
            fields=_fields(query, target),
            limit=number(query, "limit") or 0,
            continue_token=query.get("continue", ""),
            revision=query.get("resourceVersion"),
            match=query.get("resourceVersionMatch"),
            send_initial_events=_optional_flag(query, "sendInitialEvents"),
        )

    def _write_options(
        self, request: ApiRequest, target: Target, kind: str, subresource: str, duplicates: tuple[str, ...]
    ) -> WriteOptions:
        query, identity = request.query, request.identity
        manager = _manager(query.get("fieldManager") or request.user_agent.partition("/")[0] or "unknown", kind)
        admit = None if identity.may_all else admission(self._gate, identity, target.kind.info)
        if not query and not duplicates:
            return WriteOptions(field_manager=manager, subresource=subresource, user=identity.name, admit=admit)
        return WriteOptions(
            field_manager=manager,
            dry_run=is_dry_run(query.get("dryRun"), kind),
            field_validation=query.get("fieldValidation") or "Warn",
            force=flag(query, "force"),
            subresource=subresource,
            user=identity.name,
            admit=admit,
            duplicates=duplicates,
        )


def _fields(query: Mapping[str, str], target: Target) -> str:
    fields = query.get("fieldSelector", "")
    return events.stored_selector(fields) if fields and target.kind.info.resource == events.EVENTS else fields


def _optional_flag(query: Mapping[str, str], name: str) -> bool | None:
    return flag(query, name) if name in query else None


def _manager(name: str, kind: str) -> str:
    """A field manager that may be stored. Raises `ApiStatusError` 422."""
    if len(name) > 128:
        raise invalid_option(kind, [Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager")])
    if not name.isprintable():
        message = f"Invalid value: {name!r}: should only contain printable characters"
        raise invalid_option(kind, [Cause("FieldValueInvalid", message, "fieldManager")])
    return name


async def _shortened(values: Sequence[bytes], left_out: Omission) -> list[bytes]:
    """The objects without some of their parts, made in pieces, so that a long list stalls nobody."""
    shortened: list[bytes] = []
    for start in range(0, len(values), ROWS_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        shortened += [left_out.applied(value) for value in values[start : start + ROWS_AT_ONCE]]
    return shortened


def list_body(api_version: str, kind: str, result: ListResult, values: Sequence[bytes]) -> bytes:
    """A list as JSON, its items as they are stored."""
    metadata: dict[str, object] = {"resourceVersion": str(result.revision)}
    if result.continue_token:
        metadata["continue"] = result.continue_token
    if result.remaining is not None:
        metadata["remainingItemCount"] = result.remaining
    head = b'{"apiVersion":"%b","kind":"%b","metadata":%b,"items":[' % (api_version.encode(), kind.encode(), _encode(metadata))
    if not values:
        return head + b"]}\n"
    # The ends are joined with the first and the last item, so that the items are copied once: a list can be megabytes.
    items = list(values)
    items[0] = head + items[0]
    items[-1] += b"]}\n"
    return b",".join(items)


def _verb(method: str) -> str:
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, method.lower())
