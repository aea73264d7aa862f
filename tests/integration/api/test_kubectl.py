"""The real kubectl against a real controller, command by command. Skipped aloud where there is no kubectl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.server import started_server

KUBECTL = shutil.which("kubectl")

pytestmark = pytest.mark.skipif(
    KUBECTL is None, reason="KUBECTL IS MISSING: nothing proves that kubectl works against this server"
)


@dataclass
class Kubectl:
    """kubectl with a kubeconfig for the server, and a home of its own for its caches."""

    environment: dict[str, str]
    folder: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(KUBECTL), *arguments], env={**self.environment, **environment}, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """The output, both streams. Fails the test when the exit code is another."""
        process = self.start(*arguments, **environment)
        output, errors = process.communicate(timeout=40)
        assert process.returncode == code, f"kubectl {' '.join(arguments)} ended with {process.returncode}:\n{output}{errors}"
        return output + errors

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))

    def file(self, name: str, *documents: dict[str, Any]) -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)


def deployment(name: str, replicas: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {"replicas": replicas, "template": {"command": ["sleep", "60"]}},
    }


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("kubectl")
    with started_server(tmp_path_factory.mktemp("server")) as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plum", "cluster": {"server": server.url}}],
            "users": [{"name": "local", "user": {}}],
            "contexts": [{"name": "plum", "context": {"cluster": "plum", "user": "local"}}],
            "current-context": "plum",
        }
        (folder / "config").write_text(yaml.safe_dump(config))
        environment = {**os.environ, "KUBECONFIG": str(folder / "config"), "HOME": str(folder)}
        yield Kubectl(environment, folder)


def test_version_api_resources_and_cluster_info(kubectl: Kubectl) -> None:
    assert "Server Version: v1.32.0+plum" in kubectl.run("version")
    resources = kubectl.run("api-resources", "-o", "name")
    assert {"deployments.plum.dev", "instances.plum.dev", "namespaces", "leases.coordination.k8s.io"} <= set(resources.split())
    assert "plum.dev/v1" in kubectl.run("api-versions")
    assert "is running at" in kubectl.run("cluster-info")


def test_create_get_describe_and_delete(kubectl: Kubectl) -> None:
    assert kubectl.run("create", "-f", kubectl.file("made", deployment("made", 2))) == "deployment.plum.dev/made created\n"
    exists = kubectl.run("create", "-f", kubectl.file("made", deployment("made", 2)), code=1)
    table = kubectl.run("get", "deployments", "made")
    wide = kubectl.run("get", "deploy", "made", "-o", "wide")

    assert "AlreadyExists" in exists
    assert table.split("\n")[0].startswith("NAME") and "AGE" in table
    assert len(wide.split("\n")[0]) > len(table.split("\n")[0])
    assert kubectl.run("get", "deploy/made", "-o", "jsonpath={.spec.replicas}") == "2"
    assert kubectl.run("get", "deploy", "made", "-o", "name") == "deployment.plum.dev/made\n"
    assert "Replicas:" in kubectl.run("describe", "deploy", "made")
    assert 'deployment.plum.dev "made" deleted' in kubectl.run("delete", "deploy", "made", "--wait=true")
    assert '"made" not found' in kubectl.run("get", "deploy", "made", code=1)


def test_get_with_selectors_pages_and_sorting(kubectl: Kubectl) -> None:
    documents = [deployment(f"list-{name}", number, labels={"list": "yes", "name": name}) for number, name in enumerate("cab")]
    kubectl.run("apply", "-f", kubectl.file("list", *documents))

    assert kubectl.run("get", "deploy", "-l", "list,name in (a,c)", "-o", "name").split() == [
        "deployment.plum.dev/list-a",
        "deployment.plum.dev/list-c",
    ]
    by_replicas = kubectl.run("get", "deploy", "-l", "list", "--sort-by=.spec.replicas", "--no-headers").split("\n")
    assert [line.split()[0] for line in by_replicas if line] == ["list-c", "list-a", "list-b"]
    assert len(kubectl.run("get", "deploy", "-l", "list", "--chunk-size=1", "-o", "name").split()) == 3
    assert kubectl.run("get", "deploy", "--field-selector=metadata.name=list-b", "-o", "name").split() == [
        "deployment.plum.dev/list-b"
    ]
    assert "field label not supported: spec.replicas" in kubectl.run("get", "deploy", "--field-selector=spec.replicas=1", code=1)
    assert "NAMESPACE" in kubectl.run("get", "deploy", "-A")


def test_apply_creates_then_changes_then_changes_nothing(kubectl: Kubectl) -> None:
    assert "created" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 1, labels={"tier": "a"})))
    assert "unchanged" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 1, labels={"tier": "a"})))
    before = kubectl.json("get", "deploy", "applied")
    assert "configured" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 3)))
    after = kubectl.json("get", "deploy", "applied")

    assert (after["spec"]["replicas"], after["metadata"].get("labels")) == (3, None)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_server_side_apply_finds_conflicts_and_forces(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--server-side", "-f", kubectl.file("ssa", deployment("ssa", 1)))

    other = kubectl.file("ssa2", deployment("ssa", 4))
    refused = kubectl.run("apply", "--server-side", "--field-manager=bob", "-f", other, code=1)
    forced = kubectl.run("apply", "--server-side", "--field-manager=bob", "--force-conflicts", "-f", other)

    assert 'conflict with "kubectl": .spec.replicas' in refused
    assert "serverside-applied" in forced
    assert kubectl.run("get", "deploy", "ssa", "-o", "jsonpath={.spec.replicas}") == "4"


def test_server_side_apply_takes_over_from_client_side_apply(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", kubectl.file("takeover", deployment("takeover", 1)))

    assert "serverside-applied" in kubectl.run(
        "apply", "--server-side", "-f", kubectl.file("takeover", deployment("takeover", 2))
    )

    managers = {
        entry["manager"]
        for entry in kubectl.json("get", "deploy", "takeover", "--show-managed-fields")["metadata"]["managedFields"]
    }
    assert "kubectl" in managers and "kubectl-client-side-apply" not in managers


def test_diff_and_dry_run_change_nothing(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", kubectl.file("dry", deployment("dry", 1)))
    changed = kubectl.file("dry2", deployment("dry", 5))

    assert "+  replicas: 5" in kubectl.run("diff", "-f", changed, code=1)
    assert "+  replicas: 5" in kubectl.run("diff", "--server-side", "--force-conflicts", "-f", changed, code=1)
    assert "(server dry run)" in kubectl.run("apply", "--dry-run=server", "-f", changed)
    assert kubectl.run("get", "deploy", "dry", "-o", "jsonpath={.spec.replicas}") == "1"
    assert kubectl.run("diff", "-f", kubectl.file("dry", deployment("dry", 1))) == ""


def test_validation_is_strict_warns_or_ignores(kubectl: Kubectl) -> None:
    wrong = deployment("validated")
    wrong["spec"]["replicaz"] = 2
    file = kubectl.file("validated", wrong)

    assert 'unknown field "spec.replicaz"' in kubectl.run("apply", "--validate=strict", "-f", file, code=1)
    assert 'Warning: unknown field "spec.replicaz"' in kubectl.run("apply", "--validate=warn", "-f", file)
    assert "Warning" not in kubectl.run("apply", "--validate=ignore", "-f", file)
    invalid = kubectl.run("create", "-f", kubectl.file("invalid", deployment("invalid", -1)), code=1)
    assert "spec.replicas: Invalid value: -1" in invalid


def test_edit_patch_label_annotate_scale_and_replace(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", kubectl.file("edited", deployment("edited", 1)))
    editor = kubectl.folder / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/replicas: 1/replicas: 6/" "$1"\n')
    editor.chmod(0o755)

    assert "edited" in kubectl.run("edit", "deploy", "edited", EDITOR=str(editor), KUBE_EDITOR=str(editor))
    assert kubectl.json("get", "deploy", "edited")["spec"]["replicas"] == 6
    assert "patched" in kubectl.run("patch", "deploy", "edited", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    failed = kubectl.run(
        "patch", "deploy", "edited", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]', code=1
    )
    assert "invalid" in failed
    assert "is not supported by plum.dev/v1" in kubectl.run("patch", "deploy", "edited", "-p", '{"spec":{"replicas":2}}', code=1)
    assert "labeled" in kubectl.run("label", "deploy", "edited", "site=pier3")
    assert "annotated" in kubectl.run("annotate", "deploy", "edited", "note=x")
    assert "scaled" in kubectl.run("scale", "deploy", "edited", "--replicas=4")
    assert "scaled" in kubectl.run("scale", "deploy", "edited", "--current-replicas=4", "--replicas=5")
    assert "Expected replicas to be 4" in kubectl.run("scale", "deploy", "edited", "--current-replicas=4", "--replicas=1", code=1)
    assert "DESIRED" in kubectl.run("get", "deploy", "edited", "--subresource=scale")
    live = kubectl.json("get", "deploy", "edited")
    assert (live["spec"]["replicas"], live["metadata"]["labels"]["site"]) == (5, "pier3")
    live["spec"]["replicas"] = 1
    assert "replaced" in kubectl.run("replace", "-f", kubectl.file("replaced", live))
    live = kubectl.json("get", "deploy", "edited")
    assert "replaced" in kubectl.run("replace", "--force", "-f", kubectl.file("replaced", deployment("edited", 2)))


def test_wait_sees_conditions_fields_and_deletion(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", kubectl.file("waited", deployment("waited", 1)))

    waiting = kubectl.start("wait", "deploy/waited", "--for=jsonpath={.spec.replicas}=3", "--timeout=30s")
    kubectl.run("scale", "deploy", "waited", "--replicas=3")
    assert "condition met" in waiting.communicate(timeout=40)[0]
    assert "condition met" in kubectl.run("wait", "ns/default", "--for=jsonpath={.status.phase}=Active", "--timeout=10s")
    gone = kubectl.start("wait", "deploy/waited", "--for=delete", "--timeout=30s")
    kubectl.run("delete", "deploy", "waited")
    gone.communicate(timeout=40)
    assert gone.returncode == 0
    assert "timed out" in kubectl.run("wait", "ns/default", "--for=condition=Never", "--timeout=1s", code=1)


def test_get_watch_prints_changes_as_they_happen(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", kubectl.file("watched", deployment("watched", 1)))
    process = kubectl.start("get", "deploy", "watched", "-w", "-o", "jsonpath={.spec.replicas}{'\\n'}")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "1\n"
        kubectl.run("scale", "deploy", "watched", "--replicas=9")
        deadline = time.monotonic() + 20
        while process.stdout.readline() != "9\n":
            assert time.monotonic() < deadline
    finally:
        process.kill()
        process.communicate()


def test_delete_all_by_selector_and_with_cascade(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", kubectl.file("gone", *(deployment(f"gone-{name}", labels={"gone": "yes"}) for name in "ab")))

    output = kubectl.run("delete", "deploy", "-l", "gone=yes", "--cascade=foreground")

    assert output.count("deleted") == 2
    assert kubectl.json("get", "deploy", "-l", "gone=yes")["items"] == []


def test_namespaces_secrets_and_configmaps_by_protobuf(kubectl: Kubectl) -> None:
    assert kubectl.run("create", "ns", "proto") == "namespace/proto created\n"
    kubectl.run("create", "secret", "generic", "key", "--from-literal=a=geheim", "-n", "proto")
    kubectl.run("create", "configmap", "settings", "--from-literal=a=1", "-n", "proto")

    assert kubectl.json("get", "secret", "key", "-n", "proto")["data"] == {"a": "Z2VoZWlt"}
    assert "Opaque" in kubectl.run("get", "secret", "-n", "proto")
    assert kubectl.json("get", "cm", "settings", "-n", "proto")["data"] == {"a": "1"}
    assert kubectl.run("get", "ns", "proto").split("\n")[1].split()[:2] == ["proto", "Active"]
    kubectl.run("delete", "ns", "proto", "--timeout=30s")
    assert "NotFound" in kubectl.run("get", "secret", "key", "-n", "proto", code=1)


def test_strategic_apply_of_core_kinds(kubectl: Kubectl) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core"}, "data": {"a": "1", "b": "2"}}
    kubectl.run("apply", "-f", kubectl.file("core", config))

    config["data"] = {"a": "9"}
    kubectl.run("apply", "-f", kubectl.file("core", config))

    assert kubectl.json("get", "cm", "core")["data"] == {"a": "9"}


def test_explain_reads_our_schemas(kubectl: Kubectl) -> None:
    plain = kubectl.run("explain", "deploy.spec.strategy.maxSurge")
    recursive = kubectl.run("explain", "deployments.plum.dev", "--recursive")

    assert "FIELD: maxSurge" in plain and "DESCRIPTION:" in plain
    assert "replicas\t<integer>" in recursive and "ownerReferences\t<[]OwnerReference>" in recursive
    assert "FIELD: holderIdentity" in kubectl.run("explain", "lease.spec.holderIdentity")


def test_who_am_i_and_what_may_i(kubectl: Kubectl) -> None:
    assert kubectl.run("auth", "can-i", "create", "deployments.plum.dev") == "yes\n"
    assert kubectl.run("auth", "can-i", "get", "/metrics") == "yes\n"
    assert "*.*" in kubectl.run("auth", "can-i", "--list")
    assert "system:admin" in kubectl.run("auth", "whoami")


def test_events_of_an_object(kubectl: Kubectl) -> None:
    kubectl.run("create", "-f", kubectl.file("eventful", deployment("eventful", 1)))
    uid = kubectl.json("get", "deploy", "eventful")["metadata"]["uid"]
    involved = {"apiVersion": "plum.dev/v1", "kind": "Deployment", "name": "eventful", "namespace": "default", "uid": uid}
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "eventful.1"}, "involvedObject": involved, "reason": "Tested",
        "message": "a test was here", "type": "Normal", "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "source": {"component": "test"},
    }  # fmt: skip
    kubectl.run("create", "-f", kubectl.file("event", event))

    assert "a test was here" in kubectl.run("events", "--for", "deployment.plum.dev/eventful")
    assert "a test was here" in kubectl.run("describe", "deploy", "eventful")
    table = kubectl.run("get", "events", "--field-selector=reason=Tested")
    assert table.split("\n")[0].split()[:3] == ["LAST", "SEEN", "TYPE"]
    assert "deployment/eventful" in table


def test_get_raw_and_all(kubectl: Kubectl) -> None:
    assert kubectl.run("get", "--raw", "/livez") == "ok"
    assert json.loads(kubectl.run("get", "--raw", "/apis/plum.dev/v1"))["kind"] == "APIResourceList"
    kubectl.run("create", "-f", kubectl.file("in-all", deployment("in-all", 1)))
    assert "deployment.plum.dev/in-all" in kubectl.run("get", "all", "-o", "name")


def test_own_kinds_are_usable_as_soon_as_they_are_established(kubectl: Kubectl) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}}}},
    }
    columns = [{"name": "Colour", "type": "string", "jsonPath": ".spec.colour"}]
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp", "shortNames": ["lp"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }
    kubectl.run("apply", "-f", kubectl.file("definition", definition))
    kubectl.run("wait", "--for=condition=Established", "crd/lamps.example.com", "--timeout=10s")

    lamp = {"apiVersion": "example.com/v1", "kind": "Lamp", "metadata": {"name": "hall"}, "spec": {"colour": "red"}}
    assert "lamp.example.com/hall created" in kubectl.run("apply", "-f", kubectl.file("lamp", lamp))
    assert kubectl.run("get", "lp").split("\n")[0].split() == ["NAME", "COLOUR"]
    lamp["spec"] = {"colour": "green"}
    assert 'Unsupported value: "green"' in kubectl.run("apply", "-f", kubectl.file("lamp", lamp), code=1)
    assert "FIELD: colour" in kubectl.run("explain", "lamp.spec.colour")
    kubectl.run("delete", "crd", "lamps.example.com", "--timeout=20s")
    assert "the server could not find the requested resource" in kubectl.run("get", "lamps.v1.example.com", code=1)
