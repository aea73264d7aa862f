"""Instances in containers, from the object to the container and back: a real controller, a real agent, a real engine."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import socket
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import plum_schemas
import plum_worker
import pytest
from plum_schemas.artifact import Artifact, ArtifactSpec, PortMapping
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import InstanceStatus
from plum_schemas.node import Node

from tests.support.agent import NODE, Site, alive, running_site, until, until_async
from tests.support.devices import ask_for, ended, resource_until
from tests.support.docker_engine import IMAGE, Engine, own_engine, own_folder, shared_engine
from tests.support.image_registry import USERS, registry

HTTPD = "mkdir -p /tmp/w && echo hello >/tmp/w/index.html && exec httpd -f -p $PORT -h /tmp/w"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


@pytest.fixture
async def site(tmp_path: Path, engine: Engine) -> AsyncIterator[Site]:
    async with running_site(tmp_path, "--engine", f"unix://{engine.socket}") as running:
        await has_containers(running)
        yield running
        await forget(running, engine)


@pytest.fixture
def own() -> Iterator[Path]:
    with own_folder() as folder:
        yield folder


async def has_containers(site: Site) -> Node:
    found: Node = await until_async(
        lambda: site.api.get(Node, NODE), lambda node: node and "container" in node.status.runtimes, 20
    )
    return found


async def forget(site: Site, engine: Engine) -> None:
    """Take all containers of this site's agent away."""
    agent = (site.data / NODE / "agent-id").read_text().strip()
    for line in engine.docker("ps", "-aq", "-f", f"label=plum.dev/agent={agent}").stdout.split():
        engine.docker("rm", "-f", line, ok=False)


async def create(site: Site, name: str, script: str, **template: Any) -> None:
    await site.create(name, ["sh", "-c", script], **{"runtime": "container", "image": IMAGE} | template)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def reasons(status: InstanceStatus) -> dict[str, str]:
    return {one.type: one.reason for one in status.conditions}


async def test_an_instance_runs_in_a_container_and_goes_with_it(site: Site, engine: Engine) -> None:
    port = free_port()
    probe = {"readiness": {"http": {"port": "http", "path": "/"}, "period": "100ms"}}
    await create(site, "web", HTTPD, ports=[{"name": "http", "port": port}], probes=probe, env=[{"name": "A", "value": "b c"}])

    status = await site.wait("web", lambda status: status.ready)
    found = msgspec.json.decode(engine.docker("inspect", status.container_id).stdout)[0]

    assert found["Name"] == "/plum-app-web"
    assert found["State"]["Pid"] == status.pid
    variables = dict(line.split("=", 1) for line in found["Config"]["Env"])
    assert variables.keys() == {
        "A", "PORT", "PORT_HTTP", "PLUM_APP_NAME", "PLUM_APP_VERSION", "PLUM_INSTANCE_ID", "PLUM_RUN", "WORKER_NODE_ID",
        "CONTROLLER_BASE", "PLUM_NAMESPACE", "PLUM_DEVICES",
    }  # fmt: skip
    assert (variables["A"], variables["WORKER_NODE_ID"], variables["PLUM_INSTANCE_ID"]) == ("b c", NODE, "web")

    await site.delete("web")
    await site.gone("web")
    assert engine.docker("ps", "-aq", "--no-trunc", "-f", f"id={status.container_id}").stdout == ""


async def test_a_run_that_fails_is_started_again_and_its_output_is_kept(site: Site, engine: Engine) -> None:
    await create(site, "job", "echo run; sleep 0.2; exit 3", backoff={"initial": "100ms", "max": "100ms"})

    status = await site.wait("job", lambda status: status.restarts >= 2)

    assert status.last_exit is not None
    assert (status.last_exit.code, status.last_exit.reason) == (3, "Error")
    assert (site.run_folder("job", status.restarts) / "stdout.log").read_text() == "run\n"
    names = engine.docker("ps", "-a", "--format", "{{.Names}}", "-f", "label=plum.dev/instance=job").stdout.split()
    assert len(names) <= 1


