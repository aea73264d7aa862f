"""The command against a real controller without nodes: writing, reading, going back."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_cli.errors import CONFLICT, FAILED, INVALID, NOT_FOUND, TIMEOUT

from tests.support.command import Plum, eventually
from tests.support.server import started_server

WEB = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  template:
    command: ["sleep", "1000"]
"""
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: NAME}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running.url


@pytest.fixture
def plum(server: str, tmp_path: Path) -> Iterator[Plum]:
    """A command with a namespace of its own."""
    name = f"t{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / "kubeconfig").write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "namespace": name}}],
                "current-context": "c",
            }
        )
    )
    plum = Plum(server, tmp_path, {"PLUM_SERVER": "", "PLUM_KUBECONFIG": str(tmp_path / "kubeconfig")})
    plum.ok("apply", "-f", "-", stdin=f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    yield plum
    plum.ok("delete", "namespace", name, "--wait=false")


def test_apply_creates_changes_and_leaves_alone(plum: Plum) -> None:
    plum.write("web.yaml", WEB)

    assert plum.ok("apply", "-f", "web.yaml").out == "deployment.plum.dev/web created\n"
    assert plum.ok("apply", "-f", "web.yaml").out == "deployment.plum.dev/web unchanged\n"
    plum.write("web.yaml", WEB.replace("replicas: 2", "replicas: 3"))
    assert plum.ok("apply", "-f", "web.yaml").out == "deployment.plum.dev/web configured\n"
    assert plum.ok("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}").out == "3\n"


def test_a_broken_file_changes_nothing_and_every_mistake_has_its_line(plum: Plum) -> None:
    plum.write("all/a.yaml", SETTINGS)
    plum.write("all/b.yaml", WEB.replace("replicas: 2", "replica: 2\n  replicas: -1").replace('["sleep", "1000"]', "[7]"))

    done = plum("apply", "-f", "all")

    assert done.code == INVALID
    lines = done.err.splitlines()
    assert lines[0] == "error: all/b.yaml:6: Deployment web: spec.replica is no field of Deployment; did you mean replicas?"
    assert any(
        line.startswith("error: all/b.yaml:7: ") and "-1" in line and "greater than or equal to 0" in line for line in lines
    )
    assert any(line.startswith("error: all/b.yaml:9: ") and "spec.template.command[0] is 7; a text" in line for line in lines)
    assert plum("get", "configmap", "settings").code == NOT_FOUND


def test_a_conflict_names_owner_values_and_line_and_can_be_forced(plum: Plum) -> None:
    plum.write("web.yaml", WEB)
    plum.ok("apply", "-f", "web.yaml", "--field-manager", "someone")
    plum.write("web.yaml", WEB.replace("replicas: 2", "replicas: 5"))

    done = plum("apply", "-f", "web.yaml")

    assert done.code == CONFLICT
    assert "web.yaml:6: Deployment web: spec.replicas belongs to someone (there: 2, here: 5)" in done.err
    assert plum.ok("apply", "-f", "web.yaml", "--force-conflicts").out == "deployment.plum.dev/web configured\n"


def test_an_apply_takes_back_what_an_own_command_changed(plum: Plum) -> None:
    plum.write("web.yaml", WEB)
    plum.ok("apply", "-f", "web.yaml")
    plum.ok("scale", "deployment/web", "--replicas", "4")

    done = plum.ok("apply", "-f", "web.yaml")

    assert "taking back spec.replicas" in done.err
    assert plum.ok("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}").out == "2\n"


def test_dry_runs_and_diffs_change_nothing(plum: Plum) -> None:
    plum.write("web.yaml", WEB)

    assert plum.ok("apply", "-f", "web.yaml", "--dry-run").out == "deployment.plum.dev/web created (server dry run)\n"
    assert plum.ok("apply", "-f", "web.yaml", "--dry-run=client").out == "deployment.plum.dev/web parsed (client dry run)\n"
    assert plum("diff", "-f", "web.yaml").code == FAILED
    assert plum("get", "deployment", "web").code == NOT_FOUND

    plum.ok("apply", "-f", "web.yaml")
    assert plum("diff", "-f", "web.yaml").code == 0
    plum.write("web.yaml", WEB.replace("replicas: 2", "replicas: 7"))
    done = plum("diff", "-f", "web.yaml")
    assert done.code == FAILED
    assert {"-  replicas: 2", "+  replicas: 7"} <= set(done.lines)


def test_namespaces_and_kinds_come_before_what_needs_them(plum: Plum, server: str) -> None:
    names = "{plural: gadgets, kind: Gadget, singular: gadget}"
    schema = "{type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}"
    plum.write(
        "all.yaml",
        "apiVersion: cli.example.com/v1\nkind: Gadget\nmetadata: {name: g, namespace: cli-new}\nspec: {size: 3}\n---\n"
        + SETTINGS.replace("{name: settings}", "{name: settings, namespace: cli-new}")
        + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: cli-new}\n---\n"
        + "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.cli.example.com}\n"
        + f"spec: {{group: cli.example.com, scope: Namespaced, names: {names}, "
        + f"versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {schema}}}}}]}}\n",
    )

    done = plum.ok("apply", "-f", "all.yaml")

    assert [line.split("/")[0] for line in done.lines] == [
        "namespace",
        "customresourcedefinition.apiextensions.k8s.io",
        "gadget.cli.example.com",
        "configmap",
    ]
    assert plum.ok("get", "gadgets", "-n", "cli-new", "-o", "name").out == "gadget.cli.example.com/g\n"
    assert plum("explain", "gadget.spec.size").out.splitlines()[2] == "FIELD:    spec.size <integer>"
    plum.ok("delete", "-f", "all.yaml")
    assert plum("get", "namespace", "cli-new").code == NOT_FOUND


