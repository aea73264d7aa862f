"""Keeping processes running: started again after a crash with growing pauses, ended when asked, killed when deaf."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plum_cli import supervisor
from plum_cli.supervisor import Part, describe_exit


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def part(code: str, said: list[str], **options: object) -> Part:
    return Part("part", lambda: [sys.executable, "-S", "-c", code], lambda name, line: said.append(f"{name}: {line}"), **options)  # type: ignore[arg-type]


async def test_a_crashed_process_is_started_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF", 0.01)
    said: list[str] = []
    crashing = part("raise SystemExit(3)", said)

    task = asyncio.create_task(crashing.run())
    await until(lambda: crashing.starts >= 4)
    await crashing.stop(5)
    await task

    assert said[0] == "part: ended with exit code 3; starting it again in 0.0 s"
    assert len(said) >= 3


async def test_pauses_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF", 0.1)
    monkeypatch.setattr(supervisor, "MAX_BACKOFF", 0.3)
    said: list[str] = []
    crashing = part("raise SystemExit(1)", said)

    task = asyncio.create_task(crashing.run())
    await until(lambda: len(said) >= 4)
    await crashing.stop(5)
    await task

    assert [line.rsplit(" ", 2)[1] for line in said[:4]] == ["0.1", "0.2", "0.3", "0.3"]


async def test_lines_of_stdout_and_stderr_are_passed_on() -> None:
    said: list[str] = []
    lines: list[str] = []
    talking = part("import sys; print('out'); print('err', file=sys.stderr)", said, on_line=lines.append, only_once=True)

    await talking.run()

    assert lines == ["out"]
    assert said == ["part: err"]
    assert talking.exit_text == "ended with exit code 0"


async def test_a_part_that_cannot_start_is_tried_once() -> None:
    said: list[str] = []
    failing = part("raise SystemExit(2)", said, only_once=True)

    await failing.run()

    assert failing.starts == 1
    assert said == []


async def test_a_deaf_process_is_killed_after_its_grace() -> None:
    said: list[str] = []
    ready: list[str] = []
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    deaf = part(code, said, on_line=ready.append)

    task = asyncio.create_task(deaf.run())
    await until(lambda: bool(ready))
    await deaf.stop(0.1)
    await task

    assert deaf.process is not None and deaf.process.returncode == -9
    assert said == ["part: did not end within 0 s; killed"]


async def test_a_line_that_is_too_long_does_not_stop_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LINE_BYTES", 1000)
    said: list[str] = []
    lines: list[str] = []
    talking = part("print('x' * 5000); print('after')", said, on_line=lines.append, only_once=True)

    async with asyncio.timeout(20):
        await talking.run()

    assert lines[-1] == "after"


@pytest.mark.parametrize(
    ("code", "text"), [(0, "ended with exit code 0"), (-9, "was ended by SIGKILL"), (-250, "was ended by signal 250")]
)
def test_exits_are_said_as_they_were(code: int, text: str) -> None:
    assert describe_exit(code) == text


def test_nothing_of_a_program_is_imported_to_find_it() -> None:
    from plum_cli.execute import command_of

    assert command_of("plum_controller", ["--x"]) == [sys.executable, "-m", "plum_controller", "--x"]
    assert Path(sys.executable).exists()
