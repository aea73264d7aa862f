"""Endpoints of services as they are in the watch cache at this moment, and the choice of one of them.

    namespace, service -> cache (indexed by spec.service) -> Endpoint ... -> usable -> strategy -> one

Nothing is kept between requests but whose turn it is, so an endpoint whose removal was answered is never given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
from plum_client.resolver_strategies import KEYED, STRATEGIES, Chooser, Wanted, usable
from plum_schemas.endpoint import Endpoint
from plum_schemas.selectors import FieldRequirement, FieldSelector
from plum_schemas.service import Service

from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.store.base import Key
from plum_controller.store.cache import WatchCache

ENDPOINTS, SERVICES = "endpoints.plum.dev", "services.plum.dev"
LAZY = "lazy"
"""The first one in a fixed order, for as long as it takes requests."""

_decode_endpoint = msgspec.json.Decoder(Endpoint).decode
_decode_service = msgspec.json.Decoder(Service).decode


class ServiceDirectory:
    """Looks services up for whoever asks over HTTP."""

    def __init__(self, cache: WatchCache, random: Random | None = None) -> None:
        self._cache = cache
        self._chooser = Chooser((random or Random()).random)  # noqa: S311  spreads load

    def names(self, namespace: str) -> list[str]:
        """Services that have endpoints or a Service object."""
        found = {entry.key.name for entry in self._cache.list(SERVICES, namespace)}
        return sorted(found | {entry.field("spec.service") or "" for entry in self._cache.list(ENDPOINTS, namespace)})

    def endpoints(self, namespace: str, service: str) -> list[Endpoint]:
        """All endpoints of a service, whatever their state."""
        fields = FieldSelector([FieldRequirement("spec.service", "=", service)])
        return [_decode_endpoint(entry.value) for entry in self._cache.list(ENDPOINTS, namespace, None, fields)]

    def of_instance(self, namespace: str, instance: str) -> list[Endpoint]:
        """All endpoints that name an instance."""
        fields = FieldSelector([FieldRequirement("spec.instanceName", "=", instance)])
        return [_decode_endpoint(entry.value) for entry in self._cache.list(ENDPOINTS, namespace, None, fields)]

    def usable(self, namespace: str, service: str, wanted: Wanted) -> Sequence[Endpoint]:
        """Those that take requests now."""
        return usable(self.endpoints(namespace, service), wanted)

    def choose(self, namespace: str, service: str, wanted: Wanted, strategy: str = "") -> Endpoint | None:
        """One that takes requests now, by the given strategy or that of the Service. Raises `ApiStatusError` 400."""
        asked, strategy = strategy, strategy or self._strategy(namespace, service)
        if strategy not in (*STRATEGIES, LAZY):
            raise bad_request(f"invalid strategy {strategy!r}; use one of {', '.join((*STRATEGIES, LAZY))}")
        if asked in KEYED and not wanted.key:
            raise bad_request(f"invalid strategy {strategy!r} without key: say what the choice is to follow")
        takes = self.usable(namespace, service, wanted)
        if not takes:
            return None
        if strategy == LAZY:
            return takes[0]
        if strategy == "leastActive":  # requests of others under way are not known here
            strategy = "random"
        return self._chooser.choose(strategy, f"{namespace}/{service}", takes, wanted.key)

    def _strategy(self, namespace: str, service: str) -> str:
        entry = self._cache.get(Key(SERVICES, namespace, service))
        return _decode_service(entry.value).spec.strategy if entry is not None else "roundRobin"


def no_endpoints(service: str) -> ApiStatusError:
    """404: nobody takes requests."""
    return ApiStatusError(404, "NotFound", f"no endpoints found for service {service!r}", {"kind": "endpoints", "name": service})
