"""A fleet on machines of its own: network namespaces behind a router, with links that a test cuts in one direction or both.

    test process -> Doorway -> 127.0.0.1 of `controller`              never cut: how the test looks at the fleet
    controller 10.77.1.2 --- router --- 10.77.2.2 node-1              TLS and tokens, as between real machines
                                   \\--- 10.77.3.2 node-2

    async with fleet(tmp_path, "node-1", "node-2", lease_seconds=2) as site:
        site.net.cut("node-1")                     both ways; "from": nothing of it arrives, "to": it hears nothing
        site.net.heal("node-1")

No namespace has a name: each lives as long as its processes, which are those of the sandbox. Nothing can be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plum_schemas.base import ObjectMeta
from plum_schemas.node import Node, NodeSpec

from tests.support.programs import ControllerProgram, Program, Sandbox, is_running, sandbox

SECURE_PORT = 8443
BOOT_ID = "/proc/sys/kernel/random/boot_id"
TOOLS = ("ip", "iptables", "nsenter", "unshare")
_CLONE_NEWNET = 0x40000000
Direction = Literal["both", "from", "to"]


def refusal() -> str:
    """Why this machine cannot give a test its own machines; empty when it can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    for tool in TOOLS:
        if not any(Path(folder, tool).exists() for folder in os.environ.get("PATH", "").split(":")):
            return f"{tool} is not installed (Debian: iproute2, iptables, util-linux)"
    script = "ip link add m1 type veth peer name m2 && iptables -A FORWARD -s 10.77.1.2 -j DROP"
    tried = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"network namespaces are not permitted here: {tried.stderr.strip()}"


def run_in(pid: int, script: str) -> None:
    """Run a script in the network namespace of a process."""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-ec", script], capture_output=True, text=True)
    assert done.returncode == 0, f"{script}\n{done.stderr}"


class Network:
    """The machines, each one hop from a router that drops what a test wants dropped."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._router = self._hold("router")
        run_in(self._router, "ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward")
        self._machines: dict[str, int] = {}

    def add(self, name: str) -> str:
        """A machine and its address."""
        pid = self._machines[name] = self._hold(name)
        number = len(self._machines)
        run_in(
            self._router,
            f"ip link add m{number} type veth peer name eth0 netns {pid};"
            f"ip addr add 10.77.{number}.1/24 dev m{number}; ip link set m{number} up",
        )
        run_in(
            pid,
            f"ip link set lo up; ip addr add 10.77.{number}.2/24 dev eth0; ip link set eth0 up;"
            f"ip route add default via 10.77.{number}.1",
        )
        return self.address(name)

    def __contains__(self, name: str) -> bool:
        return name in self._machines

    def address(self, name: str) -> str:
        return f"10.77.{list(self._machines).index(name) + 1}.2"

    def holder(self, name: str) -> int:
        """The process that keeps the namespace of a machine."""
        return self._machines[name]

    def prefix(self, name: str) -> list[str]:
        """What goes before a program that runs on a machine."""
        return ["nsenter", "-t", str(self._machines[name]), "-n", "--"]

    def cut(self, name: str, direction: Direction = "both") -> None:
        """Drop what the machine sends (`from`), what is sent to it (`to`), or both, without a word to anybody."""
        for option in {"both": "sd", "from": "s", "to": "d"}[direction]:
            self._filter(f"-A FORWARD -{option} {self.address(name)} -j DROP")

    def lose(self, name: str, share: float) -> None:
        """Drop a share of the packets of each direction, at random."""
        for option in "sd":
            self._filter(f"-A FORWARD -{option} {self.address(name)} -m statistic --mode random --probability {share} -j DROP")

    def heal(self, *names: str) -> None:
        """All links are as they were. With names only theirs."""
        if not names:
            self._filter("-F FORWARD")
            return
        kept = subprocess.run(
            ["nsenter", "-t", str(self._router), "-n", "iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for rule in kept:
            if any(f" {self.address(name)}/32 " in rule for name in names):
                self._filter(f"-D {rule.removeprefix('-A ')}")

    def processes(self, name: str) -> list[int]:
        """Everything that runs on a machine, but for what keeps it."""
        holder = self._machines[name]
        wanted = _namespace(holder)
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in pids if pid != holder and _namespace(pid) == wanted]

    async def power_off(self, name: str) -> None:
        """End everything on a machine at once."""
        while left := [pid for pid in self.processes(name) if is_running(pid)]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    def _filter(self, rule: str) -> None:
        run_in(self._router, f"iptables -w {rule}")

    def _hold(self, name: str) -> int:
        """A process in a namespace of its own. `unshare` becomes `sleep`, so its pid is known."""
        program = self._box.start(f"machine-{name}", ["unshare", "-n", "sleep", "infinity"])
        ours = _namespace(os.getpid())
        while _namespace(program.pid) in (ours, ""):
            assert program.process.poll() is None, program.logged()
        return program.pid


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def another_boot(root: Path) -> list[str]:
    """What goes before a program so that it believes in another boot: a file over the kernel's, in a mount namespace."""
    file = root / f"boot-{uuid.uuid4()}"
    file.write_text(f"{uuid.uuid4()}\n")
    return ["unshare", "-m", "sh", "-c", f'mount --bind {file} {BOOT_ID} && exec "$@"', "sh"]


