"""A controller that stood still (SIGSTOP, suspended machine) blames nobody: no false NotReady, no replacement, no restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.programs import Sandbox, sandbox
from tests.support.undisturbed import assert_undisturbed, fleet_at_rest, revision_now


async def pause(box: Sandbox, *, lease: int, seconds: float) -> None:
    controller = await box.controller()
    before = await fleet_at_rest(box, controller, lease)
    since = await revision_now(box)

    controller.pause()
    await asyncio.sleep(seconds)
    controller.resume()
    await asyncio.sleep(2 * lease + 1)  # a false judgement would come within this time

    await assert_undisturbed(box, since, before)


@pytest.mark.slow
async def test_a_pause_of_the_controller_over_several_leases_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await pause(box, lease=2, seconds=8)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_pause_of_the_controller_for_a_minute_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await pause(box, lease=15, seconds=60)


@pytest.mark.slow
async def test_a_controller_that_was_killed_and_away_over_two_leases_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        before = await fleet_at_rest(box, controller, 2)
        since = await revision_now(box)

        controller.kill()
        await asyncio.sleep(4)
        await box.restarted(controller)
        await asyncio.sleep(4)

        await assert_undisturbed(box, since, before)
