"""`plum sync` against a real controller that follows a folder by its flag."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import sandbox
from tests.support.syncs import config


async def test_every_action_on_a_followed_folder(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    for number in range(4):
        (fleet / f"{number}.yaml").write_text(config(f"c{number}", x="1"))
    async with sandbox(tmp_path) as box:
        await box.controller("--sync", str(fleet))

        async def sync(*arguments: str, code: int = 0) -> str:
            done = await box.plum("sync", *arguments, ok=False)
            assert done.code == code, f"plum sync {' '.join(arguments)}: {done.code}\n{done.out}{done.err}"
            return done.out + done.err

        assert "fleet is not followed" not in await sync("now", "fleet")
        assert "Synced" in await sync("list")
        assert "ConfigMap   default/c0   Applied" in await sync("status", "fleet")
        assert "nothing to do; 4 as they should be" in await sync("plan", "fleet")
        assert await sync("diff", "fleet") == ""

        assert "is suspended" in await sync("suspend", "fleet", "--reason", "repairs")
        (fleet / "0.yaml").write_text(config("c0", x="2"))
        for number in (1, 2, 3):
            (fleet / f"{number}.yaml").unlink()
        assert "suspended: repairs" in await sync("now", "fleet", code=1)
        plan = await sync("plan", "fleet")
        assert "~ change   ConfigMap default/c0: data.x" in plan
        assert "1 to change, 3 to delete" in plan
        assert '+  x: "2"' in (await sync("diff", "fleet", code=1)).replace("'", '"')

        await sync("resume", "fleet")
        blocked = await sync("now", "fleet", code=1)
        assert "3 of 4 objects would be deleted, and maxDelete is 50% (2)" in blocked
        assert "plum sync approve fleet" in blocked
        assert "may delete 3 objects" in await sync("approve", "fleet")
        assert "1 objects are as" in await sync("now", "fleet")
        assert "stays there until its source has something newer" in await sync("rollback", "fleet", "--reason", "x")
        await sync("now", "fleet")
        assert "held" in await sync("status", "fleet")
        assert (await box.plum("get", "configmaps", "-o", "name")).out.count("configmap/c") == 4
        assert "was never at 000; its history has" in await sync("rollback", "fleet", "--to", "000", code=3)
        assert "waits for no approval" in await sync("approve", "fleet", code=1)

        (fleet / "bad.yaml").write_text("rubbish: [\n")
        assert "bad.yaml:2: is not YAML" in await sync("plan", "fleet", code=1)
        assert "bad.yaml:2" in await sync("now", "fleet", code=1)
