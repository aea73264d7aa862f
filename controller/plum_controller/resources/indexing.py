"""What the watch cache finds objects by: labels, uids of owners, and the fields a kind declares as selectable.

Asked once per write, for every object, so only these parts are decoded; the rest of the document is skipped in C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plum_controller.resources.encode import decode
from plum_controller.store.cache import Indexed


class _Owner(msgspec.Struct):
    uid: str = ""


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}
    ownerReferences: list[_Owner] = []  # noqa: N815 - the name is that of the JSON


class _Object(msgspec.Struct):
    metadata: _Metadata


NO_FIELDS: Mapping[str, str] = {}
_decode_metadata = msgspec.json.Decoder(_Object).decode


def empty_index(value: bytes) -> Indexed:
    """The index of an object whose kind declares no selectable fields."""
    metadata = _decode_metadata(value).metadata
    return Indexed(metadata.labels, tuple(owner.uid for owner in metadata.ownerReferences), NO_FIELDS)


class Indexer:
    """Indexes the objects of one kind."""

    def __init__(self, labels: Mapping[str, tuple[str, ...]]) -> None:
        """`labels` maps field labels, such as `spec.nodeName`, to where the value is."""
        self._paths = dict(labels)
        tree: dict[str, Any] = {}
        for path in self._paths.values():
            node = tree
            for part in path:
                node = node.setdefault(part, {})
        tree.pop("metadata", None)
        attributes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._decode = msgspec.json.Decoder(_type_of(tree, (), (), attributes)).decode
        self._attributes = [(label, attributes[path]) for label, path in self._paths.items() if path in attributes]

    def __call__(self, value: bytes) -> Indexed:
        if not self._attributes:
            return empty_index(value)
        try:
            data = self._decode(value)
        except msgspec.ValidationError:
            return self._index_slowly(value)
        fields = {}
        for label, names in self._attributes:
            found: Any = data
            for name in names:
                found = getattr(found, name, None)
            fields[label] = found if type(found) is str else _text(found)
        metadata = data.metadata
        return Indexed(metadata.labels, tuple([owner.uid for owner in metadata.ownerReferences]), fields)

    def _index_slowly(self, value: bytes) -> Indexed:
        """For objects in which something stands where the path expects an object."""
        data = decode(value)
        fields = {label: _text(_find(data, path)) for label, path in self._paths.items()}
        return empty_index(value)._replace(fields=fields)


def _type_of(
    tree: Mapping[str, Any],
    path: tuple[str, ...],
    names: tuple[str, ...],
    attributes: dict[tuple[str, ...], tuple[str, ...]],
) -> Any:
    """A type that decodes only the leaves of the tree; a missing part is None. `attributes` learns where each leaf is."""
    fields: list[Any] = [("metadata", _Metadata)] if not path else []
    renamed = {}
    for number, (part, below) in enumerate(tree.items()):
        name = f"part_{number}"
        renamed[name] = part
        here = ((*path, part), (*names, name))
        attributes[here[0]] = here[1]
        fields.append((name, _type_of(below, *here, attributes) | None if below else Any, None))
    return msgspec.defstruct("Indexable", fields, rename=lambda name: renamed.get(name, name))


def _find(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(data, dict):
            return None
        data = data.get(part)
    return data


def _text(value: Any) -> str:
    """A field as field selectors compare it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, (dict, list, msgspec.Struct)) else str(value)