class Doorway:
    """A port of this machine that leads to a loopback port of another one. A socket belongs to the namespace that its thread
    was in when it was made: the listening one is made here, those that connect on by a thread that has moved over."""

    def __init__(self, pid: int, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._main, args=(pid,), name="doorway", daemon=True)
        self._thread.start()
        self._call(self._start())

    def close(self) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _main(self, pid: int) -> None:
        with open(f"/proc/{pid}/ns/net") as namespace:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) == 0, os.strerror(
                ctypes.get_errno()
            )
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listening)

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
            finally:
                up_writer.transport.abort()
        self._tasks.discard(task)
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError("one side has closed")


@contextlib.contextmanager
def doorway(pid: int, port: int) -> Iterator[Doorway]:
    """A doorway for one test."""
    made = Doorway(pid, port)
    try:
        yield made
    finally:
        made.close()


@dataclass(slots=True)
class FleetSite:
    """A controller and agents, each on a machine of its own."""

    box: Sandbox
    net: Network
    controller: ControllerProgram
    url: str
    """Where the test reaches the controller, whatever is cut."""
    agents: dict[str, Program] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    engines: dict[str, Path] = field(default_factory=dict)
    """Sockets of container engines, for the nodes that have one."""
    boots: dict[str, list[str]] = field(default_factory=dict)
    """What goes before programs of machines that were rebooted."""

    @property
    def secure_url(self) -> str:
        return f"https://{self.net.address('controller')}:{SECURE_PORT}"

    async def add_node(self, name: str, lease_seconds: int, env: Mapping[str, str] | None = None) -> None:
        """A machine with an agent that has nothing but its node's token. It may have been added to the network before."""
        if name not in self.net:
            self.net.add(name)
        await self.box.api().create(Node(metadata=ObjectMeta(name=name), spec=NodeSpec(lease_seconds=lease_seconds)))
        made = await self.box.plum("token", "create", "--node", name, "--ttl", "0", url=self.url)
        self.tokens[name] = next(line for line in made.out.splitlines() if line.startswith("plum_"))
        await self.start_agent(name, env=env)
        await self.box.until(lambda: self.box.node_is(name, "True"), what=f"{name} is ready")

    async def start_agent(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start the agent of a machine."""
        trust = str(self.controller.data_dir / "pki" / "ca.crt")
        self.agents[name] = await self.box.agent(
            name, self.secure_url, "--ca-file", trust, "--engine", str(self.engines.get(name, "none")),
            env={"PLUM_TOKEN": self.tokens[name], **(env or {})}, prefix=[*self.net.prefix(name), *self.boots.get(name, ())],
        )  # fmt: skip

    async def reboot(self, name: str, start_services: Callable[[], None] | None = None) -> None:
        """The power fails and comes back: nothing of the machine is left, and its kernel has another boot id. `start_services`
        starts what the machine has besides its agent."""
        await self.net.power_off(name)
        if start_services is not None:
            await asyncio.to_thread(start_services)
        self.boots[name] = another_boot(self.box.root)
        await self.start_agent(name)

    async def upgrade(self, name: str) -> None:
        """The agent is told to end, and the next release of it begins."""
        agent = self.agents[name]
        agent.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(agent.process.wait, 30) == 0, agent.logged()[-3000:]
        await self.start_agent(name)


@asynccontextmanager
async def fleet(root: Path, *nodes: str, lease_seconds: int = 2) -> AsyncIterator[FleetSite]:
    """Ready when all nodes are."""
    async with sandbox(root) as box:
        net = Network(box)
        address = net.add("controller")
        flags = ("--secure-listen", f"{address}:{SECURE_PORT}")
        controller = await box.controller(*flags, prefix=net.prefix("controller"))
        with doorway(net.holder("controller"), controller.port) as door:
            controller.url = door.url
            site = FleetSite(box, net, controller, door.url)
            for name in nodes:
                await site.add_node(name, lease_seconds)
            yield site
