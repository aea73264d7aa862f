"""The real programs for tests of faults: controllers, agents and the command as processes, in a sandbox that ends them all.

    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller, lease_seconds=2)      # the Node object and its agent
        await box.until(lambda: box.available("web", 2))           # waits for a condition, with a deadline

What a test started ends with its block, also when it fails, and when the test process itself is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.deployment import DEPLOYMENT_LABEL, Deployment, DeploymentSpec
from plum_schemas.instance import Instance
from plum_schemas.node import Node, NodeSpec

from tests.support.reaper import SANDBOX, end_all

PROJECT = Path(__file__).parents[2]
START_SECONDS = 120.0
T = TypeVar("T")


@dataclass(slots=True)
class Program:
    """One process of ours, and the file its log goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """SIGSTOP, and wait until the kernel has stopped it."""
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while state_of(self.pid) != "T":
            assert time.monotonic() < deadline, f"{self.name} did not stop"
            time.sleep(0.001)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, seconds)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass(slots=True)
class ControllerProgram(Program):
    """A controller that was ready when it was returned."""

    url: str
    data_dir: Path
    ready_seconds: float
    """From its start to its ready line."""
    workers: str = ""
    """Address of the listener for workers."""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


@dataclass(slots=True)
class Sandbox:
    """Everything one test started."""

    root: Path
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    programs: list[Program] = field(default_factory=list)
    clients: list[ApiClient] = field(default_factory=list)

    # ---- programs

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """That of this process, without what would make a program of the sandbox talk to another server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLUM_", "KUBECONFIG"))}
        return {**kept, SANDBOX: self.token, **(extra or {})}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: int = subprocess.DEVNULL
    ) -> Program:
        """Start any program in the sandbox. Its log is `NAME.log`, appended to by every start."""
        log = self.root / f"{name}.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                cwd=self.root,
                env=self.environment(env),
                process_group=0,
            )
        program = Program(name, process, log)
        self.programs.append(program)
        return program

    async def controller(
        self,
        *flags: str,
        name: str = "controller",
        port: int = 0,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        data_dir: Path | None = None,
    ) -> ControllerProgram:
        """Start a controller and wait for its ready line. `prefix` goes before the program, such as `unshare -m`."""
        data = data_dir or self.root / name
        data.mkdir(parents=True, exist_ok=True)
        listen = f"127.0.0.1:{port}"
        command = [*prefix, sys.executable, "-m", "plum_controller", "--listen", listen, "--data-dir", str(data), *flags]
        started = time.monotonic()
        program = self.start(name, command, env=env, stdout=subprocess.PIPE)
        line = await self._first_line(program)
        took = time.monotonic() - started
        said = json.loads(line)
        ready = ControllerProgram(name, program.process, program.log, said["url"], data, took, said.get("workers", ""))
        self.programs[self.programs.index(program)] = ready
        return ready

    async def restarted(self, before: ControllerProgram, *flags: str, **how: Any) -> ControllerProgram:
        """The next controller on the data and the address of one that has ended."""
        return await self.controller(*flags, name=before.name, port=before.port, data_dir=before.data_dir, **how)

    async def agent(
        self,
        node: str,
        url: str,
        *flags: str,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        wait: bool = True,
    ) -> Program:
        """Start an agent. With `wait`, until it says that it runs; its node may not be ready yet."""
        data = str(self.root / "agents")
        command = [*prefix, sys.executable, "-m", "plum_agent", "--node", node, "--controller", url, "--data-dir", data, *flags]
        program = self.start(f"agent-{node}", command, env=env, stdout=subprocess.PIPE if wait else subprocess.DEVNULL)
        if wait:
            await self._first_line(program)
        return program

    async def _first_line(self, program: Program) -> bytes:
        pipe = program.process.stdout
        assert pipe is not None
        with pipe:
            async with asyncio.timeout(START_SECONDS):
                line = await asyncio.to_thread(pipe.readline)
        assert line, f"{program.name} did not start:\n{program.logged()[-4000:]}"
        return line

    async def node(
        self,
        name: str,
        controller: ControllerProgram,
        *,
        url: str = "",
        lease_seconds: int = 15,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Program:
        """A Node with its lease time, its agent, and the wait until it is ready. `url` may lead through a proxy."""
        api = self.api(controller.url)
        await api.create(
            Node(metadata=ObjectMeta(name=name, labels=dict(labels or {})), spec=NodeSpec(lease_seconds=lease_seconds))
        )
        program = await self.agent(name, url or controller.url, env=env, prefix=prefix)
        await self.until(lambda: self.node_is(name, "True"), what=f"{name} is ready")
        return program

    # ---- the command

    async def plum(
        self, *arguments: str, url: str = "", timeout: float = 50.0, ok: bool = True, stdin: bytes | None = None
    ) -> Completed:
        """Run the real command and wait for its end. With `ok` it must succeed."""
        server = url or next(p.url for p in reversed(self.programs) if isinstance(p, ControllerProgram))
        process = await asyncio.create_subprocess_exec(
            str(PROJECT / ".venv/bin/plum"), *arguments,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=PROJECT,
            env=self.environment({"PLUM_SERVER": server, "NO_COLOR": "1"}),
        )  # fmt: skip
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin)
        done = Completed(process.returncode or 0, out.decode(), err.decode())
        assert done.code == 0 or not ok, f"plum {' '.join(arguments)} ended with {done.code}\n{done.out}{done.err}"
        return done

    # ---- the API

    def api(self, url: str = "") -> ApiClient:
        """A client of the controller at `url`, by default of the one started last. Closed with the sandbox."""
        server = url or next(p.url for p in reversed(self.programs) if isinstance(p, ControllerProgram))
        for known in self.clients:
            if isinstance(known.transport, HttpTransport) and known.transport.url == server:
                return known
        client = ApiClient(HttpTransport(server, user_agent="plum-test"), field_manager="test")
        self.clients.append(client)
        return client

    async def deploy(self, name: str, command: Sequence[str], *, namespace: str = "default", **spec: Any) -> Deployment:
        """Apply a Deployment. Fields of the template are given as `template={...}`, in Python's or JSON's spelling of names."""
        template = {"command": list(command), "terminationGracePeriodSeconds": 2, **spec.pop("template", {})}
        typed = msgspec.convert({**spec, "template": template}, DeploymentSpec)
        return await self.api().apply(Deployment(metadata=ObjectMeta(name=name, namespace=namespace), spec=typed), force=True)

    async def instances(self, deployment: str, namespace: str = "default") -> list[Instance]:
        """All instances of a Deployment."""
        return list(await self.api().list(Instance, namespace, labels=f"{DEPLOYMENT_LABEL}={deployment}"))

    async def available(self, name: str, count: int, namespace: str = "default") -> bool:
        """Whether the Deployment says that its rollout is complete with so many available, and no others are left."""
        deployment = await self.api().get(Deployment, name, namespace)
        if deployment is None or deployment.status.observed_generation != deployment.metadata.generation:
            return False
        status = deployment.status
        settled = status.available_replicas == count == status.updated_replicas == status.replicas
        return settled and len(await self.instances(name, namespace)) == count

    async def node_is(self, name: str, ready: str) -> bool:
        """Whether the condition Ready of a node has this status."""
        node = await self.api().get(Node, name)
        return node is not None and any(c.type == "Ready" and c.status == ready for c in node.status.conditions)

    async def until(
        self, condition: Callable[[], Awaitable[T]], seconds: float = 40.0, *, what: str = "", every: float = 0.02
    ) -> T:
        """Ask until the answer is true, and return it. A controller that does not answer is asked again."""
        deadline = time.monotonic() + seconds
        answer: Any = None
        while True:
            try:
                if answer := await condition():
                    return answer
            except ApiUnavailableError as error:
                answer = error
            if time.monotonic() >= deadline:
                text = f"not within {seconds} s: {what or condition}; last answer {answer!r}\n{self.logs()}"
                raise AssertionError(f"{text}\n{await self.explained()}")
            await asyncio.sleep(every)

    async def explained(self) -> str:
        """What a person would look at after a failure."""
        texts = []
        for arguments in (("get", "all", "-A"), ("get", "nodes"), ("events", "-A")):
            with contextlib.suppress(Exception):
                done = await self.plum(*arguments, ok=False, timeout=5)
                texts.append(f"$ plum {' '.join(arguments)}\n{done.out}{done.err}")
        return "".join(texts)

    def logs(self) -> str:
        """The ends of all logs, for a failure."""
        return "".join(
            f"---- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self.root.glob("*.log"))
        )


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    out: str
    err: str


@contextlib.asynccontextmanager
async def sandbox(root: Path) -> AsyncIterator[Sandbox]:
    """A sandbox in a folder of the test. What was started in it ends with it."""
    box = Sandbox(root)
    watchdog = subprocess.Popen(
        [sys.executable, "-E", "-S", str(PROJECT / "tests/support/reaper.py"), str(root), box.token],
        stdin=subprocess.PIPE,
        process_group=0,
    )
    assert watchdog.stdin is not None
    try:
        yield box
    finally:
        for client in box.clients:
            await client.close()
        left = await asyncio.to_thread(end_all, root, box.token)
        for program in box.programs:
            if program.process.stdout is not None:
                program.process.stdout.close()
            program.process.wait(5)
        watchdog.stdin.close()
        watchdog.wait(20)
        assert not left, f"processes of the sandbox do not end: {left}"


def state_of(pid: int) -> str:
    """R, S, D, T, Z, or empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    return state_of(pid) not in ("", "Z", "X")


def start_ticks(pid: int) -> int:
    """When a process started, to tell it from a later one with the same number."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def resident_mb(pid: int) -> float:
    """Resident memory in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def key(name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey(namespace, name)
