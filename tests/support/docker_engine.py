"""A real Docker Engine for tests, started by hand: one for all test processes of this machine, or one of a test's own.

    async with shared_engine() as engine: ...      containers of tests differ by the labels of their agents
    with own_engine(folder) as engine: ...         to be killed and restarted; its containers use the host's network

The shared engine ends with the last process that uses it: each holds a shared lock, and whoever can have it alone ends it.
Where the packages are missing and apt-get works, they are installed. Images are made here, from a static busybox.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SHARED = Path("/var/tmp/plum-test-engine")
APPLETS = [
    "sh", "sleep", "echo", "cat", "ls", "id", "true", "false", "nc", "wget", "httpd", "env", "touch", "dd",
    "seq", "mount", "kill", "ps", "grep", "test", "mkdir", "printf", "head", "tail", "hostname", "stat", "stty", "tr",
    "yes",
]  # fmt: skip
IMAGE = "plum-test/busy:1"
START_SECONDS = 40.0


class Engine:
    """One dockerd and its folder."""

    def __init__(self, folder: Path, has_networks: bool, prefix: Sequence[str] = ()) -> None:
        """`prefix` goes before the program, such as what moves it to another machine of a test."""
        self.folder = folder
        self._prefix = prefix
        self.socket = folder / "engine.sock"
        self._has_networks = has_networks

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def is_running(self) -> bool:
        try:
            return b"dockerd" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False

    def start(self, *flags: str) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)
        self._forget_containerd()
        command = [
            *self._prefix, "dockerd", "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"),
            "--host", f"unix://{self.socket}", "--pidfile", str(self.folder / "pid"), "--storage-driver", "overlay2",
            "--exec-opt", "native.cgroupdriver=cgroupfs", *flags,
        ]  # fmt: skip
        if not self._has_networks:
            # Not `--bridge none`: that would take docker0 away from everybody else.
            command += ["--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        with (self.folder / "log").open("ab") as log:
            # It is nobody's child: whoever uses it last ends it.
            subprocess.run(["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        return self.socket.exists() and self.docker("version", ok=False).returncode == 0

    def kill(self) -> None:
        """SIGKILL, as a crash: containers stay, with nobody to ask about them."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: containers are stopped, unless it was started with --live-restore."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        pid = self.pid
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 30
        while _alive(pid):
            assert time.monotonic() < deadline, "dockerd does not end"
            time.sleep(0.02)
        file = self.folder / "exec" / "containerd" / "containerd.pid"
        with suppress(OSError, ValueError):
            while _alive(int(file.read_text())):  # it ends with its parent
                assert time.monotonic() < deadline, "containerd does not end"
                time.sleep(0.02)
            file.unlink()  # where nobody reaps it, the next dockerd would take it for running

    def _forget_containerd(self) -> None:
        """What a power cut left: the next dockerd would take a number that nobody has, or a zombie, for running."""
        file = self.folder / "exec" / "containerd" / "containerd.pid"
        with suppress(OSError, ValueError):
            if not _alive(int(file.read_text())):
                file.unlink()

    def remove(self) -> None:
        """End it and everything of it: its containers, containerd, its mounts and its folder."""
        if self.is_running():
            for line in self.docker("ps", "-aq", ok=False).stdout.split():
                self.docker("rm", "-f", line, ok=False)
            self.stop()
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "exec" / "containerd" / "containerd.pid").read_text()), signal.SIGKILL)
        self._end_containers()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_containers(self) -> None:
        """What an engine that was killed and never started again left running: its shims, and their containers."""
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                words = (folder / "cmdline").read_bytes()
                if b"containerd-shim" in words and f"{self.folder}/".encode() in words:
                    children = (folder / "task" / folder.name / "children").read_text().split()
                    for pid in (*children, folder.name):
                        os.kill(int(pid), signal.SIGKILL)

    def docker(self, *arguments: str, ok: bool = True, input: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command of the engine, the other way to look at it."""
        done = subprocess.run(
            ["docker", *arguments],
            input=input,
            capture_output=True,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "HOME": "/nonexistent"},
            timeout=50,
        )
        assert not ok or done.returncode == 0, done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def make_image(self, name: str = IMAGE, *changes: str, files: dict[str, bytes] | None = None) -> None:
        """An image of a static busybox, with further files and changes such as `CMD ["sh"]`."""
        options = [word for change in changes for word in ("-c", change)]
        self.docker("import", *options, "-", name, input=image_tar(files or {}))


def image_tar(files: dict[str, bytes]) -> bytes:
    """The root file system of a tiny image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "tmp", "etc", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        binary = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
        contents = {"bin/busybox": binary, "etc/passwd": b"root:x:0:0::/:/bin/sh\nother:x:1234:1234::/tmp:/bin/sh\n", **files}
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def require_engine() -> None:
    """Skip the test, with the reason, where no engine can be had."""
    if os.geteuid() != 0:
        pytest.skip("a Docker Engine of the tests' own needs root")
    install({"dockerd": "docker.io", "iptables": "iptables", "busybox": "busybox-static"})


def install(programs: dict[str, str]) -> None:
    """Install Debian's packages of programs that are missing, once for all test processes; skip where that is impossible."""
    if all(shutil.which(name) for name in programs):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip(f"{', '.join(programs)} are missing, and cannot be installed here")
    with (Path("/var/tmp") / "plum-test-packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = [package for name, package in programs.items() if shutil.which(name) is None]
        if not packages:
            return
        # SYSTEMD_OFFLINE: what is installed for tests does not start a service on a person's machine.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *command], capture_output=True, env=environment)
        if done.returncode != 0:
            pytest.skip(f"{', '.join(packages)} could not be installed: {done.stderr.decode()[-300:]}")


@contextmanager
def shared_engine() -> Iterator[Engine]:
    """The engine of all test processes on this machine, with the image `IMAGE` in it."""
    require_engine()
    SHARED.mkdir(parents=True, exist_ok=True)
    engine = Engine(SHARED / "engine", has_networks=True)
    with (SHARED / "users").open("w") as users, (SHARED / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            if not (engine.is_running() and engine.answers()):
                engine.remove()
                engine.start()
                engine.make_image()
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)
        try:
            yield engine
        finally:
            fcntl.flock(turn, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                engine.remove()


@contextmanager
def own_folder() -> Iterator[Path]:
    """For an engine of a test's own: its path is short, because those of unix sockets must be."""
    folder = Path(tempfile.mkdtemp(prefix="plum-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_engine(folder: Path, *flags: str, prefix: Sequence[str] = ()) -> Iterator[Engine]:
    """An engine that one test may do anything to, in a folder of `own_folder`."""
    require_engine()
    engine = Engine(folder / "e", has_networks=False, prefix=prefix)
    try:
        engine.start(*flags)
        engine.make_image()
        yield engine
    finally:
        engine.remove()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in ("Z", "X")
    except OSError:
        return False
