"""A view as a kind: it lists, gets and watches like any other, with objects of another kind behind it.

    Instance in the store --show--> Pod          get, list, watch, pages, resuming: what the stored kind does
    Pod's field selector --stored_fields--> Instance's

Uid and revision are those of the stored object, so a client may mix both: what it reads here it can delete there. Nothing
is polled and nothing is kept twice; a change of the stored object is a change of the view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from plum_schemas.base import KindInfo, Object
from plum_schemas.selectors import FieldRequirement, FieldSelector

from plum_controller.resources.encode import Json, decode, encode
from plum_controller.resources.kinds import ResourceKind

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Left out: it is a manifest of the stored kind, and `kubectl apply --prune` would take the view for one that was applied."""
REMEMBERED = 5000
"""Converted objects that are kept: a change goes to every watcher, and a list is often read again."""
_KEPT_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
)  # fmt: skip
"""All but managedFields, whose paths are those of the stored kind."""


@dataclass(frozen=True, slots=True)
class Part:
    """A subresource of a view: what discovery says of it."""

    name: str
    kind: KindInfo
    verbs: tuple[str, ...]


class ViewKind(ResourceKind):
    """A kind of Kubernetes that shows the objects of one of ours."""

    def __init__(
        self,
        info: KindInfo,
        of: type[Object],
        openapi: Json,
        show: Callable[[Json], Json],
        *,
        verbs: tuple[str, ...],
        writable: tuple[tuple[str, ...], ...] = (),
        parts: tuple[Part, ...] = (),
        phases: Mapping[str, str] | None = None,
        complete: Callable[[Json], None] | None = None,
        annotations: Callable[[Json], Json] | None = None,
        instead: str = "",
    ) -> None:
        """`show` makes `spec` and `status` of a stored object, `annotations` what is added to its own. `phases` says how the
        stored phases are called here."""
        super().__init__(info, openapi)
        self.resource = of.info.resource
        self.of = of.info
        self.verbs = verbs
        self.parts = parts
        self.writable = writable
        """Paths that a patch may change; they mean the same in the stored object."""
        self.has_scale = any(part.name == "scale" for part in parts)
        self.complete = complete
        """Adds to a merge patch of the stored object what belongs to the same change."""
        self.instead = instead
        """What to do instead of what is refused."""
        self.has_other_versions = True
        self._show = show
        self._annotations = annotations
        self._phases = phases or {}
        self._shown: dict[bytes, bytes] = {}

    def present(self, value: bytes) -> bytes:
        shown = self._shown.get(value)
        if shown is None:
            if len(self._shown) >= REMEMBERED:
                self._shown.clear()
            shown = self._shown[value] = encode(self.view(decode(value)))
        return shown

    def view(self, stored: Json) -> Json:
        """A stored object as this kind."""
        metadata = stored["metadata"]
        kept = {name: metadata[name] for name in _KEPT_METADATA if name in metadata}
        added = self._annotations(stored) if self._annotations is not None else {}
        annotations = {**kept.pop("annotations", {}), **added}
        annotations.pop(LAST_APPLIED, None)
        if annotations:
            kept["annotations"] = annotations
        return {"apiVersion": self.info.api_version, "kind": self.info.kind, "metadata": kept, **self._show(stored)}

    def stored_fields(self, selector: FieldSelector) -> FieldSelector:
        return FieldSelector(
            stored
            for requirement in selector.requirements
            for stored in (self._phase(requirement) if requirement.path == "status.phase" else (requirement,))
        )

    def _phase(self, wanted: FieldRequirement) -> list[FieldRequirement]:
        """Several stored phases look alike here: to have one of them is to have none of the others."""
        unequal = wanted.operator == "!="
        refused = [stored for stored, shown in self._phases.items() if (shown == wanted.value) is unequal]
        return [FieldRequirement(wanted.path, "!=", stored) for stored in refused]
