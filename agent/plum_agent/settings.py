"""Settings of the agent: flags over the environment over `.env` over defaults. All are described in docs/agent.md."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plum_schemas.quantities import parse_bytes

from plum_agent.container_settings import DEFAULT_ENGINE, read_defaults, socket_of
from plum_agent.containing import ContainerDefaults
from plum_agent.devices import parse as parse_devices
from plum_agent.drivers.fake import FakeOptions
from plum_agent.tasks.allow import AllowList

MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the agent is told at its start."""

    node: str
    controller: str
    """`https://HOST:PORT` of the controller, or `http://` on the same machine."""
    data_directory: Path
    token: str
    ca_file: str
    """Certificates to trust, as PEM; empty: those of the system."""
    join: str
    """Token of `plum node token create`; empty: this node has joined, or uses `token`."""
    driver: str
    """`process` or `fake`."""
    fake: FakeOptions
    count: int
    """With the fake driver: how many nodes this process plays, `NAME-1` to `NAME-<count>`."""
    on_stop: str
    """What SIGTERM does to the workloads: `leave`, `drain` or `stop`."""
    address: str
    """Address others reach this node at; found out when empty."""
    controller_grpc: str
    """`host:port` at which workers find the controller; told to workloads when it is known."""
    artifact_bytes: int
    """How much of packages is kept beyond what runs."""
    engine: Path | None
    """Socket of the container engine; None: no containers."""
    image_directory: Path
    """Folder with files of images, for sites without a registry."""
    containers: ContainerDefaults
    """What is the same for all containers of this node."""
    devices: Mapping[str, Path]
    """Devices of this node by name, for `resources.devices` of templates."""
    task_allow: AllowList
    """What tasks may run on this node."""
    tasks_at_once: int
    """Attempts of tasks at the same time."""
    outgoing_allow: str
    """What http tasks of runs that are delegated to this node may call."""
    die_with_parent: bool
    log_level: str
    log_format: str

    @property
    def nodes(self) -> list[str]:
        return [self.node] if self.count == 1 else [f"{self.node}-{number}" for number in range(1, self.count + 1)]


