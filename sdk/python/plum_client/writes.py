"""Which writes happened inside a block: how a controller reads its own writes.

with recorded_writes() as written:
    await reconciler.reconcile(key)      # and every task it starts
written -> the next reconcile of that key waits until the informers have seen these revisions
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from plum_schemas.base import KindInfo, ObjectKey


class Written(NamedTuple):
    """One acknowledged write."""

    info: KindInfo
    key: ObjectKey
    revision: int
    """Store revision; 0 when the server gave none."""
    value: bytes
    """The object as answered; empty after a deletion."""


_recorder: ContextVar[list[Written] | None] = ContextVar("plum_recorded_writes", default=None)


@contextmanager
def recorded_writes() -> Iterator[list[Written]]:
    """Collect every write of this task and of the tasks it starts, until the block ends."""
    written: list[Written] = []
    token = _recorder.set(written)
    try:
        yield written
    finally:
        _recorder.reset(token)


def record(written: Written) -> None:
    """Note a write, if somebody collects."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.append(written)
