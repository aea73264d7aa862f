"""kill -9 of the controller while it applies and deletes: nothing is lost, nothing is left over, nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from plum_schemas.core import ConfigMap
from plum_schemas.sync import Sync

from tests.support.programs import Sandbox, sandbox
from tests.support.syncs import config

OBJECTS = 150


async def play(box: Sandbox, folder: Path, kills: int, seed: int) -> None:
    """Change a third of the folder, kill at a random moment, and so on; then what lives is what the folder says."""
    choose = random.Random(seed)
    wanted: dict[str, str] = {}
    controller = await box.controller("--sync", str(folder))
    for step in range(kills + 1):
        for name in [f"c{number}" for number in range(OBJECTS)]:
            if choose.random() < 0.3 or not step:
                if name in wanted and choose.random() < 0.3:
                    del wanted[name]
                    (folder / f"{name}.yaml").unlink()
                else:
                    wanted[name] = str(step)
                    (folder / f"{name}.yaml").write_text(config(name, x=wanted[name]))
        if step < kills:
            await asyncio.sleep(choose.random() * 0.8)
            controller.kill()
            controller = await box.restarted(controller, "--sync", str(folder))

    async def settled() -> bool:
        found = {o.metadata.name: o.data.get("x", "") for o in await box.api(controller.url).list(ConfigMap, "default")}
        sync = await box.api(controller.url).get(Sync, folder.name, "default")
        if sync is None or sync.status.phase != "Synced":
            return False
        names = {item.name for item in sync.status.inventory}
        return found == wanted and names == set(wanted) and not any(item.pending_delete for item in sync.status.inventory)

    await box.until(settled, 40, what=f"the folder is applied (seed {seed})")


async def test_a_controller_killed_while_it_syncs_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    async with sandbox(tmp_path) as box:
        await play(box, folder, kills=2, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
async def test_a_controller_killed_again_and_again_while_it_syncs(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    async with sandbox(tmp_path) as box:
        await play(box, folder, kills=20, seed=seed)
