"""A kopf operator for tests: `kopf run` as a process of its own, as its documentation starts it.

    Operator(cluster, "claims.py", folder).start("--standalone", "-n", "default") -> log file, kill, stop

The operators are in `tests/integration/clients/operators`; kopf and `kubernetes` in them find the server by KUBECONFIG.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.kubernetes_clients import Cluster, until

OPERATORS = Path(__file__).parents[1] / "integration" / "clients" / "operators"

EXAMPLES = "kopf.dev"
"""The group that kopf's documentation uses for its own examples and for peering."""


class Operator:
    """One operator program, started as often as a test likes. All starts write to one log."""

    def __init__(self, cluster: Cluster, script: str | Path, folder: Path, name: str = "operator") -> None:
        self._cluster = cluster
        self._script = OPERATORS / script
        self._log = folder / f"{name}.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str) -> Operator:
        assert self._process is None, "it runs already"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kopf", "run", *flags, str(self._script)],
                stdout=output,
                stderr=output,
                env={**os.environ, "KUBECONFIG": str(self._cluster.kubeconfig)},
            )
        return self

    @property
    def log(self) -> str:
        return self._log.read_text()

    def said(self, text: str, count: int = 1) -> bool:
        assert self._process is None or self._process.poll() is None, f"the operator has ended:\n{self.log[-3000:]}"
        return self.log.count(text) >= count

    def until_said(self, text: str, count: int = 1, seconds: float = 25.0) -> None:
        until(lambda: self.said(text, count), seconds, what=f"the operator says {text!r}; it said\n{self.log[-3000:]}")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and wait for a clean end."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        assert self._process.wait(20) in (0, -signal.SIGTERM), self.log[-3000:]
        self._process = None

    def kill(self) -> None:
        """`kill -9`. Safe to repeat."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def example_definition(plural: str, kind: str, scope: str = "Namespaced", short: str = "") -> dict[str, Any]:
    """A CRD as kopf's documentation writes them: a status that takes anything, and no subresources."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), **({"shortNames": [short]} if short else {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{EXAMPLES}"},
        "spec": {
            "scope": scope,
            "group": EXAMPLES,
            "names": names,
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
                }
            ],
        },
    }
