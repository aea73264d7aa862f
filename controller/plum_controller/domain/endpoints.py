"""Which endpoints follow from an instance: pure.

    Instance (template.services, status) + its Artifact (services of meta.ini) + Services that select it + zone of its node
      -> offers_of     what it offers, whether or not it serves now
      -> why_not       the reason why it takes no requests; empty when it does
      -> wanted        the endpoints that must exist: all its offers while it serves, none otherwise

An endpoint belongs to one incarnation of one instance: its name carries a hash of the instance's uid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.instance import Instance
from plum_schemas.service import Service

ZONE_LABELS = ("zone", "topology.kubernetes.io/zone")
MAX_NAME = 253
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Offer:
    """One service on one port of an instance."""

    service: str
    port: int
    protocol: str
    version: str = ""
    weight: int = 100
    labels: Mapping[str, str] = field(default_factory=dict)


def selects(service: Service, labels: Mapping[str, str]) -> bool:
    """Whether a Service finds an instance by its labels. An empty selector finds none; templates name such a service."""
    selector = service.spec.selector
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def offers_of(instance: Instance, services: Iterable[Service] = (), artifact: Artifact | None = None) -> list[Offer]:
    """What an instance offers: the services of its template, or where that names none those of its package, and those that
    select it. The first word counts where both name the same service and port. Ports that are not known yet are left out."""
    found: dict[tuple[str, int], Offer] = {}
    for one in _named(instance, artifact):
        number, protocol = _port(instance, one.port, artifact, declared=False)
        if number:
            offer = Offer(one.service, number, one.protocol or protocol, one.version, one.weight, one.labels)
            found.setdefault((one.service, number), offer)
    for service in services:
        if selects(service, instance.metadata.labels):
            number, protocol = _port(instance, service.spec.port, artifact, declared=True)
            if number:
                name = service.metadata.name
                offer = Offer(name, number, service.spec.protocol or protocol, service.spec.version)
                found.setdefault((name, number), offer)
    return list(found.values())


class _Named(NamedTuple):
    """A service as a template or a package names it."""

    service: str
    port: int | str
    protocol: str
    version: str
    labels: Mapping[str, str]
    weight: int = 100


def _named(instance: Instance, artifact: Artifact | None) -> list[_Named]:
    template = instance.spec.template
    if template.services:
        return [_Named(s.name, s.port, s.protocol, s.version, s.labels, s.weight) for s in template.services]
    if artifact is None:
        return []
    version = artifact.spec.version
    named = [_Named(s.name, s.port, s.protocol, s.version or version, s.labels) for s in artifact.spec.services]
    published = [port for port in artifact.spec.ports if port.service_name]
    return named + [_Named(port.service_name, port.name, port.protocol, version, {}) for port in published]


def belongs(instance: Instance, service: Service, artifact: Artifact | None = None) -> bool:
    """Whether an instance offers a service, or would if it had the port."""
    named = any(one.service == service.metadata.name for one in _named(instance, artifact))
    return named or selects(service, instance.metadata.labels)


def _port(instance: Instance, ref: int | str | None, artifact: Artifact | None, *, declared: bool) -> tuple[int, str]:
    """Number on the node and protocol of a port given by name or number, 0 when there is none. `declared`: it must be one of
    the template's, or of the image's, because only those are known to be reachable."""
    ports = [(port.name, port.port, str(port.protocol)) for port in instance.spec.template.ports]
    if not ports and artifact is not None:
        ports = [(port.name, port.container, port.protocol or "tcp") for port in artifact.spec.ports]
    text = str(ref) if ref is not None else ports[0][0] if ports else ""
    for name, number, protocol in ports:
        if text in (name, str(number)):
            bound = next((b.port for b in instance.status.ports if b.name == name), 0)
            return bound or number, protocol
    return (int(text), "tcp") if text.isdecimal() and not declared else (0, "")


def is_leaving(instance: Instance) -> bool:
    """Whether its run is to end: it takes no more requests, whatever its probes say."""
    return _stops(instance) or instance.spec.restart_request != instance.status.observed_restart_request


def _stops(instance: Instance) -> bool:
    gone = instance.metadata.deletion_timestamp is not None or instance.spec.state != "Running"
    return gone or instance.status.phase in ("Stopping", "Stopped", "Succeeded", "Failed")


def why_not(instance: Instance) -> str:
    """Why an instance takes no requests now; empty when it does. A node that lost its lease has taken `ready` back."""
    status = instance.status
    if _stops(instance):
        return "it is being stopped"
    if not status.ready:
        return status.message or status.reason or f"it is {status.phase.lower()}, and not ready"
    if is_leaving(instance):
        return "it is being restarted"
    return "" if status.address else "its node has no address"


def wanted(
    instance: Instance,
    services: Iterable[Service] = (),
    node_labels: Mapping[str, str] | None = None,
    artifact: Artifact | None = None,
) -> list[Endpoint]:
    """The endpoints that must exist for an instance now."""
    if why_not(instance):
        return []
    zone = next((value for label in ZONE_LABELS if (value := (node_labels or {}).get(label))), "")
    return [_endpoint(instance, offer, zone) for offer in offers_of(instance, services, artifact)]


def _endpoint(instance: Instance, offer: Offer, zone: str) -> Endpoint:
    metadata = instance.metadata
    owner = OwnerReference(
        api_version=instance.api_version, kind=instance.kind, name=metadata.name, uid=metadata.uid, controller=True
    )
    return Endpoint(
        metadata=ObjectMeta(
            name=endpoint_name(metadata.name, offer.service, metadata.uid, str(offer.port)),
            namespace=metadata.namespace,
            labels=dict(offer.labels),
            owner_references=[owner],
        ),
        spec=EndpointSpec(
            service=offer.service,
            address=instance.status.address,
            port=offer.port,
            protocol=offer.protocol,
            version=offer.version,
            weight=offer.weight,
            labels=dict(offer.labels),
            instance_name=metadata.name,
            instance_uid=metadata.uid,
            node_name=instance.spec.node_name,
            zone=zone,
        ),
    )


def endpoint_name(first: str, service: str, *identity: str) -> str:
    """A valid name that tells people whose it is, and programs exactly which: equal only for equal arguments."""
    digest = blake2b("\0".join((first, service, *identity)).encode(), digest_size=4).hexdigest()
    text = _NOT_IN_NAMES.sub("-", f"{first}-{service}".lower()).strip("-.")
    text = re.sub(r"[.-]*\.[.-]*", ".", text)[: MAX_NAME - len(digest) - 1].rstrip("-.")
    return f"{text}-{digest}" if text else f"endpoint-{digest}"


def differs(known: Endpoint, want: Endpoint) -> bool:
    """Whether an endpoint that exists has to be written again."""
    return known.spec != want.spec or any(known.metadata.labels.get(key) != value for key, value in want.metadata.labels.items())


def by_instance(endpoint: Endpoint) -> Sequence[str]:
    """Index: the instance an endpoint belongs to, as `namespace/name`."""
    name = endpoint.spec.instance_name
    return [f"{endpoint.metadata.namespace}/{name}"] if name and endpoint.spec.instance_uid else []


def by_service(endpoint: Endpoint) -> Sequence[str]:
    """Index: the service of an endpoint, as `namespace/name`."""
    return [f"{endpoint.metadata.namespace}/{endpoint.spec.service}"]


def by_package(artifact: Artifact) -> Sequence[str]:
    """Index: an artifact as templates name it, `namespace/name/version`."""
    return [f"{artifact.metadata.namespace}/{artifact.spec.name}/{artifact.spec.version}"]


def package_of(instance: Instance) -> str:
    """The artifact of an instance as `by_package` names it; empty when it has none."""
    source = instance.spec.template.artifact
    return f"{instance.metadata.namespace}/{source.name}/{source.version}" if source is not None and source.name else ""
