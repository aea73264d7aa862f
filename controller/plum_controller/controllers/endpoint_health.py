"""The endpoint checker: asks endpoints that no agent probes, and says what became of those that report themselves.

    watch Endpoint, Service (healthCheck) -> key -> reconcile -> asks (http, tcp) when it is time
                                                             -> heartbeat late, reported unhealthy, instance not ready
                                                             -> Endpoint.status, only when it says something new

One reconcile is one question with its own timeout, and many run at once, so an endpoint that hangs delays only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.errors import ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.probing import ask_http, ask_tcp
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance
from plum_schemas.service import HealthCheck, Service

from plum_controller.domain.endpoint_health import (
    Health,
    after_check,
    check_of,
    heartbeat_left,
    is_news,
    known_of,
    said_of,
    status_of,
)
from plum_controller.domain.endpoints import by_instance, by_service, why_not

WORKERS = 128
"""Questions at the same time. With the usual period and timeout, five times as many endpoints may hang before one waits."""
FORGET_SECONDS = 3600.0
"""An endpoint that was registered and has been silent for so long is deleted."""
SLACK_SECONDS = 0.001
"""A timer may fire this much too early."""

Ask = Callable[[Endpoint, HealthCheck], Awaitable[str]]
"""Asks one endpoint once: an empty text, or what was wrong. May raise `OSError`, `ValueError`, `EOFError`."""


def add_to(manager: Manager, ask: Ask | None = None) -> None:
    """Register the controller. `ask` replaces the real question, for simulations."""
    checker = EndpointChecker(manager, ask or ask_endpoint)
    watches = [Watch(Endpoint, checker.to_check), Watch(Service, checker.of_service), Watch(Instance, checker.of_instance)]
    manager.add(Controller("endpoint-health", checker, watches=watches, workers=WORKERS))


async def ask_endpoint(endpoint: Endpoint, check: HealthCheck) -> str:
    """The real question. A port by name means the endpoint's own."""
    if check.http is not None:
        return await ask_http(check.http, check.http.host or endpoint.spec.address, _port(check.http.port, endpoint))
    if check.tcp is not None:
        return await ask_tcp(check.tcp.host or endpoint.spec.address, _port(check.tcp.port, endpoint))
    return ""


def _port(ref: int | str, endpoint: Endpoint) -> int:
    text = str(ref)
    return int(text) if text.isdecimal() and int(text) else endpoint.spec.port


@dataclass(slots=True)
class _Checked:
    """What is known of one endpoint, and when it is asked again."""

    identity: tuple[str, str, int, HealthCheck]
    """Uid, address and port of the endpoint, and the check: another one starts anew."""
    health: Health
    due: float
    """Monotonic seconds."""