async def test_an_agent_that_was_killed_finds_its_containers_and_what_ended(site: Site, engine: Engine) -> None:
    await create(site, "stays", "while :; do echo tick; sleep 0.1; done")
    await create(site, "ends", "while [ ! -e /signal/go ]; do sleep 0.05; done; exit 7", restartPolicy="Never",
                 mounts=[{"target": "/signal", "source": "signal"}])  # fmt: skip
    before, ending = await site.running("stays"), await site.running("ends")

    site.end_agent(signal.SIGKILL)
    written = (site.run_folder("stays") / "stdout.log").stat().st_size
    (site.data / NODE / "default_ends" / "work" / "signal" / "go").touch()
    await until(lambda: not alive(ending.pid or 0), what="its end")
    await until(lambda: (site.run_folder("stays") / "stdout.log").stat().st_size > written, what="output without an agent")
    site.start_agent("--engine", f"unix://{engine.socket}")

    ended = await site.wait("ends", lambda status: status.phase == "Failed")
    after = await site.running("stays")
    assert ended.exit is not None and ended.exit.code == 7
    assert (after.pid, after.container_id, after.restarts) == (before.pid, before.container_id, 0)
    await site.patch("stays", {"state": "Stopped"})
    stopped = await site.wait("stays", lambda status: status.phase == "Stopped")
    assert stopped.last_exit is not None and stopped.last_exit.signal == "SIGTERM"


async def test_leftovers_of_a_lost_data_directory_are_not_taken_for_ours(site: Site, engine: Engine) -> None:
    """Another agent with another identity leaves them alone; the one with the same identity clears them away."""
    agent = (site.data / NODE / "agent-id").read_text().strip()
    for name, owner in (("ours", agent), ("theirs", "somebody")):
        marker = f"{owner}.0000.1.abcdef"
        labels = ["--label", f"plum.dev/run={marker}", "--label", f"plum.dev/agent={owner}"]
        engine.docker("create", *labels, "--name", f"{agent}-{name}", IMAGE, "true")

    site.end_agent(signal.SIGTERM)
    site.start_agent("--engine", f"unix://{engine.socket}")

    async def names() -> list[str]:
        return sorted(engine.docker("ps", "-a", "--format", "{{.Names}}", "-f", f"name={agent}-").stdout.split())

    await until_async(names, lambda found: found == [f"{agent}-theirs"])
    engine.docker("rm", "-f", f"{agent}-theirs")


async def test_a_private_network_is_probed_and_told_by_the_ports_of_the_node(site: Site) -> None:
    outside = free_port()
    await create(
        site, "web", HTTPD, network="private", ports=[{"name": "http", "port": 80, "hostPort": outside}],
        probes={"readiness": {"http": {"port": "http", "path": "/"}, "period": "100ms"}},
    )  # fmt: skip

    status = await site.wait("web", lambda status: status.ready)

    assert [(port.name, port.port) for port in status.ports] == [("http", outside)]


async def test_probes_and_hooks_run_inside_the_container(site: Site) -> None:
    await create(
        site, "web", "touch /tmp/up; trap 'exit 0' TERM; while :; do sleep 0.05; done",
        probes={"readiness": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "period": "100ms"}},
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo bye >/work/bye"]}}},
        mounts=[{"target": "/work", "source": "."}],
    )  # fmt: skip
    await site.wait("web", lambda status: status.ready)

    await site.patch("web", {"state": "Stopped"})
    stopped = await site.wait("web", lambda status: status.phase == "Stopped")

    assert stopped.last_exit is not None and stopped.last_exit.code == 0
    assert (site.data / NODE / "default_web" / "work" / "bye").read_text() == "bye\n"


@pytest.mark.parametrize("user", ["other", "other:other", "of the image", "1234"])
async def test_files_and_folders_belong_to_whoever_runs_inside(site: Site, engine: Engine, user: str) -> None:
    image = "plum-test/as-other:1"
    engine.make_image(image, "USER other", files={"etc/group": b"root:x:0:\nother:x:1235:\n"})
    script = "id; cat conf/secret; echo written >/data/file; ls -ln conf/secret /data/file; exec sleep 100"
    as_user = {} if user == "of the image" else {"user": user}
    files, mounts = [{"path": "conf/secret", "value": "s3cret"}], [{"target": "/data", "source": "data"}]
    await create(site, "reader", script, image=image, files=files, mounts=mounts, **as_user)

    await site.running("reader")

    output = site.run_folder("reader") / "stdout.log"
    await until(lambda: "/data/file" in output.read_text(), what="its output")
    said = output.read_text()
    group = {"other:other": "1235"}.get(user, "1234")
    assert f"uid=1234(other) gid={group}" in said
    assert "s3cret" in said
    assert re.search(rf"-rw------- +1 1234 +{group} .* conf/secret", said), said
    assert re.search(r"1234 .* /data/file", said), said
    listed = await asyncio.to_thread(engine.docker, "ps", "-a", "--format", "{{.Names}}")
    assert "plum-look-" not in listed.stdout, "nothing is left of looking"


