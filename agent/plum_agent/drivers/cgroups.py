"""Limits of cpu and memory through cgroups, version 2 or version 1, wherever this host lets us create some.

    find_hierarchies -> Hierarchies -> create(name, limits) -> Group: files to enter it, sentences about what is not enforced

Groups are made below the agent's own group, so whatever limits the agent limits its workloads too. Where no group can be
made nothing fails: the caller tells the user in condition ResourceLimits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PERIOD_MICROSECONDS = 100_000
"""Length of one accounting period of the cpu limit; the kernel's default."""
PARENT = "plum"
LEAF = "plum-agent"
"""Group the agent moves into where only childless groups may hold processes."""

BASE_VARIABLE = "PLUM_CGROUP"
"""Version 2 group to make groups below, instead of the agent's own. For systemd before 254, which can put a service that is
started again only into a group that has no limited groups below it."""


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of one run, one for each hierarchy."""

    entries: tuple[Path, ...]
    """A process joins by writing 0 into each of these files."""
    unenforced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where groups with the cpu and the memory controller can be made."""

    unified: bool
    """cgroup version 2: one hierarchy for all controllers."""
    parents: Mapping[str, Path]
    """Folder for our groups by controller; a controller that cannot be used is missing."""

    def create(self, name: str, cpu_millis: int | None, memory_bytes: int | None, track: bool = False) -> Group:
        """Make the groups of one run. `track` makes one even without a limit, so every descendant can be listed."""
        wanted = {"cpu": cpu_millis, "memory": memory_bytes}
        entries: list[Path] = []
        unenforced: list[str] = []
        for controller, limit in wanted.items():
            if limit is None:
                continue
            try:
                folder = self._make(controller, name)
                self._write_limit(folder, controller, limit)
                entries.append(folder / "cgroup.procs")
            except OSError as error:
                unenforced.append(f"limits.{controller} is not enforced: {_why(error)}")
        if track and not entries:
            for controller in self.parents:
                with suppress(OSError):
                    entries.append(self._make(controller, name) / "cgroup.procs")
                    break
        return Group(tuple(dict.fromkeys(entries)), tuple(unenforced))

    def _make(self, controller: str, name: str) -> Path:
        parent = self.parents.get(controller)
        if parent is None:
            raise FileNotFoundError(f"this host has no writable {controller} cgroup")
        folder = parent / name
        if self.unified and not parent.exists():
            parent.mkdir()
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in self.parents), encoding="ascii")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_limit(self, folder: Path, controller: str, limit: int) -> None:
        if controller == "cpu":
            quota = max(1000, limit * PERIOD_MICROSECONDS // 1000)
            if self.unified:
                (folder / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}", encoding="ascii")
            else:
                (folder / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS), encoding="ascii")
                (folder / "cpu.cfs_quota_us").write_text(str(quota), encoding="ascii")
            return
        (folder / ("memory.max" if self.unified else "memory.limit_in_bytes")).write_text(str(limit), encoding="ascii")
        with suppress(OSError):  # hosts without swap accounting have no such file, and then no swap that could evade the limit
            swap = "memory.swap.max" if self.unified else "memory.memsw.limit_in_bytes"
            (folder / swap).write_text("0" if self.unified else str(limit), encoding="ascii")


def members(folders: Iterable[Path]) -> list[int]:
    """Pids in these groups."""
    pids: set[int] = set()
    for folder in folders:
        with suppress(OSError):
            pids.update(int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split())
    return sorted(pids)


def out_of_memory(folders: Iterable[Path]) -> bool:
    """Did the kernel kill a process in these groups because of a memory limit?"""
    for folder in folders:
        for file in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                for line in (folder / file).read_text(encoding="ascii").splitlines():
                    word, _, count = line.partition(" ")
                    if word == "oom_kill" and int(count) > 0:
                        return True
    return False


def remove(folders: Iterable[Path]) -> None:
    """Delete the empty groups of an ended run, and what was made above them once it is empty. Safe to repeat."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
        with suppress(OSError):
            folder.parent.rmdir()


def find_hierarchies(mounts: str = "/proc/self/mounts", own: str = "/proc/self/cgroup") -> Hierarchies:
    """What this host offers. Version 2 wins where its controllers can be used."""
    version_2: Path | None = None
    version_1: dict[str, Path] = {}
    for line in Path(mounts).read_text(encoding="utf-8").splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            version_2 = Path(target)
        elif kind == "cgroup":
            version_1.update({name: Path(target) for name in options.split(",") if name in ("cpu", "memory")})
    groups = {}
    for line in Path(own).read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))

    if version_2 is not None:
        base = version_2 / (os.environ.get(BASE_VARIABLE) or groups.get("", "")).lstrip("/")
        if base.name == LEAF:
            base = base.parent
        usable = _enable(base)
        if usable:
            return Hierarchies(True, dict.fromkeys(usable, base / PARENT))
    parents = {}
    for controller, mount in version_1.items():
        base = mount / groups.get(controller, "")
        if os.access(base, os.W_OK):
            parents[controller] = base / PARENT
    return Hierarchies(False, parents)


def _enable(base: Path) -> list[str]:
    """Hand cpu and memory down to the children of a version 2 group: the controllers for which that worked.

    A group other than the root that holds processes cannot do that; if the agent is alone in it (a service with
    `Delegate=yes`), the agent moves into a child first.
    """
    usable: list[str] = []
    try:
        offered = (base / "cgroup.controllers").read_text(encoding="ascii").split()
        inside = (base / "cgroup.procs").read_text(encoding="ascii").split()
        if "memory" in offered and inside == [str(os.getpid())]:
            (base / LEAF).mkdir(exist_ok=True)
            (base / LEAF / "cgroup.procs").write_text("0", encoding="ascii")
    except OSError:
        return []
    for controller in ("cpu", "memory"):
        if controller in offered:
            with suppress(OSError):
                (base / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
                usable.append(controller)
    return usable


def _why(error: OSError) -> str:
    return str(error.args[0]) if not error.errno else (error.strerror or str(error)).lower()
