"""Lease of coordination.k8s.io/v1: a right that runs out. Agents prove that they live with one, controllers elect a leader.

Compare renewals on your own monotonic clock: the times inside come from the holder's clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import field

from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.markers import MICRO_TIME
from plum_schemas.scalars import NonNegative, Positive

MicroTime = Annotated[datetime, MICRO_TIME]
"""A time with microseconds."""


class LeaseSpec(Struct):
    """Who holds it and until when."""

    holder_identity: str | None = None
    """Who holds it; empty when it was given back."""
    lease_duration_seconds: Positive | None = None
    """Seconds after a renewal until others may take it."""
    acquire_time: MicroTime | None = None
    """When the holder got it."""
    renew_time: MicroTime | None = None
    """When the holder last renewed it, by its own clock."""
    lease_transitions: NonNegative | None = None
    """Times the holder changed: usable as a fencing token."""
    strategy: str | None = None
    """How a new holder is chosen when several want it."""
    preferred_holder: str | None = None
    """Who should get it next."""


class Lease(Object):
    """A right that runs out unless its holder renews it."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Lease",
        plural="leases",
        group="coordination.k8s.io",
        categories=(),
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(
            Column("Holder", ".spec.holderIdentity"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Renewed", ".spec.renewTime", "date", priority=1),
        ),
    )

    spec: LeaseSpec = field(default_factory=LeaseSpec)
    """Who holds it and until when."""
