"""One site per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.syncs import SyncSite, sync_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SyncSite]:
    async with sync_site(tmp_path) as found:
        yield found