def test_prune_deletes_what_left_the_folder_and_nothing_else(plum: Plum) -> None:
    plum.write("set/web.yaml", WEB)
    plum.write("set/a.yaml", SETTINGS.replace("{name: settings}", "{name: a}"))
    plum.write("set/b.yaml", SETTINGS.replace("{name: settings}", "{name: b, annotations: {plum.dev/prune: disabled}}"))
    plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("{name: settings}", "{name: alien}"))
    plum.ok("apply", "-f", "set", "--prune")
    (plum.folder / "set/a.yaml").unlink()
    (plum.folder / "set/b.yaml").unlink()

    dry = plum.ok("apply", "-f", "set", "--prune", "--dry-run")
    plum.ok("apply", "-f", "set")
    done = plum.ok("apply", "-f", "set", "--prune")

    assert "configmap/a pruned (server dry run)" in dry.lines
    assert "configmap/a pruned" in done.lines
    assert "configmap/b kept: plum.dev/prune: disabled" in done.lines
    names = plum.ok("get", "configmaps", "-o", "name").lines
    assert set(names) == {"configmap/b", "configmap/alien", "configmap/plum-set-set"}


def test_prune_refuses_a_folder_that_shares_nothing_with_the_set(plum: Plum) -> None:
    plum.write("one/x.yaml", SETTINGS.replace("{name: settings}", "{name: a}"))
    plum.write("two/x.yaml", SETTINGS.replace("{name: settings}", "{name: b}"))
    plum.ok("apply", "-f", "one", "--prune", "--set", "mine")

    done = plum("apply", "-f", "two", "--prune", "--set", "mine")

    assert done.code == FAILED
    assert "nothing of the set mine" in done.err
    assert plum("get", "configmap", "a").code == 0
    assert plum("get", "configmap", "b").code == NOT_FOUND


def test_get_in_every_format(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=WEB)

    assert plum.ok("get", "deploy").lines[0].split() == ["NAME", "READY", "UPDATED", "AVAILABLE", "STATUS", "AGE"]
    assert "REVISION" in plum.ok("get", "deploy", "-o", "wide").lines[0]
    assert plum.ok("get", "deployment/web", "-o", "json").json()["spec"]["replicas"] == 2
    assert plum.ok("get", "deployments", "-o", "yaml").lines[1] == "kind: List"
    assert plum.ok("get", "deployments.plum.dev", "-o", "name").out == "deployment.plum.dev/web\n"
    assert plum.ok(
        "get", "deploy", "-A", "-o", "custom-columns=N:.metadata.name", "--field-selector", "metadata.name=web"
    ).lines == ["N", "web"]
    assert plum.ok("get", "deploy,configmaps").lines[1].startswith("deployment.plum.dev/web ")
    assert plum.ok("get", "all", "--no-headers").lines[0].startswith("deployment.plum.dev/web ")
    assert plum("get", "deployment", "nope").code == NOT_FOUND
    assert plum("get", "deployment", "nope", "--ignore-not-found").code == 0
    assert "did you mean deployments" in plum("get", "deploymnts").err


