"""Which operations of a device are open, in the order in which they were asked for. Follows the informer; costs what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plum_schemas.base import ObjectKey
from plum_schemas.operation import Operation
from plum_schemas.operation_states import is_final
from sortedcontainers import SortedDict

Turn = tuple[int, str]
"""Sequence and name."""


class Turns:
    """Queued operations by device, and how many its host has."""

    def __init__(self, on_change: Callable[[ObjectKey], None]) -> None:
        self._queued: dict[ObjectKey, SortedDict[Turn, ObjectKey]] = {}
        self._released: dict[ObjectKey, set[ObjectKey]] = {}
        self._on_change = on_change

    def changed(self, old: Operation | None, new: Operation | None) -> None:
        operation = new or old
        if operation is None:
            return
        device, key = ObjectKey(operation.metadata.namespace, operation.spec.resource_ref), operation.key
        turn = (operation.status.sequence, key.name)
        queued, released = self._queued.setdefault(device, SortedDict()), self._released.setdefault(device, set())
        is_open = new is not None and not is_final(new.status.phase)
        with_host = is_open and new is not None and (new.status.phase != "Queued" or bool(new.status.node))
        queued.pop(turn, None)
        released.discard(key)
        if with_host:
            released.add(key)
        elif is_open:
            queued[turn] = key
        if not queued and not released:
            del self._queued[device], self._released[device]
        self._on_change(device)

    def queued(self, device: ObjectKey) -> Iterator[ObjectKey]:
        """Those that wait for their turn, the next one first."""
        return iter(list(self._queued.get(device, SortedDict()).values()))

    def first(self, device: ObjectKey) -> ObjectKey | None:
        queued = self._queued.get(device)
        return queued.peekitem(0)[1] if queued else None

    def released(self, device: ObjectKey) -> int:
        """Operations that its host has."""
        return len(self._released.get(device, ()))

    def with_host(self, device: ObjectKey) -> list[ObjectKey]:
        """Operations that its host has."""
        return list(self._released.get(device, ()))

    def open(self, device: ObjectKey) -> list[ObjectKey]:
        """All that have not ended."""
        return [*self.queued(device), *self._released.get(device, ())]
