"""The programs in docs/operators.md run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kubernetes_clients import Cluster

PAGE = Path(__file__).parents[3] / "docs/operators.md"
PROGRAMS = dict(re.findall(r"^## (\w+)\n\n```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("library", "says"), [("kubernetes", "ADDED {'max': '10'}"), ("kr8s", "['sleeper']"), ("lightkube", "['light']")]
)
def test_a_program_of_the_page_runs(cluster: Cluster, library: str, says: str) -> None:
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}

    done = subprocess.run([sys.executable, "-c", PROGRAMS[library]], env=env, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stdout.strip()) == (0, says), done.stderr


def test_every_program_of_the_page_is_run() -> None:
    assert set(PROGRAMS) == {"kubernetes", "kr8s", "lightkube"}
    assert PAGE.read_text().count("```python") == len(PROGRAMS)
