"""The `plum` command in tests: in this process where only its answer counts, as a process where signals and streams do.

plum = Plum(url, folder);  plum("get", "nodes").out
with running_dev(folder) as dev: dev.plum(...)      a whole `plum dev`, cleaned up with all it started
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from plum_cli.main import main

T = TypeVar("T")
START_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Done:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class Plum:
    """Runs commands against one server, in one folder."""

    url: str
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PLUM_") and key != "KUBECONFIG"}
        return {**kept, "PLUM_SERVER": self.url, "NO_COLOR": "1", **self.env}

    def __call__(self, *argv: str, stdin: str = "") -> Done:
        """One command in this process."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True)
        err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True)
        before, directory, reader = dict(os.environ), Path.cwd(), sys.stdin
        try:
            os.environ.clear()
            os.environ.update(self.environment)
            os.chdir(self.folder)
            sys.stdin = io.StringIO(stdin)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = main(list(argv))
                except SystemExit as error:
                    code = int(error.code or 0)
        finally:
            sys.stdin = reader
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(before)
        return Done(code, text_of(out), text_of(err))

    def ok(self, *argv: str, stdin: str = "") -> Done:
        """One command that must succeed."""
        done = self(*argv, stdin=stdin)
        assert done.code == 0, f"plum {' '.join(argv)} ended with {done.code}\n{done.out}{done.err}"
        return done

    def write(self, name: str, text: str) -> str:
        """A file in the folder; answers with its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    @contextlib.contextmanager
    def process(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """One command as a process with pipes; ended with the block."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "plum_cli", *argv],
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def text_of(stream: io.TextIOWrapper) -> str:
    """What was written to a stream over bytes, as text and as bytes."""
    stream.flush()
    raw = stream.detach()
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def eventually(ask: Callable[[], T], seconds: float = 40.0, pause: float = 0.1) -> T:
    """The first answer that is true, or the last one when the time is over."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer


@dataclass(slots=True)
class Dev:
    """A running `plum dev`."""

    process: subprocess.Popen[bytes]
    plum: Plum
    data_dir: Path
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()


@contextlib.contextmanager
def running_dev(folder: Path, *argv: str, clean: bool = True, env: Mapping[str, str] | None = None) -> Iterator[Dev]:
    """`plum dev` on a free port, ready; with `clean`, what it ran is stopped at the end. `env` is added to its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"dev-{time.monotonic_ns()}.log"
    plum = Plum("", folder)
    environment = {key: value for key, value in plum.environment.items() if key != "PLUM_SERVER"} | dict(env or {})
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "plum_cli", "dev", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"), *argv],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    dev = Dev(process, plum, folder / "data", output)
    try:
        ready = eventually(lambda: "Plum is ready." in dev.text or process.poll() is not None, START_SECONDS)
        assert ready and process.poll() is None, f"plum dev did not start:\n{dev.text}"
        plum.url = (dev.data_dir / "dev.lock").read_text().split()[1]
        yield dev
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if clean:
            kill_processes_of(folder)


def processes_of(folder: Path) -> dict[int, str]:
    """Processes that work in a folder of this test, or name it in command line or environment, with their command lines."""
    found = {}
    marker = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            works_in = os.readlink(entry / "cwd").encode()  # programs that set their title write over their environment
        except OSError:
            continue
        if marker in line or marker in environ or marker in works_in:
            found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def kill_processes_of(folder: Path) -> None:
    """End everything that was started for a folder."""
    for _ in range(50):
        found = processes_of(folder)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
