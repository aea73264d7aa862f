"""`plum logs` of several instances on several nodes: prefixes, --since, --tail, --previous, and nodes that are away."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from tests.support.kubectl import deployment
from tests.support.view_site import COUNTING, ViewSite

pytestmark = pytest.mark.slow
FOLLOW_ONE = """
import sys
from plum_cli.commands import logs
from plum_cli.main import main
logs.MAX_FOLLOWED = 1
sys.exit(main(sys.argv[1:]))
"""
ALL = ("logs", "deployment/many", "--all-instances")


@pytest.fixture(scope="module")
def many(two_nodes: ViewSite) -> ViewSite:
    """Three that count, of which one has crashed once."""
    spec = {"template": {"command": COUNTING, "metadata": {"labels": {"app": "many"}}}}
    once = {"template": {"command": ["sh", "-c", "test -e seen || { touch seen; echo boom; exit 1; }; echo again; sleep 1000"]}}
    two_nodes.apply(deployment("many", 3, spec=spec), deployment("once", 1, spec=once))
    two_nodes.pods("many", 3)
    two_nodes.until(lambda: two_nodes.plum("logs", "deployment/once").out, lambda text: text == "again\n")
    return two_nodes


def sources(text: str) -> set[str]:
    return {found[1] for line in text.splitlines() if (found := re.match(r"\[([\w-]+)\] ", line))}


def test_every_line_names_its_instance_and_tail_counts_for_each(many: ViewSite) -> None:
    names = {pod.metadata.name for pod in many.pods("many", 3)}

    done = many.plum.ok(*ALL, "--tail", "2")

    assert len({pod.spec.node_name for pod in many.pods("many", 3)}) == 2
    assert sources(done.out) == names
    assert len(done.lines) == 6
    assert all(re.fullmatch(r"\[many-\w+-\d\] line \d+", line) for line in done.lines)


def test_since_is_a_duration_or_a_time(many: ViewSite) -> None:
    began = datetime.now(UTC)
    time.sleep(1.2)
    everything = len(many.plum.ok(*ALL).lines)

    moment = len(many.plum.ok(*ALL, "--since", began.isoformat()).lines)
    duration = len(many.plum.ok(*ALL, "--since", "1s").lines)
    wrong = many.plum(*ALL, "--since", "yesterday-ish")

    assert 3 < moment < everything + 9
    assert 3 < duration <= moment + 9
    assert len(many.plum.ok(*ALL, "--since", "2020-01-01T00:00:00Z").lines) >= everything
    assert wrong.code == 2 and "yesterday-ish" in wrong.err


def test_an_instance_without_a_run_before_does_not_hide_those_with_one(many: ViewSite) -> None:
    done = many.plum("logs", "-l", "plum.dev/deployment in (many,once)", "--previous")
    none = many.plum(*ALL, "--previous")

    assert done.code == 0
    assert re.fullmatch(r"\[once-\w+-0\] boom\n", done.out)
    assert done.err.count("has no previous run") == 3
    assert none.code == 1 and none.out == ""


def test_no_more_instances_are_followed_than_anybody_reads(many: ViewSite) -> None:
    command = [sys.executable, "-c", FOLLOW_ONE, *ALL, "-f", "--server", many.server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None and follower.stderr is not None
        refused = [follower.stderr.readline() for _ in range(2)]
        lines = [follower.stdout.readline() for _ in range(6)]
        follower.terminate()

    assert all("is not followed: 1 instances are" in line for line in refused)
    assert len(sources("".join(lines))) == 1


def test_a_node_that_is_away_hides_only_its_own(many: ViewSite) -> None:
    away = {pod.metadata.name for pod in many.pods("many", 3) if pod.spec.node_name == "node-2"}
    here = {pod.metadata.name for pod in many.pods("many", 3)} - away
    many.stop_agent("node-2")

    done = many.until(lambda: many.plum(*ALL, "--tail", "1"), lambda done: "not connected" in done.err)

    assert done.code == 0
    assert sources(done.out) == here
    assert all(f"[{name}]" in done.err for name in away)
