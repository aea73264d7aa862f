"""Tells of changes of a folder: by the kernel's notices, and by looking where there are none.

A folder that vanishes and comes back (a mount, a checkout that was replaced) is another one to the kernel, so its identity is
looked at every second and the watch begun anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at the folder itself."""
POLL_SECONDS = 2.0
"""Between two readings where the kernel gives no notices."""
STEP_MS = 25
"""Silence after a change before it is told: an editor writes a file in several steps."""


async def follow(path: Path, changed: Callable[[], None]) -> None:
    """Call `changed` after every change, until cancelled."""
    told: tuple[int, int] | None = (0, 0)
    while True:
        folder = _folder(path)
        identity = _identity(folder)
        if identity != told:
            told = identity
            changed()
        if identity is None:
            await asyncio.sleep(LOOK_SECONDS / 2)
            continue
        try:
            await _notices(folder, identity, changed)
        except Exception as error:  # whatever the library raises: a folder is followed until it is cancelled
            logger.info("folder gives no notices, it is read every now and then", extra={"path": str(path), "error": repr(error)})
            changed()
            await asyncio.sleep(POLL_SECONDS)


async def _notices(folder: Path, identity: tuple[int, int], changed: Callable[[], None]) -> None:
    """Return when the folder is no longer the same."""
    from watchfiles import awatch

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells every change, and so does the status
    notices = awatch(
        folder,
        watch_filter=None,
        debounce=400,
        step=STEP_MS,
        rust_timeout=int(LOOK_SECONDS * 1000),
        yield_on_timeout=True,
    )
    changed()  # what happened before the watch began
    try:
        async for changes in notices:
            if changes:
                changed()
            if _identity(folder) != identity:
                return
    finally:
        await notices.aclose()


def _folder(path: Path) -> Path:
    """What is watched for a folder or a file. A folder that is away looks like a file, and what it is in is watched."""
    try:
        return path.parent if path.is_file() else path
    except OSError:
        return path  # a mount that answers with an error, such as one without permission


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
