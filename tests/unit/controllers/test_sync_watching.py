"""A folder is followed where the kernel gives notices, and where it gives none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles
from plum_controller.controllers.syncing import watching

from tests.support.agent import until


async def test_without_notices_the_folder_is_read_every_now_and_then_and_notices_are_used_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused, told = watchfiles.awatch, 0, 0

    async def exhausted(*_paths: object, **_options: object) -> AsyncIterator[Any]:
        """What the kernel answers when all its watches are taken."""
        nonlocal refused
        refused += 1
        raise OSError(28, "OS file watch limit reached")
        yield

    def changed() -> None:
        nonlocal told
        told += 1

    monkeypatch.setattr(watching, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(watchfiles, "awatch", exhausted)
    following = asyncio.create_task(watching.follow(tmp_path, changed))
    try:
        await until(lambda: refused >= 3 and told >= 3, what="the folder is read without notices")

        begun = asyncio.Event()

        def recovered(*paths: Any, **options: Any) -> AsyncIterator[Any]:
            begun.set()
            return real(*paths, **options)

        monkeypatch.setattr(watchfiles, "awatch", recovered)
        await asyncio.wait_for(begun.wait(), 40)
        calls = refused
        await asyncio.sleep(0.1)
        seen = told
        (tmp_path / "a.yaml").write_text("x")
        await until(lambda: told > seen, what="a change is told by a notice")
        assert refused == calls, "the kernel is not asked in vain any more"
    finally:
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


async def test_a_folder_that_goes_and_comes_back_is_followed_anew(tmp_path: Path) -> None:
    folder, told = tmp_path / "fleet", 0
    folder.mkdir()

    def changed() -> None:
        nonlocal told
        told += 1

    following = asyncio.create_task(watching.follow(folder, changed))
    try:
        await until(lambda: told >= 1)
        folder.rename(tmp_path / "away")
        seen = told
        await until(lambda: told > seen, what="that it is gone is told")
        folder.mkdir()
        seen = told
        await until(lambda: told > seen, what="that it is back is told")
        await asyncio.sleep(0.2)
        seen = told
        (folder / "a.yaml").write_text("x")
        await until(lambda: told > seen, what="and what changes in it")
    finally:
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
