"""What becomes of an object whose owners are gone or going. Kubernetes' rules.

owners that are there    -> keep; forget the dead ones beside them
none but dead or going   -> delete
all going and waiting    -> delete, and wait for this one's own dependents first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

FOREGROUND_FINALIZER = "foregroundDeletion"
"""On an object that is deleted after its dependents."""
ORPHAN_FINALIZER = "orphan"
"""On an object that is deleted without its dependents."""


class OwnerState(Enum):
    """What is known of one owner."""

    PRESENT = "present"
    ABSENT = "absent"
    """There is no object of that uid."""
    WAITING = "waiting"
    """It is being deleted and waits for its dependents."""
    UNKNOWN = "unknown"
    """Its kind is not served; nobody can tell, so nothing is deleted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a dependent."""

    action: Literal["keep", "release", "delete"]
    release: tuple[str, ...] = ()
    """Uids of owners to take out of its owner references."""
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background"


def judge(owners: Mapping[str, OwnerState], has_dependents: bool, finalizers: tuple[str, ...]) -> Verdict:
    """Decide over one object by the states of its owners (uid to state)."""
    if not owners:
        return Verdict("keep")
    dead = tuple(uid for uid, state in owners.items() if state in (OwnerState.ABSENT, OwnerState.WAITING))
    if len(dead) < len(owners):
        return Verdict("release", dead) if dead else Verdict("keep")
    if ORPHAN_FINALIZER in finalizers:
        return Verdict("delete", propagation="Orphan")
    waiting = OwnerState.WAITING in owners.values()
    if FOREGROUND_FINALIZER in finalizers or (waiting and has_dependents):
        return Verdict("delete", propagation="Foreground")
    return Verdict("delete")
