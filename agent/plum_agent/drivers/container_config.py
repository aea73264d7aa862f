"""From a launch to what the engine is asked to create. Pure, but for a look whether the run has an input.

    Launch, defaults of the image -> create_body -> the body of `POST /containers/create`

Our own program is the first process; it opens the files of the run for output, so the engine keeps none of it. The engine
restarts nothing and checks no health: that is the agent's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from plum_agent.drivers.base import MARKER, Launch
from plum_agent.drivers.run_files import STDERR, STDIN, STDOUT
from plum_agent.errors import StartError

OWN = "/.plum"
"""Folder of Plum's own files inside every container; `container_init/init.c` knows it too."""
STATUS = "status"
"""File of the run that gets the wait status of the program."""
LABEL_RUN = "plum.dev/run"
"""Marker of the run: how its container is found, and told from those of other agents."""
LABEL_AGENT = "plum.dev/agent"
"""The data directory it belongs to: the part of the marker before the first dot."""
NAME_PREFIX = "plum-app-"


def create_body(launch: Launch, image: Mapping[str, Any], init: Path, private_network: str, relabel: bool) -> dict[str, Any]:
    """`image`: the part `Config` of the image. `relabel`: this host labels files, and ours have other labels.

    Raises `StartError` when nobody says what to run.
    """
    container = launch.container
    assert container is not None  # noqa: S101 -- the composite sends only these
    command = list(launch.command) or [*(image.get("Entrypoint") or ()), *(image.get("Cmd") or ())]
    if not command:
        raise StartError(f"image {container.image} does not say what to run; give a command")
    return {
        "Image": container.image,
        "Entrypoint": [f"{OWN}/init", "KEEP" if container.init else "BECOME", *command],
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in {**launch.environment, MARKER: launch.run.marker}.items()],
        "WorkingDir": _work_directory(launch, image),
        "User": launch.user or image.get("User") or "",
        "Labels": {**container.labels, LABEL_RUN: launch.run.marker, LABEL_AGENT: launch.run.marker.partition(".")[0]},
        "Healthcheck": {"Test": ["NONE"]},
        "ExposedPorts": {f"{port.inside}/{port.protocol}": {} for port in container.published},
        "HostConfig": _host_config(launch, init, private_network, relabel, _work_directory(launch, image)),
    }


def _work_directory(launch: Launch, image: Mapping[str, Any]) -> str:
    """A relative one is below the image's own."""
    assert launch.container is not None  # noqa: S101 -- see above
    return str(PurePosixPath("/", image.get("WorkingDir") or "/", launch.container.work_directory))


def _host_config(launch: Launch, init: Path, private_network: str, relabel: bool, work_directory: str) -> dict[str, Any]:
    container = launch.container
    assert container is not None  # noqa: S101 -- see above
    folder, security = launch.run.directory, container.security
    options = [] if security.allow_privilege_escalation else ["no-new-privileges"]
    if security.seccomp_profile.type == "Unconfined":
        options.append("seccomp=unconfined")
    if relabel:
        options.append("label=disable")
    host: dict[str, Any] = {
        "Mounts": [
            _mount(init, f"{OWN}/init", read_only=True),
            *(_mount(folder / name, f"{OWN}/{name}") for name in (STDOUT, STDERR, STATUS)),
            *([_mount(folder / STDIN, f"{OWN}/{STDIN}", read_only=True)] if (folder / STDIN).is_file() else ()),
            *(_mount(bind.source, str(PurePosixPath(work_directory, bind.target)), bind.read_only) for bind in container.binds),
        ],
        "NetworkMode": {"private": private_network, "none": "none"}.get(container.network, "host"),
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none"},
        "Init": False,
        "ReadonlyRootfs": security.read_only_root_filesystem,
        "CapAdd": security.capabilities.add,
        "CapDrop": security.capabilities.drop,
        "SecurityOpt": options,
    }
    if container.network == "private":
        host["PortBindings"] = {
            f"{port.inside}/{port.protocol}": [{"HostPort": str(port.outside)}] for port in container.published
        }
    if launch.cpu_millis is not None:
        host["NanoCpus"] = launch.cpu_millis * 1_000_000
    if launch.memory_bytes is not None:
        host |= {"Memory": launch.memory_bytes, "MemorySwap": launch.memory_bytes}  # no swap that could evade the limit
    if container.devices:
        host["Devices"] = [
            {"PathOnHost": str(path.resolve()), "PathInContainer": str(path), "CgroupPermissions": "rwm"}
            for path in container.devices
        ]
    if container.pids is not None:
        host["PidsLimit"] = container.pids
    return host


def _mount(source: Path, target: str, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