class EndpointChecker:
    """Finds out the state of one endpoint."""

    def __init__(self, manager: Manager, ask: Ask) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._ask = ask
        self._endpoints = manager.informer(Endpoint, indexers={"service": by_service, "instance": by_instance})
        self._services = manager.informer(Service)
        self._instances = manager.informer(Instance)
        self._checked: dict[ObjectKey, _Checked] = {}

    # ---- what the informers say

    def to_check(self, old: Endpoint | None, new: Endpoint | None) -> Iterable[ObjectKey]:
        """The endpoint, unless its instance's agent answers for it, or only its status changed."""
        endpoint = new or old
        if endpoint is None or _is_made(endpoint) or (old is not None and new is not None and old.spec == new.spec):
            return []
        return [endpoint.key]

    def of_service(self, old: Service | None, new: Service | None) -> Iterable[ObjectKey]:
        """The endpoints of a Service whose check changed."""
        service = new or old
        before, after = (one.spec.health_check if one is not None else None for one in (old, new))
        if service is None or before == after:
            return []
        return self._endpoints.index_keys("service", str(service.key))

    def of_instance(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        """Endpoints that an application registered itself, when it becomes ready or stops being so."""
        if old is None or new is None or old.status.ready == new.status.ready:
            return []
        return self._endpoints.index_keys("instance", str(new.key))

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Ask if it is time, and write what is new."""
        endpoint = self._endpoints.get(key)
        if endpoint is None or _is_made(endpoint):
            self._checked.pop(key, None)
            return Result.wait_for_change()
        now = self._clock.now()
        left = heartbeat_left(endpoint, now)
        if left is not None and left <= -FORGET_SECONDS:
            with suppress(ConflictError, NotFoundError):  # a heartbeat came meanwhile
                await self._api.delete(Endpoint, key, revision=endpoint.metadata.resource_version)
            return Result.wait_for_change()
        said = said_of(endpoint, now) or self._of_its_instance(endpoint)
        if said is not None:
            self._checked.pop(key, None)
            await self._write(endpoint, said, "ReportedUnhealthy" if left is None or left > 0 else "HeartbeatMissed")
            return Result.wait_for_change() if left is None else Result.requeue(left if left > 0 else left + FORGET_SECONDS)
        check = check_of(endpoint, self._services.get(ObjectKey(key.namespace, endpoint.spec.service)))
        if check is None:
            await self._write(endpoint, Health("passing", ""), "NotChecked" if left is None else "HeartbeatInTime")
            return Result.wait_for_change() if left is None else Result.requeue(left)
        wait = await self._check(key, endpoint, check)
        return Result.requeue(min(wait, left) if left is not None else wait)

    def _of_its_instance(self, endpoint: Endpoint) -> Health | None:
        """An endpoint that an instance registered itself is not better than the instance."""
        if not endpoint.spec.instance_uid:
            return None
        instance = self._instances.get(ObjectKey(endpoint.metadata.namespace, endpoint.spec.instance_name))
        why = why_not(instance) if instance is not None else "its instance is gone"
        return Health("critical", why, has_passed=True) if why else None

    async def _check(self, key: ObjectKey, endpoint: Endpoint, check: HealthCheck) -> float:
        """Seconds until the next question."""
        metadata = endpoint.metadata
        identity = (metadata.uid, endpoint.spec.address, endpoint.spec.port, check)
        known = self._checked.get(key)
        if known is None or known.identity != identity:
            known = self._checked[key] = _Checked(identity, known_of(endpoint) if known is None else Health(), 0.0)
        left = known.due - self._clock.monotonic()
        if left > SLACK_SECONDS:
            return left
        known.due = self._clock.monotonic() + parse_duration(check.period)
        why = await self._answer(endpoint, check)
        created = metadata.creation_timestamp
        age = (self._clock.now() - created).total_seconds() if created is not None else 0.0
        known.health = after_check(known.health, why, check, age)
        await self._write(endpoint, known.health, "Answers" if not why else "DoesNotAnswer")
        return max(0.0, known.due - self._clock.monotonic())

    async def _answer(self, endpoint: Endpoint, check: HealthCheck) -> str:
        seconds = parse_duration(check.timeout)
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(endpoint, check)
        except TimeoutError:
            return f"no answer within {seconds:g} s"
        except (OSError, ValueError, EOFError) as error:
            return str(error) or type(error).__name__

    async def _write(self, endpoint: Endpoint, health: Health, reason: str) -> None:
        """Write the state if it is news; on the newest version, because heartbeats write the spec meanwhile."""
        live: Endpoint | None = endpoint
        while live is not None and live.metadata.uid == endpoint.metadata.uid:
            status = status_of(live, health, reason, self._clock.now())
            if not is_news(live, status):
                return
            try:
                await self._api.write_status(msgspec.structs.replace(live, status=status))
            except ConflictError:
                live = await self._api.get(Endpoint, endpoint.key)
            except NotFoundError:
                return
            else:
                return


def _is_made(endpoint: Endpoint) -> bool:
    """Made from an instance by the endpoint controller, whose agent probes it."""
    return bool(endpoint.spec.instance_uid) and endpoint.spec.ttl is None
