"""kubectl writes, command by command: create, apply, change, wait, delete."""

from __future__ import annotations

import pytest

from tests.support.kubectl import Kubectl, deployment, does


@does("create -f", "describe", "delete NAME")
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


@does("apply: three-way, unchanged, removed fields")
def test_apply_creates_then_changes_then_changes_nothing(kubectl: Kubectl) -> None:
    assert "created" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 1, labels={"tier": "a"})))
    assert "unchanged" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 1, labels={"tier": "a"})))
    before = kubectl.json("get", "deploy", "applied")
    assert "configured" in kubectl.run("apply", "-f", kubectl.file("applied", deployment("applied", 3)))
    after = kubectl.json("get", "deploy", "applied")

    assert (after["spec"]["replicas"], after["metadata"].get("labels")) == (3, None)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


@does("apply --server-side: conflicts, --field-manager, --force-conflicts")
def test_server_side_apply_finds_conflicts_and_forces(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--server-side", "-f", kubectl.file("ssa", deployment("ssa", 1)))

    other = kubectl.file("ssa2", deployment("ssa", 4))
    refused = kubectl.run("apply", "--server-side", "--field-manager=bob", "-f", other, code=1)
    forced = kubectl.run("apply", "--server-side", "--field-manager=bob", "--force-conflicts", "-f", other)

    assert 'conflict with "kubectl": .spec.replicas' in refused
    assert "serverside-applied" in forced
    assert kubectl.run("get", "deploy", "ssa", "-o", "jsonpath={.spec.replicas}") == "4"


@does("apply --server-side on an object of apply")
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


@does("diff, diff --server-side", "--dry-run=server")
def test_diff_and_dry_run_change_nothing(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", kubectl.file("dry", deployment("dry", 1)))
    changed = kubectl.file("dry2", deployment("dry", 5))

    assert "+  replicas: 5" in kubectl.run("diff", "-f", changed, code=1)
    assert "+  replicas: 5" in kubectl.run("diff", "--server-side", "--force-conflicts", "-f", changed, code=1)
    assert "(server dry run)" in kubectl.run("apply", "--dry-run=server", "-f", changed)
    assert kubectl.run("get", "deploy", "dry", "-o", "jsonpath={.spec.replicas}") == "1"
    assert kubectl.run("diff", "-f", kubectl.file("dry", deployment("dry", 1))) == ""


@does("--validate=strict|warn|ignore")
def test_validation_is_strict_warns_or_ignores(kubectl: Kubectl) -> None:
    wrong = deployment("validated")
    wrong["spec"]["replicaz"] = 2
    file = kubectl.file("validated", wrong)

    assert 'unknown field "spec.replicaz"' in kubectl.run("apply", "--validate=strict", "-f", file, code=1)
    assert 'Warning: unknown field "spec.replicaz"' in kubectl.run("apply", "--validate=warn", "-f", file)
    assert "Warning" not in kubectl.run("apply", "--validate=ignore", "-f", file)
    invalid = kubectl.run("create", "-f", kubectl.file("invalid", deployment("invalid", -1)), code=1)
    assert "spec.replicas: Invalid value: -1" in invalid


@does("edit", "patch --type=merge|json", "label, annotate", "scale, scale --current-replicas", "replace, replace --force")
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


@does("wait --for=jsonpath|delete|condition")
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


@does("delete -l, --cascade=foreground")
def test_delete_all_by_selector_and_with_cascade(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", kubectl.file("gone", *(deployment(f"gone-{name}", labels={"gone": "yes"}) for name in "ab")))

    output = kubectl.run("delete", "deploy", "-l", "gone=yes", "--cascade=foreground")

    assert output.count("deleted") == 2
    assert kubectl.json("get", "deploy", "-l", "gone=yes")["items"] == []


@does("create ns|secret|configmap (protobuf)", "delete ns")
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


@does("apply of a ConfigMap (strategic merge)")
def test_strategic_apply_of_core_kinds(kubectl: Kubectl) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core"}, "data": {"a": "1", "b": "2"}}
    kubectl.run("apply", "-f", kubectl.file("core", config))

    config["data"] = {"a": "9"}
    kubectl.run("apply", "-f", kubectl.file("core", config))

    assert kubectl.json("get", "cm", "core")["data"] == {"a": "9"}


@does("events --for", "get events --field-selector")
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


@does("CustomResourceDefinition: apply, wait, get, explain, delete")
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


REFUSALS = {
    "create job": (("create", "job", "x", "--image=x"), "Plum has no jobs.batch: run a task once with a TaskRun"),
    "create cronjob": (
        ("create", "cronjob", "x", "--image=x", "--schedule=* * * * *"),
        "with a Trigger of apiVersion plum.dev/v1",
    ),
    "create ingress": (
        ("create", "ingress", "x", "--rule=a/b=c:80"),
        "no ingresses.networking.k8s.io: Plum routes no traffic",
    ),
    "create pdb": (("create", "pdb", "x", "--selector=a=b", "--min-available=1"), "spec.strategy.maxUnavailable"),
    "create quota": (("create", "quota", "x", "--hard=cpu=1"), "Plum has no resourcequotas"),
    "create service": (("create", "service", "clusterip", "x", "--tcp=80"), "Plum routes no traffic"),
    "autoscale": (("autoscale", "deployments.plum.dev", "x", "--max=3"), "set it with `kubectl scale`"),
}


@pytest.mark.parametrize(
    "operation",
    [pytest.param(name, marks=pytest.mark.client("kubectl 1.32", name, refused=text)) for name, (_, text) in REFUSALS.items()],
)
def test_kinds_that_plum_lacks_are_refused_with_what_to_do_instead(kubectl: Kubectl, operation: str) -> None:
    arguments, text = REFUSALS[operation]
    if operation == "autoscale":
        kubectl.run("create", "-f", kubectl.file("x", deployment("x", 0)))

    assert text in kubectl.refused(*arguments)


@does("apply --prune --applyset: Secret and ConfigMap as parent")
def test_an_apply_set_prunes_what_left_it(kubectl: Kubectl) -> None:
    kubectl.run("create", "ns", "sets")
    for number, parent in enumerate(("secret/parent", "configmaps/parent")):
        names = [f"kept-{number}", f"left-{number}"]
        for name in names:
            kubectl.file(f"set{number}/{name}", deployment(name, 0))
        apply = ("apply", "-n", "sets", "-f", str(kubectl.folder / f"set{number}"), "--prune", f"--applyset={parent}")
        kubectl.run(*apply, KUBECTL_APPLYSET="true")
        (kubectl.folder / f"set{number}" / f"{names[1]}.yaml").unlink()

        assert f"deployment.plum.dev/{names[1]} pruned" in kubectl.run(*apply, KUBECTL_APPLYSET="true")
        assert kubectl.run("get", "deploy", names[0], "-n", "sets", "-o", "name") == f"deployment.plum.dev/{names[0]}\n"


@does("apply --prune --prune-allowlist")
def test_an_allow_list_prunes_by_selector(kubectl: Kubectl) -> None:
    both = kubectl.file("both", *(deployment(f"pruned-{name}", 0, labels={"set": "p"}) for name in "ab"))
    one = kubectl.file("one", deployment("pruned-a", 0, labels={"set": "p"}))
    kubectl.run("apply", "-f", both)

    pruned = kubectl.run("apply", "-f", one, "--prune", "-l", "set=p", "--prune-allowlist=plum.dev/v1/Deployment")

    assert "pruned-b pruned" in pruned


@does("apply|diff|delete -k: namePrefix, labels, generators, patches", "apply -R", "kustomize")
def test_kustomize_and_folders(kubectl: Kubectl) -> None:
    kubectl.file("kust/base/w", deployment("w", 1))
    kubectl.file("kust/base/kustomization", {"resources": ["w.yaml"]})
    kubectl.file(
        "kust/kustomization",
        {
            "resources": ["base"], "namePrefix": "pre-", "labels": [{"pairs": {"site": "pier"}}],
            "configMapGenerator": [{"name": "conf", "literals": ["a=1"]}],
            "secretGenerator": [{"name": "key", "literals": ["a=1"]}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": '[{"op":"replace","path":"/spec/replicas","value":0}]'}],
        },
    )  # fmt: skip
    folder = str(kubectl.folder / "kust")

    assert kubectl.run("kustomize", folder).count("kind: ") == 3
    assert kubectl.run("apply", "-k", folder).count(" created") == 3
    assert kubectl.run("diff", "-k", folder) == ""
    made = kubectl.json("get", "deploy", "pre-w")
    assert (made["spec"]["replicas"], made["metadata"]["labels"]) == (0, {"site": "pier"})
    assert kubectl.run("delete", "-k", folder).count(" deleted") == 3
    for name in ("tree/a", "tree/below/b"):
        kubectl.file(name, deployment(name.replace("/", "-"), 0))
    assert kubectl.run("apply", "-R", "-f", str(kubectl.folder / "tree")).count(" created") == 2


@does("delete --cascade=orphan, create adopts the orphans")
def test_a_new_deployment_adopts_what_an_old_one_left(kubectl: Kubectl) -> None:
    file = kubectl.file("orphans", deployment("orphaned", 1))
    kubectl.run("apply", "-f", file)
    kubectl.run("wait", "deploy/orphaned", "--for=jsonpath={.status.replicas}=1", "--timeout=20s")
    old = kubectl.json("get", "inst", "-l", "plum.dev/deployment=orphaned")["items"][0]["metadata"]["uid"]

    kubectl.run("delete", "-f", file, "--cascade=orphan")
    kubectl.run("apply", "-f", file)
    kubectl.run("wait", "deploy/orphaned", "--for=jsonpath={.status.replicas}=1", "--timeout=20s")

    owner = kubectl.json("get", "deploy", "orphaned")["metadata"]["uid"]
    instances = kubectl.json("get", "inst", "-l", "plum.dev/deployment=orphaned")["items"]
    assert [(i["metadata"]["uid"], i["metadata"]["ownerReferences"][0]["uid"]) for i in instances] == [(old, owner)]
