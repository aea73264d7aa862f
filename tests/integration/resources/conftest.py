from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.resources import ManualClock, World, definition, make_store


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A resource service over each engine of the store, with the namespaces that always exist."""
    world = World(make_store(request.param, tmp_path), ManualClock())
    await world.start()
    yield world
    await world.stop()


@pytest.fixture
async def widgets(world: World) -> World:
    """A world that knows a user's own kind."""
    await world.create("customresourcedefinitions", definition())
    return world
