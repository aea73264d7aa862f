"""Checks of this machine for `plum doctor`. Each gives a fact, and a way out where the fact is a problem."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

SAFE_SQLITE = (3, 51, 3)
"""Older versions can corrupt a database when two connections checkpoint at once."""
LOW_BYTES = 1 << 30
EMPTY_BYTES = 100 << 20
WANTED_FILES = 4096
"""Open files: each watch and each agent is one."""


class Result(NamedTuple):
    """What one check found."""

    name: str
    state: str
    """`ok`, `warning` or `failed`."""
    text: str
    fix: str = ""


def local_checks(data_dir: Path) -> Iterator[Result]:
    """All checks that need no server."""
    yield check_disk(data_dir)
    yield check_sqlite()
    yield check_files()
    yield check_cgroup()
    yield check_programs()
    yield check_kubectl()


def check_disk(data_dir: Path) -> Result:
    """Space and write access where the store is, or would be."""
    folder = data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / (1 << 30):.1f} GiB free of {usage.total / (1 << 30):.1f} GiB at {folder}"
    if not os.access(folder, os.W_OK):
        return Result(
            "disk", "failed", f"{folder} cannot be written by this user", f"choose another --data-dir, or chown {folder}"
        )
    if usage.free < EMPTY_BYTES:
        return Result("disk", "failed", text, "make space: the store refuses writes when the disk is full")
    if usage.free < LOW_BYTES:
        return Result("disk", "warning", text, "make space soon: below 100 MiB nothing can be started safely")
    return Result("disk", "ok", text)


def check_sqlite() -> Result:
    """The SQLite that the controller uses: apsw's own, or that of Python."""
    version, source = sqlite3.sqlite_version, "of Python"
    if find_spec("apsw") is not None:
        import apsw

        version, source = apsw.sqlite_lib_version(), "of apsw"
    parts = tuple(int(part) for part in version.split("."))
    if parts < SAFE_SQLITE:
        wanted = ".".join(str(part) for part in SAFE_SQLITE)
        fix = "install a newer apsw; until then the store works with one connection only"
        return Result("sqlite", "warning", f"version {version} ({source}) is older than {wanted}", fix)
    return Result("sqlite", "ok", f"version {version} ({source})")


def check_files() -> Result:
    """The limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WANTED_FILES:
        allowed = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
        fix = f"ulimit -n {allowed} (or LimitNOFILE= in the unit)"
        return Result("open files", "warning", f"at most {soft}; {WANTED_FILES} are needed for a large fleet", fix)
    return Result("open files", "ok", f"at most {soft if soft != resource.RLIM_INFINITY else 'unlimited'}")


def check_cgroup(root: Path = Path("/sys/fs/cgroup")) -> Result:
    """Whether cpu and memory limits of instances can be enforced here."""
    fix = "run the agent as root, or as a systemd service with Delegate=yes; without it limits are reported as NotEnforced"
    controllers = root / "cgroup.controllers"
    if not controllers.exists():
        return Result("limits", "warning", "no unified cgroup (v2) is mounted, so cpu and memory limits are not enforced", fix)
    known = set(controllers.read_text().split())
    missing = {"cpu", "memory"} - known
    if missing:
        return Result("limits", "warning", f"the cgroup controllers {', '.join(sorted(missing))} are missing here", fix)
    if not os.access(root / "cgroup.procs", os.W_OK) and os.geteuid() != 0:
        return Result("limits", "warning", "this user may not create cgroups", fix)
    return Result("limits", "ok", "cpu and memory limits can be enforced")


def check_programs() -> Result:
    """Whether controller and agent are installed beside this command, and can be tied to it."""
    missing = [module for module in ("plum_controller", "plum_agent") if find_spec(module) is None]
    if missing:
        names = ", ".join(name.replace("_", "-") for name in missing)
        return Result("programs", "warning", f"{names} not installed here, so `plum dev` cannot run", f"pip install {names}")
    if not hasattr(ctypes.CDLL(None), "prctl"):
        return Result("programs", "warning", "no prctl: parts of `plum dev` may outlive it", "use Linux")
    return Result("programs", "ok", "controller and agent are installed")


def check_kubectl() -> Result:
    """kubectl is not needed, but many like it."""
    found = shutil.which("kubectl")
    if found is None:
        return Result("kubectl", "ok", "not installed; not needed, `plum` does the same")
    return Result("kubectl", "ok", f"{found}; use it with KUBECONFIG=.plum/kubeconfig")
