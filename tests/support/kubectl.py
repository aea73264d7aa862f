"""The real kubectl of one release, pointed at a server by a kubeconfig, and the manifests its tests use.

    started_server -> Kubectl(release, kubeconfig, folder) -> run("get", "deploy") -> output, or a failed test

Each has a home of its own, so that the caches of kubectl are those of one server.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from tests.support.kubectl_program import RELEASE, kubectl_path

Test = TypeVar("Test", bound=Callable[..., Any])

CLIENT = f"kubectl {RELEASE}"
SECONDS = 40.0
"""For one command; pytest ends a test after 60."""


def does(*operations: str, refused: str = "") -> Callable[[Test], Test]:
    """Marks a test for the table of clients: what it shows that kubectl does, or is refused."""
    keywords = {"refused": refused} if refused else {}

    def decorate(test: Test) -> Test:
        for operation in operations:
            test = pytest.mark.client(CLIENT, operation, **keywords)(test)
        return test

    return decorate


def require(release: str = RELEASE) -> str:
    """The program; skips the test aloud where the machine lacks it."""
    program = kubectl_path(release)
    if program is None:
        pytest.skip(f"KUBECTL {release} IS MISSING: nothing proves that it works against this server")
    return program


@dataclass(frozen=True)
class Kubectl:
    """One kubectl with its kubeconfig. Files go to `folder`."""

    program: str
    kubeconfig: Path
    folder: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        own = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}
        return subprocess.Popen(
            [self.program, *arguments], env={**os.environ, **own, **environment}, cwd=self.folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, stdin: str = "", **environment: str) -> str:
        """The output, both streams. Fails the test when the exit code is another."""
        process = self.start(*arguments, **environment)
        output, errors = process.communicate(stdin, timeout=SECONDS)
        assert process.returncode == code, f"kubectl {' '.join(arguments)} ended with {process.returncode}:\n{output}{errors}"
        return output + errors

    def refused(self, *arguments: str, **environment: str) -> str:
        """The output of a command that must fail."""
        return self.run(*arguments, code=1, **environment)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """The table of `get`, headings first, split at two spaces or more."""
        lines = self.run("get", *arguments).splitlines()
        return [re.split(r" {2,}", line.strip()) for line in lines]

    def file(self, name: str, *documents: dict[str, Any]) -> str:
        path = self.folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    def editor(self, old: str, new: str) -> str:
        """A program that replaces a text in the file it is given: a value for KUBE_EDITOR."""
        path = self.folder / "editor"
        path.write_text(f'#!/bin/sh\nsed -i "s/{old}/{new}/" "$1"\n')
        path.chmod(0o755)
        return str(path)


def deployment(name: str, replicas: int = 1, *, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {"replicas": replicas, "template": {"command": ["sleep", "60"]}, **(spec or {})},
    }
