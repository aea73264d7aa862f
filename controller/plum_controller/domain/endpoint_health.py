"""The state of an endpoint that no agent probes: pure. One check at a time goes in, the next state comes out.

    warning  --successThreshold successes--> passing     first failure --> warning     failureThreshold failures --> critical

Until an endpoint has passed once, failures within `startupGrace` of its creation do not count. An endpoint that is kept
alive by heartbeats is critical without one for its ttl; one without check and ttl is passing because nobody says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from plum_client.conditions import set_condition
from plum_schemas.base import Condition
from plum_schemas.durations import parse_duration
from plum_schemas.endpoint import Endpoint, EndpointStatus, State
from plum_schemas.service import HealthCheck, Service


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about one endpoint. States: those of `plum_schemas.endpoint.State`."""

    state: State = "warning"
    message: str = "not checked yet"
    successes: int = 0
    """In a row."""
    failures: int = 0
    """In a row."""
    has_passed: bool = False
    """It was passing at least once: the startup grace is over."""


def check_of(endpoint: Endpoint, service: Service | None) -> HealthCheck | None:
    """The check of an endpoint: its own, or that of its Service. None where an agent probes, or for heartbeats."""
    if endpoint.spec.instance_uid and endpoint.spec.ttl is None:
        return None
    if endpoint.spec.health_check is not None:
        return endpoint.spec.health_check
    return service.spec.health_check if service is not None and endpoint.spec.ttl is None else None


def after_check(health: Health, why: str, check: HealthCheck, age_seconds: float) -> Health:
    """The health after one more answer. `why` is empty for a success; `age_seconds` since the endpoint was made."""
    if not why:
        successes = health.successes + 1
        if health.state == "passing" or successes >= check.success_threshold:
            return Health("passing", "", successes, 0, True)
        return Health(health.state, f"{successes} of {check.success_threshold} successes", successes, 0, health.has_passed)
    if not health.has_passed and age_seconds < parse_duration(check.startup_grace):
        return Health("warning", f"still starting: {why}", 0, 0, False)
    failures = health.failures + 1
    if health.state == "critical" or failures >= check.failure_threshold:
        return Health("critical", why, 0, failures, health.has_passed)
    return Health("warning", why, 0, failures, health.has_passed)


def heartbeat_left(endpoint: Endpoint, now: datetime) -> float | None:
    """Seconds until an endpoint with a ttl counts as silent, negative afterwards. None without a ttl."""
    if endpoint.spec.ttl is None:
        return None
    since = endpoint.spec.heartbeat_at or endpoint.metadata.creation_timestamp or now
    return parse_duration(endpoint.spec.ttl) - (now - since).total_seconds()


def said_of(endpoint: Endpoint, now: datetime) -> Health | None:
    """What is known without asking: silence, or what the owner of the endpoint said. None when nothing speaks against it."""
    left = heartbeat_left(endpoint, now)
    if left is not None and left <= 0:
        return Health("critical", f"no heartbeat for {endpoint.spec.ttl}", has_passed=True)
    if not endpoint.spec.healthy:
        return Health("critical", "reported unhealthy by whoever registered it", has_passed=True)
    return None


def known_of(endpoint: Endpoint) -> Health:
    """What an earlier controller had found out, so that a restart neither revives nor condemns anything."""
    status = endpoint.status
    if not status.observed_generation:
        return Health()
    return Health(status.state, status.message, 0, status.failures, status.state != "warning" or status.failures > 0)


def status_of(endpoint: Endpoint, health: Health, reason: str, now: datetime) -> EndpointStatus:
    """The status that says so. `reason` is the word of the condition Ready."""
    generation = endpoint.metadata.generation
    passing = health.state == "passing"
    ready = Condition(
        type="Ready", status="True" if passing else "False", reason=reason, message=health.message, observed_generation=generation
    )
    return EndpointStatus(
        observed_generation=generation,
        state=health.state,
        checked_at=now.replace(microsecond=0),
        failures=health.failures,
        message=health.message,
        conditions=set_condition(endpoint.status.conditions, ready, now),
    )


def is_news(endpoint: Endpoint, status: EndpointStatus) -> bool:
    """Whether a status has to be written: a check that says the same as the last one has not."""
    known = endpoint.status
    same = (known.observed_generation, known.state, known.message) == (status.observed_generation, status.state, status.message)
    return not same or known.failures != status.failures <= MAX_COUNTED


MAX_COUNTED = 10
"""Failures in a row that are written down one by one; after that a broken endpoint costs no write any more."""
