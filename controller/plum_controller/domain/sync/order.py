"""The order of a folder's objects: stages, each of which is applied and healthy before the next begins.

wave, then within a wave: namespaces, definitions of kinds, the rest by what they depend on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plum_schemas.sync import DEPENDS_ANNOTATION, WAVE_ANNOTATION

from plum_controller.domain.sync.identity import ObjectId

FIRST = {("", "Namespace"): -2, ("apiextensions.k8s.io", "CustomResourceDefinition"): -1}
"""Kinds that others need. Without a wave of their own they go before everything."""
MAX_WAVE = 1_000_000


class OrderError(ValueError):
    """Objects that cannot be put in an order: each with the field and what is wrong with it."""

    def __init__(self, failures: Sequence[tuple[ObjectId, str, str]]) -> None:
        super().__init__("; ".join(message for _, _, message in failures))
        self.failures = tuple(failures)


class Stage(NamedTuple):
    """Objects that may be applied at once."""

    wave: int
    layer: int
    """Within the wave: -2 namespaces, -1 definitions, from 0 on by dependencies."""
    objects: tuple[ObjectId, ...]


def wave_of(obj: Mapping[str, Any]) -> int | None:
    """The wave that is written on an object; None where there is none. Raises ValueError."""
    text = _annotation(obj, WAVE_ANNOTATION)
    if text is None:
        return None
    wave = int(text)
    if abs(wave) > MAX_WAVE:
        raise ValueError(f"a wave is between -{MAX_WAVE} and {MAX_WAVE}")
    return wave


def dependencies_of(obj: Mapping[str, Any], own: ObjectId) -> list[tuple[str, str, str]]:
    """Kind, namespace and name of what an object waits for. Raises ValueError."""
    found = []
    for entry in (_annotation(obj, DEPENDS_ANNOTATION) or "").split(","):
        parts = [part.strip() for part in entry.split("/")]
        if parts == [""]:
            continue
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"{entry.strip()!r} is no KIND/NAME or KIND/NAMESPACE/NAME")
        found.append((parts[0], parts[1] if len(parts) == 3 else own.namespace, parts[-1]))
    return found


def stages(objects: Mapping[ObjectId, Mapping[str, Any]]) -> list[Stage]:
    """All stages in order. Raises `OrderError`."""
    failures: list[tuple[ObjectId, str, str]] = []
    written: dict[ObjectId, int | None] = {}
    for identity, obj in objects.items():
        try:
            written[identity] = wave_of(obj)
        except ValueError as error:
            where = f"metadata.annotations.{WAVE_ANNOTATION}"
            text = f"{where} is {_annotation(obj, WAVE_ANNOTATION)!r}; a whole number was expected ({error})"
            failures.append((identity, where, text))
    lowest = min((wave for wave in written.values() if wave is not None), default=0)
    first = min(lowest, 0)
    waves = {
        identity: wave if wave is not None else first if (identity.group, identity.kind) in FIRST else 0
        for identity, wave in written.items()
    }
    needs = _needs(objects, waves, failures)
    layers = _layers(needs, failures)
    if failures:
        raise OrderError(failures)
    grouped: dict[tuple[int, int], list[ObjectId]] = {}
    for identity in sorted(objects):
        layer = FIRST.get((identity.group, identity.kind), layers.get(identity, 0))
        grouped.setdefault((waves[identity], layer), []).append(identity)
    return [Stage(wave, layer, tuple(members)) for (wave, layer), members in sorted(grouped.items())]


def _needs(
    objects: Mapping[ObjectId, Mapping[str, Any]], waves: Mapping[ObjectId, int], failures: list[tuple[ObjectId, str, str]]
) -> dict[ObjectId, list[ObjectId]]:
    """What each object waits for inside its own wave."""
    names: dict[tuple[str, str, str], ObjectId] = {}
    where = f"metadata.annotations.{DEPENDS_ANNOTATION}"
    needs: dict[ObjectId, list[ObjectId]] = {}
    for identity, obj in objects.items():
        if _annotation(obj, DEPENDS_ANNOTATION) is None:
            continue
        names = names or {(one.kind, one.namespace, one.name): one for one in objects}
        try:
            wanted = dependencies_of(obj, identity)
        except ValueError as error:
            failures.append((identity, where, f"{where}: {error}"))
            continue
        for kind, namespace, name in wanted:
            found = names.get((kind, namespace, name)) or names.get((kind, "", name))
            if found is None:
                failures.append((identity, where, f"{where} names {kind}/{name}, which is not among these manifests"))
            elif waves.get(found, 0) > waves.get(identity, 0):
                text = f"{where} names {kind}/{name}, whose wave {waves[found]} comes after its own ({waves[identity]})"
                failures.append((identity, where, text))
            elif waves.get(found, 0) == waves.get(identity, 0):
                needs.setdefault(identity, []).append(found)
    return needs


def _layers(needs: Mapping[ObjectId, Sequence[ObjectId]], failures: list[tuple[ObjectId, str, str]]) -> dict[ObjectId, int]:
    """How deep each object lies below what it waits for."""
    layers: dict[ObjectId, int] = {}
    left = dict(needs)
    while left:
        ready = [one for one, wanted in left.items() if not any(other in left for other in wanted)]
        if not ready:
            circle = sorted(left)
            where = f"metadata.annotations.{DEPENDS_ANNOTATION}"
            failures.append((circle[0], where, f"{where} is a circle: {', '.join(map(str, circle[:5]))} wait for each other"))
            return layers
        for one in ready:
            layers[one] = 1 + max(layers.get(other, 0) for other in left.pop(one))
    return layers


def _annotation(obj: Mapping[str, Any], name: str) -> str | None:
    annotations = (obj.get("metadata") or {}).get("annotations")
    value = annotations.get(name) if isinstance(annotations, Mapping) else None
    return None if value is None else str(value)