def read_dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines; comments, blank lines and quotes around values are understood. A missing file is empty."""
    values: dict[str, str] = {}
    if not path.is_file():
        return values
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            values[name.strip()] = value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"" else value
    return values


def load(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read flags and environment. Ends the program with a sentence about what is wrong."""
    env = {**read_dotenv(Path(".env")), **(os.environ if environment is None else environment)}
    parser = argparse.ArgumentParser(prog="plum agent", description="Makes one node match what is wanted of it.")
    parser.add_argument("--node", default=env.get("AGENT_NODE_ID") or socket.gethostname().lower(), help="name of this node")
    parser.add_argument("--controller", default=env.get("CONTROLLER_BASE") or "http://127.0.0.1:8080", metavar="URL")
    parser.add_argument("--data-dir", default=env.get("AGENT_DATA_DIR") or ".plum/agent", type=Path, metavar="DIR")
    parser.add_argument("--token", default=env.get("PLUM_TOKEN", ""), help="bearer token; better given as PLUM_TOKEN")
    parser.add_argument(
        "--ca-file",
        default=env.get("PLUM_CA_FILE", ""),
        metavar="FILE",
        help="the controller's pki/ca.crt",
    )
    parser.add_argument(
        "--join",
        default=env.get("PLUM_JOIN_TOKEN", ""),
        metavar="TOKEN",
        help="token of plum node token create; needed once, ignored afterwards; better given as PLUM_JOIN_TOKEN",
    )
    run_mode = {"docker": "process"}.get(env.get("AGENT_RUN_MODE", ""), env.get("AGENT_RUN_MODE"))
    parser.add_argument("--driver", default=run_mode or "process", choices=("process", "fake"))
    parser.add_argument(
        "--engine",
        default=env.get("PLUM_ENGINE") or env.get("DOCKER_HOST") or DEFAULT_ENGINE,
        metavar="ADDRESS",
        help=f"socket of the container engine, or none; default: {DEFAULT_ENGINE}",
    )
    parser.add_argument(
        "--image-dir", default=env.get("PLUM_IMAGE_DIR", ""), metavar="DIR", help="files of images; default: DATA/images"
    )
    parser.add_argument(
        "--fake", default="", metavar="OPTIONS", help="start=20ms,ready=1s,stop=50ms,crash-rate=0.01,fail-rate=0.1"
    )
    parser.add_argument("--count", default=1, type=int, help="with --driver fake: play so many nodes, NAME-1 and up")
    parser.add_argument("--on-stop", default=env.get("PLUM_ON_STOP") or "leave", choices=("leave", "drain", "stop"))
    parser.add_argument("--address", default=env.get("AGENT_IP", ""), help="address others reach this node at")
    parser.add_argument("--controller-grpc", default=env.get("CONTROLLER_GRPC_ADDR", ""), metavar="HOST:PORT")
    parser.add_argument(
        "--artifact-cache",
        default=env.get("PLUM_ARTIFACT_CACHE") or "5Gi",
        metavar="SIZE",
        help="packages kept beyond those that run; default: 5Gi",
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="NAME=PATH",
        help="a device that one instance at a time may hold, such as camera=/dev/video0; may be repeated",
    )
    parser.add_argument(
        "--task-allow",
        default=env.get("PLUM_TASK_ALLOW") or "*",
        metavar="PATTERNS",
        help="programs and image:NAME patterns that tasks may run, comma separated; none: no tasks; default: all",
    )
    parser.add_argument("--tasks-at-once", default=env.get("PLUM_TASKS_AT_ONCE") or "32", metavar="N", help="default: 32")
    parser.add_argument(
        "--outgoing-allow",
        default=env.get("PLUM_OUTGOING_ALLOW") or "*",
        metavar="PATTERNS",
        help="addresses that http tasks of delegated runs may call, as PLUM_OUTGOING_ALLOW of the controller; default: *",
    )
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this one ends")
    parser.add_argument("--log-level", default=env.get("AGENT_LOG_LEVEL") or "info")
    parser.add_argument("--log-format", default=env.get("PLUM_LOG_FORMAT") or "text", choices=("text", "json"))
    given = parser.parse_args(arguments)
    if not 1 <= given.count <= MAX_COUNT or (given.count > 1 and given.driver != "fake"):
        parser.error(f"--count is {given.count}; use 1 to {MAX_COUNT}, and more than 1 only with --driver fake")
    if given.driver not in ("process", "fake"):
        parser.error(f"AGENT_RUN_MODE is {given.driver}; this agent runs plain processes, set it to process")
    if given.ca_file and not Path(given.ca_file).is_file():
        parser.error(f"--ca-file {given.ca_file}: there is no such file; it is DATA_DIR/pki/ca.crt of the controller")
    if given.join and (given.count > 1 or not given.controller.startswith("https:")):
        parser.error("--join makes this machine one node of a controller that is reached over https")
    try:
        artifact_bytes = parse_bytes(given.artifact_cache)
        fake = FakeOptions.parse(given.fake)
        engine = socket_of(given.engine)
        containers = read_defaults(env)
        task_allow = AllowList.parse(given.task_allow)
        if given.outgoing_allow != "*":
            from plum_client.outgoing_rules import parse_allow_list

            parse_allow_list(given.outgoing_allow)
        if not given.tasks_at_once.isdigit() or int(given.tasks_at_once) < 1:
            raise ValueError(f"PLUM_TASKS_AT_ONCE is {given.tasks_at_once!r}; use a whole number from 1")
        named = env.get("PLUM_DEVICES", "")
        if named.startswith("http"):  # an agent that is a workload itself: its own programs speak to it
            named = ""
        devices = parse_devices(given.device if given.device is not None else [named])
    except ValueError as error:
        parser.error(str(error))
    return Settings(
        node=given.node,
        controller=given.controller,
        data_directory=given.data_dir,
        token=given.token,
        ca_file=given.ca_file,
        join=given.join,
        driver=given.driver,
        fake=fake,
        count=given.count,
        on_stop=given.on_stop,
        address=given.address,
        controller_grpc=given.controller_grpc,
        artifact_bytes=artifact_bytes,
        engine=engine,
        image_directory=(Path(given.image_dir) if given.image_dir else given.data_dir / "images").absolute(),
        containers=containers,
        devices=devices,
        task_allow=task_allow,
        tasks_at_once=int(given.tasks_at_once),
        outgoing_allow=given.outgoing_allow,
        die_with_parent=given.die_with_parent,
        log_level=given.log_level.upper(),
        log_format=given.log_format,
    )
