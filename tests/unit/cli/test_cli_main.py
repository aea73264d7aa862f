"""The command line as a whole: finding commands, exit codes, cheap starts, the generated reference."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from plum_cli import __version__
from plum_cli.errors import EXIT_CODES, UNAVAILABLE, USAGE
from plum_cli.main import COMMANDS, main, new_parser, split_command
from plum_cli.reference import document

ROOT = Path(__file__).parents[3]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    assert all(f"  {command.name} " in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_with_examples(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command.name, "--help"])  # type: ignore[attr-defined]

    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "examples:\n  " in text
    assert f"plum {command.name}" in text  # type: ignore[attr-defined]


def test_an_unknown_command_is_a_usage_error_that_names_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gte", "nodes"]) == USAGE
    assert "did you mean `plum get`?" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["get"], ["apply"], ["rollout"], ["rollout", "stop", "x"], ["scale", "a/b"], ["get", "--nope"]])
def test_a_wrong_command_line_ends_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == USAGE


@pytest.mark.parametrize(
    "argv",
    [
        ["get", "nodes", "-o", "xml"],
        ["get", "nodes", "-w", "--at", "5"],
        ["delete"],
        ["delete", "x", "-f", "y"],
        ["logs"],
        ["logs", "a", "-f", "-p"],
        ["run", "nonsense"],
        ["run", "task/a", "--param", "x"],
        ["get", "nodes", "--server", "localhost:8080"],
        ["get", "nodes", "--kubeconfig", "/does/not/exist"],
    ],
)
def test_arguments_that_make_no_sense_together_end_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_no_server_ends_with_6_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "nodes", "--server", "http://127.0.0.1:1"]) == UNAVAILABLE

    text = capsys.readouterr().err
    assert "no server answers at http://127.0.0.1:1" in text
    assert "plum dev" in text


def test_options_may_stand_before_the_command() -> None:
    assert split_command(["-n", "a", "--server", "http://x", "get", "nodes"]) == (
        "get",
        ["nodes", "-n", "a", "--server", "http://x"],
    )
    assert split_command(["--help"]) == ("", ["--help"])
    assert split_command(["-n", "a", "x", "--", "y"]) == ("x", ["-n", "a", "--", "y"])


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("argv", [["--help"], ["version", "--client"]])
def test_what_asks_no_server_loads_nothing_of_the_client(argv: list[str]) -> None:
    heavy = [
        "asyncio",
        "msgspec",
        "yaml",
        "ssl",
        "rich",
        "shtab",
        "json.decoder" if argv == ["--help"] else "yaml",
        "plum_client",
    ]
    code = f"import sys; from plum_cli.main import main; main({argv!r}); sys.exit(str(set({heavy!r}) & set(sys.modules) or ''))"

    done = run_python(code)

    assert done.stderr.strip() == ""


def test_no_command_loads_a_kind_or_a_program() -> None:
    names = [command.name for command in COMMANDS]
    code = (
        "import sys; from plum_cli.main import COMMANDS\n"
        "import plum_cli.session, plum_cli.apply, plum_cli.prune, plum_cli.waiting, plum_cli.dev\n"
        f"assert len([c.load() for c in COMMANDS]) == {len(names)}\n"
        "heavy = ('plum_controller', 'plum_agent', 'plum_schemas.deployment', 'plum_schemas.kinds', 'rich', 'shtab')\n"
        "bad = [m for m in sys.modules if m.startswith(heavy)]\n"
        "sys.exit(str(bad or ''))"
    )

    assert run_python(code).stderr.strip() == ""


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text())

    assert project["project"]["version"] == __version__


def test_the_reference_is_current_and_lists_every_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()

    assert text == document(), "run: python -m plum_cli.reference > docs/cli.md"
    assert all(f"| {code} |" in text for code, _ in EXIT_CODES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0

    text = capsys.readouterr().out
    assert "rollout" in text
    assert "force-conflicts" in text


def test_parsers_have_no_abbreviations() -> None:
    parser = new_parser(next(command for command in COMMANDS if command.name == "apply"))

    with pytest.raises(SystemExit):
        parser.parse_args(["-f", "x", "--recurs"])
