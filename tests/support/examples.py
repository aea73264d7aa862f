"""A site for the numbered examples: a controller and two nodes, commands as a README writes them, and the README's own commands.

site.plum("apply -f manifests/01-hello --wait")     one command
await site.run(commands_of("51-redis")[0], {...})   a whole block of a README, as a shell would run it
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from plum_client.http_transport import HttpTransport
from plum_schemas.instance import Instance

from tests.support.programs import PROJECT, Sandbox

MANIFESTS = PROJECT / "manifests"
NAMESPACE = "example"
ALL = sorted(path.name for path in MANIFESTS.glob("[0-9][0-9]-*") if any(path.iterdir()))
OF_PROGRAMS = (
    "47-http-service-from-image", "51-redis", "52-nginx", "53-postgresql", "54-mosquitto", "56-rolling-restart-under-load",
)  # fmt: skip
"""Those of tests/e2e/test_examples_programs.py; all others are in tests/e2e/test_examples.py."""

OF_WORKFLOWS = (
    "60-sequence", "61-branch-and-join", "62-loop", "63-map", "64-subworkflow", "65-approval", "66-rollout-and-rollback",
    "71-delegated-subworkflow",
)  # fmt: skip
"""Those of tests/e2e/test_examples_workflows.py."""

OF_TRIGGERS = ("67-cron-report", "68-webhook-deploy", "69-device-survey")
"""Those of tests/e2e/test_examples_triggers.py."""

OF_DEVICES = ("75-devices", "76-http-device", "77-serial-device")
"""Those of tests/e2e/test_examples_devices.py."""


def commands_of(example: str) -> list[str]:
    """The blocks of commands in a README."""
    parts = (MANIFESTS / example / "README.md").read_text().split("\n```")
    return [part.removeprefix("\n") for part in parts[1::2] if part.startswith("\n")]


class Site:
    """A controller, two nodes, and a namespace for examples."""

    def __init__(self, box: Sandbox, namespace: str = NAMESPACE) -> None:
        self.box = box
        self.namespace = namespace

    async def plum(self, line: str, *, code: int = 0) -> str:
        """Run a command line as a README writes it. Both outputs."""
        done = await self.box.plum(*shlex.split(line), "-n", self.namespace, ok=False)
        assert done.code == code, f"plum {line} ended with {done.code}\n{done.out}{done.err}"
        return done.out + done.err

    async def apply(self, path: str, *, wait: bool = True) -> str:
        return await self.plum(f"apply -f manifests/{path}" + (" --wait --timeout 30s" if wait else ""))

    async def instances(self, deployment: str) -> list[Instance]:
        return await self.box.instances(deployment, self.namespace)

    async def ready(self, deployment: str) -> list[Instance]:
        found = await self.instances(deployment)
        return found if found and all(i.status.ready for i in found) else []

    async def nodes(self, deployment: str) -> list[str]:
        return sorted(i.spec.node_name for i in await self.ready(deployment))

    async def until(self, condition: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 40.0, what: str = "") -> Any:
        return await self.box.until(condition, seconds, what=what)

    async def until_nodes(self, deployment: str, *nodes: str) -> None:
        async def there() -> bool:
            return await self.nodes(deployment) == list(nodes)

        await self.until(there, what=f"{deployment} runs on {nodes}")

    async def until_nodes_of(self, deployment: str, *nodes: str) -> None:
        """Those that are ready; others may be on nodes that are away."""

        async def there() -> bool:
            return sorted(i.spec.node_name for i in await self.instances(deployment) if i.status.ready) == list(nodes)

        await self.until(there, what=f"{deployment} is ready on {nodes}")

    def folder(self, instance: Instance) -> Path:
        """The working folder of an instance."""
        return self.box.root / "agents" / instance.spec.node_name / f"{self.namespace}_{instance.metadata.name}" / "work"

    def agent(self, node: str) -> int:
        return next(p.pid for p in reversed(self.box.programs) if p.name == f"agent-{node}")

    @property
    def url(self) -> str:
        transport = self.box.api().transport
        assert isinstance(transport, HttpTransport)
        return transport.url

    async def run(self, commands: str, env: Mapping[str, str], seconds: float = 60.0) -> str:
        """A block of a README in the folder of the project. It must succeed; what it wrote to stdout."""
        path = f"{PROJECT / '.venv/bin'}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", commands,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=PROJECT,
            env=self.box.environment({"PLUM_SERVER": self.url, "NO_COLOR": "1", "PATH": path, **env}),
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {commands}\n{self.box.logs()}\n{await self.box.explained()}") from None
        assert process.returncode == 0, (
            f"{commands}\nended with {process.returncode}\n{out.decode()}{err.decode()}\n{self.box.logs()}"
        )
        return out.decode()
