"""Operations through drops, repetitions, ends of programs, hosts and machines, and clocks that jump: what is promised holds."""

from __future__ import annotations

from collections import Counter

import pytest
from plum_schemas.operation_states import is_final

from tests.support.operations_world import World


def check(world: World, count: int) -> None:
    """Every one terminal, at-most-once never twice, expired never run."""
    assert world.broken == []
    assert len(world.store) == count
    phases: Counter[str] = Counter()
    for uid, operation in world.store.items():
        phase, delivery, times = operation.status.phase, operation.spec.delivery, world.executed[uid]
        phases[phase] += 1
        assert is_final(phase), uid
        assert times <= 1 or delivery == "AtLeastOnce", uid
        if phase == "Expired" or (phase == "Canceled" and not operation.status.attempt):
            assert times == 0, (uid, phase)
        if phase == "Succeeded":
            assert times >= 1, uid
    assert {"Succeeded", "Failed", "Expired", "Canceled", "Unknown"} <= phases.keys(), phases
    for fault in ("host killed", "machine rebooted", "program restarted", "request lost", "answer lost", "command lost"):
        assert world.faults[fault], fault


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_operations_end_and_are_carried_out_as_they_were_asked_for(seed: int) -> None:
    world = World(seed)

    world.run(4000)

    check(world, 4000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_operations(seed: int) -> None:
    world = World(1000 + seed, nodes=50)

    world.run(25_000)

    check(world, 25_000)
