"""Devices of this machine that templates ask for by name: where they are, and whether they are there.

    --device camera=/dev/video0 -> Devices -> Node.status.devices, for the scheduler
                                           -> DEVICE_CAMERA=/dev/video0 for the one that holds it, and the device in its container

Who holds a device is the scheduler's decision. The agent only refuses to start what would not find its device.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plum_agent.errors import RefusedError

LOOK_SECONDS = 1.0
"""Between two looks at whether they are there. One `stat` each."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def parse(words: Iterable[str]) -> dict[str, Path]:
    """`NAME=PATH`, or several of them with commas between. Raises `ValueError` that says what is wrong with which."""
    found: dict[str, Path] = {}
    for one in (one.strip() for word in words for one in word.split(",")):
        name, equals, path = one.partition("=")
        if not one:
            continue
        if not equals or not _NAME.match(name):
            raise ValueError(
                f"device {one!r}: write NAME=PATH, such as camera=/dev/video0, with letters, digits, '.', '_' and '-' in the name"
            )
        if not path.startswith("/"):
            raise ValueError(f"device {one!r}: {path!r} is not an absolute path")
        if name in found and found[name] != Path(path):
            raise ValueError(f"device {name!r} is given twice, as {found[name]} and as {path}")
        found[name] = Path(path)
    return found


@dataclass(slots=True)
class Devices:
    """Those of one node."""

    paths: Mapping[str, Path] = field(default_factory=dict)

    def status(self) -> list[dict[str, object]]:
        """`Node.status.devices`, as it is now."""
        return [{"name": name, "path": str(path), "healthy": path.exists()} for name, path in sorted(self.paths.items())]

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Tell when one comes or goes, until cancelled."""
        known = self.status()
        while self.paths:
            await asyncio.sleep(LOOK_SECONDS)
            now = self.status()
            if now != known:
                known = now
                on_change()

    def check(self, names: Iterable[str]) -> None:
        """Raises `RefusedError` for the first that is not there."""
        for name in names:
            path = self.paths.get(name)
            if path is None:
                message = f"this node has no device {name}; its agent is told of one by --device {name}=PATH"
                raise RefusedError("DeviceMissing", message)
            if not path.exists():
                raise RefusedError("DeviceMissing", f"device {name} is not there: {path} does not exist; connect it")

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """What the holder of these is told: `DEVICE_<NAME>`."""
        known = [(name, self.paths[name]) for name in names if name in self.paths]
        return {f"DEVICE_{re.sub('[^A-Z0-9]', '_', name.upper())}": str(path) for name, path in known}
