"""The wheels that the locks name, downloaded once for all tests of this machine, and a bundle made of them."""

from __future__ import annotations

import fcntl
import hashlib
import platform
from functools import cache
from pathlib import Path

import pytest
from plum_cli import bundling
from plum_cli.errors import CliError

KEPT = Path("/var/tmp/plum-test-wheels")
SOURCE = Path(__file__).parents[2]


@cache
def locked_wheels() -> Path:
    """A folder with them. Skips the test, with the reason, where no index can be reached."""
    locks = b"".join((SOURCE / "requirements" / f"{name}.txt").read_bytes() for name in bundling.REQUIREMENTS)
    folder = KEPT / hashlib.sha256(locks).hexdigest()[:16]
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            bundling.needed(SOURCE, folder, platform.machine())
        except CliError:
            try:
                bundling.download(SOURCE, platform.machine(), folder)
            except CliError as error:
                pytest.skip(f"the wheels of a bundle cannot be had here: {error}")
    return folder


def make_bundle(target: Path, *manifests: Path) -> str:
    """A bundle for this machine; answers with its sha256."""
    return bundling.create(SOURCE, target, [platform.machine()], [], manifests, locked_wheels())