async def test_running_out_of_memory_is_told(site: Site) -> None:
    await create(
        site, "hungry", "x=a; while :; do x=$x$x$x; done", restartPolicy="Never", resources={"limits": {"memory": "16Mi"}}
    )

    status = await site.wait("hungry", lambda status: status.phase == "Failed")

    assert status.exit is not None
    assert (status.exit.reason, status.exit.signal) == ("OutOfMemory", "SIGKILL")
    assert reasons(status)["ResourceLimits"] == "Enforced"


async def test_a_missing_image_waits_with_a_reason_and_starts_when_it_comes(site: Site, engine: Engine) -> None:
    await create(site, "later", "exec sleep 100", image="plum-test/later:1", imagePullPolicy="Never")
    status = await site.wait("later", lambda status: reasons(status).get("Prepared") == "ImageMissing")
    assert status.phase == "Preparing"

    (site.data / "images").mkdir()
    engine.docker("tag", IMAGE, "plum-test/later:1")
    engine.docker("save", "-o", str(site.data / "images" / "later.tar"), "plum-test/later:1")
    engine.docker("rmi", "plum-test/later:1")

    await site.running("later")
    engine.docker("rmi", "-f", "plum-test/later:1")


async def test_a_private_registry_is_opened_by_a_secret(site: Site, engine: Engine, tmp_path: Path) -> None:
    with registry(tmp_path / "registry", USERS) as private:
        image = private.push(engine, IMAGE, "team/app:1", ("someone", "secret"))
        await create(site, "app", "exec sleep 100", image=image, imagePullSecrets=[{"name": "pull"}])
        await site.wait("app", lambda status: reasons(status).get("Prepared") == "SecretMissing")

        credentials = {"username": "c29tZW9uZQ==", "password": "c2VjcmV0", "server": _encoded(private.address)}
        await site.api.create(Secret(metadata=ObjectMeta(name="pull", namespace="default"), data=credentials))
        await site.wait("app", lambda status: status.phase == "Running", 30)
    assert "secret" not in site.log.read_text()
    engine.docker("rmi", "-f", image)


def _encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()


async def test_a_package_runs_in_a_base_image(site: Site) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(
            "start.sh", '#!/bin/sh\ncd "$(dirname "$0")"\necho "$PLUM_APP_NAME in $PWD with $LD_LIBRARY_PATH"\nexec sleep 100\n'
        )
        package.writestr("meta.ini", "name=SonarSim\nversion=2.1.0\n")
        package.writestr("lib/libx.so", "")
    content = buffer.getvalue()

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/app.zip"
        artifact = {"url": url, "sha256": sha256(content).hexdigest()}
        await site.create("sonar", [], runtime="container", image=IMAGE, artifact=artifact)
        await site.running("sonar")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    output = site.run_folder("sonar") / "stdout.log"
    await until(lambda: output.read_text(), what="its output")
    assert output.read_text() == "SonarSim in /app with /app/lib\n"


async def test_an_artifact_that_is_an_image_brings_image_ports_and_name(site: Site, engine: Engine) -> None:
    script = f"sh -c '{HTTPD.replace('$PORT', '8000')}'"
    engine.make_image("plum-test/as-artifact:1", f"CMD {script}")
    outside = free_port()
    ports = [PortMapping(name="http", container=8000, host=outside, service_name="greeter", protocol="http")]
    spec = ArtifactSpec(name="greeter", version="1.0.0", type="image", image="plum-test/as-artifact:1", ports=ports)
    await site.api.create(Artifact(metadata=ObjectMeta(name="greeter-1.0.0", namespace="default"), spec=spec))
    wanted: dict[str, Any] = {"artifact": {"name": "greeter", "version": "1.0.0"}, "network": "private"}
    await site.create("web", [], runtime="container", **wanted)
    await site.create("process", [], artifact=wanted["artifact"])
    await site.create("two", [], runtime="container", image=IMAGE, **wanted)

    status = await site.running("web")

    assert [(port.name, port.port) for port in status.ports] == [("http", outside)]
    details = engine.docker("inspect", "plum-app-web").stdout
    assert '"PLUM_APP_NAME=greeter"' in details
    assert '"PLUM_APP_VERSION=1.0.0"' in details
    for name, words in (("process", "runtime: container"), ("two", "leave out spec.template.image")):
        refusal = await site.wait(name, lambda status: any(one.reason == "ArtifactIsImage" for one in status.conditions))
        assert any(words in one.message for one in refusal.conditions), name
    services = await until_async(lambda: site.api.list(Endpoint, "default"), lambda found: found.items)
    assert [(one.spec.service, one.spec.port, one.spec.protocol) for one in services.items] == [("greeter", outside, "http")]

    site.end_agent()
    site.start_agent("--engine", f"unix://{engine.socket}")
    adopted = await site.wait("web", lambda status: status.phase == "Running" and status.pid)
    assert (adopted.pid, adopted.restarts, [port.port for port in adopted.ports]) == (status.pid, 0, [outside])
    await site.delete("web")
    await site.gone("web", 30)


