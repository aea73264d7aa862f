"""From a template to its container: mounts, ports, environment, defaults of the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_agent.artifacts.package import PreparedPackage
from plum_agent.containing import (
    ContainerDefaults,
    container_of,
    entry_command,
    environment_in,
    image_of,
    inside_numbers,
    outside_ports,
)
from plum_agent.devices import Devices
from plum_agent.drivers.base import Bind, Container, Launch, Published, Run
from plum_agent.drivers.container_config import create_body
from plum_agent.environment import Place
from plum_agent.errors import RefusedError
from plum_agent.unit import launch_hash
from plum_schemas.base import ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.template import Template

NOTHING = ContainerDefaults()
PLACE = Place("n", devices=Devices({"sink": Path("/dev/null"), "notes": Path("/etc/hostname"), "gone": Path("/dev/none")}))


def instance(**template: Any) -> Instance:
    made = msgspec.convert({"runtime": "container", "image": "demo:1", **template}, Template)
    return Instance(metadata=ObjectMeta(name="web", namespace="prod", uid="u-1"), spec=InstanceSpec(node_name="n", template=made))


def container(
    folder: Path, numbers: dict[str, int] | None = None, package: PreparedPackage | None = None, **template: Any
) -> Container:
    return container_of(instance(**template), folder, package, numbers or {}, PLACE, NOTHING)


def packaged(folder: Path) -> PreparedPackage:
    (folder / "app" / "lib").mkdir(parents=True)
    return PreparedPackage(folder=folder / "app", entry="start.sh", sha256="0", name="sonar", version="2")


def test_a_relative_mount_is_a_folder_of_the_instance(tmp_path: Path) -> None:
    made = container(tmp_path, mounts=[{"target": "/data/", "source": "data/db", "readOnly": True}])

    assert made.binds == (Bind(tmp_path / "work" / "data" / "db", "/data", read_only=True),)
    assert (tmp_path / "work" / "data" / "db").is_dir()


@pytest.mark.parametrize("source", ["..", "../../etc", "a/../../b"])
def test_a_relative_mount_does_not_leave_the_folder(tmp_path: Path, source: str) -> None:
    with pytest.raises(RefusedError, match="leaves the folder of the instance"):
        container(tmp_path, mounts=[{"target": "/x", "source": source}])


def test_a_link_that_a_workload_made_gives_its_next_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").symlink_to("/etc")

    for source in ("data", "data/ssl"):
        with pytest.raises(RefusedError, match="is a link out of the folder"):
            container(tmp_path, mounts=[{"target": "/x", "source": source}])


def test_what_cannot_be_mounted_is_refused(tmp_path: Path) -> None:
    for target in ("/", "/.plum", "/x/../.plum/init"):
        with pytest.raises(RefusedError, match="cannot be mounted over"):
            container(tmp_path, mounts=[{"target": target, "source": "/etc"}])
    with pytest.raises(RefusedError, match="/no/such/folder does not exist on this node"):
        container(tmp_path, mounts=[{"target": "/x", "source": "/no/such/folder"}])


def test_ports_of_a_private_network_are_published_and_told_apart(tmp_path: Path) -> None:
    ports = [{"name": "a", "port": 80, "hostPort": 8080}, {"name": "b", "port": 53, "protocol": "udp"}, {"name": "c", "port": 0}]
    template = instance(ports=ports, network="private").spec.template

    assert [port.port for port in outside_ports(template)] == [8080, 53, 0]
    numbers = {"a": 8080, "b": 53, "c": 40000}
    assert inside_numbers(template, numbers) == {"a": 80, "b": 53, "c": 40000}
    made = container(tmp_path, numbers, ports=ports, network="private")
    assert made.published == (Published(80, 8080, "tcp"), Published(53, 53, "udp"), Published(40000, 40000, "tcp"))


def test_ports_of_the_network_of_the_node_are_its_own(tmp_path: Path) -> None:
    template = instance(ports=[{"name": "a", "port": 80, "hostPort": 8080}]).spec.template

    assert [port.port for port in outside_ports(template)] == [80]
    assert inside_numbers(template, {"a": 80}) == {"a": 80}
    assert container(tmp_path, {"a": 80}, ports=[{"name": "a", "port": 80}]).published == ()
    assert outside_ports(instance(ports=[{"name": "a", "port": 80}], network="none").spec.template) == []


def test_a_package_is_mounted_and_started_where_it_is(tmp_path: Path) -> None:
    package = packaged(tmp_path)
    made = container(tmp_path, package=package, workingDir="bin")

    assert made.binds[0] == Bind(tmp_path / "app", "/app")
    assert made.work_directory == "/app/bin"
    assert entry_command(instance().spec.template, package) == ["/app/start.sh"]
    assert entry_command(instance(command=["x"]).spec.template, package) == ["x"]


def test_an_image_keeps_its_own_path_and_a_template_wins_over_all(tmp_path: Path) -> None:
    defaults = ContainerDefaults(environment={"SITE": "pier", "MODE": "node"}, controller_host="10.0.0.1", libraries=(tmp_path,))
    weak = {"PATH": "/usr/bin", "HOME": "/x", "LANG": "C.UTF-8"}
    values = {**weak, "MODE": "mine", "CONTROLLER_BASE": "http://127.0.0.1:8080"}
    template = instance(env=[{"name": "MODE", "value": "mine"}]).spec.template

    assert environment_in(values, template, packaged(tmp_path), defaults, weak) == {
        "SITE": "pier",
        "MODE": "mine",
        "CONTROLLER_BASE": "http://10.0.0.1:8080",
        "LD_LIBRARY_PATH": f"/app/lib:{tmp_path}",
    }
    declared = instance(env=[{"name": "PATH", "value": "/usr/bin"}]).spec.template
    assert environment_in(weak, declared, None, NOTHING, weak) == {"PATH": "/usr/bin"}


def test_a_package_without_an_image_takes_that_of_the_node() -> None:
    template = instance(image="", artifact={"name": "a", "version": "1"}).spec.template

    assert image_of(template, ContainerDefaults(base_image="base:1")) == "base:1"
    with pytest.raises(RefusedError, match="set PLUM_BASE_IMAGE"):
        image_of(template, NOTHING)


def test_a_container_gets_its_devices_and_no_others(tmp_path: Path) -> None:
    made = container(tmp_path, resources={"devices": ["sink", "notes", "gone"]})

    assert made.devices == (Path("/dev/null"),)
    assert made.binds == (Bind(Path("/etc/hostname"), "/etc/hostname"),), "what is no device node is mounted"
    launch = Launch(Run("a.u.1.x", tmp_path), ("true",), {}, tmp_path, container=made)
    host = create_body(launch, {}, Path("/init"), "bridge", relabel=False)["HostConfig"]
    assert host["Devices"] == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"}]
    assert container(tmp_path).devices == ()


def test_what_containers_may_do_restarts_them_and_nothing_else() -> None:
    plain = launch_hash(instance().spec.template)

    assert launch_hash(instance(securityContext={}).spec.template) == plain
    assert launch_hash(instance(securityContext={"readOnlyRootFilesystem": True}).spec.template) != plain
    assert launch_hash(instance(init=False).spec.template) != plain
    assert launch_hash(instance(imagePullPolicy="Always", imagePullSecrets=[{"name": "x"}]).spec.template) == plain
