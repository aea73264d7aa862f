"""kubectl reads: every output, every selector, tables for every kind, and watches."""

from __future__ import annotations

import json
import select
import subprocess
import time

import pytest

from tests.support.kubectl import Kubectl, deployment, does

NAMES = ("list-a", "list-b", "list-c")


@pytest.fixture(scope="module", autouse=True)
def listed(kubectl: Kubectl) -> None:
    """Three Deployments with 1, 2 and 0 replicas."""
    documents = [
        deployment(name, number, labels={"list": "yes", "name": name}) for name, number in zip(NAMES, (1, 2, 0), strict=True)
    ]
    kubectl.run("apply", "-f", kubectl.file("list", *documents))


@does(
    "get -o wide|name|yaml|json", "get -o jsonpath|jsonpath-as-json|jsonpath-file", "get -o go-template",
    "get -o custom-columns|custom-columns-file",
)  # fmt: skip
def test_every_output(kubectl: Kubectl) -> None:
    (kubectl.folder / "path").write_text("{.spec.replicas}")
    (kubectl.folder / "columns").write_text("NAME WANTED\n.metadata.name .spec.replicas\n")
    get = ("get", "deploy", "list-b", "-o")

    assert len(kubectl.run(*get, "wide").split("\n")[0]) > len(kubectl.run("get", "deploy", "list-b").split("\n")[0])
    assert kubectl.run(*get, "name") == "deployment.plum.dev/list-b\n"
    assert kubectl.run(*get, "yaml").startswith("apiVersion: plum.dev/v1\nkind: Deployment\n")
    assert json.loads(kubectl.run(*get, "json"))["spec"]["replicas"] == 2
    assert kubectl.run(*get, "jsonpath={.spec.replicas}") == "2"
    assert json.loads(kubectl.run(*get, "jsonpath-as-json={.spec.replicas}")) == [2]
    assert kubectl.run(*get, "jsonpath-file=path") == "2"
    assert kubectl.run(*get, "go-template={{.metadata.name}}") == "list-b"
    assert kubectl.run(*get, "custom-columns=N:.metadata.name,R:.spec.replicas").split() == ["N", "R", "list-b", "2"]
    assert kubectl.run(*get, "custom-columns-file=columns").split() == ["NAME", "WANTED", "list-b", "2"]


@does("get -l, --field-selector", "get --chunk-size", "get --sort-by", "get -A", "get --ignore-not-found")
def test_selectors_pages_and_order(kubectl: Kubectl) -> None:
    def names(*arguments: str) -> list[str]:
        output = kubectl.run("get", "deploy", *arguments, "-o", "name")
        return [line.removeprefix("deployment.plum.dev/") for line in output.split()]

    assert names("-l", "list,name in (list-a,list-c)") == ["list-a", "list-c"]
    assert names("-l", "name!=list-a,name notin (list-b),list=yes,!other") == ["list-c"]
    assert names("--chunk-size=1") == list(NAMES)
    assert names("--field-selector=metadata.name=list-b") == ["list-b"]
    assert names("--field-selector=metadata.name!=list-b,metadata.namespace=default") == ["list-a", "list-c"]
    assert kubectl.run("get", "deploy", "none", "--ignore-not-found") == ""
    assert [row[0] for row in kubectl.rows("deploy", "--sort-by=.spec.replicas", "--no-headers")] == [
        "list-c",
        "list-a",
        "list-b",
    ]
    assert kubectl.rows("deploy", "-A")[0][0] == "NAMESPACE"
    assert "field label not supported: spec.replicas" in kubectl.refused("get", "deploy", "--field-selector=spec.replicas=1")
    assert "found '==', expected: !, identifier" in kubectl.refused("get", "deploy", "-l", "==x")
    assert 'deployments.plum.dev "none" not found' in kubectl.refused("get", "deploy", "none")


@does("get --show-labels, -L, --show-kind", "get of several kinds, get all", "get --subresource=status|scale")
def test_labels_kinds_and_subresources(kubectl: Kubectl) -> None:
    assert "list=yes,name=list-a" in kubectl.run("get", "deploy", "list-a", "--show-labels")
    assert kubectl.rows("deploy", "list-a", "-L", "name", "--show-kind")[1][-1].strip() == "list-a"
    assert "deployment.plum.dev/list-a" in kubectl.run("get", "deploy,inst")
    assert {"deployment.plum.dev/list-a"} <= set(kubectl.run("get", "all", "-o", "name").split())
    assert kubectl.run("get", "deploy", "list-b", "--subresource=scale").split()[:6] == [
        "NAME", "DESIRED", "AVAILABLE", "AGE", "list-b", "2",
    ]  # fmt: skip
    assert "list-b" in kubectl.run("get", "deploy", "list-b", "--subresource=status")


@does("get of every kind")
def test_every_kind_has_columns_that_begin_with_a_name_and_know_the_age(kubectl: Kubectl) -> None:
    kinds = kubectl.run("api-resources", "--verbs=list", "-o", "name").split()
    wide = kubectl.run("get", ",".join(kinds), "-A", "-o", "wide")
    headings = [line.split() for line in wide.splitlines() if line.startswith(("NAMESPACE", "NAME "))]
    assert len(headings) >= 5
    for heading in headings:
        assert "NAME" in heading and {"AGE", "CREATED", "SEEN"} & set(heading), heading


@does("get -w, --watch-only, --output-watch-events")
def test_watches_print_changes_as_they_happen(kubectl: Kubectl) -> None:
    everything = kubectl.start("get", "deploy", "-w", "--output-watch-events")
    only = kubectl.start("get", "deploy", "list-a", "--watch-only", "-o", "jsonpath={.spec.replicas}{'\\n'}")
    try:
        seen = _read_until(everything, "list-c")
        deadline = time.monotonic() + 20
        replicas = 3
        while not select.select([only.stdout], [], [], 0.3)[0]:
            # The list of --watch-only is silent, so nothing says when it begins: change until it sees one.
            assert time.monotonic() < deadline
            kubectl.run("scale", "deploy", "list-a", f"--replicas={replicas}")
            replicas += 1
        assert only.stdout is not None
        assert int(only.stdout.readline()) in range(3, replicas)
        assert "ADDED" in seen and "MODIFIED" in _read_until(everything, "MODIFIED")
    finally:
        for process in (everything, only):
            process.kill()
            process.communicate()


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    deadline = time.monotonic() + 20
    while text not in seen:
        assert time.monotonic() < deadline, seen
        line = process.stdout.readline()
        assert line, seen
        seen += line
    return seen
