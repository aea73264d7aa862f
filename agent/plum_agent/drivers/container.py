"""Containers of a Docker Engine on this machine. The engine makes them and takes them away; what lies between needs no engine.

    start: identity file -> create -> [watcher of the fence] -> start -> identity -> Handle
    wait:  pidfd of the first process -> its status file, the kernel, the engine -> Exit
    find:  files of the run, then the engine by the label of the run -> Handle | Exit | None
    kill:  SIGKILL to the first process, with which the kernel ends all of the container
    release: the container is removed; files of the run stay

The first process is ours (`container_init`) and is seen in `/proc` of this machine, so exits are noticed, output is written and
runs are stopped also while the engine is away. Where `/proc` does not show it (an agent in a container of its own without
`pid: host`), the engine is asked instead. Containers are told apart by the marker in their labels: those of other agents on
the same engine are never touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from plum_schemas.template import Template

from plum_agent.drivers import container_config as config
from plum_agent.drivers import container_files as files
from plum_agent.drivers import pidfd, run_files
from plum_agent.drivers.base import MARKER, Command, CommandRequest, Exit, Handle, Launch, Run, Started
from plum_agent.drivers.launching import SAFE_PATH, spawn_shell
from plum_agent.drivers.procfs import ProcessStat, boot_id, is_alive, read_stat, read_variable
from plum_agent.engine.client import FOREVER, EngineClient
from plum_agent.engine.errors import EngineError, EngineUnavailableError
from plum_agent.engine.image_files import check_name
from plum_agent.engine.times import unix_seconds
from plum_agent.errors import RefusedError, StartError

logger = logging.getLogger(__name__)

KILL_SECONDS = 10.0
"""Longest wait for the end of a container after SIGKILL."""
ENDED_SECONDS = 3.0
"""How long the engine may take to notice the end of a container that we saw end."""
RETRY_SECONDS = 0.5
SEE_SECONDS = 2.0
"""How long a new container may take to become its first process."""
_FENCE = Path(__file__).with_name("container_fence.sh")


class ContainerDriver:
    """Runs containers. One for all nodes that an agent process serves."""

    runtimes: tuple[str, ...] = ("container",)
    keeps_runs = True
    ready_seconds: float | None = None

    def __init__(self, client: EngineClient, data_directory: Path, private_network: str = "bridge") -> None:
        self._client = client
        self._init = files.install_init(data_directory)
        self._fence_script = data_directory / f"fence-{_FENCE.stat().st_size}.sh"
        self._private_network = private_network
        self._boot_id = boot_id()
        self._relabel: bool | None = None
        self._sees_pids = False
        """Containers are seen in `/proc`: one that is not there has ended."""
        self._is_blind = False
        """They are not; nobody waits for them to appear."""

    def check(self, template: Template) -> None:
        if template.image:
            check_name(template.image)

    # ---- start

    async def start(self, launch: Launch) -> Started:
        assert launch.container is not None  # noqa: S101 -- the composite sends only these
        run = launch.run
        if launch.fence is not None and self._is_blind:
            raise StartError("nothing could end an exclusive container in time, because /proc does not show it to the agent")
        try:
            files.prepare(run.directory)
            image = await self._client.request("GET", f"/images/{launch.container.image}/json")
            body = config.create_body(
                launch, image.get("Config") or {}, self._init, self._private_network, await self._labels_files()
            )
            container_id, warnings = await self._create(launch, body)
            files.write_identity(run.directory, files.Identity(id=container_id, memory_limited=launch.memory_bytes is not None))
            if launch.fence is not None:
                self._watch_fence(launch, launch.fence)
        except OSError as error:
            raise StartError(f"the files of the run could not be made: {error}") from error
        except EngineError as error:
            raise StartError(_why(error)) from error
        try:
            await self._client.request("POST", f"/containers/{container_id}/start")
            return Started(await self._identify(run, container_id), warnings)
        except EngineError as error:
            if not isinstance(error, EngineUnavailableError):
                await self._remove(container_id)
            raise StartError(_why(error)) from error

    async def _create(self, launch: Launch, body: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The id of a new container, and what the engine could not do. Its name is the classic one where it is free."""
        assert launch.container is not None  # noqa: S101 -- see start
        name = config.NAME_PREFIX + (launch.container.name or launch.run.marker)
        for candidate in (name, name, f"{name}-{launch.run.marker.rpartition('.')[2]}", ""):
            try:
                made = await self._client.request("POST", "/containers/create", {"name": candidate} if candidate else {}, body)
                return str(made["Id"]), tuple(made.get("Warnings") or ())
            except EngineError as error:
                if error.status != 409 or not candidate:
                    raise
            await self._remove_leftover(candidate, launch)
        raise StartError(f"the engine gave no name to a container of {launch.container.image}")

    async def _remove_leftover(self, name: str, launch: Launch) -> None:
        """A container of an earlier run of the same instance that does not run any more makes room for its successor."""
        try:
            found = await self._client.request("GET", f"/containers/{name}/json")
        except EngineError:
            return
        labels = found["Config"].get("Labels") or {}
        ours = labels.get(config.LABEL_RUN, "").split(".")[:2] == launch.run.marker.split(".")[:2]
        if ours and len(launch.run.marker.split(".")) > 2 and not found["State"]["Running"]:
            await self._remove(found["Id"])

    async def _identify(self, run: Run, container_id: str) -> Handle:
        """Who it is, written down. A container that has ended already has no number."""
        state = (await self._client.request("GET", f"/containers/{container_id}/json"))["State"]
        pid = int(state.get("Pid") or 0)
        seen = await self._see(pid, run) if pid else None
        started_at = unix_seconds(state.get("StartedAt", "")) or time.time()
        known = files.read_identity(run.directory) or files.Identity()
        identity = msgspec.structs.replace(
            known,
            id=container_id,
            pid=pid,
            start_ticks=seen.start_ticks if seen else 0,
            started_at=started_at,
            boot_id=self._boot_id,
        )
        if run.directory.is_dir():
            files.write_identity(run.directory, identity)
        return self._handle(identity)

    async def _see(self, pid: int, run: Run) -> ProcessStat | None:
        """The process behind a number of the engine, if `/proc` shows it under the same number and lets us look.

        A container that was just started is still the engine's program for a moment, without the marker.
        """
        deadline = time.monotonic() + (0.0 if self._is_blind else SEE_SECONDS)
        while (stat := read_stat(pid)) is not None and stat.alive:
            if read_variable(pid, MARKER) == run.marker:
                self._sees_pids = True
                return stat
            if time.monotonic() > deadline:
                self._is_blind = not self._sees_pids
                return None
            await asyncio.sleep(0.002)
        return None

    def _handle(self, identity: files.Identity) -> Handle:
        return Handle(
            boot_id=self._boot_id,
            pid=identity.pid,
            start_ticks=identity.start_ticks,
            started_at=identity.started_at,
            container_id=identity.id,
        )

    def _watch_fence(self, launch: Launch, fence: Path) -> None:
        if not self._fence_script.exists():
            temporary = self._fence_script.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(_FENCE.read_bytes())
            temporary.replace(self._fence_script)
        words = [str(self._fence_script), str(launch.run.directory), str(fence), launch.run.marker]
        pid = spawn_shell(["-c", 'sh "$0" "$@" &', *words], {"PATH": SAFE_PATH})
        os.waitpid(pid, 0)

    async def _labels_files(self) -> bool:
        if self._relabel is None:
            options = (await self._client.request("GET", "/info")).get("SecurityOptions") or ()
            self._relabel = any("selinux" in option for option in options)
        return self._relabel

    # ---- what became of a run

    async def find(self, run: Run) -> Handle | Exit | None:
        """Safe after a crash of the agent, the engine, or both, at any moment of a start. Raises `StartError` while only
        the engine could tell and it does not answer."""
        ended = files.read_exit(run.directory)
        if ended is not None:
            return ended
        identity = files.read_identity(run.directory)
        if identity is not None and identity.boot_id not in ("", self._boot_id):
            return await self._exit(run, msgspec.structs.replace(identity, id=""), None)  # the machine ended it
        if identity is not None and identity.start_ticks and is_alive(identity.pid, identity.start_ticks):
            return self._handle(identity)
        try:
            found = await self._look_up(run)
            if found is None:
                was_seen = identity is not None and identity.started_at > 0
                return await self._exit(run, identity, None) if was_seen else None
            state = found["State"]
            if state.get("Running"):
                return await self._identify(run, found["Id"])
            if not unix_seconds(state.get("StartedAt", "")):
                await self._remove(found["Id"])
                return None
        except EngineUnavailableError as error:
            if identity is not None and identity.started_at and files.read_status(run.directory) is not None:
                return await self._exit(run, identity, None)
            raise StartError(f"what became of a run cannot be found out: {error}") from error
        return await self._exit(run, identity or files.Identity(id=found["Id"]), None)

    async def wait(self, run: Run, handle: Handle) -> Exit:
        """The first process says how the program ended; where it was killed, the kernel does, or the engine."""
        identity = files.read_identity(run.directory) or files.Identity(id=handle.container_id, started_at=handle.started_at)
        ended = files.read_exit(run.directory)
        if ended is not None:
            return ended
        status: int | None = None
        descriptor = pidfd.open_process(handle.pid, handle.start_ticks) if handle.start_ticks else None
        if descriptor is not None:
            try:
                await pidfd.wait_until_ended(descriptor)
                status = await pidfd.read_wait_status(descriptor, handle.pid, handle.start_ticks)
            finally:
                os.close(descriptor)
        elif not handle.start_ticks:
            await self._wait_by_engine(handle.container_id)
        return await self._exit(run, identity, status)

    async def _wait_by_engine(self, container_id: str) -> None:
        while True:
            try:
                await self._client.request("POST", f"/containers/{container_id}/wait", timeout=FOREVER)
                return
            except EngineUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            except EngineError:
                return  # it is gone

    async def _exit(self, run: Run, identity: files.Identity | None, kernel_status: int | None) -> Exit:
        """How a run that has ended did so, found out once and written down."""
        said = files.read_status(run.directory)
        state: Mapping[str, Any] | None = None
        if identity is not None and identity.id and (identity.memory_limited or (said is None and kernel_status is None)):
            state = await self._ended_state(identity.id)
        if said is not None:
            ended = said
        elif kernel_status is not None:
            ended = run_files.exit_of_wait_status(kernel_status, time.time())
        elif state is not None:
            ended = _exit_of_state(state)
        else:
            ended = Exit(None, "", time.time())
        ended = replace(
            ended,
            started_at=identity.started_at if identity is not None else 0.0,
            out_of_memory=bool(state and state.get("OOMKilled")),
            fenced=(run.directory / "fenced").exists(),
        )
        files.write_exit(run.directory, ended)
        return ended

    async def _ended_state(self, container_id: str) -> Mapping[str, Any] | None:
        """What the engine knows of a container that has ended; None when it knows nothing, or does not answer in time."""
        deadline = time.monotonic() + ENDED_SECONDS
        while True:
            try:
                state: Mapping[str, Any] = (
                    await self._client.request("GET", f"/containers/{container_id}/json", timeout=ENDED_SECONDS)
                )["State"]
                if not state.get("Running"):
                    return state
            except EngineUnavailableError:
                return None
            except EngineError as error:
                if error.status == 404:
                    return None
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.01)

    # ---- the end of a run

    async def signal(self, run: Run, handle: Handle, signal: int) -> None:
        if handle.start_ticks and handle.boot_id == self._boot_id:
            pidfd.send_signal(handle.pid, handle.start_ticks, signal)
        elif handle.container_id and not handle.start_ticks:
            with suppress(EngineError):
                await self._client.request("POST", f"/containers/{handle.container_id}/kill", {"signal": str(signal)})

    async def kill(self, run: Run, handle: Handle | None) -> None:
        if handle is not None and handle.start_ticks:
            await self._kill_process(handle)
            return
        try:
            found = await self._look_up(run)
            if found is not None and found["State"].get("Running"):
                await self._kill_container(found["Id"])
        except EngineUnavailableError as error:
            raise StartError(f"whether the container has ended cannot be found out: {error}") from error
        except EngineError as error:
            raise StartError(f"the container does not end: {error}") from error

    async def _kill_process(self, handle: Handle) -> None:
        descriptor = pidfd.open_process(handle.pid, handle.start_ticks)
        if descriptor is None:
            return
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            async with asyncio.timeout(KILL_SECONDS):
                await pidfd.wait_until_ended(descriptor)
        except TimeoutError:
            message = f"process {handle.pid} of the container does not die; it waits for a device or a file system"
            raise StartError(message) from None
        finally:
            os.close(descriptor)
        await self._ended_state(handle.container_id)

    async def _kill_container(self, container_id: str) -> None:
        try:
            await self._client.request("POST", f"/containers/{container_id}/kill", {"signal": "SIGKILL"})
            await self._client.request("POST", f"/containers/{container_id}/wait", timeout=KILL_SECONDS)
        except EngineError as error:
            if error.status not in (404, 409):  # gone, or not running
                raise

    async def release(self, run: Run) -> None:
        """Remove the container. While the engine is away it stays, and is removed by `clean` later."""
        identity = files.read_identity(run.directory)
        try:
            if identity is not None and identity.id:
                await self._remove(identity.id)
            else:
                found = await self._look_up(run)
                if found is not None:
                    await self._remove(found["Id"])
        except EngineError as error:
            logger.info("container is not removed yet", extra={"marker": run.marker, "error": str(error)})

    async def clean(self, prefix: str, is_needed: Callable[[str], bool]) -> None:
        """Remove containers that have ended, by the beginning of their markers, unless somebody still has to look at them.
        What runs is never touched. Raises `EngineError`."""
        for entry in await self._list(prefix):
            marker = entry["Labels"][config.LABEL_RUN]
            if entry["State"] not in ("running", "paused", "restarting") and not is_needed(marker):
                logger.info("container of a run that has ended is removed", extra={"marker": marker})
                await self._remove(entry["Id"])

    # ---- beside a run

    async def execute(self, launch: Launch, command: tuple[str, ...], timeout_seconds: float) -> int:
        from plum_agent.drivers.container_commands import open_container_command

        try:
            async with asyncio.timeout(timeout_seconds):
                opened = await open_container_command(
                    self._client, await self._id_of(launch.run), launch, CommandRequest(command)
                )
                try:
                    while await opened.read() is not None:
                        pass
                    return await opened.wait()
                finally:
                    await opened.close()
        except StartError as error:
            raise OSError(str(error)) from error

    async def open_command(self, launch: Launch, request: CommandRequest) -> Command:
        from plum_agent.drivers.container_commands import open_container_command

        return await open_container_command(self._client, await self._id_of(launch.run), launch, request)

    async def connect(self, run: Run, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        from plum_agent.drivers.container_ports import connect

        try:
            return await connect(self._client, handle, port)
        except EngineError as error:
            raise RefusedError("NotListening", str(error)) from error

    async def end_commands(self, prefix: str) -> None:
        """They carry their mark where `/proc` shows it, and are ended like those beside a process."""

    async def list_markers(self, prefix: str) -> list[str]:
        try:
            found = [entry for entry in await self._list(prefix) if entry["State"] in ("running", "paused")]
            return sorted([entry["Labels"][config.LABEL_RUN] for entry in found if await self._lives(entry["Id"])])
        except EngineUnavailableError:
            return []  # told elsewhere; what runs is seen in `/proc`
        except EngineError as error:
            logger.warning("containers cannot be listed", extra={"error": str(error)})
            return []

    async def _lives(self, container_id: str) -> bool:
        """The engine notices an end later than the kernel does."""
        state = (await self._client.request("GET", f"/containers/{container_id}/json"))["State"]
        stat = read_stat(int(state.get("Pid") or 0))
        return bool(state.get("Running")) and (stat.alive if stat is not None else not self._sees_pids)

    async def close(self) -> None:
        self._client.close()

    # ---- asking the engine

    async def _id_of(self, run: Run) -> str:
        identity = files.read_identity(run.directory)
        if identity is None or not identity.id:
            raise StartError("the container is not there")
        return identity.id

    async def _look_up(self, run: Run) -> Mapping[str, Any] | None:
        """The container of a run as the engine sees it. Raises `EngineError`."""
        filters = msgspec.json.encode({"label": [f"{config.LABEL_RUN}={run.marker}"]}).decode()
        for entry in await self._client.request("GET", "/containers/json", {"all": "1", "filters": filters}):
            try:
                found: Mapping[str, Any] = await self._client.request("GET", f"/containers/{entry['Id']}/json")
            except EngineError as error:
                if error.status == 404:
                    continue
                raise
            return found
        return None

    async def _list(self, prefix: str) -> list[dict[str, Any]]:
        filters = msgspec.json.encode({"label": [config.LABEL_RUN]}).decode()
        found: list[dict[str, Any]] = await self._client.request("GET", "/containers/json", {"all": "1", "filters": filters})
        return [entry for entry in found if entry["Labels"][config.LABEL_RUN].startswith(prefix)]

    async def _remove(self, container_id: str) -> None:
        """With what is left of it. One that is gone, or going, is a success. Raises `EngineError`."""
        try:
            await self._client.request("DELETE", f"/containers/{container_id}", {"force": "1", "v": "1"})
        except EngineError as error:
            if error.status not in (404, 409):
                raise


def _exit_of_state(state: Mapping[str, Any]) -> Exit:
    """The engine adds 128 to the number of a signal and does not tell such a code apart; by convention it means the signal."""
    code = int(state.get("ExitCode") or 0)
    finished_at = unix_seconds(state.get("FinishedAt", "")) or time.time()
    try:
        name = signal.Signals(code - 128).name if code > 128 else ""
    except ValueError:
        name = ""
    return Exit(code, name, finished_at)


def _why(error: EngineError) -> str:
    if "no space left" in str(error):
        return f"the disk of the container engine is full; free some room: {error}"
    return f"the container could not be started: {error}"