async def test_without_an_engine_the_node_says_so_and_the_instance_waits_for_it(tmp_path: Path, own: Path) -> None:
    flags = ("--engine", f"unix://{own}/e/engine.sock")
    async with running_site(tmp_path, *flags) as site:
        await create(site, "web", "exec sleep 100")
        status = await site.wait("web", lambda status: reasons(status).get("Prepared") == "EngineUnavailable")
        assert "install and start a container engine" in status.message
        node = await site.api.get(Node, NODE)
        assert node is not None and node.status.runtimes == ["process"] and node.status.engine is None

        with own_engine(own):
            node = await has_containers(site)
            assert node.status.engine is not None and node.status.engine.available
            assert node.metadata.labels["plum.dev/container-engine"] == "docker"
            await site.running("web")
            await site.delete("web")
            await site.gone("web")


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [True, False], ids=["live restore", "no live restore"])
async def test_an_engine_that_is_killed_and_restarted(tmp_path: Path, own: Path, keeps: bool) -> None:
    """Killed, it takes nothing with it: runs go on, are stopped and noticed. What its restart kills is started again."""
    flags = ("--live-restore",) if keeps else ()
    with own_engine(own, *flags) as engine:
        async with running_site(tmp_path, "--engine", f"unix://{engine.socket}") as site:
            await has_containers(site)
            await create(site, "web", "while :; do echo tick; sleep 0.05; done", backoff={"initial": "100ms", "max": "1s"})
            await create(site, "stopped", "exec sleep 100")
            await create(site, "died", "exec sleep 100", restartPolicy="Never")
            before, died = await site.running("web"), await site.running("died")
            await site.running("stopped")

            engine.kill()
            await until_async(lambda: site.api.get(Node, NODE), lambda node: node and node.status.runtimes == ["process"])
            written = (site.run_folder("web") / "stdout.log").stat().st_size
            await until(lambda: (site.run_folder("web") / "stdout.log").stat().st_size > written, what="output without an engine")
            await site.patch("stopped", {"state": "Stopped"})
            status = await site.wait("stopped", lambda status: status.phase == "Stopped")
            assert status.last_exit is not None and status.last_exit.signal == "SIGTERM"
            os.kill(died.pid or 0, signal.SIGKILL)
            status = await site.wait("died", lambda status: status.phase == "Failed")
            assert status.exit is not None and status.exit.signal == "SIGKILL"

            engine.start(*flags)
            await has_containers(site)
            if keeps:
                await asyncio.sleep(0.5)
                after = await site.running("web")
                assert (after.pid, after.restarts) == (before.pid, 0)
            else:
                after = await site.wait("web", lambda status: status.phase == "Running" and status.pid != before.pid, 30)
                assert after.restarts >= 1
            await until_async(lambda: asyncio.to_thread(engine.docker, "ps", "-aq"), lambda done: len(done.stdout.split()) == 1)
            await site.delete("web")
            await site.gone("web")


async def test_a_container_with_a_network_of_its_own_speaks_to_the_agent_for_its_device(site: Site, engine: Engine) -> None:
    """Also to the next agent, and also as a user that is not root."""
    folders = [sys.prefix, sys.base_prefix, *(str(Path(package.__path__[0]).parent) for package in (plum_worker, plum_schemas))]
    binds = [(folder, folder) for folder in folders] + [("/usr/lib", "/lib"), ("/usr/lib64", "/lib64"), ("/usr/lib", "/usr/lib")]
    program = [sys.executable, "-m", "plum_worker.simulator", "valve", "valve-9", "--speed", "20"]
    mounts = [{"source": source, "target": target, "readOnly": True} for source, target in binds]
    image = {"runtime": "container", "image": IMAGE, "network": "private", "user": "1234"}
    env = [{"name": "CONTROLLER_BASE", "value": "http://nowhere.invalid"}]
    await site.create("pump", program, **image, mounts=mounts, env=env)

    there = await resource_until(site.api, "valve-9", lambda status: status.connection.online)
    first = await ended(site.api, await ask_for(site.api, "valve-9"))
    before = await site.running("pump")
    site.end_agent(signal.SIGKILL)
    site.start_agent("--engine", f"unix://{engine.socket}")
    second = await ended(site.api, await ask_for(site.api, "valve-9"))

    assert (there.connection.node, first.phase, second.phase) == (NODE, "Succeeded", "Succeeded")
    assert second.session == first.session == there.connection.session, "the program went on"
    assert (await site.running("pump")).pid == before.pid
