r"""The controller program: builds the parts, connects them, runs until SIGTERM. The only file that knows all of them.

    settings -> store -> registry, watch cache -> resource service -> API -> uvicorn
                                                                   \-> controllers, through LocalTransport

Stopping runs backwards: no new connections, watches end cleanly, requests under way finish, the store closes. What was
acknowledged is on disk at every moment, so `kill -9` at any point loses nothing but time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from plum_controller import settings as settings_module
from plum_controller.logs import configure, fields
from plum_controller.settings import SettingError, Settings

if TYPE_CHECKING:
    from plum_client.client import ApiClient
    from plum_client.manager import Manager
    from plum_client.outgoing import OutgoingClient

    from plum_controller.api.api import Api
    from plum_controller.api.asgi import Mounted
    from plum_controller.api.server import ApiServer
    from plum_controller.pki.serving import Serving
    from plum_controller.rpc.server import WorkerServer
    from plum_controller.store.base import Store
    from plum_controller.workflows.steps import StepRunner

logger = logging.getLogger("plum_controller")

EXIT_USAGE = 2
"""A flag or setting cannot be used."""
EXIT_UNAVAILABLE = 1
"""The store or the address could not be taken."""
SWITCH_SECONDS = 0.001
"""How long a thread that came back from the disk waits at most until the event loop lets it go on. A busy loop would add Python's
own 5 ms to the answers of all that wait for the disk (docs/adr/0049)."""
WORKER_BACKLOG = 16
"""Workers that may wait until the listener for them is served."""


class StartError(Exception):
    """The controller cannot start. The message says why and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the controller. Answers with the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        settings = settings_module.load(
            listen=flags.listen,
            secure_listen=flags.secure_listen,
            data_dir=flags.data_dir,
            store=flags.store,
            sync_folders=None if flags.sync is None else tuple(flags.sync),
            log_format=flags.log_format,
            log_level=flags.log_level,
        )
        parse_address(settings.listen)
        if settings.secure_listen:
            parse_address(settings.secure_listen)
        if settings.worker_listen not in ("", "off"):
            parse_address(settings.worker_listen)
    except (SettingError, StartError) as error:
        sys.stderr.write(f"plum-controller: {error}\n")
        return EXIT_USAGE
    configure(settings.log_format, settings.log_level)
    if flags.die_with_parent:
        from plum_controller.parent import die_with_parent

        die_with_parent()
    import uvloop

    from plum_controller.store.errors import StoreError

    rest_from_collecting()
    sys.setswitchinterval(SWITCH_SECONDS)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except (StartError, StoreError) as error:
        sys.stderr.write(f"plum-controller: {error}\n")
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def rest_from_collecting() -> None:
    """Look for reference cycles seldom: requests make hardly any, and looking costs a tenth of all time otherwise."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plum-controller", description="Plum's controller: the store, the API and the controllers."
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="address of the API (default 127.0.0.1:8080; port 0 takes a free one)"
    )
    parser.add_argument("--secure-listen", metavar="HOST:PORT", help="address of a second listener, with TLS and authentication")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of everything the controller keeps (default .plum)")
    parser.add_argument("--sync", metavar="DIR", action="append", help="make the store equal to this folder; may be repeated")
    parser.add_argument("--store", metavar="URL", help="sqlite:///PATH or memory: (default: plum.db in the data folder)")
    parser.add_argument("--log-format", choices=("text", "json"), help="logs go to stderr (default text)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default info")
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the process that started this one ends")
    return parser


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[V6]:PORT`, `:PORT` or `PORT`. Raises `StartError`."""
    host, separator, port = text.rpartition(":")
    if not separator:
        host, port = "127.0.0.1", text
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise StartError(f"the address {text!r} has no port; use 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def open_store(settings: Settings) -> Store:
    """The store that the settings name, not opened yet. Raises `StartError`."""
    text = settings.store
    if text == "memory:":
        from plum_controller.store.memory import MemoryStore

        return MemoryStore()
    if not text:
        path = Path(settings.data_dir) / "plum.db"
    elif text.startswith("sqlite:///"):
        path = Path(text.removeprefix("sqlite:///"))
    elif ":" in text.split("/")[0]:
        raise StartError(f"the store {text!r} is of a kind this version does not have; use sqlite:///PATH")
    else:
        path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the folder of the store cannot be made: {error}") from error
    from plum_controller.store.sqlite import SqliteStore

    return SqliteStore(path)


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Api]:
    """Store, registry, cache, service and API, ready to answer; closed with the block. Raises `StoreError`, `StartError`."""
    from plum_client.clock import SystemClock

    from plum_controller.api import default_roles
    from plum_controller.api.api import Api
    from plum_controller.resources.registry import Registry
    from plum_controller.resources.reported_rows import ReportedKeeper
    from plum_controller.resources.service import ResourceService
    from plum_controller.store.cache import WatchCache

    store = open_store(settings)
    await store.open()
    try:
        registry = Registry()
        await registry.load_definitions(store)
        cache = WatchCache(store, registry.index)
        await cache.load()
        registry.follow(cache)
        service = ResourceService(store, cache, registry, SystemClock())
        await service.start()
        await default_roles.ensure(service)
        try:
            api = Api(service, store, settings, planned_controllers(settings))
            api.artifacts.start()
            keeper = ReportedKeeper(store, cache, service.clock)
            keeper.start()
            try:
                yield api
            finally:
                await keeper.close()
                await api.artifacts.close()
        finally:
            await service.close()
            registry.close()
    finally:
        await store.close()


