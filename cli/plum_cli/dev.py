"""What `plum dev` does: one controller and some agents as processes that end with it, and what a person needs to go on.

    lock the data folder -> controller -> ready line -> kubeconfig -> agents -> nodes ready -> manifests -> wait for a signal

Workloads are children of their shims, not of the agents, so they go on when all of this ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import signal
import socket
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plum_client.errors import ApiError
from plum_client.explaining.findings import condition
from plum_client.kubeconfig import Server, write

from plum_cli import orphans, terminal
from plum_cli.errors import CONFLICT, FAILED, OK, CliError
from plum_cli.execute import command_of
from plum_cli.session import Session
from plum_cli.sqlite_file import STORE_NAME, locked_by
from plum_cli.supervisor import Part, prefixed_printer

READY_SECONDS = 60.0
"""Time for the first start of the controller; a large store is loaded, an old one migrated."""
NODES_SECONDS = 20.0
MANIFESTS_SECONDS = 20.0
"""Time for the controller to read the manifests."""
PREDECESSOR_SECONDS = 20.0
"""Time for the controller of a run that was killed to end."""
AGENT_GRACE_SECONDS = 10.0
CONTROLLER_GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The arguments of `plum dev`."""

    listen: str
    secure_listen: str
    data_dir: Path
    agents: int
    manifests: str
    verbose: bool
    is_default: bool
    """Address and data folder are what other commands assume."""


async def run_dev(options: DevOptions) -> int:
    """Run everything until a signal comes. Raises `CliError` when it cannot start."""
    prepare(options)
    with locked(options.data_dir) as lock:
        return await _Dev(options, lock).run()


