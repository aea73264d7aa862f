"""Finding an endpoint of a service: a cache kept by watches, the Service's way to choose, and what own requests taught.

    watch Endpoint (spec.service), Service -> cache --usable, nearest--> strategy -> Resolution(endpoint, stale)
                                                          ^
    report(endpoint, ok) -> circuits, ejection, avoidance +

While the controller is away the last good answer is given, marked `stale`. An endpoint that was withdrawn is never
given after the watch has said so. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.endpoint import Endpoint
from plum_schemas.service import Service, ServiceSpec

from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError, NoEndpointError, NotConnectedError
from plum_client.informer import Informer
from plum_client.resolver_experience import Experience
from plum_client.resolver_strategies import REMEMBERED, Chooser, Place, Wanted, identity, nearest, usable

FIRST_ANSWER_SECONDS = 5.0
"""Longest wait for the first list of a service that was not asked for before."""
R = TypeVar("R")
UNKNOWN = ServiceSpec()
"""What counts for a service without a Service object: endpoints in turn, one more try when nobody was reached."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One endpoint to ask."""

    endpoint: Endpoint
    stale: bool
    """The controller is away: this is the last thing it said."""

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return identity(self.endpoint)


class Resolver:
    """Endpoints of the services of one namespace. Use it as a context: leaving it ends the watches.

    async with Resolver(connect()) as resolver:
        found = await resolver.resolve("orders")
    """

    def __init__(
        self, api: ApiClient, namespace: str = "default", *, place: Place | None = None, random: Random | None = None
    ) -> None:
        """`place`: where the caller is; endpoints on its node, then in its zone, are preferred."""
        self.namespace = namespace
        self._api = api
        self._place = place
        self._random = random or Random()  # noqa: S311  spreads load
        self._chooser = Chooser(self._random.random)
        self._services: Informer[Service] = Informer(api, Service, namespace, random=self._random)
        self._endpoints: dict[str, Informer[Endpoint]] = {}
        self._experience = Experience()
        self._taken: dict[tuple[str, Wanted], tuple[int, Sequence[Endpoint]]] = {}
        """What takes requests, and the revision at which that was found out."""
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def __aenter__(self) -> Resolver:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watches. Safe to repeat; the client stays open."""
        self._closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- asking

    async def follow(self, service: str) -> Informer[Endpoint]:
        """The endpoints of a service, kept up to date from now on. Raises `ApiUnavailableError` when nothing is known in time."""
        informer = self._endpoints.get(service)
        if informer is None:
            if self._closed:
                raise ApiUnavailableError("the resolver was closed")
            informer = Informer(self._api, Endpoint, self.namespace, fields=f"spec.service={service}", random=self._random)
            self._endpoints[service] = informer
            if not self._tasks:
                self._start(self._services)
            self._start(informer)
        if not (informer.is_synced and self._services.is_synced):
            try:
                async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                    await self._services.wait_synced()
                    await informer.wait_synced()
            except TimeoutError as error:
                message = f"endpoints of service {self.namespace}/{service} are not known: the controller does not answer"
                raise ApiUnavailableError(message) from error
        return informer

    def _start(self, informer: Informer[Service] | Informer[Endpoint]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(informer.run(), name=f"resolver-{informer.info.plural}"))

    async def endpoints(self, service: str, *, version: str = "", protocol: str = "") -> list[Resolution]:
        """Every endpoint that takes requests now."""
        informer = await self.follow(service)
        stale = not informer.is_current
        return [Resolution(endpoint, stale) for endpoint in self._usable(service, informer, Wanted(version, protocol))]

    def _usable(self, service: str, informer: Informer[Endpoint], wanted: Wanted) -> Sequence[Endpoint]:
        """Computed once per change of the endpoints."""
        known = self._taken.get((service, wanted))
        if known is None or known[0] != informer.revision:
            if len(self._taken) > REMEMBERED:
                self._taken.clear()
            known = self._taken[service, wanted] = (informer.revision, usable(informer.list(), wanted))
        return known[1]

    async def policy(self, service: str) -> ServiceSpec:
        """How the service wants to be called."""
        await self.follow(service)
        found = self._services.get(ObjectKey(self.namespace, service))
        return found.spec if found is not None else UNKNOWN

    async def resolve(
        self,
        service: str,
        *,
        version: str = "",
        protocol: str = "",
        key: str = "",
        strategy: str = "",
        without: Collection[str] = (),
    ) -> Resolution:
        """One endpoint, by the strategy of the Service unless one is given. Raises `NoEndpointError`.

        `without` names (`HOST:PORT`) what was tried already; it is taken all the same when there is nothing else.
        """
        informer = await self.follow(service)
        spec = await self.policy(service)
        takes = self._usable(service, informer, Wanted(version, protocol))
        now = asyncio.get_running_loop().time()
        willing = self._experience.willing(service, takes, spec, now)
        if not willing:
            raise NoEndpointError(_nothing(f"{self.namespace}/{service}", informer.list(), takes))
        untried = [endpoint for endpoint in willing if identity(endpoint) not in without]
        chosen = self._chooser.choose(strategy or spec.strategy, service, nearest(untried or willing, self._place), key)
        return Resolution(chosen, not informer.is_current)

    # ---- calling

    @asynccontextmanager
    async def request(self, service: str, endpoint: Endpoint) -> AsyncIterator[Outcome]:
        """Around one request to an endpoint: its end teaches the circuit, the ejection and `leastActive`.

        An exception is a failure; an answer that is one is told with `Outcome.fail`.
        """
        spec, name = await self.policy(service), identity(endpoint)
        outcome = Outcome()
        self._chooser.active[name] = self._chooser.active.get(name, 0) + 1
        self._experience.started(service, name)
        try:
            yield outcome
        except asyncio.CancelledError:
            self._experience.given_up(service, name)
            raise
        except BaseException as error:
            self._ended(service, name, reason_of(error), spec)
            raise
        else:
            self._ended(service, name, outcome.reason, spec)
        finally:
            self._chooser.active[name] -= 1
            if not self._chooser.active[name]:
                del self._chooser.active[name]

    def _ended(self, service: str, name: str, reason: str, spec: ServiceSpec) -> None:
        now = asyncio.get_running_loop().time()
        self._experience.ended(service, name, reason, spec, now, self._known(service))

    def under_way(self, address: str) -> int:
        """Requests under way to an endpoint, by `HOST:PORT`."""
        return self._chooser.active.get(address, 0)

    def _known(self, service: str) -> frozenset[str]:
        informer = self._endpoints.get(service)
        return frozenset(identity(endpoint) for endpoint in informer.list()) if informer is not None else frozenset()

    async def call(
        self,
        service: str,
        attempt: Callable[[Endpoint], Awaitable[R]],
        *,
        version: str = "",
        protocol: str = "",
        key: str = "",
        strategy: str = "",
        timeout_seconds: float | None = None,
        judge: Callable[[R], str] = lambda answer: "",
    ) -> R:
        """Ask one endpoint, and others where the Service says so. Raises what the last attempt raised, or `NoEndpointError`.

        `judge` gives the reason why an answer is a failure, such as `503`, or nothing. `Service.spec.retries.on` says which
        reasons are tried again; without it only those where nobody was reached. Each attempt has `Service.spec.timeout`, unless
        `timeout_seconds` says otherwise.
        """
        spec = await self.policy(service)
        limit = parse_duration(spec.timeout) if timeout_seconds is None else timeout_seconds
        tried: list[str] = []
        while True:
            last = len(tried) >= spec.retries.limit
            found = await self.resolve(service, version=version, protocol=protocol, key=key, strategy=strategy, without=tried)
            tried.append(found.address)
            try:
                async with self.request(service, found.endpoint) as outcome, asyncio.timeout(limit):
                    answer = await attempt(found.endpoint)
                    outcome.fail(judge(answer))
            except Exception as error:
                if last or not _is_retried(reason_of(error), spec):
                    raise
            else:
                if last or not outcome.reason or not _is_retried(outcome.reason, spec):
                    return answer


class Outcome:
    """How one request ended."""

    def __init__(self) -> None:
        self.reason = ""
        """Why it failed; empty while nothing says so."""

    def fail(self, reason: str) -> None:
        """It failed for this reason; an empty one says nothing."""
        self.reason = reason or self.reason


def reason_of(error: BaseException) -> str:
    """The word of `Service.spec.retries.on` for an exception: connect, timeout or reset."""
    if isinstance(error, (NotConnectedError, ConnectionRefusedError)):
        return "connect"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (ApiUnavailableError, OSError, EOFError)):
        return "reset"
    return type(error).__name__


def _is_retried(reason: str, spec: ServiceSpec) -> bool:
    return reason in (spec.retries.on or ("connect",))


def _nothing(name: str, endpoints: Sequence[Endpoint], takes: Sequence[Endpoint]) -> str:
    if not endpoints:
        return f"service {name} has no endpoints; `plum describe service` says why"
    if takes:
        return f"service {name}: the circuits of all {len(takes)} endpoints are open after failures"
    critical = sum(endpoint.state == "critical" for endpoint in endpoints)
    return f"service {name}: none of {len(endpoints)} endpoints fits and takes requests; {critical} are critical"
