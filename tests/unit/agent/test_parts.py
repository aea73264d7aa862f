"""Small parts: `/proc` lines, exit codes of a shell, environments, ports, settings, conditions."""

from __future__ import annotations

import os
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_agent import settings
from plum_agent.drivers.base import Launch, Run
from plum_agent.drivers.fake import FakeOptions
from plum_agent.drivers.process_table import Entry, members
from plum_agent.drivers.procfs import ProcessStat, parse_stat, read_stat
from plum_agent.drivers.run_files import exit_of_shell, exit_of_wait_status, read_line, write_launch_files
from plum_agent.environment import Place, environment_of, expand, field_of
from plum_agent.errors import RefusedError
from plum_agent.ports import PortBook, list_listening
from plum_agent.status import merge_conditions
from plum_agent.unit import launch_hash, wanted_of
from plum_schemas.base import Condition, ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.template import EnvSource, EnvVar, FieldRef, Port, Resources, Template, TemplateMetadata


def test_our_own_line_of_proc_is_understood() -> None:
    stat = read_stat(os.getpid())

    assert stat is not None
    assert (stat.pid, stat.parent, stat.group, stat.session) == (os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0))
    assert stat.alive


@given(st.text(alphabet="a) (\n1", max_size=15))
def test_any_name_of_a_process_is_understood(name: str) -> None:
    line = f"4711 ({name}) S 1 2 3 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0"

    assert parse_stat(line) == ProcessStat(4711, "S", 1, 2, 3, 987654)


@pytest.mark.parametrize("line", ["", "x", "1 (a) S", "1 (a) S a b c 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"])
def test_nonsense_is_no_process(line: str) -> None:
    assert parse_stat(line) is None


@pytest.mark.parametrize(("status", "said", "code", "name"), [
    (0, False, 0, ""), (3, False, 3, ""), (137, True, 137, "SIGKILL"), (137, False, 137, ""), (143, False, 143, "SIGTERM"),
    (130, False, 130, "SIGINT"), (255, False, 255, ""), (255, True, 255, ""),
])  # fmt: skip
def test_exit_codes_of_a_shell(status: int, said: bool, code: int, name: str) -> None:
    ended = exit_of_shell(status, said, 1.0)

    assert (ended.code, ended.signal) == (code, name)


def test_wait_statuses() -> None:
    assert exit_of_wait_status(None, 1.0).code is None
    assert exit_of_wait_status(3 << 8, 1.0).code == 3
    killed = exit_of_wait_status(signal.SIGKILL, 1.0)
    assert (killed.code, killed.signal) == (137, "SIGKILL")


def test_a_line_counts_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "exit"

    assert read_line(path) is None
    path.write_text("13")
    assert read_line(path) is None
    path.write_text("137\n")
    assert read_line(path) == "137"


def test_the_family_of_a_run_is_found_by_marker_session_and_descent() -> None:
    def entry(pid: int, parent: int, session: int, marker: str = "") -> Entry:
        return Entry(ProcessStat(pid, "S", parent, session, session, pid), marker, "")

    table = [entry(10, 1, 10, "run"), entry(11, 1, 99, "run"), entry(12, 11, 98), entry(13, 1, 10), entry(14, 12, 97),
             entry(20, 1, 20), entry(21, 20, 20, "other")]  # fmt: skip

    assert {stat.pid for stat in members(table, "run", 10)} == {10, 11, 12, 13, 14}
    assert {stat.pid for stat in members(table, "run", 0)} == {10, 11, 12, 14}


@given(st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=60))
def test_any_value_survives_the_shell(value: str) -> None:
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_launch_files(folder, {"VALUE": value}, [])
        script = f'. {folder}/env.sh; printf "%s" "$VALUE" > {folder}/got'
        subprocess.run(["/bin/sh", "-c", script], check=True, env={})
        assert (folder / "got").read_bytes() == value.encode()