def prepare(options: DevOptions) -> None:
    """Make the data folder, see that the manifests are there. Raises `CliError`."""
    if options.manifests and not Path(options.manifests).exists():
        raise CliError(f"--manifests {options.manifests} does not exist")
    try:
        options.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"the data folder {options.data_dir} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[int]:
    """Only one `plum dev` per data folder. Raises `CliError` that names the other one."""
    descriptor = os.open(data_dir / "dev.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.read(descriptor, 500).decode(errors="replace").split()
            who = f"process {other[0]}" if other else "another process"
            where = f", at {other[1]}" if len(other) > 1 else ""
            raise CliError(
                f"`plum dev` runs on {data_dir} already ({who}{where}); use that one, stop it, or take another --data-dir",
                CONFLICT,
            ) from error
        note_holder(descriptor, "")
        yield descriptor
    finally:
        os.close(descriptor)


def note_holder(descriptor: int, url: str) -> None:
    """Write who holds the lock, for the message to the next one."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} {url}\n".encode(), 0)


def ignore_line(line: str) -> None:
    """Takes the ready line of an agent: that its node is ready says more."""


class _Dev:
    """One run: the parts, and the address of the controller."""

    def __init__(self, options: DevOptions, lock: int) -> None:
        self._options = options
        self._lock = lock
        self._say = prefixed_printer()
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        level = "info" if options.verbose else "warning"
        self._environment = {"PLUM_LOG_LEVEL": level, "AGENT_LOG_LEVEL": level, **os.environ, "PYTHONUNBUFFERED": "1"}
        self._controller = Part(
            "controller", self._controller_command, self._say, self._environment, self._controller_line, only_once=True
        )
        self._agents = [
            Part(f"node-{number}", functools.partial(self._agent_command, number), self._say, self._environment, ignore_line)
            for number in range(1, options.agents + 1)
        ]
        self._manifests = str(Path(options.manifests).absolute()) if options.manifests else ""
        self._secure_url = ""
        """Of the listener with TLS, where one has to log in."""
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return self._url.result()

    async def run(self) -> int:
        """Start everything, wait, end everything."""
        self._handle_signals()
        await self._wait_for_predecessor()
        try:
            if not await self._start_controller():
                return OK if self._stop.is_set() else FAILED
            path = self._options.data_dir / "kubeconfig"
            write(path, Server(self.url))
            note_holder(self._lock, self.url)
            self._tasks += [asyncio.create_task(part.run()) for part in self._agents]
            await self._until_stopped(self._wait_for_nodes())
            if self._options.manifests:
                await self._until_stopped(self._apply())
            link = await self._link() if self._secure_url and not self._stop.is_set() else ""
            if not self._stop.is_set():
                print(self._welcome(path, link), flush=True)
            await self._stop.wait()
            return OK
        finally:
            await self._end()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self._stop.is_set():
                for part in (*self._agents, self._controller):
                    part.kill()
            self._stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        if os.getpid() == 1:
            orphans.take_up(loop)

    async def _until_stopped(self, work: Coroutine[None, None, None]) -> None:
        """Do something, or stop doing it when the person wants to leave."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
        finally:
            for waiter in (task, stopped):
                waiter.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    # ---- the controller

    def _controller_command(self) -> list[str]:
        listen = self._options.listen
        if self._url.done():
            listen = self.url.partition("://")[2]  # the same port again, also when it was chosen freely
        secure = ["--secure-listen", self._options.secure_listen] if self._options.secure_listen else []
        follow = ["--sync", self._manifests] if self._manifests else []
        flags = ["--listen", listen, *secure, *follow, "--data-dir", str(self._options.data_dir), "--die-with-parent"]
        return command_of("plum_controller", flags)

    def _controller_line(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self._say("controller", line)
            return
        if isinstance(event, dict) and event.get("event") == "ready":
            if event.get("workers"):  # told to applications by the agents, and the same again after a restart
                self._environment.setdefault("CONTROLLER_GRPC_ADDR", str(event["workers"]))
            self._secure_url = str(event.get("secureUrl") or "")
            if not self._url.done():
                self._url.set_result(str(event["url"]))
            else:
                self._say("controller", "is ready again")

    async def _wait_for_predecessor(self) -> None:
        """After a kill the old controller ends by itself, but it takes a moment to let go of the store."""
        store = self._options.data_dir / STORE_NAME
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        told = False
        while (holder := locked_by(store)) and time.monotonic() < deadline and not self._stop.is_set():
            if not told:
                terminal.note(f"waiting for the controller of the last run (process {holder}) to end")
                told = True
            await asyncio.sleep(0.1)

    async def _start_controller(self) -> bool:
        """Start it and wait for its ready line. False when that did not come; the reason is on the screen."""
        task = asyncio.create_task(self._controller.run())
        self._tasks.append(task)
        stopped = asyncio.ensure_future(self._stop.wait())
        waiting: list[asyncio.Future[Any]] = [task, stopped, self._url]
        await asyncio.wait(waiting, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._url.done():
            self._controller.only_once = False
            if task.done():
                self._tasks.append(asyncio.create_task(self._controller.run()))
            return True
        if task.done():
            await task
            terminal.note(f"error: the controller {self._controller.exit_text} before it was ready; its reason is above")
        elif not self._stop.is_set():
            terminal.note(f"error: the controller was not ready within {READY_SECONDS:.0f} s")
        return False

    # ---- the agents

    def _agent_command(self, number: int) -> list[str]:
        data = self._options.data_dir / "agents"
        return command_of(
            "plum_agent", ["--node", f"node-{number}", "--controller", self.url, "--data-dir", str(data), "--die-with-parent"]
        )

    async def _wait_for_nodes(self) -> None:
        """Wait until all nodes are ready, a while at most: a node that comes later is no failure."""
        wanted = {part.name for part in self._agents}
        deadline = time.monotonic() + NODES_SECONDS
        session = Session(Server(self.url))
        try:
            while time.monotonic() < deadline:
                try:
                    nodes = await session.api.list(await session.kind("nodes.plum.dev"))
                    ready = {
                        node["metadata"]["name"] for node in nodes if (condition(node, "Ready") or {}).get("status") == "True"
                    }
                    if wanted <= ready:
                        return
                except ApiError:
                    pass  # a controller that is just being restarted; the deadline decides
                await asyncio.sleep(0.1)
        finally:
            await session.close()
        terminal.warn(f"not all of {', '.join(sorted(wanted))} are ready yet; plum get nodes shows them")

    # ---- for people

    async def _apply(self) -> None:
        """Wait until the controller has read the manifests, and tell what it found. A mistake in them does not end anything."""
        session = Session(Server(self.url))
        deadline = time.monotonic() + MANIFESTS_SECONDS
        try:
            while time.monotonic() < deadline:
                with contextlib.suppress(ApiError):
                    status = await self._sync_status(session)
                    if status.get("phase") in ("Synced", "Syncing") and status.get("inventory"):
                        for item in status["inventory"]:
                            group = item["apiVersion"].rpartition("/")[0]
                            print(f"{item['kind'].lower()}{'.' + group if group else ''}/{item['name']} {item['result'].lower()}")
                        return
                    if status.get("phase") in ("Failed", "Blocked"):
                        terminal.warn(f"{status['message']}\n  mend it: a file that is saved is applied at once")
                        return
                await asyncio.sleep(0.05)
        finally:
            await session.close()
        terminal.warn(f"{self._options.manifests} is not applied yet; see: plum sync list")

    async def _sync_status(self, session: Session) -> dict[str, Any]:
        for sync in await session.api.list(await session.kind("syncs.plum.dev"), "default"):
            if sync["spec"]["source"].get("folder", {}).get("path") == self._manifests:
                return dict(sync.get("status") or {})
        return {}

    async def _link(self) -> str:
        """A one-time link to the listener with TLS. Empty, with a warning, when none can be had."""
        from plum_cli.commands.ui import make_link

        session = Session(Server(self.url))
        try:
            code = (await make_link(session))["link"]
        except ApiError as error:
            terminal.warn(f"no link to log in could be made: {error.message}; make one with: plum ui")
            return ""
        finally:
            await session.close()
        for anywhere in ("0.0.0.0", "[::]"):
            self._secure_url = self._secure_url.replace(f"//{anywhere}:", f"//{socket.gethostname()}:")
        return f"{self._secure_url}/ui/login#link={code}"

    def _welcome(self, kubeconfig: Path, link: str) -> str:
        options = self._options
        nodes = ", ".join(part.name for part in self._agents) or "none (plum agent --node NAME --controller URL)"
        first = "" if options.is_default else f"  export KUBECONFIG={kubeconfig.absolute()}\n"
        login = f"  log in      {link}\n              (once, within 10 minutes; another: plum ui)\n" if link else ""
        return (
            f"\nPlum is ready.\n  UI          {self.url}/\n{login}  kubeconfig  {kubeconfig}\n  nodes       {nodes}\n"
            f"\nNext, in another terminal:\n{first}"
            "  plum get all\n  plum explain deployment/NAME     says why something does not run\n  plum apply -f FILE --wait\n"
            "\nCtrl-C ends Plum; what it runs goes on, and the next `plum dev` takes it over."
        )

    async def _end(self) -> None:
        """Agents first, so that they can still report; then the controller."""
        await asyncio.gather(*(part.stop(AGENT_GRACE_SECONDS) for part in self._agents))
        await self._controller.stop(CONTROLLER_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
