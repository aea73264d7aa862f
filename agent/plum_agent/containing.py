"""From an instance to its container: image, mounts, published ports, environment. Pure but for the folders of its mounts.

    template + what was prepared + defaults of this node -> container_of -> Container, for the launch

An application from a zip is mounted at /app of a base image. Its environment is the image's own, then what Plum tells every
workload, then what the template declares; nothing of the agent's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec
from plum_schemas.instance import Instance
from plum_schemas.quantities import parse_quantity
from plum_schemas.template import Mount, Port, Template

from plum_agent.artifacts.package import PreparedPackage
from plum_agent.drivers.base import Bind, Container, Published
from plum_agent.drivers.container_config import OWN
from plum_agent.environment import DEVICES_INSIDE, Place, is_apart
from plum_agent.errors import RefusedError

APP = "/app"
"""Where an unpacked package is inside its container."""
OF_IMAGES = ("PATH", "HOME", "LANG")
"""Variables that Plum gives a process, and an image gives its container."""


@dataclass(frozen=True, slots=True)
class ContainerDefaults:
    """What this node says about all of its containers; see docs/agent.md."""

    base_image: str = ""
    """For packages whose template names no image."""
    memory_bytes: int | None = None
    """Limit of containers that have none of their own."""
    cpu_millis: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Weaker than everything else."""
    libraries: tuple[Path, ...] = ()
    """Folders of this node that containers see, read-only, at the same place, and search for libraries."""
    controller_host: str = ""
    """Host at which containers reach the controller; empty: where the agent does."""
    network: str = "bridge"
    """Network of the engine that `network: private` means."""


def image_of(template: Template, defaults: ContainerDefaults) -> str:
    """Raises `RefusedError` when nobody names one."""
    image = template.image or defaults.base_image
    if not image:
        message = "a package runs in a base image: name one in spec.template.image, or set PLUM_BASE_IMAGE on this node"
        raise RefusedError("ImageMissing", message)
    return image


def outside_ports(template: Template) -> list[Port]:
    """The ports an instance takes of its node."""
    if template.runtime != "container" or template.network == "host":
        return template.ports
    if template.network == "none":
        return []
    return [msgspec.structs.replace(one, port=one.port if one.host_port is None else one.host_port) for one in template.ports]


def inside_numbers(template: Template, numbers: Mapping[str, int]) -> dict[str, int]:
    """The numbers the workload listens on, from those of the node."""
    if template.runtime != "container" or template.network == "host":
        return dict(numbers)
    return {port.name: port.port or numbers.get(port.name, 0) for port in template.ports}


def container_of(
    instance: Instance,
    folder: Path,
    package: PreparedPackage | None,
    numbers: Mapping[str, int],
    place: Place,
    defaults: ContainerDefaults,
    owner: tuple[int, int] | None = None,
) -> Container:
    """`folder` is that of the instance; folders for relative mounts are made in it, for `owner`, or for a user by number.

    Raises `RefusedError`.
    """
    template, metadata = instance.spec.template, instance.metadata
    own = folder / "work"
    devices = [place.devices.paths[name] for name in template.resources.devices if name in place.devices.paths]
    nodes = [path for path in devices if path.is_char_device() or path.is_block_device()]
    if package is not None and package.image:
        package = None  # nothing was unpacked: the image has all of it
    binds = [Bind(package.folder, APP)] if package is not None else []
    if package is None:
        binds += [Bind(own / one.path, one.path, read_only=True) for one in template.files]
    binds += [Bind(path, str(path), read_only=True) for path in defaults.libraries if path.is_dir()]
    binds += [_bind(own, mount, owner or _by_number(template.user)) for mount in template.mounts]
    inside = inside_numbers(template, numbers)
    if is_apart(template) and (sockets := place.device_folder(metadata.namespace)) is not None:
        binds.append(Bind(sockets, DEVICES_INSIDE, read_only=True))
    binds += [Bind(path, str(path)) for path in devices if path not in nodes and path.exists()]
    pids = template.resources.limits.get("pids")
    labels = {"instance": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid, "node": place.node}
    return Container(
        image=image_of(template, defaults),
        name=metadata.name,
        labels={f"plum.dev/{name}": value for name, value in labels.items()},
        work_directory=str(PurePosixPath(APP, template.working_dir)) if package is not None else template.working_dir,
        binds=tuple(binds),
        network=template.network,
        published=tuple(
            Published(inside[port.name], numbers[port.name], "udp" if port.protocol == "udp" else "tcp")
            for port in template.ports
            if template.network == "private" and port.name in numbers
        ),
        pids=int(parse_quantity(pids)) if pids is not None else None,
        devices=tuple(nodes),
        init=template.init,
        security=template.security_context,
    )


def environment_in(
    values: Mapping[str, str],
    template: Template,
    package: PreparedPackage | None,
    defaults: ContainerDefaults,
    weak: Mapping[str, str],
) -> dict[str, str]:
    """What a container gets of the environment a process would get. `weak`: values of Plum's own that an image has better."""
    declared = {variable.name for variable in template.env}
    found = {name: value for name, value in values.items() if name in declared or weak.get(name) != value}
    if "CONTROLLER_BASE" in found and defaults.controller_host and "CONTROLLER_BASE" not in declared:
        found["CONTROLLER_BASE"] = _on_host(found["CONTROLLER_BASE"], defaults.controller_host)
    libraries = [f"{APP}/lib"] if package is not None and (package.folder / "lib").is_dir() else []
    libraries += [str(path) for path in defaults.libraries if path.is_dir()]
    if libraries and "LD_LIBRARY_PATH" not in declared:
        found["LD_LIBRARY_PATH"] = ":".join(libraries)
    return {**defaults.environment, **found}


def entry_command(template: Template, package: PreparedPackage | None) -> Sequence[str]:
    """What runs in the container; empty: what the image says."""
    if template.command or package is None or package.image:
        return template.command
    return [str(PurePosixPath(APP, package.entry))]


def _bind(own: Path, mount: Mount, owner: tuple[int, int] | None) -> Bind:
    target = PurePosixPath(os.path.normpath(mount.target))
    if str(target) in ("/", "//") or target.is_relative_to(OWN):
        raise RefusedError("MountInvalid", f"mounts: {mount.target} cannot be mounted over; choose another target")
    source = Path(mount.source)
    if source.is_absolute():
        if not source.exists():
            raise RefusedError("MountMissing", f"mounts: {source} does not exist on this node; create it")
        return Bind(source, str(target), mount.read_only)
    source = own / mount.source
    if not Path(os.path.normpath(source)).is_relative_to(own):
        raise RefusedError("MountInvalid", f"mounts: {mount.source} leaves the folder of the instance; use an absolute path")
    if not source.resolve().is_relative_to(own.resolve()):
        # The workload may write there: a link that it made must not give its next run a folder of the node.
        raise RefusedError("MountInvalid", f"mounts: {mount.source} is a link out of the folder of the instance; remove it")
    if not source.exists():
        source.mkdir(parents=True)
        if owner is not None and os.geteuid() == 0:
            os.chown(source, *owner)
    return Bind(source, str(target), mount.read_only)


def _by_number(user: str) -> tuple[int, int] | None:
    uid, _, gid = user.partition(":")
    return (int(uid), int(gid) if gid.isdigit() else int(uid)) if uid.isdigit() else None


def _on_host(address: str, host: str) -> str:
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port and ":" not in host else ""
    return parts._replace(netloc=f"{host}{port}").geturl()
