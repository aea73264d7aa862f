"""Tasks on a node: the allow list, and the part of the output that is sent."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_agent.errors import RefusedError
from plum_agent.tasks import output
from plum_agent.tasks.allow import AllowList

TRUE = os.path.realpath(shutil.which("true") or "/bin/true")


def make_program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_narrow_list_starts_what_it_found_and_nothing_else(tmp_path: Path) -> None:
    good, bad = make_program(tmp_path / "tasks", "good"), make_program(tmp_path / "other", "bad")
    (tmp_path / "tasks" / "link").symlink_to(bad)
    allow = AllowList.parse(f"true, {tmp_path}/tasks/*, image:tools:*")

    assert allow.program(["true", "-x"], "/")[1:] == ("-x",)
    assert os.path.realpath(allow.program(["true"], "/")[0]) == TRUE
    assert allow.program([str(good)], "/") == (str(good),)
    assert allow.program(["./good"], str(tmp_path / "tasks")) == (str(good),)
    for command, folder in (
        ([str(bad)], "/"),
        ([str(tmp_path / "tasks" / "link")], "/"),
        (["../other/bad"], str(tmp_path / "tasks")),
        (["./true"], str(tmp_path)),
        (["no-such-program"], "/"),
        (["sh"], "/"),
    ):
        with pytest.raises(RefusedError, match="PLUM_TASK_ALLOW"):
            allow.program(command, folder)
    allow.image("tools:1")
    with pytest.raises(RefusedError, match="image tool:1"):
        allow.image("tool:1")


def test_everything_nothing_and_what_cannot_be_read() -> None:
    assert AllowList.parse("").program(["anything"], "/") == ("anything",)
    for refuse in (lambda: AllowList.parse("none").program(["true"], "/"), lambda: AllowList.parse("none").image("a:1")):
        with pytest.raises(RefusedError):
            refuse()
    for wrong in ("none, true", "bin/true"):
        with pytest.raises(ValueError, match="PLUM_TASK_ALLOW"):
            AllowList.parse(wrong)


@settings(deadline=None, max_examples=30)
@given(st.text(alphabet=st.sampled_from(["a", "é", "\0", "\n", "\U0001f600", "\ufffd"]), max_size=50), st.integers(1, 400))
def test_what_is_sent_of_a_stream_is_its_end_and_bounded(text: str, limit: int) -> None:
    before, output.MAX_BYTES = output.MAX_BYTES, limit
    try:
        kept = output.bounded(text)
    finally:
        output.MAX_BYTES = before

    assert text.endswith(kept)
    assert len(json.dumps(kept, ensure_ascii=False).encode()) - 2 <= limit


def test_the_end_of_a_long_file_begins_with_a_whole_character(tmp_path: Path) -> None:
    path = tmp_path / "stdout.log"
    path.write_bytes("é".encode() * output.MAX_BYTES + b"!")

    kept = output.read_end(path)

    assert kept.endswith("é!")
    assert "\ufffd" not in kept
    assert output.read_end(tmp_path / "missing") == ""
