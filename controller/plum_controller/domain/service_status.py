"""The status of a Service: how many endpoints there are and take requests, and in words why when none does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from plum_client.conditions import set_condition
from plum_schemas.base import Condition
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance
from plum_schemas.service import Service, ServiceStatus

from plum_controller.domain.endpoints import offers_of, why_not

NAMED = 3
"""Instances and endpoints that a message names."""


def status_of(service: Service, endpoints: Sequence[Endpoint], instances: Sequence[Instance], now: datetime) -> ServiceStatus:
    """`instances` are those that belong to the service; they matter only when no endpoint is passing."""
    passing = sum(endpoint.state == "passing" for endpoint in endpoints)
    usable = passing or sum(endpoint.state == "warning" for endpoint in endpoints)
    if passing:
        reason, message = "EndpointsPassing", f"{passing} of {len(endpoints)} endpoints take requests"
    elif usable:
        reason, message = "OnlyWarning", f"no endpoint is passing; requests go to {usable} in state warning"
    elif endpoints:
        named = "; ".join(f"{e.metadata.name}: {e.status.message}" for e in _first(endpoints))
        reason, message = "AllCritical", f"none of {len(endpoints)} endpoints takes requests: {named}"
    elif instances:
        reason, message = "NoReadyInstance", f"none of {len(instances)} instances serves: {_reasons(service, instances)}"
    else:
        reason, message = "NoInstances", "no instance offers it and no Endpoint names it"
    available = Condition(
        type="Available",
        status="True" if usable else "False",
        reason=reason,
        message=message,
        observed_generation=service.metadata.generation,
    )
    return ServiceStatus(
        observed_generation=service.metadata.generation,
        endpoints=len(endpoints),
        passing=passing,
        conditions=set_condition(service.status.conditions, available, now),
    )


def _first(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return sorted(endpoints, key=lambda endpoint: endpoint.metadata.name)[:NAMED]


def _reasons(service: Service, instances: Sequence[Instance]) -> str:
    texts = []
    for instance in sorted(instances, key=lambda one: one.metadata.name)[:NAMED]:
        why = why_not(instance)
        if not why:
            offered = any(offer.service == service.metadata.name for offer in offers_of(instance, [service]))
            why = "" if offered or not service.spec.selector else f"it has no port {service.spec.port or ''}".rstrip()
        texts.append(f"{instance.metadata.name}: {why or 'about to'}")
    return "; ".join(texts)
