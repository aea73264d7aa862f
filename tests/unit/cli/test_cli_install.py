"""`plum install systemd`: what is written where, what is refused, and what systemd itself thinks of the units."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plum_cli.commands import install
from plum_cli.errors import CONFLICT, FAILED, OK, USAGE
from plum_cli.main import main
from plum_cli.systemd_units import MARK, Choice, settings, unit

from tests.support.docker_engine import install as install_packages

UNITS = "etc/systemd/system"
WORLD = "/usr/bin/python3"
PROGRAMS = ["controller", "agent"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PLUM_TOKEN", "PLUM_JOIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("version", [249, 254])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("program", PROGRAMS)
def test_systemd_finds_nothing_wrong_with_a_unit(program: str, user: bool, version: int, tmp_path: Path) -> None:
    install_packages({"systemd-analyze": "systemd"})
    choice = Choice(program, (sys.executable, "-m", f"plum_{program}"), user_manager=user, systemd_version=version)
    file = tmp_path / choice.name
    file.write_text(unit(choice))

    words = ["systemd-analyze", *(["--user"] if user else []), "verify", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})

    newer = "Unknown key 'DelegateSubgroup'"  # says a systemd older than the one the unit is for
    ours = [line for line in done.stderr.splitlines() if "plum" in line and newer not in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_controller_is_fenced_in(tmp_path: Path) -> None:
    install_packages({"systemd-analyze": "systemd"})
    file = tmp_path / "plum-controller.service"
    file.write_text(unit(Choice("controller", (WORLD, "-m", "plum_controller"))))

    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)], capture_output=True, text=True
    )

    score = re.search(r"exposure level .*: ([\d.]+)", done.stdout)
    assert score is not None, done.stderr
    assert float(score[1]) <= 2.0  # 10 is a service without any fence


def test_the_agent_leaves_its_workloads_alone() -> None:
    text = unit(Choice("agent", (WORLD, "-m", "plum_agent")))

    for line in ("KillMode=process", "Delegate=yes", "DelegateSubgroup=plum-agent", "OOMPolicy=continue", "Restart=always"):
        assert f"\n{line}\n" in text
    assert "PLUM_CGROUP" not in text


def test_an_older_systemd_gets_no_word_that_it_does_not_know() -> None:
    text = unit(Choice("agent", (WORLD, "-m", "plum_agent"), systemd_version=252))

    assert "DelegateSubgroup" not in text
    assert "\nEnvironment=PLUM_CGROUP=/\n" in text


def test_a_command_line_says_to_systemd_what_it_says() -> None:
    text = unit(Choice("agent", ("/opt/a b/100%/$x/python", "-m", "plum_agent")))

    assert "\nExecStart='/opt/a b/100%%/$$x/python' -m plum_agent\n" in text


@pytest.mark.parametrize("value", ["plain", 'with "quotes" and \\', "spaces  and # and $HOME"])
def test_settings_are_read_back_as_they_were(value: str) -> None:
    line = settings("agent", {"X": value}).splitlines()[1]

    assert line.startswith('X="') and line.endswith('"')
    assert line[3:-1].replace('\\"', '"').replace("\\\\", "\\") == value


def test_files_are_written_once_and_settings_survive_a_new_release(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["install", "systemd", "agent", "--root", str(root), "--python", "/opt/plum/bin/python"]
    monkeypatch.setenv("PLUM_TOKEN", "secret-1")
    assert main([*words, "--node", "boat-1", "--controller", "https://shore:8443"]) == OK
    settings_file, unit_file = root / "etc/plum/agent.env", root / UNITS / "plum-agent.service"
    first = settings_file.read_text()
    capsys.readouterr()

    assert main([*words, "--node", "other"]) == OK

    said = capsys.readouterr().out
    assert "stays as it is" in said and "unchanged" in said
    assert settings_file.read_text() == first
    assert 'AGENT_NODE_ID="boat-1"' in first and 'PLUM_TOKEN="secret-1"' in first
    assert settings_file.stat().st_mode & 0o777 == 0o600
    assert unit_file.read_text().startswith(MARK)
    assert "secret-1" not in unit_file.read_text()


def test_a_dry_run_writes_nothing_and_shows_no_token(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PLUM_TOKEN", "PLUM_JOIN_TOKEN"):
        monkeypatch.setenv(name, "secret-1")

    assert main(["install", "systemd", "agent", "--root", str(root), "--dry-run", "--python", WORLD]) == OK

    said = capsys.readouterr().out
    assert "ExecStart=" in said and "secret-1" not in said
    assert list(root.rglob("*")) == []


def test_what_somebody_else_wrote_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / UNITS / "plum-agent.service"
    file.parent.mkdir(parents=True)
    file.write_text("[Unit]\nDescription=mine\n")
    words = ["install", "systemd", "agent", "--root", str(root), "--python", WORLD]

    assert main(words) == CONFLICT
    assert main([*words, "--remove"]) == CONFLICT
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "[Unit]\nDescription=mine\n"
    assert not (root / "etc/plum").exists()

    assert main([*words, "--force"]) == OK
    assert main([*words, "--remove"]) == OK
    assert main([*words, "--remove"]) == OK
    assert not file.exists() and (root / "etc/plum/agent.env").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["agent", "--listen", "127.0.0.1:80"],
        ["controller", "--node", "x"],
        ["agent", "--run-as", "plum"],
        ["agent", "--root", "/nowhere-at-all"],
        ["agent", "--now", "--root", "/"],
        ["agent", "--python", "python3", "--root", "/"],
        ["agent", "--node", "a\nPLUM_ON_STOP=stop", "--root", "/"],
    ],
)
def test_what_makes_no_sense_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "systemd", *words, "--dry-run"]) == USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_an_interpreter_that_the_service_cannot_reach_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True)
    (closed / "bin/python").touch()
    closed.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(install, "_folders", lambda args: (tmp_path / "units", tmp_path / "settings"))

    assert main(["install", "systemd", "controller", "--python", str(closed / "bin/python")]) == FAILED

    assert "cannot enter" in capsys.readouterr().err
    assert main(["install", "systemd", "controller", "--python", "/tmp/plum-that-is-not-there/bin/python"]) == FAILED
    assert "has a /tmp of its own" in capsys.readouterr().err
    assert not (tmp_path / "units").exists()
