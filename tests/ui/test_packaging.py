"""The build is part of what is shipped, compressed once, and its first load stays small."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from plum_cli import bundling

from tests.support.browser import BUILT, PROJECT, UI, require_ui


def test_the_wheel_of_the_controller_has_the_ui(tmp_path: Path) -> None:
    require_ui()

    [wheel] = bundling.build_own(PROJECT, tmp_path / "wheels", ["controller"])

    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        page = content.read("plum_controller/ui_dist/index.html").decode()
        scripts = re.findall(r'(?:src|href)="/(assets/[^"]+)"', page)
        assert scripts
        for name in scripts:
            assert f"plum_controller/ui_dist/{name}" in names
        packed = [name for name in names if name.endswith(".js.gz")]
        assert packed
        for name in packed[:3]:
            assert gzip.decompress(content.read(name)) == content.read(name.removesuffix(".gz"))


def test_the_first_load_has_a_limit() -> None:
    require_ui()

    done = subprocess.run(
        [shutil.which("node") or str(PROJECT / ".venv/bin/node"), "scripts/size.mjs", str(BUILT)],
        cwd=UI,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"first load: ([\d.]+) KB gzip", done.stdout)
    assert found
    assert float(found[1]) <= 500
