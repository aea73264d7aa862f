"""`plum dev` with real agents and processes: it starts everything, mends what crashes, ends with everything but the workloads."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from plum_cli.errors import CONFLICT, FAILED, NOT_FOUND

from tests.support.command import Dev, Plum, eventually, processes_of, running_dev
from tests.support.server import started_server

pytestmark = pytest.mark.slow

TALK = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 2
  strategy: {maxSurge: 0, maxUnavailable: 1}
  template:
    metadata: {labels: {app: NAME}}
    command: ["sh", "-c", "echo hello from $PLUM_INSTANCE_ID; exec sleep 1000"]
    terminationGracePeriodSeconds: 1
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running_dev(tmp_path_factory.mktemp("shared"), "--agents", "2") as running:
        yield running


def deploy(plum: Plum, name: str, text: str = TALK) -> None:
    plum.ok("apply", "-f", plum.write(f"{name}.yaml", text.replace("NAME", name)), "--wait", "--timeout", "40s")


def pids(plum: Plum, name: str) -> list[int]:
    """Process ids of a deployment's running instances."""
    found = plum.ok("get", "instances", "-l", f"plum.dev/deployment={name}", "-o", "jsonpath={.items[*].status.pid}").out.split()
    return sorted(int(pid) for pid in found)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


# ---- the life of plum dev


def test_says_where_everything_is_and_applies_the_manifests(tmp_path: Path) -> None:
    folder = tmp_path / "manifests" / "deep"
    folder.mkdir(parents=True)
    (folder / "talk.yaml").write_text(TALK.replace("NAME", "talk"))

    with running_dev(tmp_path / "dev", "--manifests", str(tmp_path / "manifests")) as dev:
        assert "deployment.plum.dev/talk applied" in dev.text
        assert f"UI          {dev.plum.url}/" in dev.text
        assert dev.text.count("\n  plum ") == 3
        kubeconfig = dev.data_dir / "kubeconfig"
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
        dev.plum.env = {"PLUM_SERVER": "", "KUBECONFIG": str(kubeconfig)}
        assert dev.plum.ok("get", "nodes", "-o", "name").out == "node.plum.dev/node-1\n"
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(30) == 0


def test_a_second_one_on_the_same_data_is_refused_with_a_sentence(dev: Dev) -> None:
    done = dev.plum("dev", "--listen", "127.0.0.1:0", "--data-dir", str(dev.data_dir))

    assert done.code == CONFLICT
    assert f"process {dev.process.pid}, at {dev.plum.url}" in done.err


def test_a_port_that_is_taken_ends_it_with_the_reason(dev: Dev, tmp_path: Path) -> None:
    plum = Plum(dev.plum.url, tmp_path)
    address = dev.plum.url.removeprefix("http://")

    with plum.process("dev", "--listen", address, "--data-dir", str(tmp_path / "other")) as process:
        _, err = process.communicate(timeout=40)

    assert process.returncode == FAILED
    assert f"{address} cannot be taken" in err


