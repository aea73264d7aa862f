"""The numbered examples, as their READMEs tell them: the real command against a real controller and two real agents."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Namespace
from plum_schemas.deployment import DEPLOYMENT_LABEL, REVISION_LABEL
from plum_schemas.instance import Instance
from plum_schemas.node import Node
from plum_schemas.taskrun import TaskRun

from tests.support.docker_engine import Engine, shared_engine
from tests.support.examples import ALL, MANIFESTS, NAMESPACE, OF_DEVICES, OF_PROGRAMS, OF_TRIGGERS, OF_WORKFLOWS, Site
from tests.support.kubernetes_clients import kubeconfig
from tests.support.programs import PROJECT, ControllerProgram, Program, is_running, sandbox

EXAMPLES = [name for name in ALL if name not in OF_PROGRAMS + OF_WORKFLOWS + OF_TRIGGERS + OF_DEVICES]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        told = {"CONTROLLER_GRPC_ADDR": controller.workers}
        agents = [box.agent(f"node-{number}", controller.url, env=told) for number in (1, 2)]
        await asyncio.gather(*agents)
        for number in (1, 2):
            await box.until(lambda name=f"node-{number}": box.node_is(name, "True"))  # type: ignore[misc]
        await box.api().create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
        yield Site(box)


async def hello(site: Site) -> None:
    await site.apply("01-hello")
    (instance,) = await site.ready("hello")
    assert f"hello from {instance.metadata.name} on {instance.spec.node_name}" in await site.plum("logs deployment/hello")

    await site.plum("scale deployment/hello --replicas 3")
    await site.until(lambda: site.box.available("hello", 3, NAMESPACE))
    os.kill(instance.status.pid or 0, signal.SIGKILL)

    async def again() -> bool:
        found = await site.ready("hello")
        return sorted(i.status.restarts for i in found) == [0, 0, 1]

    await site.until(again, what="it runs again")
    pids = [i.status.pid or 0 for i in await site.instances("hello")]
    await site.plum("delete deployment hello")

    async def ended() -> bool:
        return not any(is_running(pid) for pid in pids)

    await site.until(ended, what="all processes have ended")


async def probes(site: Site) -> None:
    await site.apply("02-probes")
    (before,) = await site.ready("probes")
    files = site.folder(before) / "www"

    (files / "ready").unlink()
    await site.until(lambda: _instance(site, "probes", ready=False, restarts=0), what="it is out of service")
    assert "not where it should be" in await site.plum("explain deployment/probes")
    (files / "ready").touch()
    await site.until(lambda: _instance(site, "probes", ready=True, restarts=0), what="it is in service again")
    (now,) = await site.instances("probes")
    assert now.status.pid == before.status.pid

    (files / "alive").unlink()
    await site.until(lambda: _instance(site, "probes", ready=True, restarts=1), what="it was started again")


async def _instance(site: Site, deployment: str, *, ready: bool, restarts: int) -> bool:
    (now,) = await site.instances(deployment)
    return (now.status.ready, now.status.restarts) == (ready, restarts)


async def rollout_and_undo(site: Site) -> None:
    await site.apply("03-rollout-and-undo/v1")
    first = {i.metadata.labels[REVISION_LABEL] for i in await site.ready("web")}
    plan = await site.plum("plan -f manifests/03-rollout-and-undo/v2")
    assert "1 changed" in plan
    assert plan.count("takes its place") == 4
    assert first == {i.metadata.labels[REVISION_LABEL] for i in await site.ready("web")}, "a plan changes nothing"

    await site.apply("03-rollout-and-undo/v2", wait=False)
    assert "is rolled out" in await site.plum("rollout status deployment/web")
    assert not first & {
        i.metadata.labels[REVISION_LABEL] for i in await site.instances("web") if not i.metadata.deletion_timestamp
    }
    assert "v1 -> v2" in await site.plum("rollout history deployment/web")

    await site.plum("rollout undo deployment/web --wait --timeout 30s")
    await site.until(lambda: site.box.available("web", 4, NAMESPACE), what="what was replaced is gone too")
    back = await site.ready("web")
    assert {i.metadata.labels[REVISION_LABEL] for i in back} == first
    assert "version v1" in await site.plum("logs deployment/web")

    await site.plum("scale deployment/web --replicas 6")
    await site.until(lambda: site.box.available("web", 6, NAMESPACE))
    assert {i.status.pid for i in back} <= {i.status.pid for i in await site.instances("web")}


async def automatic_rollback(site: Site) -> None:
    await site.apply("04-automatic-rollback/good")
    good = {i.metadata.name: i.status.pid for i in await site.ready("shop")}

    said = await site.plum("apply -f manifests/04-automatic-rollback/broken --wait --timeout 30s", code=1)

    assert "rolled back" in said
    assert "ended with code 1" in said
    await site.until(lambda: _same(site, "shop", good), what="only the three that work are left")
    assert "RolledBack" in await site.plum("get deployment shop")
    assert "went back to revision 1" in await site.plum("explain deployment/shop")
    assert "RolledBack" in await site.plum("events")


async def _same(site: Site, deployment: str, pids: dict[str, int | None]) -> bool:
    return {i.metadata.name: i.status.pid for i in await site.ready(deployment)} == pids


async def node_replicas(site: Site) -> None:
    await site.apply("05-node-replicas")
    assert await site.nodes("line-control") == ["node-1", "node-1", "node-2"]

    text = (MANIFESTS / "05-node-replicas/probe.yaml").read_text()
    changed = text.replace("{node-1: 2, node-2: 1}", "{node-1: 1, node-2: 2}")
    assert changed != text
    await site.box.plum("apply", "-f", "-", "-n", NAMESPACE, stdin=changed.encode())
    await site.until_nodes("line-control", "node-1", "node-2", "node-2")


async def placement(site: Site) -> None:
    await site.apply("06-placement/nodes.yaml", wait=False)
    await site.apply("06-placement/workloads.yaml", wait=False)
    await site.until_nodes("fast", "node-1")
    await site.until_nodes("database", "node-2")
    await site.until_nodes("spread", "node-1", "node-1", "node-2", "node-2")

    explained = await site.plum("explain deployment/nowhere")
    assert "node-1: NodeSelectorMismatch: nodeSelector wants zone=b; node-1 has zone=a" in explained
    assert "node-2: UntoleratedTaint: node-2 has taint dedicated=database:NoSchedule" in explained

    await site.apply("06-placement/later", wait=False)
    await site.until_nodes("nowhere", "node-2")


async def exclusive_failover(site: Site) -> None:
    await site.apply("07-exclusive-failover/nodes.yaml", wait=False)
    await site.apply("07-exclusive-failover/writer.yaml")
    (before,) = await site.ready("writer")
    node = before.spec.node_name
    other = {"node-1": "node-2", "node-2": "node-1"}[node]

    agent = site.agent(node)
    os.kill(agent, signal.SIGSTOP)
    try:

        async def moved() -> bool:
            running = [i for i in await site.instances("writer") if i.status.ready]
            return [i.spec.node_name for i in running] == [other]

        await site.until(moved, what="the other node has taken over")
        assert not is_running(before.status.pid or 0), "fenced without its agent"
    finally:
        os.kill(agent, signal.SIGCONT)
    await site.until(lambda: site.box.node_is(node, "True"), what="the node is back")
    await site.until_nodes("writer", other)
    Path("/tmp/plum-writer.log").unlink(missing_ok=True)


async def device_bound_exclusive(site: Site) -> None:
    bus = site.box.root / "bus"
    bus.touch()
    for number in (1, 2):
        await next(p for p in reversed(site.box.programs) if p.name == f"agent-node-{number}").stop()
        await site.box.agent(f"node-{number}", site.url, "--device", f"bus={bus}")
    await site.box.agent("node-3", site.url)
    await site.apply("55-device-bound-exclusive/nodes.yaml", wait=False)
    await site.until(lambda: _has_device(site, "node-1", healthy=True), what="the device is announced")
    await site.apply("55-device-bound-exclusive/master.yaml")
    (before,) = await site.ready("bus-master")
    first = before.spec.node_name
    second = {"node-1": "node-2", "node-2": "node-1"}[first]

    def masters() -> list[str]:
        """Who wrote to the bus, one after the other."""
        names = [line.split()[0] for line in bus.read_text().splitlines()]
        return [name for position, name in enumerate(names) if position == 0 or names[position - 1] != name]

    stopped = [site.agent(first), site.agent(second)]
    try:
        os.kill(stopped[0], signal.SIGSTOP)
        await site.until_nodes_of("bus-master", second)
        os.kill(stopped[1], signal.SIGSTOP)

        async def nowhere() -> bool:
            return "node-3: DeviceMissing: node-3 has no healthy device bus" in await site.plum("explain deployment/bus-master")

        await site.until(nowhere, what="nobody takes over where there is no bus")
        os.kill(stopped[0], signal.SIGCONT)
        await site.until_nodes_of("bus-master", first)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert masters() == [first, second, first], "one after the other, never two at once"
    await site.until(lambda: site.box.node_is(second, "True"), what="the node is back")

    bus.unlink()
    await site.until(lambda: _has_device(site, first, healthy=False), what="the device is gone")
    (holder,) = await site.ready("bus-master")
    os.kill(holder.status.pid or 0, signal.SIGKILL)

    async def waits() -> bool:
        return f"device bus is not there: {bus} does not exist" in await site.plum("explain deployment/bus-master")

    await site.until(waits, what="it says what it waits for")
    bus.touch()
    await site.until_nodes("bus-master", first)


async def _has_device(site: Site, node: str, *, healthy: bool) -> bool:
    found = await site.box.api().get(Node, node)
    return found is not None and [device.healthy for device in found.status.devices] == [healthy]


async def canary(site: Site) -> None:
    await site.apply("08-canary/v1")
    old = {i.metadata.labels[REVISION_LABEL] for i in await site.ready("api")}
    await site.apply("08-canary/v2", wait=False)

    async def paused() -> bool:
        return "CanaryPaused" in await site.plum("get deployment api")

    await site.until(paused, what="the canary waits")
    revisions = [i.metadata.labels[REVISION_LABEL] for i in await site.ready("api")]
    assert sum(revision not in old for revision in revisions) == 1
    assert len(revisions) == 4

    await site.plum("rollout resume deployment/api")
    assert "is rolled out" in await site.plum("rollout status deployment/api --timeout 30s")
    assert not old & {i.metadata.labels[REVISION_LABEL] for i in await site.instances("api") if not i.metadata.deletion_timestamp}


async def user_defined_kind(site: Site) -> None:
    await site.apply("09-user-defined-kind")
    table = await site.plum("get sensors")
    assert re.search(r"boiler +bar +100", table), table
    assert "Highest value that is still good" in await site.plum("explain sensors.spec")

    refused = await site.plum("apply -f manifests/09-user-defined-kind/wrong", code=4)

    for mistake in ('sensor.yaml:7: Sensor wrong: spec.unit: Unsupported value: "feet"', "sensor.yaml:8", "did you mean limit?"):
        assert mistake in refused, refused
    assert "wrong" not in await site.plum("get sensors")


async def own_kind_with_rules(site: Site) -> None:
    await site.apply("31-own-kind-with-rules")
    table = await site.plum("get pumps")
    assert re.search(r"north +1 +", table), table

    refused = await site.plum("apply -f manifests/31-own-kind-with-rules/wrong", code=4)

    for said in ("minimum 90 is above maximum 80", "no zone may go above the pump's own maximum", "a pump does not move"):
        assert said in refused, refused
    await site.plum("scale pump/north --replicas 3")
    assert re.search(r"north +3 +", await site.plum("get pumps"))
    await site.plum("delete customresourcedefinition pumps.plant.example.com")


async def own_controller(site: Site) -> None:
    await site.box.plum("apply", "-f", "manifests/30-own-controller")
    url = site.box.api().transport
    assert isinstance(url, HttpTransport)
    command = [sys.executable, str(MANIFESTS / "30-own-controller/controller.py")]
    site.box.start("website-controller", command, env={"PLUM_SERVER": url.url})

    async def ready() -> bool:
        done = await site.box.plum("get", "website", "docs", "-o", "json")
        return bool(json.loads(done.out).get("status", {}).get("ready") == 2)

    await site.until(ready, what="two web servers are ready")
    await site.box.plum("delete", "deployment", "docs")
    await site.until(lambda: site.box.available("docs", 2), what="the Deployment is back")
    await site.until(ready, what="and the status says so")
    pids = [i.status.pid or 0 for i in await site.box.instances("docs")]
    await site.box.plum("delete", "website", "docs")

    async def ended() -> bool:
        left = await site.box.api().list(Instance, "default", labels=f"{DEPLOYMENT_LABEL}=docs")
        return not left.items and not any(is_running(pid) for pid in pids)

    await site.until(ended, what="the Deployment goes with its Website")


async def kopf_operator(site: Site) -> None:
    transport = site.box.api().transport
    assert isinstance(transport, HttpTransport)
    cluster = site.box.root / "kubeconfig"
    cluster.write_text(json.dumps(kubeconfig(transport.url)))
    script = str(MANIFESTS / "32-kopf-operator/operator.py")

    def start() -> Program:
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "-A", script]
        return site.box.start("greeter", command, env={"KUBECONFIG": str(cluster)})

    await site.box.plum("apply", "-f", "manifests/32-kopf-operator")
    operator = start()

    async def greets(text: str, copies: int) -> bool:
        table = (await site.box.plum("get", "greetings")).out
        logs = await site.box.plum("logs", "deployment/hello", ok=False)
        return bool(re.search(rf"hello +{text} +{copies} +{copies} ", table)) and text in logs.out

    await site.until(lambda: greets("good morning", 2), what="two copies say it")
    assert "Deployed" in (await site.box.plum("describe", "greeting", "hello")).out

    operator.kill()
    changed = (MANIFESTS / "32-kopf-operator/greeting.yaml").read_text().replace("morning", "evening").replace("2", "1")
    await site.box.plum("apply", "-f", "-", stdin=changed.encode())
    start()
    await site.until(lambda: greets("good evening", 1), what="it catches up")

    await site.box.plum("delete", "greeting", "hello")

    async def gone() -> bool:
        return not await site.box.instances("hello", "default")

    await site.until(gone, what="the Deployment goes with its Greeting")


async def two_services(site: Site) -> None:
    await site.apply("50-two-services")
    services = await site.plum("get services")
    assert re.search(r"orders +2 +2 ", services), services

    async def ask() -> str:
        address = (await site.plum("resolve shop")).strip()
        with await asyncio.to_thread(urlopen, f"http://{address}/", timeout=5) as answer:
            text: bytes = answer.read()
        return text.decode()

    copies = {i.metadata.name for i in await site.ready("orders")}
    said = [await ask() for _ in range(4)]
    assert all(text.startswith("the shop asked: order 42, says ") for text in said)
    assert {text.split()[-1] for text in said} == copies, "both copies answer"

    stop = asyncio.Event()

    async def keep_asking() -> int:
        count = 0
        while not stop.is_set():
            await ask()
            count += 1
        return count

    asking = asyncio.create_task(keep_asking())
    await site.plum("rollout restart deployment/orders")
    await site.plum("rollout status deployment/orders")
    stop.set()
    assert await asking > 0

    await site.plum("scale deployment/orders --replicas 0")

    async def nobody() -> bool:
        return "NoInstances" in await site.plum("describe service orders")

    await site.until(nobody, what="the Service says that nobody is there")
    assert "no instance offers it" in await site.plum("explain service/orders")
    assert "nobody takes requests" in await site.plum("resolve orders", code=3)


async def http_service_from_zip(site: Site) -> None:
    pushed = await site.plum("artifact push manifests/40-http-service-from-zip/app")
    assert "artifact greeter:1.0.0 pushed" in pushed
    await site.apply("40-http-service-from-zip/greeter.yaml")

    async def greetings(version: str) -> bool:
        said = []
        for instance in await site.ready("greeter"):
            port, name = instance.status.ports[0].port, instance.metadata.name
            transport = HttpTransport(f"http://127.0.0.1:{port}")
            answer = await transport.request("GET", "/")
            await transport.close()
            said.append(answer.body.decode() == f"greeter {version}: instance {name} on {instance.spec.node_name}\n")
        return len(said) == 2 and all(said)

    await site.until(lambda: greetings("1.0.0"), what="both greet")
    await site.plum("artifact push manifests/40-http-service-from-zip/app --version 1.1.0")
    manifest = (await site.plum("get deployment greeter -o yaml")).replace("version: 1.0.0", "version: 1.1.0")
    await site.box.plum("apply", "-f", "-", "--wait", "--timeout", "30s", "-n", NAMESPACE, stdin=manifest.encode())
    await site.until(lambda: greetings("1.1.0"), what="both greet with the new version")

    refused = await site.plum("artifact delete greeter:1.1.0", code=5)
    assert "is in use by deployment/greeter" in refused
    await site.plum("artifact delete greeter:1.0.0")


async def config_and_secret(site: Site) -> None:
    await site.apply("41-config-and-secret/sonar.yaml", wait=False)

    async def waits() -> bool:
        return "needs ConfigMap example/sonar, which does not exist" in await site.plum("explain deployment/sonar", code=0)

    await site.until(waits, what="it says what it needs")
    await site.apply("41-config-and-secret")
    readme = (MANIFESTS / "41-config-and-secret/README.md").read_text()
    promised = readme.split("```text\n")[1].split("```")[0]

    async def told() -> bool:
        return promised in await site.plum("logs deployment/sonar")

    await site.until(told, what="it says what it got")


@asynccontextmanager
async def containers(site: Site) -> AsyncIterator[Engine]:
    """Both agents again, with a container engine, and the image of the examples in it."""
    with shared_engine() as engine:
        for node in ("node-1", "node-2"):
            await next(p for p in reversed(site.box.programs) if p.name == f"agent-{node}").stop()
        server = site.box.api().transport
        assert isinstance(server, HttpTransport)
        for node in ("node-1", "node-2"):
            await site.box.agent(node, server.url, "--engine", f"unix://{engine.socket}")
        environment = {**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"}
        made = await asyncio.create_subprocess_exec(
            str(MANIFESTS / "45-image/make-image.sh"), env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0

        async def have_engines() -> bool:
            nodes = await site.box.api().list(Node)
            return len(nodes) == 2 and all("container" in node.status.runtimes for node in nodes)

        await site.until(have_engines, what="both nodes run containers")
        yield engine


def remaining(engine: Engine, deployment: str) -> list[str]:
    names = engine.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()
    return [name for name in names if name.startswith(f"plum-app-{deployment}-")]


async def image(site: Site) -> None:
    async with containers(site) as engine:
        await site.apply("45-image/hello.yaml")
        found = await site.ready("hello-image")
        for instance in found:
            transport = HttpTransport(f"http://127.0.0.1:{instance.status.ports[0].port}")
            answer = await transport.request("GET", "/")
            await transport.close()
            assert answer.body.decode() == f"hello from {instance.metadata.name} on {instance.spec.node_name}\n"
        assert len(found) == 2
        assert "hello from hello-image-" in await site.plum("logs deployment/hello-image")
        assert "uid=1000 gid=1000" in (await site.box.plum("exec", "-n", NAMESPACE, "deployment/hello-image", "--", "id")).out
        assert len(remaining(engine, "hello-image")) == 2

        await site.plum("delete deployment hello-image")

        async def gone() -> bool:
            return not remaining(engine, "hello-image")

        await site.until(gone, what="no container is left")


async def zip_in_base_image(site: Site) -> None:
    async with containers(site) as engine:
        await site.plum("artifact push manifests/46-zip-in-base-image/app")
        await site.apply("46-zip-in-base-image/boxed.yaml")
        readme = (MANIFESTS / "46-zip-in-base-image/README.md").read_text()
        assert readme.split("```text\n")[1].split("```")[0] == await site.plum("logs deployment/boxed")

        await site.plum("delete deployment boxed")

        async def gone() -> bool:
            return not remaining(engine, "boxed")

        await site.until(gone, what="no container is left")


async def tasks(site: Site) -> None:
    await site.apply("57-tasks/tasks.yaml", wait=False)

    async def run(task: str, *parameters: str, code: int = 0) -> str:
        words = [word for parameter in parameters for word in ("--param", parameter)]
        done = await site.box.plum("run", f"task/{task}", *words, "--wait", "-n", NAMESPACE, ok=code == 0)
        assert done.code == code, done.out + done.err
        return done.out + done.err

    assert '"greeting": "hello Ada"' in await run("greet", 'input={"name": "Ada"}')
    said = await run("disk")
    assert '"usedPercent"' in said
    name = said.split()[0].partition("/")[2]
    assert "looking at /" in await site.plum(f"logs taskrun/{name}")
    assert "spec.payload.path" in await run("disk", "path=etc", code=1)
    await run("flaky")
    assert '"stdout": "4\\n"' in await run("words", "text=four words are here")
    first = (await site.plum("run task/nap --param customer=ada")).split()[0].partition("/")[2]

    async def phase(name: str, wanted: str) -> bool:
        return (await site.plum(f"get taskrun {name} -o jsonpath={{.status.phase}}")).strip() == wanted

    await site.until(lambda: phase(first, "Running"))
    second = (await site.plum("run task/nap --param customer=ada")).split()[0].partition("/")[2]
    await site.until(lambda: phase(first, "Canceled"))
    await site.until(lambda: phase(second, "Running"))
    assert "is executed by node" in await site.plum(f"explain taskrun/{second}")
    await site.plum(f"task cancel {second} --wait")

    await site.apply("57-tasks/adder.yaml")
    assert '"sum": 5' in await run("add", "a=2", "b=3")
    (address,) = (await site.plum("resolve adder")).split()[:1]
    assert '"copy": "adder-' in await run("fetch", f"url=http://{address}/")
    await site.plum("delete deployment adder")


async def worker(site: Site) -> None:
    await site.plum("artifact push manifests/58-worker/app")
    manifest = (MANIFESTS / "58-worker/worker.yaml").read_text().replace("value: python3", f"value: {sys.executable}")
    await site.box.plum("apply", "-f", "-", "--wait", "--timeout", "30s", "-n", NAMESPACE, stdin=manifest.encode())

    async def workers() -> bool:
        shown = await site.plum("get workers")
        return shown.count("Ready") == 2 and shown.count("count-words,shout") == 2

    await site.until(workers, what="both workers are registered")
    await site.apply("58-worker/run.yaml", wait=False)

    async def counted() -> bool:
        return "to: 2" in await site.plum("get taskrun first -o yaml")

    await site.until(counted, what="the words are counted")
    await site.apply("58-worker/slow.yaml", wait=False)

    async def holder() -> str:
        run = await site.box.api().get(TaskRun, "slow", NAMESPACE)
        return run.status.worker if run is not None and run.status.progress else ""

    name = await site.until(holder, what="it is under way")
    assert "progress" in await site.plum("get taskrun slow -o yaml")
    described = await site.plum(f"describe worker {name}")
    assert "count-words" in described and "Connected" in described
    (instance,) = [one for one in await site.ready("counter") if one.metadata.name == name]
    os.kill(instance.status.pid or 0, signal.SIGKILL)

    async def again() -> bool:
        run = await site.box.api().get(TaskRun, "slow", NAMESPACE)
        assert run is not None
        return run.status.phase == "Succeeded" and run.status.attempt == 2

    await site.until(again, seconds=50, what="the other worker, or the next one, has done it")
    await site.plum("delete deployment counter")


async def kv_checkpoint(site: Site) -> None:
    await site.apply("70-kv-checkpoint/nodes.yaml", wait=False)
    manifest = (MANIFESTS / "70-kv-checkpoint/job.yaml").read_text().replace("- python3", f"- {sys.executable}")
    await site.box.plum("apply", "-f", "-", "--wait", "--timeout", "30s", "-n", NAMESPACE, stdin=manifest.encode())

    async def counted() -> int:
        done = await site.box.plum("kv", "get", "done", "-n", "job-long", ok=False)
        return int(done.out) if done.code == 0 else 0

    async def beyond(step: int) -> bool:
        return await counted() > step

    async def running() -> Instance:
        (instance,) = await site.ready("long-job")
        return instance

    await site.until(lambda: beyond(5), 40, what="it counts")
    first = await running()
    os.kill(first.status.pid or 0, signal.SIGKILL)
    reached = await counted()
    await site.until(lambda: beyond(reached + 5), 40, what="it goes on after it was killed")
    node = first.spec.node_name
    last = await running()
    os.kill(site.agent(node), signal.SIGKILL)
    os.kill(last.status.pid or 0, signal.SIGKILL)
    reached = await counted()
    await site.until(lambda: beyond(reached + 5), 60, what="it goes on where another node has taken over")

    started = json.loads((await site.box.plum("kv", "list", "-n", "job-long", "started/", "--values", "-o", "json")).out)
    nodes = [entry["value"] for entry in started]
    assert nodes[:2] == [node, node] and nodes[-1] != node
    path = f"{site.url}/apis/plum.dev/v1/namespaces/job-long/kvs/done/history?limit=10000"
    history = json.loads(await asyncio.to_thread(lambda: urlopen(path).read()))
    steps = [int(version["object"]["spec"]["value"]) for version in history["items"]]
    assert sorted(steps) == list(range(1, len(steps) + 1)), "each step was counted once"


async def gitops(site: Site) -> None:
    """Follows a copy of the folder; the controller is killed in between."""
    folder = site.box.root / "fleet"
    shutil.copytree(MANIFESTS / "80-gitops/fleet", folder)
    text = (MANIFESTS / "80-gitops/sync.yaml").read_text().replace("/tmp/fleet", str(folder))
    (site.box.root / "sync.yaml").write_text(text)
    await site.plum(f"apply -f {site.box.root}/sync.yaml")

    async def says(*wanted: str) -> bool:
        done = await site.box.plum("sync", "status", "fleet", "-n", NAMESPACE, ok=False)
        return all(text in done.out for text in wanted)

    async def running(name: str, count: int) -> bool:
        return len([i for i in await site.box.instances(name, "pier") if i.status.ready]) == count

    await site.until(lambda: running("report", 1), what="report runs after clock")
    await site.until(lambda: says("fleet: Synced", "Deployment   pier/report"), what="synced")
    before = (await site.box.plum("get", "configmaps", "-n", "pier", "-o", "name")).out.split()

    (folder / "greeting.txt").write_text("good evening\n")
    changed = folder / "clock.yaml"

    async def renamed() -> bool:
        return (await site.box.plum("get", "configmaps", "-n", "pier", "-o", "name")).out.split() != before

    await site.until(renamed, what="the words have a new name")
    await site.until(lambda: running("clock", 1), what="the clock runs with the new words")
    await site.box.plum("scale", "deployment/clock", "--replicas", "3", "-n", "pier")
    await site.until(lambda: says("spec.replicas by plum-scale, set right"), what="drift is told")
    good = changed.read_text()
    changed.write_text(good.replace("replicas: 1", "replicas: two"))
    await site.until(lambda: says("Failed", 'clock.yaml:5: Deployment clock: spec.replicas is "two"'), what="the mistake is told")

    controller = next(p for p in site.box.programs if isinstance(p, ControllerProgram))
    controller.kill()
    folder.rename(site.box.root / "away")
    await site.box.restarted(controller)
    await site.until(lambda: says("Failed", "nothing is changed or deleted"), what="a folder that is away")
    assert await running("report", 1)
    changed = site.box.root / "away/clock.yaml"
    changed.write_text(good.replace("replicas: 1", "replicas: 2"))
    (site.box.root / "away").rename(folder)
    await site.until(lambda: running("clock", 2), what="the folder is followed again")
    await site.until(lambda: says("fleet: Synced"), what="synced again")
    await site.plum("sync rollback fleet --reason 'too many'")
    await site.until(lambda: running("clock", 1), what="back to one clock")
    assert await says("held", "too many")


STORIES: dict[str, Callable[[Site], Coroutine[Any, Any, None]]] = {
    "01-hello": hello,
    "02-probes": probes,
    "03-rollout-and-undo": rollout_and_undo,
    "04-automatic-rollback": automatic_rollback,
    "05-node-replicas": node_replicas,
    "06-placement": placement,
    "80-gitops": gitops,
    "07-exclusive-failover": exclusive_failover,
    "08-canary": canary,
    "09-user-defined-kind": user_defined_kind,
    "30-own-controller": own_controller,
    "31-own-kind-with-rules": own_kind_with_rules,
    "32-kopf-operator": kopf_operator,
    "40-http-service-from-zip": http_service_from_zip,
    "41-config-and-secret": config_and_secret,
    "45-image": image,
    "46-zip-in-base-image": zip_in_base_image,
    "50-two-services": two_services,
    "55-device-bound-exclusive": device_bound_exclusive,
    "57-tasks": tasks,
    "58-worker": worker,
    "70-kv-checkpoint": kv_checkpoint,
}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_example_does_what_its_readme_says(example: str, site: Site) -> None:
    await STORIES[example](site)


@pytest.mark.parametrize("example", ALL)
def test_the_readme_names_files_that_exist(example: str) -> None:
    readme = (MANIFESTS / example / "README.md").read_text()

    named = {path.rstrip("/.") for path in re.findall(r"manifests/[\w./-]+", readme)}

    assert named, "it tells what to apply"
    for path in named:
        assert (PROJECT / path).exists(), path