def make_instance(template: Template) -> Instance:
    metadata = ObjectMeta(name="web-0", namespace="default", uid="u1", labels={"plum.dev/deployment": "web", "app": "w"})
    return Instance(metadata=metadata, spec=InstanceSpec(node_name="n1", template=template))


def test_an_environment_holds_what_is_declared_and_the_names_of_plum() -> None:
    template = Template(
        command=["x"],
        env=[
            EnvVar(name="A", value="1"),
            EnvVar(name="B", value="$(A)2 $(MISSING) $$(A) $(PORT_HTTP)"),
            EnvVar(name="NODE", value_from=EnvSource(field_ref=FieldRef(field_path="spec.nodeName"))),
            EnvVar(name="PATH", value="/own"),
            EnvVar(name="WORKER_NODE_ID", value="forged"),
        ],
        ports=[Port(name="http", port=0), Port(name="admin-api", port=9000)],
    )

    got = environment_of(make_instance(template), {}, Place("n1"), {"http": 4711, "admin-api": 9000}, "/home")

    assert got == {
        "PATH": "/own", "HOME": "/home", "LANG": "C.UTF-8", "PLUM_APP_NAME": "web", "PLUM_APP_VERSION": "",
        "PLUM_INSTANCE_ID": "web-0", "PLUM_NAMESPACE": "default",
        "WORKER_NODE_ID": "n1", "PORT": "4711", "PORT_HTTP": "4711", "PORT_ADMIN_API": "9000", "A": "1",
        "B": "12 $(MISSING) $(A) 4711", "NODE": "n1",
    }  # fmt: skip


@given(st.text(alphabet="$()AB ", max_size=30))
def test_expansion_never_fails_and_is_bounded(text: str) -> None:
    assert len(expand(text, {"A": "x", "B": ""})) <= len(text)


def test_fields_of_the_instance() -> None:
    instance = make_instance(Template(command=["x"]))

    assert field_of(instance, "metadata.name", "") == "web-0"
    assert field_of(instance, "metadata.labels['app']", "") == "w"
    assert field_of(instance, "status.address", "10.0.0.1") == "10.0.0.1"
    with pytest.raises(RefusedError, match="not known"):
        field_of(instance, "spec.secrets", "")


def test_ports_are_held_by_one_owner_at_a_time() -> None:
    book = PortBook(checks_machine=False)
    http = [Port(name="http", port=8080)]

    assert book.acquire("a", http) == {"http": 8080}
    assert book.acquire("a", http) == {"http": 8080}
    with pytest.raises(RefusedError, match="held by a"):
        book.acquire("b", [Port(name="other", port=9090), *http])
    assert book.acquire("c", [Port(name="other", port=9090)]) == {"other": 9090}
    assert book.acquire("d", [Port(name="http", port=8080, protocol="udp")]) == {"http": 8080}
    book.release("a")
    assert book.acquire("b", http) == {"http": 8080}


def test_a_port_of_another_program_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert number in list_listening("tcp")
        with pytest.raises(RefusedError, match="did not start"):
            PortBook(checks_machine=True).acquire("a", [Port(name="http", port=number)])


def test_free_ports_are_chosen_for_zero() -> None:
    numbers = PortBook(checks_machine=True).acquire("a", [Port(name=f"p{number}", port=0) for number in range(20)])

    assert len(set(numbers.values())) == 20
    assert all(1024 < number < 65536 for number in numbers.values())


def test_only_what_a_process_cannot_take_over_is_a_new_launch() -> None:
    base = Template(command=["x"])

    same = [
        Template(command=["x"], metadata=TemplateMetadata(labels={"a": "b"})),
        Template(command=["x"], restart_policy="Never"),
        Template(command=["x"], node_selector={"a": "b"}),
        Template(command=["x"], resources=Resources(requests={"cpu": "1"})),
    ]
    other = [
        Template(command=["y"]),
        Template(command=["x"], env=[EnvVar(name="A", value="1")]),
        Template(command=["x"], user="u"),
        Template(command=["x"], resources=Resources(limits={"cpu": "1"})),
    ]
    assert {launch_hash(template) for template in same} == {launch_hash(base)}
    assert launch_hash(base) not in {launch_hash(template) for template in other}