def test_get_follows_pages(plum: Plum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plum_cli.commands.get.PAGE", "3")
    plum.ok(
        "apply",
        "-f",
        "-",
        stdin="---\n".join(SETTINGS.replace("{name: settings}", f"{{name: c{number}}}") for number in range(8)),
    )

    assert len(plum.ok("get", "cm", "--no-headers").lines) == 8
    assert len(plum.ok("get", "cm", "-o", "name").lines) == 8


def test_watch_prints_what_is_there_and_what_happens(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("NAME", "one"))

    with plum.process("get", "configmaps", "-w", "-o", "jsonpath={.metadata.name}={.data.mode}") as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "settings=one\n"
        plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("NAME", "two"))
        assert watch.stdout.readline() == "settings=two\n"
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130


def test_history_rollback_and_time_travel(plum: Plum) -> None:
    for mode in ("one", "two", "three"):
        plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("NAME", mode))

    rows = plum.ok("history", "configmap/settings").lines
    revisions = plum.ok("history", "configmap", "settings", "-o", "name").lines

    assert len(rows) == 4
    assert rows[1].endswith("data.mode: two -> three")
    assert plum.ok("get", "configmap", "settings", "--at", revisions[2], "-o", "jsonpath={.data.mode}").out == "one\n"
    assert plum.ok("get", "configmaps", "--at", revisions[1], "-o", "jsonpath={.items[*].data.mode}").out == "two\n"
    assert "+  mode: two" in plum.ok("history", "configmap/settings", "--revision", revisions[1]).lines

    plum.ok("rollback", "configmap/settings", "--to", revisions[2])
    assert plum.ok("get", "configmap", "settings", "-o", "jsonpath={.data.mode}").out == "one\n"
    plum.ok("delete", "configmap", "settings")
    assert plum.ok("history", "configmap/settings").lines[1].split()[-1] == "deleted"
    assert "created again" in plum.ok("rollback", "configmap/settings", "--to", revisions[1]).out
    assert plum.ok("get", "configmap", "settings", "-o", "jsonpath={.data.mode}").out == "two\n"
    assert plum("rollback", "configmap/settings", "--to", "999999999").code != 0


def test_delete_by_name_selector_and_all(plum: Plum) -> None:
    for name in ("a", "b", "c"):
        plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("{name: settings}", f"{{name: {name}, labels: {{n: {name}}}}}"))

    assert plum("delete", "configmaps").code == 2
    assert plum.ok("delete", "configmap/a").out == "configmap/a deleted\n"
    assert plum.ok("delete", "cm", "-l", "n=b").out == "configmap/b deleted\n"
    assert plum("delete", "configmap", "a").code == NOT_FOUND
    assert plum.ok("delete", "cm", "--all", "--dry-run").out == "configmap/c deleted (server dry run)\n"
    plum.ok("delete", "cm", "--all")
    assert plum.ok("get", "cm", "-o", "name").out == ""


def test_a_deletion_that_is_held_is_explained_and_can_be_forced(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("{name: settings}", "{name: held, finalizers: [example.com/x]}"))

    done = plum("delete", "configmap", "held", "--timeout", "1s")

    assert done.code == TIMEOUT
    assert "whoever set the finalizer example.com/x" in done.err
    plum.ok("delete", "configmap", "held", "--force")
    assert plum("get", "configmap", "held").code == NOT_FOUND


