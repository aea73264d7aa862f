"""The table of Kubernetes clients in the documentation, written from the tests that drive them.

    @pytest.mark.client("kubectl 1.32", "get -o wide")    a test that runs the client
        --run with --client-table FILE--> Outcome per mark --> rows, worst outcome first --> FILE

Nothing is written after a failure: the file in the repository always comes from a run in which all was well. The rows hold
no times and stand in sorted order, so a run that found the same writes the same.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.support.kubectl_program import kubectl_path

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "docs" / "kubernetes-clients.md"

PROPERTY = "kubernetes client"
"""Under this name a test's marks travel with its report, also from another process of pytest-xdist."""

INTRODUCTION = """# Kubernetes clients, as tested

Plum's API follows the Kubernetes API, so programs written for a cluster work against Plum unchanged. This page says which ones
were run, what they did, and what came of it. It is written by the tests themselves (`make clients`): every row stands for at
least one test that starts the real client, unpatched, and points it at a real Plum server.

- **works**: the client did it, and the test looked at the objects or at the output afterwards.
- **refused**: Plum has no such thing. The client says so in one sentence, as given here, and nothing is changed.
- **not run**: the machine on which this page was written lacks the client.

What each thing means for Plum's own kinds is told in `docs/kubectl.md` and `docs/operators.md`; what is known to be missing,
in `docs/limits.md`.
"""

WORKS, REFUSED, NOT_RUN = "works", "refused", "not run"
_ORDER = {WORKS: 0, REFUSED: 1, NOT_RUN: 2}


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One operation of one client."""

    client: str
    operation: str
    result: str
    reason: str = ""


def marks_of(item: pytest.Item) -> list[tuple[str, str, str]]:
    """Client, operation and the reason of a refusal, of every `client` mark. Raises for a mark that is written wrongly."""
    found = []
    for mark in item.iter_markers("client"):
        if len(mark.args) != 2 or set(mark.kwargs) - {"refused"}:
            raise pytest.UsageError(f"{item.nodeid}: use client(name, operation) or client(name, operation, refused=reason)")
        found.append((str(mark.args[0]), str(mark.args[1]), str(mark.kwargs.get("refused", ""))))
    return found


def merge(rows: Iterable[Row]) -> list[Row]:
    """One row per client and operation, sorted. Of several outcomes the weakest stands."""
    merged: dict[tuple[str, str], Row] = {}
    for row in rows:
        other = merged.get((row.client, row.operation))
        if other is None or (_ORDER[row.result], row.reason) > (_ORDER[other.result], other.reason):
            merged[row.client, row.operation] = row
    return sorted(merged.values(), key=lambda row: (_natural(row.client), row.operation))


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts `1.9` before `1.10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def found_version(client: str) -> str:
    """`kubectl 1.32` -> `1.32.4`: the version of what is installed. Empty when there is nothing to ask."""
    name, _, wanted = client.partition(" ")
    if name == "kubectl":
        program = kubectl_path(wanted)
        if program is None:
            return ""
        answer = subprocess.run([program, "version", "--client"], capture_output=True, text=True, timeout=20, check=False)
        match = re.search(r"Client Version: v(\d+\.\d+\.\d+)", answer.stdout)
        return match.group(1) if match else ""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def render(rows: Iterable[Row], versions: dict[str, str]) -> str:
    """The page. `versions` by client, as far as they are known."""
    parts = [INTRODUCTION]
    client = None
    for row in merge(rows):
        if row.client != client:
            client = row.client
            known = f", found as {versions[client]}" if versions.get(client) else ""
            parts.append(f"\n## {client}{known}\n\n| operation | result |\n|---|---|\n")
        result = f"{row.result}: {row.reason}" if row.reason else row.result
        parts.append(f"| {_cell(row.operation)} | {_cell(result)} |\n")
    return "".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def listed(page: str) -> set[tuple[str, str]]:
    """Client and operation of every row of a page."""
    found = set()
    client = ""
    for line in page.splitlines():
        if line.startswith("## "):
            client = line[3:].partition(", found as ")[0]
        elif client and line.startswith("| ") and not line.startswith("| operation |"):
            operation = re.split(r"(?<!\\) \| ", line[2:])[0]
            found.add((client, operation.replace("\\|", "|")))
    return found


def expected(items: Iterable[pytest.Item]) -> set[tuple[str, str]]:
    """Client and operation of every marked test, written as `listed` reads them."""
    return {(client, " ".join(operation.split())) for item in items for client, operation, _ in marks_of(item)}


class ClientTable:
    """Pytest plugin: collects the outcomes of a run and writes the page at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown" or (report.when == "setup" and report.passed):
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, (list, tuple)):
                client, operation, refusal = map(str, value)
                self._rows.append(_row(client, operation, refusal, report))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.OK or not self._rows:
            return
        versions = {client: found_version(client) for client in {row.client for row in self._rows}}
        self._path.write_text(render(self._rows, versions))


def _row(client: str, operation: str, refusal: str, report: pytest.TestReport) -> Row:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        return Row(client, operation, NOT_RUN, reason.removeprefix("Skipped: "))
    return Row(client, operation, REFUSED if refusal else WORKS, refusal)