def test_ends_its_parts_but_not_the_workloads_and_adopts_them_after_kill_9(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    with running_dev(folder, clean=False) as first:
        deploy(first.plum, "talk")
        before = pids(first.plum, "talk")
        assert len(before) == 2

        first.process.kill()
        first.process.wait()
        parts = eventually(lambda: not [line for line in processes_of(folder).values() if "-m plum_" in line], 25)
        assert parts, processes_of(folder)
        assert all(alive(pid) for pid in before)

    with running_dev(folder) as second:
        ready = ["get", "deployment", "talk", "-o", "jsonpath={.status.readyReplicas}"]
        assert eventually(lambda: second.plum.ok(*ready).out == "2\n")
        assert pids(second.plum, "talk") == before
        restarts = second.plum.ok("get", "instances", "-o", "jsonpath={.items[*].status.restarts}").out.split()
        assert set(restarts) <= {"0"}
        second.process.terminate()
        assert second.process.wait(30) == 0
        assert all(alive(pid) for pid in before)


def test_a_crashed_controller_and_agent_are_started_again_and_it_says_so(tmp_path: Path) -> None:
    with running_dev(tmp_path / "dev") as dev:
        deploy(dev.plum, "talk")
        before = pids(dev.plum, "talk")

        for part in ("plum_controller", "plum_agent"):
            (victim,) = [pid for pid, line in processes_of(tmp_path / "dev").items() if f"-m {part}" in line]
            os.kill(victim, signal.SIGKILL)
            name = {"plum_controller": "controller", "plum_agent": "node-1"}[part]
            said = eventually(
                lambda name=name: f"{name} " in dev.text and "was ended by SIGKILL; starting it again in" in dev.text
            )
            assert said, dev.text

        assert eventually(lambda: "is ready again" in dev.text)
        assert eventually(
            lambda: (
                dev.plum("get", "nodes", "-o", 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}').out
                == "True\n"
            )
        )
        assert pids(dev.plum, "talk") == before


# ---- what runs


def test_logs_of_one_and_of_all_instances(dev: Dev) -> None:
    deploy(dev.plum, "speaker")
    names = dev.plum.ok("get", "instances", "-l", "app=speaker", "-o", "jsonpath={.items[*].metadata.name}").out.split()
    if not names:  # the template's labels are not on the Instance objects
        names = dev.plum.ok(
            "get", "instances", "-l", "plum.dev/deployment=speaker", "-o", "jsonpath={.items[*].metadata.name}"
        ).out.split()

    one = eventually(lambda: dev.plum("logs", names[0]).out)
    every = dev.plum.ok("logs", "deployment/speaker", "--all-instances").lines
    single = dev.plum.ok("logs", "deployment/speaker")

    assert one == f"hello from {names[0]}\n"
    assert sorted(every) == sorted(f"[{name}] hello from {name}" for name in names)
    assert "has 2 instances; this is" in single.err
    assert dev.plum.ok("logs", f"instance/{names[0]}", "--timestamps").out.split()[0].startswith("20")
    assert dev.plum("logs", "nobody").code == NOT_FOUND


def test_following_logs_also_shows_instances_that_come_later(dev: Dev) -> None:
    deploy(dev.plum, "chorus")

    with dev.plum.process("logs", "-f", "deployment/chorus", "--all-instances") as follow:
        assert follow.stdout is not None
        os.set_blocking(follow.stdout.fileno(), False)
        seen: list[str] = []

        def lines() -> list[str]:
            seen.extend(iter(follow.stdout.readline, ""))  # type: ignore[union-attr]
            return seen

        assert eventually(lambda: len(lines()) >= 2)
        dev.plum.ok("scale", "deployment/chorus", "--replicas", "3", "--wait")
        assert eventually(lambda: len(lines()) >= 3)

    assert len({line.split("]")[0] for line in seen}) == 3


def test_explain_says_why_something_that_crashes_does_not_run(dev: Dev) -> None:
    crash = TALK.replace('"echo hello from $PLUM_INSTANCE_ID; exec sleep 1000"', '"echo no; exit 3"').replace(
        "replicas: 2", "replicas: 1"
    )
    dev.plum.ok("apply", "-f", dev.plum.write("crash.yaml", crash.replace("NAME", "crash")))

    found = eventually(lambda: "with exit code 3" in dev.plum("explain", "deployment/crash").out, 30)

    text = dev.plum("explain", "deployment/crash").out
    assert found, text
    assert "0 of 1 instances are available" in text
    dev.plum.ok("delete", "deployment", "crash")


def test_a_rollout_is_followed_and_undone(dev: Dev) -> None:
    deploy(dev.plum, "roller")
    before = pids(dev.plum, "roller")

    dev.plum.ok(
        "apply", "-f", dev.plum.write("roller.yaml", TALK.replace("NAME", "roller").replace("hello from", "goodbye from"))
    )
    status = dev.plum.ok("rollout", "status", "roller", "--timeout", "40s")
    history = dev.plum.ok("rollout", "history", "roller").lines
    undone = dev.plum.ok("rollout", "undo", "roller", "--wait", "--timeout", "40s")

    assert "is rolled out: 2 of 2 instances are available" in status.out
    assert len(history) == 3
    assert "is rolled out" in undone.out
    assert not set(before) & set(pids(dev.plum, "roller"))
    assert "hello from" in dev.plum.ok("get", "deployment", "roller", "-o", "json").out


def test_explain_object_that_is_fine_and_describe(dev: Dev) -> None:
    deploy(dev.plum, "fine")

    assert "is where it should be: 2 of 2 instances are available" in dev.plum.ok("explain", "deployment/fine", "--exit-code").out
    page = dev.plum.ok("describe", "deployment", "fine").out
    assert "readyReplicas       2         2" in page
    assert page.count("Instance/fine-") == 2


def test_drain_empties_a_node_and_uncordon_takes_it_back(dev: Dev) -> None:
    deploy(dev.plum, "mover")

    for _ in range(2):
        dev.plum.ok("node", "drain", "node-2", "--timeout", "40s")
        nodes = dev.plum.ok("get", "instances", "--field-selector", "spec.nodeName=node-2", "-o", "name").lines
        assert nodes == []
        assert "is complete" in dev.plum.ok("explain", "node/node-2").out
        dev.plum.ok("node", "uncordon", "node-2")
    assert "takes instances" in dev.plum.ok("explain", "node/node-2").out
    assert dev.plum.ok("node", "cordon", "node-2").out == "node.plum.dev/node-2 cordoned\n"
    assert dev.plum.ok("node", "cordon", "node-2").out == "node.plum.dev/node-2 cordoned already\n"
    dev.plum.ok("node", "uncordon", "node-2")


# ---- backup and restore


def test_restore_refuses_a_running_controller_and_files_that_are_no_backup(dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database")
    (tmp_path / "empty.db").write_bytes(b"SQLite format 3\x00" + b"\0" * 84)

    for name, part in (("text", "no SQLite database"), ("empty.db", "damaged"), ("none", "cannot read")):
        done = dev.plum("restore", str(tmp_path / name), "--data-dir", str(tmp_path / "data"))
        assert done.code == FAILED
        assert part in done.err, done.err
    store = dev.data_dir / "plum.db"
    with (dev.data_dir / "plum.db.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    copy = tmp_path / "copy.db"
    copy.write_bytes(store.read_bytes())
    done = dev.plum("restore", str(copy), "--data-dir", str(dev.data_dir))
    assert done.code == FAILED


def test_a_plan_says_what_would_happen_and_its_hash_guards_the_apply(dev: Dev) -> None:
    deploy(dev.plum, "planned")
    more = dev.plum.write("planned.yaml", TALK.replace("NAME", "planned").replace("replicas: 2", "replicas: 3"))

    text = dev.plum.ok("plan", "-f", more).out
    answer = dev.plum.ok("plan", "-f", more, "-o", "json").json()
    again = dev.plum.ok("plan", "-f", more, "-o", "hash").out.strip()

    assert "Deployment default/planned" in text
    assert any(change["action"] == "create" and change["kind"] == "Instance" for change in answer["changes"])
    assert again == answer["hash"]
    assert dev.plum("apply", "-f", more, "--plan", "0" * 12).code == FAILED
    assert dev.plum.ok("get", "deployment", "planned", "-o", "jsonpath={.spec.replicas}").out == "2\n"
    assert dev.plum.ok("apply", "-f", more, "--plan", again).out == "deployment.plum.dev/planned configured\n"


def test_a_backup_is_restored_with_everything_in_it(dev: Dev, tmp_path: Path) -> None:
    plum = Plum(dev.plum.url, tmp_path)
    note = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {x: one}\n"
    plum.ok("apply", "-f", "-", stdin=note)

    plum.ok("backup", "x.db")
    plum.ok("delete", "configmap", "kept")
    again = plum("backup", "x.db")
    restored = plum.ok("restore", "x.db", "--data-dir", "new")

    assert "is there already" in again.err
    assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o600
    assert "changes in its history" in restored.out
    with started_server(tmp_path / "new") as server:
        other = Plum(server.url, tmp_path)
        assert other.ok("get", "configmap", "kept", "-o", "jsonpath={.data.x}").out == "one\n"
    plum.ok("restore", "x.db", "--data-dir", "new")
    assert any(".before-restore-" in path.name for path in (tmp_path / "new").iterdir())