def editor(plum: Plum, script: str) -> None:
    """An editor that changes the file by a shell script; each call appends what it saw to `seen`."""
    path = plum.folder / "editor.sh"
    path.write_text(f"#!/bin/sh\ncat \"$1\" >> '{plum.folder}/seen'\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    plum.env = {**plum.env, "PLUM_EDITOR": str(path)}


def test_edit_writes_what_was_saved(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=SETTINGS.replace("NAME", "one"))
    editor(plum, 'sed -i "s/mode: one/mode: two/" "$1"')

    assert plum.ok("edit", "configmap/settings").out == "configmap/settings edited\n"
    assert plum.ok("get", "configmap", "settings", "-o", "jsonpath={.data.mode}").out == "two\n"
    assert plum.ok("edit", "configmap/settings").out == "configmap/settings unchanged\n"


def test_edit_opens_again_with_the_refusal_on_top(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=WEB)
    editor(
        plum,
        'if grep -q "replicas: -1" "$1"; then sed -i "s/replicas: -1/replicas: 6/" "$1"\n'
        'else sed -i "s/replicas: 2/replicas: -1/" "$1"; fi',
    )

    plum.ok("edit", "deployment/web")

    assert plum.ok("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}").out == "6\n"
    assert "# error: spec.replicas: Invalid value: -1" in (plum.folder / "seen").read_text()


def test_edit_gives_up_when_the_refused_text_is_saved_again(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=WEB)
    editor(plum, 'sed -i "s/replicas: 2/replicas: -1/" "$1"')

    done = plum("edit", "deployment/web")

    assert done.code == FAILED
    assert "still refused" in done.err


def test_explain_fields(plum: Plum) -> None:
    text = plum.ok("explain", "deployment.spec.strategy").out

    assert "maxSurge  <integer or string>" in text
    assert "RollingUpdate | Recreate | Canary" in text
    assert "probes" in plum.ok("explain", "deployments.plum.dev.spec.template", "--recursive").out
    assert "did you mean replicas?" in plum("explain", "deployment.spec.replcas").err


def test_explain_describe_and_events_of_a_deployment_without_nodes(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=WEB)

    waiting = eventually(lambda: [line for line in plum("explain", "deployment/web").lines if "waits for a node since" in line])
    page = plum.ok("describe", "deployment/web").out

    assert waiting
    assert plum("explain", "deployment/web", "--exit-code").code == FAILED
    assert "DESIRED   ACTUAL" in page
    assert "Instance/web-" in page
    assert "MinimumUnavailable" in page
    assert eventually(lambda: "RollingOut" in plum.ok("events", "--for", "deployment/web").out)


def test_waiting_ends_with_the_reason_when_the_time_is_over(plum: Plum) -> None:
    plum.write("web.yaml", WEB)

    done = plum("apply", "-f", "web.yaml", "--wait", "--timeout", "2s")

    assert done.code == TIMEOUT
    assert done.out == "deployment.plum.dev/web created\n"
    assert "0 of 2 instances are available" in done.err
    assert "waits for a node since" in done.err


def test_scale_pause_resume_restart_undo(plum: Plum) -> None:
    plum.ok("apply", "-f", "-", stdin=WEB)

    assert plum("scale", "deployment/web", "--replicas", "1", "--current-replicas", "9").code == CONFLICT
    plum.ok("scale", "deploy", "web", "--replicas", "1")
    plum.ok("rollout", "restart", "web")
    assert eventually(lambda: "2 (current)" in plum.ok("rollout", "history", "deployment/web").out)
    plum.ok("rollout", "pause", "web")
    assert "is paused" in plum("rollout", "undo", "web").err
    assert plum.ok("rollout", "resume", "web").out == "deployment.plum.dev/web resumed\n"
    plum.ok("rollout", "undo", "web", "--to-revision", "1")
    template = plum.ok("get", "deployment", "web", "-o", "json").json()["spec"]["template"]
    assert "plum.dev/restartedAt" not in json.dumps(template)
    assert plum("rollout", "undo", "web", "--to-revision", "77").code == NOT_FOUND
    assert plum("rollout", "status", "configmap/x").code in (2, NOT_FOUND)


def test_version_kubeconfig_doctor(plum: Plum, server: str) -> None:
    assert plum.ok("version", "-o", "json").json()["serverVersion"] == "0.1.0"
    plum.ok("kubeconfig", "--write", "kc")
    assert stat.S_IMODE(os.stat(plum.folder / "kc").st_mode) == 0o600
    assert plum.ok("version", "--kubeconfig", "kc").lines[1].endswith(server)
    checks = {check["name"]: check["state"] for check in plum.ok("doctor", "-o", "json").json()}
    assert checks["server"] == checks["version"] == checks["clock"] == "ok"
    assert plum("doctor", "--server", "http://127.0.0.1:1").code == FAILED


def test_a_run_that_nobody_takes_up_is_refused_and_leaves_nothing(plum: Plum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plum_cli.commands.run.TAKE_UP_SECONDS", 0.5)
    definition = (
        "apiVersion: plum.dev/v1\nkind: TaskDefinition\nmetadata: {name: t}\nspec: {executor: embedded, task: builtin.echo}\n"
    )
    plum.ok("apply", "-f", "-", stdin=definition)

    done = plum("run", "task/t", "--param", "x=1")

    if done.code:
        assert "does not carry out TaskRun objects" in done.err
        assert plum.ok("get", "taskruns", "-o", "name").out == ""
    assert plum("run", "task/nope").code == NOT_FOUND