def test_a_deletion_is_wanted_whatever_the_state_says() -> None:
    instance = make_instance(Template(command=["x"]))
    assert wanted_of(instance, deleted=False).run
    instance.metadata.deletion_timestamp = datetime.now(UTC)

    wanted = wanted_of(instance, deleted=False)

    assert (wanted.run, wanted.deleted, wanted.grace_seconds) == (False, True, 10.0)


def test_conditions_of_others_are_kept_and_lost_is_over_once_we_report() -> None:
    def condition(kind: str, status: str) -> Condition:
        return Condition(type=kind, status=status, reason="R")

    stale = [condition("Ready", "Unknown"), condition("Lost", "True"), condition("ResourceLimits", "True")]

    merged = merge_conditions([condition("Foreign", "True"), *stale], [condition("Started", "True"), condition("Ready", "True")])

    assert merged == [condition("Foreign", "True"), condition("Ready", "True"), condition("Started", "True")]


def test_settings_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("AGENT_NODE_ID=from-file\nAGENT_IP='10.0.0.9'\n# comment\n")
    environment = {"AGENT_NODE_ID": "from-env", "CONTROLLER_BASE": "http://c:1", "AGENT_DATA_DIR": "/data"}

    given_ = settings.load(["--controller", "http://flag:2"], environment)

    assert (given_.node, given_.controller, given_.address) == ("from-env", "http://flag:2", "10.0.0.9")
    assert given_.data_directory == Path("/data")
    fake = settings.load(["--driver", "fake", "--count", "3", "--node", "n", "--fake", "start=20ms,crash-rate=0.5"], {})
    assert fake.nodes == ["n-1", "n-2", "n-3"]
    assert fake.fake == FakeOptions(start=0.02, crash_rate=0.5)
    for wrong in (["--count", "3"], ["--driver", "fake", "--fake", "speed=1"], ["--on-stop", "explode"]):
        with pytest.raises(SystemExit):
            settings.load(wrong, {})
    with pytest.raises(SystemExit):
        settings.load([], {"AGENT_RUN_MODE": "swarm"})
    assert settings.load([], {"AGENT_RUN_MODE": "docker"}).driver == "process", "it runs both, as the template says"


def test_settings_of_containers_have_the_names_that_sites_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "DOCKER_HOST": "unix:///run/e.sock", "PLUM_BASE_IMAGE": "base:1",
        "PLUM_CONTAINER_MEMORY": "512m", "PLUM_CONTAINER_CPUS": "0.5",
        "PLUM_CONTAINER_ENV": "A=1,B=x=y", "PLUM_HOST_LIB_PATHS": "/opt/a:/opt/b", "PLUM_CONTROLLER_HOST": "10.0.0.1",
    }  # fmt: skip

    given_ = settings.load(["--data-dir", str(tmp_path)], environment)

    defaults = given_.containers
    assert (given_.engine, given_.image_directory) == (Path("/run/e.sock"), tmp_path / "images")
    assert (defaults.base_image, defaults.memory_bytes, defaults.cpu_millis) == ("base:1", 512 * 2**20, 500)
    assert (dict(defaults.environment), defaults.controller_host) == ({"A": "1", "B": "x=y"}, "10.0.0.1")
    assert defaults.libraries == (Path("/opt/a"), Path("/opt/b"))
    assert settings.load(["--engine", "none"], {}).engine is None
    for wrong in ({"PLUM_ENGINE": "tcp://10.0.0.1:2375"}, {"PLUM_CONTAINER_MEMORY": "much"}, {"PLUM_CONTAINER_ENV": "nonsense"}):
        with pytest.raises(SystemExit):
            settings.load([], wrong)


def test_a_launch_needs_nothing_of_the_agent() -> None:
    launch = Launch(Run("m", Path("/r")), ("x",), {}, Path("/w"))

    assert (launch.user, launch.cpu_millis, launch.memory_bytes, launch.fence) == ("", None, None, None)
