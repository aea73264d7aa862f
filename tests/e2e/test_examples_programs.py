"""Examples with programs that others wrote, as their READMEs tell them: the commands of each README, word for word.

Debian's packages are installed where they are missing. All examples share one controller, two agents and the Docker Engine of
the tests; what a README keeps in /var/lib is in a folder of the test.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.support.docker_engine import Engine, install, own_folder, shared_engine
from tests.support.examples import MANIFESTS, OF_PROGRAMS, Site, commands_of
from tests.support.programs import PROJECT, is_running, sandbox

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

PACKAGES = {
    "redis-server": "redis-server", "redis-cli": "redis-tools", "nginx": "nginx", "pg_lsclusters": "postgresql",
    "mosquitto": "mosquitto", "mosquitto_sub": "mosquitto-clients", "wrk": "wrk", "curl": "curl",
}  # fmt: skip
DATA = "/var/lib/plum-example"


class Trial(Site):
    """The site, its engine, and READMEs whose data is in a folder of the test."""

    def __init__(self, site: Site, engine: Engine, data: Path) -> None:
        super().__init__(site.box, "default")
        self.engine = engine
        self.data = data

    async def follow(self, example: str, block: int) -> str:
        """Run a block of commands of a README. What they wrote to stdout."""
        folder = self.data / "manifests" / example
        if not folder.exists():
            shutil.copytree(MANIFESTS / example, folder)
            for path in folder.glob("*.yaml"):
                path.write_text(self._here(path.read_text()))
        commands = self._here(commands_of(example)[block]).replace(f"manifests/{example}/", f"{folder}/")
        return await self.run(commands, self.engine_environment)

    @property
    def engine_environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.engine.socket}"}

    def _here(self, text: str) -> str:
        """Data elsewhere, and the PostgreSQL that this machine has."""
        release = max((int(path.name) for path in Path("/usr/lib/postgresql").glob("[0-9]*")), default=15)
        return text.replace(DATA, str(self.data)).replace("postgresql/15", f"postgresql/{release}")

    async def inside(self, deployment: str, command: str) -> str:
        """What a command beside an instance says, whether it succeeds or not."""
        done = await self.box.plum("exec", f"deployment/{deployment}", "--", "sh", "-c", command, ok=False)
        return (done.out + done.err).strip()

    async def crash(self, deployment: str) -> Instance:
        """`kill -9` of its only process; returns when the next one is ready."""
        (before,) = await self.ready(deployment)
        os.kill(before.status.pid or 0, signal.SIGKILL)

        async def again() -> bool:
            return [i.status.restarts for i in await self.ready(deployment)] == [before.status.restarts + 1]

        await self.until(again, 40, f"{deployment} runs again")
        return before

    async def containers(self, deployment: str) -> int:
        """How many containers it has, by the word of the engine."""
        listed = await asyncio.to_thread(self.engine.docker, "ps", "--format", "{{.Names}}")
        return sum(name.startswith(f"plum-app-{deployment}-") for name in listed.stdout.split())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Trial]:
    install(PACKAGES)
    with shared_engine() as engine, own_folder() as data:
        data.chmod(0o755)  # others than root run below it
        (data / "site").mkdir()
        async with sandbox(data / "site") as box:
            controller = await box.controller()
            for number in (1, 2):
                await box.agent(f"node-{number}", controller.url, "--engine", f"unix://{engine.socket}")

            async def have_engines() -> bool:
                nodes = [node for node in await box.api().list(Node) if await box.node_is(node.metadata.name, "True")]
                return len(nodes) == 2 and all("container" in node.status.runtimes for node in nodes)

            await box.until(have_engines, what="both nodes run containers")
            yield Trial(Site(box), engine, data)


@pytest_asyncio.fixture(loop_scope="module")
async def trial(shared: Trial) -> AsyncIterator[Trial]:
    yield shared
    for deployment in await shared.box.api().list(Deployment, "default"):
        await shared.plum(f"delete deployment {deployment.metadata.name} --wait")


async def http_service(trial: Trial) -> None:
    said = await trial.follow("47-http-service-from-image", 0)
    instances = await trial.ready("greeter-image")
    told = {f"greeter-image 1.0.0: instance {i.metadata.name} on {i.spec.node_name}" for i in instances}
    assert len(told) == 2
    assert said.splitlines()[-1] in told
    assert await trial.containers("greeter-image") == 2


async def redis(trial: Trial) -> None:
    said = await trial.follow("51-redis", 0)
    assert said.splitlines()[-1] == "42", said
    before = await trial.crash("redis")
    assert await trial.inside("redis", "redis-cli -p $PORT get answer") == "42", "what it was told outlives a crash"
    assert "NOAUTH" in await trial.inside("redis", "env -u REDISCLI_AUTH redis-cli -p $PORT get answer")

    said = await trial.follow("51-redis", 1)

    assert said.splitlines()[-1] == "42", said
    assert not is_running(before.status.pid or 0)
    assert await trial.containers("redis") == 1
    assert "NOAUTH" in await trial.inside("redis", "env -u REDISCLI_AUTH redis-cli -p $PORT get answer")
    await trial.plum(f"apply -f {trial.data}/manifests/51-redis/process.yaml --wait")
    assert await trial.inside("redis", "redis-cli -p $PORT get answer") == "42", "and back"
    assert await trial.containers("redis") == 0


async def nginx(trial: Trial) -> None:
    said = await trial.follow("52-nginx", 0)
    assert said.splitlines()[-2:] == ["hello from nginx", "only for administrators"], said
    assert "401" in await trial.run("curl -sI http://$(plum resolve nginx)/admin.html", {})
    processes = [i.status.pid or 0 for i in await trial.ready("nginx")]

    said = await trial.follow("52-nginx", 1)

    assert said.splitlines()[-1] == "hello from nginx", said
    assert await trial.containers("nginx") == 2
    assert "401" in await trial.run("curl -sI http://$(plum resolve nginx)/admin.html", {})
    assert not any(is_running(pid) for pid in processes)


async def postgresql(trial: Trial) -> None:
    said = await trial.follow("53-postgresql", 0)
    assert said.splitlines()[-1] == "40", said
    assert "database system was shut down at" in await trial.plum("logs deployment/postgresql"), "it was stopped as it should be"
    await trial.crash("postgresql")
    assert await trial.inside("postgresql", "psql -Atc 'select metres from depths'") == "40"
    assert "was interrupted" in await trial.plum("logs deployment/postgresql"), "this time it was not"
    assert "password authentication failed" in await trial.inside("postgresql", "PGPASSWORD=wrong psql -c 'select 1'")

    said = await trial.follow("53-postgresql", 1)

    assert said.splitlines()[-1] == "40", said
    assert await trial.containers("postgresql") == 1
    assert "database system was shut down at" in await trial.plum("logs deployment/postgresql")
    assert "password authentication failed" in await trial.inside("postgresql", "PGPASSWORD=wrong psql -c 'select 1'")


async def mosquitto(trial: Trial) -> None:
    said = await trial.follow("54-mosquitto", 0)
    assert said.splitlines()[-1] == "40", "retained messages are written down when it stops: " + said
    wrong = "mosquitto_pub -p $PORT -u sonar -P wrong -t depth -m 41"
    assert "not authorised" in await trial.inside("mosquitto", wrong)

    said = await trial.follow("54-mosquitto", 1)

    assert said.splitlines()[-1] == "40", said
    assert await trial.containers("mosquitto") == 1
    assert "not authorised" in await trial.inside("mosquitto", wrong)


async def rolling_restart_under_load(trial: Trial, rounds: int = 1) -> None:
    """Without the README's own commands: here the load goes on for as long as the restarts take."""
    await trial.run("manifests/image-of.sh plum-example/nginx:1 --user www-data nginx", trial.engine_environment)
    await trial.plum("apply -f manifests/52-nginx/config.yaml -f manifests/52-nginx/process.yaml --wait")
    script = MANIFESTS / "56-rolling-restart-under-load/gate.py"
    python = str(PROJECT / ".venv/bin/python")
    gate = trial.box.start(
        "gate", [python, "-u", str(script), "0", "nginx"], env={"PLUM_SERVER": trial.url}, stdout=subprocess.PIPE
    )
    assert gate.process.stdout is not None
    line = await asyncio.to_thread(gate.process.stdout.readline)
    address = line.decode().split()[0]
    output = trial.box.root / "wrk.out"
    with output.open("wb") as file:
        command = ["wrk", "-t", "1", "-c", "16", "-d", "1200s", "--timeout", "20s", address]
        load = subprocess.Popen(command, stdout=file, stderr=file, env=trial.box.environment())
    try:
        first = {i.metadata.name for i in await trial.ready("nginx")}
        for _ in range(rounds):
            for runtime in ("container", "process"):
                await trial.plum("rollout restart deployment/nginx --wait")
                await trial.plum(f"apply -f manifests/52-nginx/{runtime}.yaml --wait")
        assert not first & {i.metadata.name for i in await trial.ready("nginx")}, "all were replaced"
        assert load.poll() is None, "the load never stopped"
        load.send_signal(signal.SIGINT)
        await asyncio.to_thread(load.wait, 30)
    finally:
        load.kill()
        load.wait()
        gate.kill()
    said = output.read_text()
    requests = re.search(r"(\d+) requests in", said)

    assert requests and int(requests[1]) > 100, said
    assert "Socket errors" not in said, said
    assert "Non-2xx" not in said, f"{said}\n{gate.process.stdout.read().decode()}"


STORIES: dict[str, Callable[[Trial], Coroutine[Any, Any, None]]] = {
    "47-http-service-from-image": http_service,
    "51-redis": redis,
    "52-nginx": nginx,
    "53-postgresql": postgresql,
    "54-mosquitto": mosquitto,
    "56-rolling-restart-under-load": rolling_restart_under_load,
}


@pytest.mark.parametrize("example", OF_PROGRAMS)
async def test_the_example_does_what_its_readme_says(example: str, trial: Trial) -> None:
    await STORIES[example](trial)


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_many_rolling_restarts_under_load_lose_no_request(trial: Trial) -> None:
    await rolling_restart_under_load(trial, rounds=20)