def planned_controllers(settings: Settings) -> Callable[[Manager], None]:
    """What `/plan` tries out: all controllers but the one that judges nodes by their leases, which a copy does not renew."""

    def add(manager: Manager) -> None:
        from plum_controller.controllers import build as build_controllers

        build_controllers(manager, settings, watch_nodes=False)

    return add


@contextlib.asynccontextmanager
async def running_controllers(api: Api, settings: Settings, own_ports: Collection[int] = ()) -> AsyncIterator[None]:
    """The built-in controllers, as tasks of this process. A failure of their machinery ends the program, so that it is seen."""
    if not settings.controllers_enabled:
        yield
        return
    from plum_client.client import ApiClient
    from plum_client.manager import Manager
    from plum_client.outgoing import OutgoingClient

    from plum_controller.api.local import LocalTransport
    from plum_controller.controllers import build as build_controllers
    from plum_controller.controllers import sync
    from plum_controller.devices import service as devices
    from plum_controller.store.journal import StoreJournal
    from plum_controller.tasks import execution
    from plum_controller.workflows import engine
    from plum_controller.workflows.hooks import Hooks
    from plum_controller.workflows.stage_control import StageControl

    transport = LocalTransport(api)
    manager = Manager(ApiClient(transport, field_manager="plum-controller"))
    build_controllers(manager, settings)
    kept = Path(settings.data_dir) / "syncs"
    api.syncs.syncs = sync.add_to(manager, kept, settings.sync_folders, partial(client_of_account, api))
    outgoing = OutgoingClient(settings.outgoing_allow, own_ports)
    api.devices.devices = devices.add_to(manager, settings, outgoing)
    api.device_calls = OutgoingClient("*", own_ports)
    tasks = execution.add_to(manager, settings, outgoing)
    journal = StoreJournal(api.store)
    workflows = engine.add_to(manager, journal, step_runners(manager.api, settings, outgoing))
    workflows.hooks = hooks = Hooks(manager.api, outgoing, manager.clock, manager.recorder("workflow"), journal)
    hooks.stages = StageControl(outgoing, settings.stage_control_base)
    workflows.set_stages(hooks.stages)
    await hooks.start()
    api.workflow_runs.views = workflows
    api.gate.refused_command = workflows.refusal
    task = asyncio.create_task(manager.run(), name="controllers")
    task.add_done_callback(_controllers_ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        api.devices.devices.close()
        await workflows.close()
        await hooks.close()
        await tasks.close()
        await transport.close()


def client_of_account(api: Api, namespace: str, name: str) -> ApiClient:
    """The API with the rights of a ServiceAccount, for a controller that acts for it."""
    from plum_client.client import ApiClient

    from plum_controller.api.identity import account_identity
    from plum_controller.api.local import LocalTransport

    return ApiClient(LocalTransport(api, "plum-sync", account_identity(namespace, name, "")), field_manager="plum-sync")


def step_runners(client: ApiClient, settings: Settings, outgoing: OutgoingClient) -> Mapping[str, StepRunner]:
    """What carries out the step types of workflows."""
    from plum_controller.tasks.steps.runners import Around, runners

    databases = Path(settings.database_dir or Path(settings.data_dir) / "databases")
    return runners(Around(client, outgoing, databases, settings.smtp_url, settings.llm_url))


def _controllers_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("controllers stopped", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


async def _serve(settings: Settings) -> None:
    started = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listeners = [bind(*parse_address(address)) for address in (settings.listen, settings.secure_listen) if address]
    worker_listener = bind_for_workers(settings)
    own_ports = {listener.getsockname()[1] for listener in listeners}
    from plum_client.service_manager import keep_telling, notify

    from plum_controller.store.compactor import Compactor, KeepWindow

    async with build(settings) as api:
        servers, serving = _servers(api, settings, listeners, worker_listener)
        for server in servers:
            await server.start()
        compactor = Compactor(api.store, KeepWindow(settings.history_seconds, settings.history_revisions))
        compactor.start()
        try:
            async with (
                running_workers(api, settings, worker_listener, serving, own_ports) as workers,
                running_controllers(api, settings, own_ports),
            ):
                urls = {"url": servers[0].url} | ({"secureUrl": servers[1].url} if len(servers) > 1 else {})
                urls |= {"workers": workers.address} if workers is not None else {}
                sys.stdout.write(json.dumps({"event": "ready", **urls}) + "\n")
                sys.stdout.flush()
                logger.info("controller ready", extra=fields(**urls, start_seconds=round(time.monotonic() - started, 3)))
                if workers is not None:
                    workers.start()
                telling = asyncio.create_task(keep_telling(), name="service-manager")
                await stop.wait()
                telling.cancel()
                notify("STOPPING=1")
                logger.info("controller stops")
                api.ready = False
        finally:
            await compactor.stop()
            if serving is not None:
                await serving.stop()
            await asyncio.gather(*(server.close() for server in servers))
    logger.info("controller stopped")


@contextlib.asynccontextmanager
async def running_workers(
    api: Api, settings: Settings, listener: socket.socket | None, serving: Serving | None, own_ports: Collection[int]
) -> AsyncIterator[WorkerServer | None]:
    """The gateway that gives runs to workers, and the listener they connect to; gRPC itself is loaded with the first of them."""
    if not settings.controllers_enabled:
        yield None
        return
    from plum_client.outgoing import OutgoingClient

    from plum_controller.api.limits import is_loopback
    from plum_controller.api.worker_access import WorkerDoor
    from plum_controller.rpc.gateway import Gateway
    from plum_controller.rpc.http_workers import HttpWorkers
    from plum_controller.rpc.server import WorkerServer
    from plum_controller.rpc.sessions import Timing

    gateway = Gateway(api.service, Timing(settings.worker_lease_seconds))
    await gateway.start()
    http_workers = HttpWorkers(api.service, gateway, OutgoingClient("*", own_ports))
    http_workers.start()
    api.on_revoked = gateway.revoke
    api.classic_workers.presence = gateway
    server = None
    if listener is not None:
        secure = not is_loopback(listener.getsockname()[0])
        certificates = serving.pair if secure and serving is not None else None
        server = WorkerServer(gateway, WorkerDoor(api.authenticator, api.gate), listener, certificates)
    try:
        yield server
    finally:
        http_workers.stop()
        await gateway.stop()
        if server is not None:
            await server.stop()


def _servers(
    api: Api, settings: Settings, listeners: Sequence[socket.socket], worker_listener: socket.socket | None
) -> tuple[list[ApiServer], Serving | None]:
    """A server per listener. Plain HTTP stays on this machine: every other address gets TLS. Raises `StartError`."""
    from plum_controller.api.limits import is_loopback
    from plum_controller.api.server import ApiServer

    @cache
    def docs() -> Mounted:
        from plum_controller.api.docs import build as build_docs

        return build_docs(api)

    secure = [number > 0 or not is_loopback(listener.getsockname()[0]) for number, listener in enumerate(listeners)]
    workers_secure = worker_listener is not None and not is_loopback(worker_listener.getsockname()[0])
    serving = _make_serving(settings) if any(secure) or workers_secure else None
    servers = []
    for listener, with_tls in zip(listeners, secure, strict=True):
        context = serving.context if serving is not None and with_tls else None
        servers.append(ApiServer(api, settings, listener, docs, context))
        if serving is not None and with_tls:
            _write_admin(settings, serving, servers[-1].url)
            api.joining.open(serving.authority, serving.trust.decode(), _outside(settings, servers[-1].url))
    if serving is not None:
        serving.start()
    return servers, serving


def _make_serving(settings: Settings) -> Serving:
    from plum_controller.pki.authority import PkiError
    from plum_controller.pki.serving import Serving

    try:
        return Serving(Path(settings.data_dir) / "pki", settings.tls_names, settings.tls_cert_file, settings.tls_key_file)
    except PkiError as error:
        raise StartError(str(error)) from error


def _outside(settings: Settings, url: str) -> str:
    """The address of a listener as other machines know it, as well as this one can tell."""
    from urllib.parse import urlsplit

    from plum_controller.pki.serving import outside_address

    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("0.0.0.0", "::"):
        host = settings.tls_names[0] if settings.tls_names else outside_address()
    return f"https://[{host}]:{parts.port}" if ":" in host else f"https://{host}:{parts.port}"


def _write_admin(settings: Settings, serving: Serving, url: str) -> None:
    """A kubeconfig for the administrator of this machine: over TLS nobody has rights because of where they are."""
    from urllib.parse import urlsplit

    from plum_client.kubeconfig import Server, write

    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("0.0.0.0", "::"):
        url = f"https://127.0.0.1:{parts.port}" if host != "::" else f"https://[::1]:{parts.port}"
    pair = serving.admin()
    server = Server(url, ca=serving.trust, client_certificate=pair.certificate, client_key=pair.key)
    write(Path(settings.data_dir) / "admin.kubeconfig", server, user="plum-admin")


def bind(host: str, port: int, backlog: int = 0) -> socket.socket:
    """A socket with this address, listening if there is a backlog: only then nobody else can take it. Raises `StartError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        if backlog:
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise StartError(f"the address {host}:{port} cannot be taken: {error.strerror or error}; use another --listen") from error
    listener.setblocking(False)
    return listener


def bind_for_workers(settings: Settings) -> socket.socket | None:
    """The address for workers. One that was asked for must be free; the default gives way to another port."""
    if settings.worker_listen == "off" or not settings.controllers_enabled:
        return None
    if settings.worker_listen:
        return bind(*parse_address(settings.worker_listen), WORKER_BACKLOG)
    port = 9090 if parse_address(settings.listen)[1] else 0
    try:
        return bind("127.0.0.1", port, WORKER_BACKLOG)
    except StartError:
        listener = bind("127.0.0.1", 0, WORKER_BACKLOG)
        taken = fields(wanted=f"127.0.0.1:{port}", address=f"127.0.0.1:{listener.getsockname()[1]}")
        logger.warning("the address for workers is taken, using another one; CONTROLLER_GRPC_ADDR sets it", extra=taken)
        return listener


if __name__ == "__main__":
    raise SystemExit(main())
