"""Builds the parts of the agent and connects them; the only file that knows all of them.

plum agent --node NAME --controller URL -> lease thread, driver, one NodeAgent per node -> until a signal
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plum_client.client import ApiClient
from plum_client.clock import SystemClock
from plum_client.events import EventRecorder
from plum_client.http_transport import HttpTransport, is_loopback
from plum_client.link import Link
from plum_client.service_manager import keep_telling, notify

from plum_agent import logs, settings
from plum_agent.agent import NodeAgent, Shared
from plum_agent.devices import Devices
from plum_agent.drain import drain
from plum_agent.drivers.base import Driver
from plum_agent.drivers.fake import FakeDriver
from plum_agent.drivers.procfs import boot_id
from plum_agent.errors import RefusedError
from plum_agent.identity import FOLDER, IdentityError, Job, JoinToken, NodeIdentity, ensure_joined
from plum_agent.lease import LeaseKeeper, LeaseThread, NodeLease
from plum_agent.node import read_facts
from plum_agent.output import OutputKeeper
from plum_agent.ports import PortBook

if TYPE_CHECKING:
    import ssl

    from plum_agent.container_runtime import ContainerRuntime

logger = logging.getLogger(__name__)

DEFAULT_LEASE_SECONDS = 15.0
"""Until the Node object says otherwise."""
LOCK_SECONDS = 10.0
"""How long a starting agent waits for the one before it to end."""
STOP_SECONDS = 60.0
"""Longest stop with `onStop: stop`; workloads have had their grace period by then."""
MAX_CONNECTIONS = 24
GC_THRESHOLDS = (20_000, 20, 50)
"""Decoded objects come and go by the thousand and hold no cycles; the default looks at all of them again and again."""
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """The program `plum-agent`."""
    given = settings.load(arguments)
    logs.configure(given.log_format == "json", given.log_level)
    if given.die_with_parent:
        _die_with_parent()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # an ignored signal would stay ignored in every workload
    locks = []
    if given.driver != "fake":
        locks = [_lock(given.data_directory / node) for node in given.nodes]
    try:
        identity = _identify(given)
        asyncio.run(_run(given, identity))
    except IdentityError as error:
        sys.exit(f"plum-agent: {error}")
    finally:
        for lock in locks:
            os.close(lock)


async def _run(given: settings.Settings, identity: NodeIdentity | None) -> None:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    keeps_runs = given.driver == "process"
    link = Link(loop.time)
    transport = _connect(given, identity, "plum-agent", link)
    api = ApiClient(transport, field_manager="plum-agent")
    containers = _make_containers(given)
    driver = _make_driver(given, clock, containers)
    boot = boot_id()
    folder = given.data_directory.absolute() if keeps_runs else None
    facts = read_facts(boot, given.controller, driver.runtimes, given.address, folder)
    keeper = OutputKeeper() if keeps_runs else None
    events = EventRecorder(api, "plum-agent", clock)

    agents: dict[str, NodeAgent] = {}
    for node in given.nodes:
        directory = (given.data_directory / node).absolute() if keeps_runs else None
        lease = NodeLease(node, DEFAULT_LEASE_SECONDS, clock, directory / "fence" if directory is not None else None)
        ports, tunnels = PortBook(checks_machine=keeps_runs), transport if keeps_runs else None
        shared = Shared(
            api, driver, clock, facts, keeper, ports, events, tunnels,
            controller=given.controller, controller_grpc=given.controller_grpc, artifact_bytes=given.artifact_bytes,
            containers=containers, transport=transport, link=link, identity=identity, devices=Devices(given.devices),
            task_allow=given.task_allow, tasks_at_once=given.tasks_at_once,
            outgoing_allow=given.outgoing_allow,
        )  # fmt: skip
        agents[node] = NodeAgent(node, directory, lease, shared, workers=32 if len(given.nodes) == 1 else 8)

    def on_lease(node: str, held: bool) -> None:
        with suppress(RuntimeError):  # the agent's loop is closed
            loop.call_soon_threadsafe(agents[node].on_lease, held)

    keeping = LeaseKeeper([agent.lease for agent in agents.values()], clock, on_lease)
    thread = LeaseThread(keeping, lambda: ApiClient(_connect(given, identity, "plum-agent-lease")))
    thread.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    tasks = {loop.create_task(agent.run(), name=node) for node, agent in agents.items()}
    if containers is not None:
        tasks.add(loop.create_task(containers.monitor.run(), name="engine"))
    if identity is not None:
        tasks.add(loop.create_task(identity.keep(), name="identity"))
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.stdout.write(json.dumps({"event": "ready", "nodes": given.nodes, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    telling = loop.create_task(keep_telling(), name="service manager")
    waiting = loop.create_task(stopped.wait())
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.is_set():
        notify("STOPPING=1")
        stopped.clear()
        await _before_the_end(given, list(agents.values()), api, stopped)
    waiting.cancel()
    telling.cancel()
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    thread.stop()
    await events.close()
    if keeper is not None:
        keeper.close()
    await driver.close()
    await transport.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _before_the_end(given: settings.Settings, agents: list[NodeAgent], api: ApiClient, again: asyncio.Event) -> None:
    """What `onStop` says. A second signal ends the waiting."""
    logger.info("agent stops", extra={"on_stop": given.on_stop})
    ending: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    if given.on_stop == "stop":
        ending = [loop.create_task(agent.stop_all()) for agent in agents]
    elif given.on_stop == "drain":
        ending = [loop.create_task(drain(api, agent.name, agent.hold(), agent.delegated.__len__)) for agent in agents]
    if not ending:
        return
    second = loop.create_task(again.wait())
    everything = loop.create_task(asyncio.wait(ending, timeout=None if given.on_stop == "drain" else STOP_SECONDS))
    await asyncio.wait({second, everything}, return_when=asyncio.FIRST_COMPLETED)
    for task in (second, everything, *ending):
        task.cancel()
    if given.on_stop == "stop":
        for agent in agents:
            for key in agent.reconciler.units:
                await agent.delivery.wait_delivered(key, 1.0)


def _identify(given: settings.Settings) -> NodeIdentity | None:
    """Who this node has joined as, after joining if it was told to. Raises `IdentityError`."""
    if len(given.nodes) > 1 or not given.controller.startswith("https:"):
        return None
    job = Job(given.controller, given.node, str((given.data_directory / FOLDER).absolute()), given.ca_file)
    return NodeIdentity(job) if ensure_joined(job, JoinToken.parse(given.join) if given.join else None) else None


def _connect(given: settings.Settings, identity: NodeIdentity | None, user_agent: str, link: Link | None = None) -> HttpTransport:
    context: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None
    if identity is not None:
        context = identity.context
    elif given.controller.startswith("https:"):
        import ssl  # megabytes that an agent beside its controller does without

        context = ssl.create_default_context(cafile=given.ca_file or None)
    return HttpTransport(
        given.controller,
        given.token if identity is None and given.token else None,
        context,
        user_agent=user_agent,
        max_connections=MAX_CONNECTIONS,
        saves_data=not is_loopback(given.controller),
        link=link,
    )


def _make_containers(given: settings.Settings) -> ContainerRuntime | None:
    if given.driver == "fake" or given.engine is None:
        return None
    from plum_agent.container_runtime import ContainerRuntime

    try:
        return ContainerRuntime.make(given.engine, given.data_directory.absolute(), given.image_directory, given.containers)
    except RefusedError as error:
        logger.warning("this node runs no containers", extra={"error": error.message})
        return None


def _make_driver(given: settings.Settings, clock: SystemClock, containers: ContainerRuntime | None) -> Driver:
    if given.driver == "fake":
        return FakeDriver(given.fake, clock)
    from plum_agent.drivers.process import ProcessDriver

    processes = ProcessDriver(given.data_directory.absolute())
    if containers is None:
        return processes
    from plum_agent.drivers.runtimes import RuntimesDriver

    return RuntimesDriver(processes, containers.driver)


def _lock(directory: Path) -> int:
    """Two agents on one data directory would start everything twice. Shims do not inherit the lock."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"another agent runs on {directory}; stop it, or use another --data-dir")
            time.sleep(0.05)


def _die_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent ends, whatever ended it. Workloads are not children of the parent."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the request took effect
        sys.exit(0)
