"""`plum artifact`: the real command against a real controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.packages import good_zip
from tests.support.programs import Sandbox, sandbox

META = "name=demo-app\nversion=1.0.0\nservice=orders:http:8080\n"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path) as made:
        await made.controller()
        yield made


def folder(root: Path, **files: str) -> Path:
    made = root / "demo"
    (made / "bin").mkdir(parents=True)
    (made / ".git").mkdir()
    for name, text in {
        "start.sh": "#!/bin/sh\nexec sleep 100\n",
        "meta.ini": META,
        "bin/app": "x" * 5000,
        ".git/HEAD": "x",
    }.items():
        (made / name).write_text(files.get(name.replace(".", "_"), text))
    return made


@pytest.mark.slow
async def test_a_folder_is_pushed_listed_pulled_and_deleted(box: Sandbox, tmp_path: Path) -> None:
    made = folder(tmp_path)

    checked = await box.plum("artifact", "push", str(made), "--check")
    pushed = await box.plum("artifact", "push", str(made))
    again = await box.plum("artifact", "push", str(made))
    listed = await box.plum("artifact", "list")
    zipped = tmp_path / "copy.zip"
    await box.plum("artifact", "pull", "demo-app:1.0.0", "-o", str(zipped))
    second = await box.plum("artifact", "push", str(zipped), "--version", "1.0.1")

    assert checked.out == "demo-app 1.0.0: 3 files, 5.0 KiB unpacked; services: orders (http:8080)\n"
    assert pushed.out.startswith("artifact demo-app:1.0.0 pushed (")
    assert again.out.startswith("artifact demo-app:1.0.0 is there already, unchanged (")
    assert listed.out.splitlines()[1].split()[:2] == ["demo-app", "1.0.0"]
    assert "orders:8080" in listed.out
    assert second.out.startswith("artifact demo-app:1.0.1 pushed (")
    deleted = await box.plum("artifact", "delete", "demo-app:1.0.0", "demo-app:1.0.1")
    assert deleted.out == "artifact demo-app:1.0.0 deleted\nartifact demo-app:1.0.1 deleted\n"
    assert "no artifacts in namespace default" in (await box.plum("artifact", "list")).err


@pytest.mark.slow
async def test_what_is_wrong_is_told_in_words_with_an_exit_code(box: Sandbox, tmp_path: Path) -> None:
    top = tmp_path / "top.zip"
    top.write_bytes(good_zip({"demo/start.sh": b"#!/bin/sh\n", "demo/meta.ini": META.encode()}))
    made = folder(tmp_path, start_sh="sleep 1\n", meta_ini="name=demo-app\n")
    outside = tmp_path / "outside.zip"
    outside.write_bytes(b"no zip")
    good = tmp_path / "good.zip"
    good.write_bytes(good_zip())
    other = tmp_path / "other.zip"
    other.write_bytes(good_zip({"start.sh": b"#!/bin/sh\nexit 0\n", "meta.ini": META.encode()}))
    await box.plum("artifact", "push", str(good))

    answers = {
        name: await box.plum("artifact", *arguments, ok=False)
        for name, arguments in {
            "nothing": ("push", str(tmp_path / "nothing")),
            "top": ("push", str(top)),
            "folder": ("push", str(made)),
            "outside": ("push", str(outside)),
            "other": ("push", str(other)),
            "pull": ("pull", "demo-app:9"),
            "delete": ("delete", "demo-app"),
            "action": ("polish",),
        }.items()
    }

    codes = {"nothing": 3, "top": 4, "folder": 4, "outside": 4, "other": 5, "pull": 3, "delete": 3, "action": 2}
    assert {name: answer.code for name, answer in answers.items()} == codes
    assert "cd demo && zip -r ../app.zip ." in answers["top"].err
    assert "  start.sh: has no #! line" in answers["folder"].err
    assert "  meta.ini: has no version" in answers["folder"].err
    assert "this is no zip" in answers["outside"].err
    assert "a version never changes" in answers["other"].err
    assert "there is demo-app:1.0.0" in answers["delete"].err
    box.programs[0].kill()
    assert (await box.plum("artifact", "list", ok=False)).code == 6
