"""Firing by request: `POST .../triggers/NAME/fire` and `.../backfill`, and webhooks under `/hooks/NAMESPACE/PATH`.

    fire      {"params": {}, "data": .., "key": ".."}       -> one run; the same key, the same run
    backfill  {"from": TIME, "to": TIME, "max": 100}        -> a run for every time of the schedule that has none
    hook      signed request -> genuine, fresh, new? -> one run; the memory of its signature is written with it

Answers are `{"runs": [...], "known": [...], "refusals": [...]}`. Who may fire is a right of its own: create on `triggers/fire`.
Webhooks with a secret ask for the signature instead; those without ask for that right.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from plum_client import transactions as tx
from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_client.events import EventRecorder
from plum_flow.expressions import UnresolvedError, compile_condition
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.durations import format_duration, parse_duration
from plum_schemas.kv import KV, KVSpec, kv_name
from plum_schemas.trigger import Trigger, WebhookTrigger

from plum_controller.api.access import FIRING, HOOKS, Gate, refusal
from plum_controller.api.limits import PeerRate
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.access import Attributes
from plum_controller.domain.cron import parse
from plum_controller.domain.triggers import Start, run_name, short_hash, start_at
from plum_controller.domain.webhooks import Genuine, NotGenuineError, delivery_of, event_of, verify
from plum_controller.logs import fields
from plum_controller.resources.encode import decode
from plum_controller.resources.errors import ApiStatusError, bad_request, method_not_allowed, not_found, too_large
from plum_controller.resources.trigger_rules import TRIGGERS, hook_path
from plum_controller.store.base import Key
from plum_controller.triggering import AT_ONCE, Fired, Timepiece, fire_now

if TYPE_CHECKING:
    from plum_controller.api.api import Api

logger = logging.getLogger(__name__)

OBJECTS = ["apis", "plum.dev", "v1", "namespaces"]
MAX_BACKFILL = 1000
DEFAULT_BACKFILL = 100
FAILURES_PER_SECOND = 5
"""Of one address: requests to webhooks that are not genuine."""
_decode = msgspec.json.Decoder(Trigger).decode


class TriggersApi:
    """Answers these routes."""

    def __init__(self, api: Api, clock: Timepiece) -> None:
        self._api = api
        self._gate: Gate = api.gate
        self._cache = api.service.cache
        self._clock = clock
        self._failures = PeerRate(FAILURES_PER_SECOND)

    @cached_property
    def _client(self) -> ApiClient:
        from plum_controller.api.local import LocalTransport  # it knows the API, which knows this

        return ApiClient(LocalTransport(self._api, "plum-trigger"), field_manager="plum-trigger")

    @cached_property
    def _recorder(self) -> EventRecorder:
        return EventRecorder(self._client, "webhook")

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Raises `ApiStatusError`."""
        path = request.path
        if path[0] == HOOKS:
            return await self._hook(request)
        if len(path) == 8 and path[:4] == OBJECTS and path[5] == "triggers" and path[7] in FIRING:
            if request.method != "POST":
                raise method_not_allowed(Trigger.info, request.method.lower(), path[6])
            key = ObjectKey(path[4], path[6])
            return await (self._fire if path[7] == "fire" else self._backfill)(request, key)
        return None

    # ---- by hand

    async def _fire(self, request: ApiRequest, key: ObjectKey) -> Answer:
        body = _body(request, {"params", "data", "key"})
        params, wanted = body.get("params") or {}, body.get("key") or uuid4().hex[:12]
        if not isinstance(params, dict) or not isinstance(wanted, str):
            raise bad_request("params must be an object, and key a text")
        event = {"type": "manual", "by": request.user, "data": body.get("data")}
        name = wanted if wanted.isascii() and wanted.isalnum() and wanted.islower() else short_hash(wanted)
        start = Start(f"m{name[:40]}", "manual", event, params=params, user=request.user)
        return self._done(key, await self._start(key, [start]), [start])

    async def _backfill(self, request: ApiRequest, key: ObjectKey) -> Answer:
        body = _body(request, {"from", "to", "max", "dryRun"})
        trigger = self._trigger(key)
        if trigger.spec.cron is None:
            raise ApiStatusError(409, "Conflict", f"trigger {key.name} has no schedule to fill back", {})
        begin, end = _time(body, "from"), min(_time(body, "to"), self._clock.now())
        most = body.get("max", DEFAULT_BACKFILL)
        if not isinstance(most, int) or not 1 <= most <= MAX_BACKFILL:
            raise bad_request(f"max is {most!r}; use a number from 1 to {MAX_BACKFILL}")
        schedule = parse(trigger.spec.cron.schedule, trigger.spec.cron.timezone)
        times = schedule.between(begin - timedelta(seconds=1), end, most + 1)
        if len(times) > most:
            message = (
                f"there are more than {most} times from {begin:%Y-%m-%dT%H:%MZ} to {end:%Y-%m-%dT%H:%MZ}; nothing was started"
            )
            raise ApiStatusError(422, "Invalid", f"{message}. Take a shorter span, or raise max (up to {MAX_BACKFILL})", {})
        starts = [start_at(time, "backfill", request.user) for time in times]
        if body.get("dryRun"):
            return _answer(Fired([run_name(key.name, start.key) for start in starts]))
        done = Fired()
        for at in range(0, len(starts), AT_ONCE):
            part = await self._start(key, starts[at : at + AT_ONCE])
            done.runs += part.runs
            done.known += part.known
            done.refusals += part.refusals
        return self._done(key, done, starts)

    async def _start(self, key: ObjectKey, starts: Sequence[Start], operations: Sequence[tx.Operation] = ()) -> Fired:
        try:
            trigger, done = await fire_now(self._client, self._clock, key, starts, operations)
        except ApiError as error:
            raise ApiStatusError(
                error.code or 503, error.reason or "Conflict", error.message, error.status.get("details")
            ) from error
        for run in done.runs:
            self._recorder.event(trigger, "Normal", "Fired", f"started run {run}")
        for refused in done.refusals:
            self._recorder.event(trigger, "Warning", refused.reason, refused.message)
        return done

    def _done(self, key: ObjectKey, done: Fired, starts: Sequence[Start]) -> Answer:
        if starts and len(done.refusals) == len(starts):
            first = done.refusals[0]
            code, reason = (429, "TooManyRequests") if first.reason == "TooSoon" else (409, "Conflict")
            causes = [{"reason": first.reason, "message": first.message}]
            raise ApiStatusError(code, reason, f"trigger {key.name} started nothing: {first.message}", {"causes": causes})
        return _answer(done)

    # ---- webhooks

    async def _hook(self, request: ApiRequest) -> Answer:
        if len(request.path) < 3:
            raise bad_request("use /hooks/NAMESPACE/PATH")
        namespace, path = request.path[1], "/".join(request.path[2:])
        trigger, hook = self._find(namespace, path)
        if request.method != hook.method:
            raise ApiStatusError(405, "MethodNotAllowed", f"this webhook takes {hook.method} requests")
        if len(request.body) > hook.max_body_bytes:
            raise too_large(f"this webhook takes {hook.max_body_bytes} bytes")
        headers = _headers(request)
        genuine = self._genuine(request, trigger, hook, headers)
        if not trigger.spec.enabled:
            raise ApiStatusError(409, "Conflict", f"trigger {trigger.metadata.name} is disabled", {})
        try:
            event = event_of(request.method, path, request.query, headers, request.body)
            if hook.when and not compile_condition(hook.when, {"event"}).is_true({"event": event}):
                return Answer(b"", status=204)
        except UnresolvedError as error:
            raise ApiStatusError(422, "Invalid", f"spec.webhook.when has no value for this request: {error}", {}) from error
        except ValueError as error:
            raise bad_request(str(error)) from error
        return await self._deliver(trigger, genuine, event)

    async def _deliver(self, trigger: Trigger, genuine: Genuine, event: dict[str, Any]) -> Answer:
        key = trigger.key
        start = Start(f"h{genuine.nonce[:16]}", "webhook", event)
        entry = f"plum.dev/webhooks/{trigger.metadata.uid}/{genuine.nonce}"
        seen = self._cache.get(Key("kvs.plum.dev", key.namespace, kv_name(entry)))
        if seen is not None:
            known = str((decode(seen.value).get("spec") or {}).get("value"))
            logger.info("webhook delivered again", extra=fields(key=key, run=known))
            return _answer(Fired(known=[known]))
        spec = KVSpec(
            key=entry,
            type="string",
            value=run_name(key.name, start.key),
            ttl=format_duration(genuine.remember.total_seconds()),
        )
        memory = tx.create(KV(metadata=ObjectMeta(name=kv_name(entry), namespace=key.namespace), spec=spec))
        answer = self._done(key, await self._start(key, [start], [memory]), [start])
        answer.status = 202
        return answer

    def _find(self, namespace: str, path: str) -> tuple[Trigger, WebhookTrigger]:
        for entry in self._cache.list(TRIGGERS, namespace, None, None):
            if b'"webhook"' in entry.value:
                trigger = _decode(entry.value)
                if trigger.spec.webhook is not None and hook_path(trigger.spec.webhook.path) == path:
                    return trigger, trigger.spec.webhook
        raise ApiStatusError(404, "NotFound", f"there is no webhook {namespace}/{path}", {})

    def _genuine(self, request: ApiRequest, trigger: Trigger, hook: WebhookTrigger, headers: dict[str, str]) -> Genuine:
        """Raises `ApiStatusError` 401, 403, 429 for too many failures, 503 when the secret is not there."""
        key = trigger.key
        if hook.secret_ref is None:
            wanted = Attributes("create", "plum.dev", "triggers", "fire", key.namespace, key.name)
            if not self._gate.allows(request.identity, wanted):
                raise refusal(request.identity, wanted)
            return Genuine(short_hash(delivery_of(headers) or uuid4().hex), timedelta(days=1))
        entry = self._cache.get(Key("secrets", key.namespace, hook.secret_ref.name))
        data = (decode(entry.value).get("data") or {}) if entry is not None else {}
        if not data.get(hook.secret_ref.key):
            message = f"the secret of trigger {key.name} is not there: key {hook.secret_ref.key} of {hook.secret_ref.name}"
            raise ApiStatusError(503, "ServiceUnavailable", message, {})
        tolerance = timedelta(seconds=parse_duration(hook.tolerance))
        try:
            secret = base64.b64decode(data[hook.secret_ref.key])
            return verify(headers, request.body, secret, hook.signature_header, tolerance, self._clock.now().timestamp())
        except NotGenuineError as error:
            self._failures.take(request.peer)
            logger.warning("webhook refused", extra=fields(key=key, peer=request.peer, error=str(error)))
            self._recorder.event(trigger, "Warning", "NotGenuine", f"a request was refused: {error}")
            raise ApiStatusError(401, "Unauthorized", f"Unauthorized: {error}", {}) from error

    def _trigger(self, key: ObjectKey) -> Trigger:
        entry = self._cache.get(Key(TRIGGERS, key.namespace, key.name))
        if entry is None:
            raise not_found(Trigger.info, key.name)
        return _decode(entry.value)


def _headers(request: ApiRequest) -> dict[str, str]:
    """All headers by lower-case name."""
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers.items()}
    found |= {"content-type": request.content_type} if request.content_type else {}
    return found | ({"user-agent": request.user_agent} if request.user_agent else {})


def _body(request: ApiRequest, known: set[str]) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(request.body) if request.body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    unknown = sorted(body.keys() - known)
    if unknown:
        raise bad_request(f"{unknown[0]} is not known here; use {', '.join(sorted(known))}")
    return body


def _time(body: dict[str, Any], name: str) -> datetime:
    text = body.get(name)
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise bad_request(f"{name} is {text!r}; use a time with its zone, such as 2026-01-31T08:00:00Z")
    return found.astimezone(UTC)


def _answer(done: Fired) -> Answer:
    refusals = [{"reason": one.reason, "message": one.message, "scheduledFor": one.scheduled_for} for one in done.refusals]
    return Answer(msgspec.json.encode({"runs": done.runs, "known": done.known, "refusals": refusals}))
