"""Rules of single kinds that a schema cannot say. Each kind that has some overrides these methods and is listed in `RULES`.

The order within a write: `prepare_*`, schema, `check`, then commit. `prepare_*` may change the new object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from plum_controller.resources.encode import Json
from plum_controller.resources.errors import Cause

if TYPE_CHECKING:
    from plum_controller.resources.context import Context
    from plum_controller.resources.registry import ResourceKind
    from plum_controller.store.base import RowChange
    from plum_controller.store.events import Entry


class KindRules:
    """What kinds without rules of their own do: nothing."""

    create_on_update = False
    """A PUT of a missing name creates it."""

    is_confidential = False
    """Values are not repeated in refusals, which end up in logs and terminals."""

    def defaults(self, new: Json) -> None:
        """Fill what the schema cannot default. Fields set here belong to the writer, as if written by it."""

    def prepare_create(self, context: Context, kind: ResourceKind, new: Json) -> None:
        """Set what the server decides on create. May raise `ApiStatusError`."""

    def prepare_update(self, context: Context, kind: ResourceKind, live: Json, new: Json, subresource: str) -> None:
        """Keep or set what the server decides on update."""

    def check(self, context: Context, kind: ResourceKind, new: Json, live: Json | None) -> Iterable[Cause]:
        """Why the object is refused."""
        return ()

    def check_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        """Raise `ApiStatusError` if this object may not be deleted."""

    def prepare_delete(self, context: Context, kind: ResourceKind, live: Json) -> None:
        """Set what changes when the deletion begins. `live` is a copy, with its deletion time already in it."""

    def rows(self, context: Context, entry: Entry, new: Json) -> Sequence[RowChange]:
        """Rows beside the objects that are written with the new version of `entry`, in one transaction."""
        return ()

    def is_held(self, data: Json) -> bool:
        """Whether something besides finalizers keeps a deleted object from going."""
        return False


NO_RULES = KindRules()
