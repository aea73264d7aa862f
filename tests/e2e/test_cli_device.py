"""`plum device` against a real controller and a simulated radar: set, operate, history, and what is said when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_cli.errors import FAILED, INVALID, NOT_FOUND, TIMEOUT

from tests.support.command import Plum
from tests.support.server import started_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running.url


@pytest.fixture(scope="module")
def radar(server: str) -> Iterator[str]:
    """A radar whose time runs fast."""
    words = ["device", "simulate", "radar", "radar-1", "--server", server, "--interval", "0.2", "--speed", "10"]
    process = subprocess.Popen([sys.executable, "-m", "plum_cli", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "radar-1: Radar" in process.stdout.readline()
    yield "radar-1"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture
def plum(server: str, radar: str, tmp_path: Path) -> Plum:
    plum = Plum(server, tmp_path)
    deadline = time.monotonic() + 40
    while plum("device", "get", radar).code == NOT_FOUND:
        assert time.monotonic() < deadline, "the radar never announced itself"
        time.sleep(0.1)
    return plum


def test_a_device_is_looked_at_set_and_operated(plum: Plum, radar: str) -> None:
    assert plum.ok("device", "set", radar, "range=4500", "mode=scan", "--wait").lines[-1] == "radar-1 is there"
    result = json.loads(plum.ok("device", "operate", radar, "scan", "sector=3", "--wait", "--not-after", "30s").out)
    assert result["sector"] == 3

    listed = plum.ok("device", "list").lines
    assert listed[1].split()[:3] == ["radar-1", "Radar", "true"]
    described = plum.ok("device", "get", radar).out
    assert "scan sector=<a whole number from 1 to 8>" in described
    assert "4500" in described
    assert plum.ok("device", "get", radar, "-o", "json").json()["spec"]["desired"] == {"range": 4500.0, "mode": "scan"}
    assert "Succeeded" in plum.ok("device", "operations", radar).out
    plum.ok("device", "set", radar, "--unset", "mode")
    assert plum.ok("device", "get", radar, "-o", "json").json()["spec"]["desired"] == {"range": 4500.0}


def test_what_it_reported_is_shown_over_time(plum: Plum, radar: str) -> None:
    deadline = time.monotonic() + 40
    while len(plum.ok("device", "history", radar, "azimuth", "-o", "json").json()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        plum.ok("device", "set", radar, "mode=scan")

    table = plum.ok("device", "history", radar, "azimuth", "--since", "10m", "--limit", "3").lines
    assert table[0].split() == ["TIME", "VALUE", "QUALITY"]
    assert [line.split()[2] for line in table[1:4]] == ["good"] * 3
    all_of_it = plum.ok("device", "history", radar).out
    assert {line.split()[0] for line in all_of_it.splitlines()[1:]} >= {"azimuth", "mode", "range", "temperature"}
    spans = plum.ok("device", "history", radar, "azimuth", "--step", "1m").lines
    assert spans[0].split() == ["TIME", "PROPERTY", "COUNT", "MIN", "AVG", "MAX", "LAST"]
    assert (
        plum.ok("device", "history", radar, "azimuth", "--since", "10m", "--until", "9m").out
        == "radar-1 reported nothing since 10m\n"
    )


def test_an_operation_is_cancelled(plum: Plum, radar: str) -> None:
    made = plum.ok("device", "operate", radar, "scan", "sector=1", "sweeps=100").out.split()[1]
    assert plum.ok("device", "cancel", made).out == f"{made} is to stop\n"
    deadline = time.monotonic() + 40
    while plum.ok("get", "operation", made, "-o", "jsonpath={.status.phase}").out.strip() != "Canceled":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    late = plum("device", "cancel", made)
    assert late.code == FAILED and "has ended as Canceled already" in late.err


def test_what_cannot_be_done_is_said_with_what_can(plum: Plum, radar: str) -> None:
    wrong = plum("device", "set", radar, "range=9")
    assert wrong.code == INVALID and "use a number from 100 to 5000 m" in wrong.err
    read_only = plum("device", "set", radar, "temperature=9")
    assert read_only.code == INVALID and "there is no property 'temperature'" in read_only.err
    unknown = plum("device", "operate", radar, "sing")
    assert unknown.code == INVALID and "track target=<a whole number>" in unknown.err
    missing = plum("device", "operate", radar, "scan")
    assert missing.code == INVALID and "operation scan needs sector" in missing.err
    failed = plum("device", "operate", radar, "track", "target=99", "--wait")
    assert failed.code == FAILED and "no target 99" in failed.err
    nobody = plum("device", "operate", "radar-9", "scan")
    assert nobody.code == NOT_FOUND
    slow = plum("device", "operate", radar, "scan", "sector=1", "sweeps=100", "--wait", "--timeout", "200ms")
    assert slow.code == TIMEOUT and "plum explain operation/" in slow.err
    plum.ok("device", "cancel", slow.err.split("operation ")[1].split()[0])
