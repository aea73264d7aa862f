"""A machine that a real systemd runs, for tests: namespaces of its own over the files of this one.

    with systemd_machine(folder) as machine:
        machine.run("plum", "install", "systemd", "agent", ...)
        machine.run("systemctl", "restart", "plum-agent")

Nothing that happens there reaches this machine: its root is an overlay whose changes live in memory, /proc/sys is read-only, and
processes, network and control groups are its own. All of it ends with its first process.

The project is seen at `PROJECT` over there, wherever it lies here: folders such as /tmp are empty on that machine and in its
services, and an overlay shows no other file systems.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.docker_engine import install

SYSTEMD = Path("/lib/systemd/systemd")
PROJECT = Path("/opt/plum-project")
_HERE = Path(__file__).resolve().parents[2]
_PACKAGES = ("plum_schemas", "plum_proto", "plum_client", "plum_worker", "plum_flow", "plum_controller", "plum_agent", "plum_cli")
_EMPTY = "[Unit]\\nDefaultDependencies=no\\n"
_BOOT = f"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in tmp run var/tmp var/log var/lib dev; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 tmp var/tmp
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/tty c 5 0
mkdir -p dev/shm dev/pts mnt
mkdir -p "./$3" etc/systemd/system.conf.d
mount --bind "$2" "./$3"
printf '[Manager]\nDefaultEnvironment="PYTHONPATH=%s"\n' "$4" > etc/systemd/system.conf.d/plum-test.conf
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ip link set lo up
pivot_root . mnt
cd /
umount -l /mnt
mount -t tmpfs -o mode=755 tmpfs /etc/systemd/system
for name in sysinit basic shutdown umount network-online network multi-user plum-test; do
    printf '{_EMPTY}' > /etc/systemd/system/$name.target
done
chmod 711 /root
touch /run/booted
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=plum-test /lib/systemd/systemd --system --unit=plum-test.target
"""


class Machine:
    """One machine, seen from outside."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log

    def run(self, *command: str, ok: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command over there, as root."""
        words = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "--wd=/", *command]
        kept = {
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "NO_COLOR": "1",
            "LANG": "C.UTF-8",
            "PYTHONPATH": sources(),
            **(env or {}),
        }
        done = subprocess.run(words, capture_output=True, text=True, timeout=50, env=kept)
        assert not ok or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def plum(self, *words: str, ok: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `plum` over there."""
        return self.run(str(inside(Path(sys.executable))), "-m", "plum_cli", *words, ok=ok, env=env)

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def write(self, path: str, text: str) -> None:
        """A file over there."""
        words = ["nsenter", "-t", str(self.pid), "-m", "sh", "-c", 'mkdir -p "$(dirname "$1")"; cat > "$1"', "-", path]
        subprocess.run(words, input=text, text=True, check=True, timeout=20)

    def until(self, *command: str, holds: str, seconds: float = 40.0) -> str:
        """Run a command until what it says contains a text."""
        deadline = time.monotonic() + seconds
        while holds not in (said := self.run(*command, ok=False).stdout):
            assert time.monotonic() < deadline, f"{' '.join(command)} never said {holds!r} but\n{said}"
            time.sleep(0.05)
        return said


def inside(path: Path) -> Path:
    """Where a file of the project is over there. Others are where they are here."""
    return PROJECT / path.relative_to(_HERE) if path.is_relative_to(_HERE) else path


def sources() -> str:
    """PYTHONPATH over there: what is installed in place is looked for in the project as it is seen from there."""
    found = {inside(Path(next(iter(importlib.import_module(name).__path__))).parent) for name in _PACKAGES}
    return ":".join(sorted(map(str, found)))


@contextmanager
def systemd_machine(folder: Path) -> Iterator[Machine]:
    """The machine, booted. Skips the test, with the reason, where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("a machine of its own for systemd needs root")
    install({"systemctl": "systemd", "unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2"})
    hierarchy = next((Path(line.split()[1]) for line in _mounts() if line.split()[2] == "cgroup2"), None)
    if hierarchy is None or not SYSTEMD.exists():
        pytest.skip("systemd needs a cgroup2 hierarchy, and this machine has none")
    group, scratch, log = hierarchy / f"plum-test-{os.getpid()}", folder / "machine", folder / "machine.log"
    scratch.mkdir()
    group.mkdir()
    enter = "unshare --pid --fork --mount --cgroup --uts --ipc --net --kill-child"
    script = f'echo $$ > "$1/cgroup.procs"; shift; exec {enter} sh -c "$@"'
    command = ["sh", "-c", script, "-", str(group), _BOOT, "-", str(scratch), str(_HERE), str(PROJECT), sources()]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    try:
        yield Machine(_booted(process, log), log)
    finally:
        process.kill()
        process.wait(20)
        _remove(group)
        shutil.rmtree(scratch, ignore_errors=True)


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def _booted(process: subprocess.Popen[bytes], log: Path) -> int:
    """The pid, here, of its first process, once systemd answers there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
            machine = Machine(int(children[0]), log)
            if machine.run("systemctl", "is-active", "plum-test.target", ok=False).stdout.strip() == "active":
                return machine.pid
        time.sleep(0.05)
    pytest.skip(f"systemd does not run in namespaces of this machine: {log.read_text()[-300:]}")


def _remove(group: Path) -> None:
    """The groups it made, once the kernel has let go of its processes."""
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            group.rmdir()
        time.sleep(0.02)
    assert not group.exists(), f"{group} is still used"
