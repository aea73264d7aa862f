"""What is said of one object's health, and how its status is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Json = Mapping[str, Any]
State = Literal["Healthy", "Progressing", "Degraded", "Unknown"]


class Health(NamedTuple):
    """A state and the reason for it."""

    state: State
    """Progressing may become healthy by itself; Degraded will not. Unknown: its rule has no value for this object."""
    message: str = ""

    @property
    def healthy(self) -> bool:
        return self.state == "Healthy"


HEALTHY = Health("Healthy")


def status_of(obj: Json) -> Json:
    """The status; empty where there is none, or something else in its place."""
    status = obj.get("status")
    return status if isinstance(status, Mapping) else {}


def condition(obj: Json, name: str) -> Json | None:
    """A condition of the status by its type."""
    conditions = status_of(obj).get("conditions")
    for entry in conditions if isinstance(conditions, list) else ():
        if isinstance(entry, Mapping) and entry.get("type") == name:
            return entry
    return None


def reason_of(entry: Json) -> str:
    """Message of a condition, else its reason."""
    return str(entry.get("message") or entry.get("reason") or "")


def number(value: Any, otherwise: int = 0) -> int:
    """A whole number of a status; `otherwise` where there is none."""
    return int(value) if isinstance(value, int | float) else otherwise
