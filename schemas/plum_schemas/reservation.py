"""Reservations: devices that something needs for as long as it runs, alone or with others."""

from __future__ import annotations

from typing import Literal

from plum_schemas.base import Struct
from plum_schemas.scalars import Name


class Reservation(Struct):
    """One Resource that is held from before the start to the end."""

    resource: Name
    """Name of the Resource, in the same namespace."""
    mode: Literal["Exclusive", "Shared"] = "Exclusive"
    """Exclusive: nobody else holds it, and operations of others are refused. Shared: with others that share it. Exclusive if
    absent."""
