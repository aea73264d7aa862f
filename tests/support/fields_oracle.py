"""Server-side apply in the plainest words, to compare the real one with. Shares no code and no representation with it.

    object -> {path: value}            one entry per scalar, per atomic part, per list item
    owner  -> {paths}

Applying: what the configuration sets is set and owned; what its manager set last time and no longer sets goes, if nobody
else has it; whoever else owned what changed loses it, which is a conflict unless it is forced. Covers objects without
nulls and without empty lists and objects, where no rule is in doubt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
Flat = dict[Path, Any]
Owner = tuple[str, str]

ATOMIC = {("spec", "atom"), ("spec", "command")}
SETS = {("spec", "groups"), ("metadata", "finalizers")}
MAPS = {("spec", "env"): ("name",), ("spec", "ports"): ("port", "protocol")}
DEFAULTS = {"protocol": "TCP"}
CONTAINERS = {("spec",), ("spec", "strategy"), ("spec", "limits"), ("metadata", "labels")}
ITEM = "(item)"
"""The value of a path that names an item of a list, not a scalar."""


def flatten(value: Any, path: Path = ()) -> Flat:
    """Everything that can have an owner of its own. Keys of items are part of the item's path."""
    if path in ATOMIC:
        return {path: json.dumps(value, sort_keys=True)}
    if path in SETS:
        return {(*path, f"={item}"): ITEM for item in value}
    if path in MAPS:
        out: Flat = {}
        for item in value:
            keys = [item.get(key, DEFAULTS.get(key)) for key in MAPS[path]]
            where = (*path, "/".join(f"{key}" for key in keys))
            out[where] = ITEM
            out |= flatten({name: part for name, part in item.items() if name not in MAPS[path]}, where)
        return out
    if isinstance(value, dict):
        return {found: leaf for name, part in value.items() for found, leaf in flatten(part, (*path, name)).items()}
    return {path: value}


def order_of(value: Any) -> dict[Path, list[str]]:
    """The order of items in each list that merges."""
    orders: dict[Path, list[str]] = {}
    for path in flatten(value):
        for where in (*SETS, *MAPS):
            if path[:-1] == where:
                orders.setdefault(where, []).append(path[-1])
    return orders


@dataclass
class Model:
    """One object and who owns what."""

    fields: Flat = field(default_factory=dict)
    owners: dict[Owner, set[Path]] = field(default_factory=dict)

    def conflicts(self, manager: str, config: Flat) -> set[tuple[str, Path]]:
        """(Other manager, path) of what would change under them."""
        return {
            (owner[0], path)
            for owner, paths in self.owners.items()
            if owner != (manager, "Apply")
            for path in paths & config.keys()
            if self.fields[path] != config[path]
        }

    def apply(self, manager: str, config: Flat) -> None:
        """By force: conflicts are taken over."""
        me = (manager, "Apply")
        last = self.owners.pop(me, set())
        for _, path in self.conflicts(manager, config):
            self._take(path)
        self.fields |= config
        self.owners[me] = set(config)
        given_up = last - set(config)
        kept = {above for paths in self.owners.values() for path in paths for above in _upwards(path)}
        for path in given_up - kept:
            self._remove(path)
        self._tidy()

    def update(self, manager: str, fields: Flat) -> None:
        """Replace the whole: its writer owns what is new or different, and what is gone is nobody's."""
        changed = {path for path, value in fields.items() if path not in self.fields or self.fields[path] != value}
        for path in changed | (self.fields.keys() - fields.keys()):
            self._take(path)
        self.fields = dict(fields)
        if changed:
            self.owners.setdefault((manager, "Update"), set()).update(changed)
        self._tidy()

    def _remove(self, path: Path) -> None:
        """An item goes with everything below it."""
        for found in [found for found in self.fields if found[: len(path)] == path]:
            del self.fields[found]
            self._take(found)

    def _take(self, path: Path) -> None:
        for paths in self.owners.values():
            paths.discard(path)

    def _tidy(self) -> None:
        self.owners = {owner: paths for owner, paths in self.owners.items() if paths}


def _upwards(path: Path) -> list[Path]:
    return [path[:length] for length in range(1, len(path) + 1)]


def owned_paths(obj: dict[str, Any]) -> dict[Owner, set[Path]]:
    """managedFields of a real object in the words of this module, which has no owners of whole objects and lists."""
    return {
        owner: paths
        for owner, found in all_owned_paths(obj).items()
        if (paths := {path for path in found if not _is_container(path)})
    }


def all_owned_paths(obj: dict[str, Any]) -> dict[Owner, set[Path]]:
    """With the objects and lists that an update made and therefore owns."""
    owners: dict[Owner, set[Path]] = {}
    for entry in obj["metadata"].get("managedFields", []):
        found: set[Path] = set()
        _read(entry["fieldsV1"], (), found)
        owners.setdefault((entry["manager"], entry["operation"]), set()).update(found)
    return owners


def _is_container(path: Path) -> bool:
    return path in CONTAINERS or path in SETS or path in MAPS or path[-1] == "from"


def _read(tree: dict[str, Any], path: Path, found: set[Path]) -> None:
    for element, below in tree.items():
        if element == ".":
            found.add(path)
            continue
        kind, _, text = element.partition(":")
        if kind == "k":
            keys = json.loads(text)
            where = (*path, "/".join(f"{keys[key]}" for key in MAPS[path]))
            if not below:
                found.add(where)
            _read({name: part for name, part in below.items() if name[2:] not in keys}, where, found)
        elif kind == "v":
            found.add((*path, f"={json.loads(text)}"))
        elif not below:
            found.add((*path, text))
        else:
            _read(below, (*path, text), found)
