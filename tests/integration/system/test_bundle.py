"""A bundle of the whole of Plum, installed without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from plum_cli import offline

from tests.support.wheels import SOURCE, make_bundle

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]
BASE = Path(os.path.realpath(sys.executable))
"""An interpreter without any of our packages."""


def without_network(*command: str, cwd: Path) -> str:
    """Run a command that can reach nobody, and finds nothing that is installed here."""
    if os.geteuid() == 0:
        command = ("unshare", "--net", *command)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_machine_with_nothing_but_python_gets_plum_from_one_file(tmp_path: Path) -> None:
    digest = make_bundle(tmp_path / "plum.tar", SOURCE / "manifests/demo")
    with tarfile.open(tmp_path / "plum.tar") as tar:
        tar.extract(offline.INSTALLER, tmp_path, filter="data")

    said = without_network(str(BASE), "-I", "install.py", "plum.tar", "--sha256", digest, "--to", "opt", cwd=tmp_path)
    current = tmp_path / "opt/current"
    version = without_network(str(current / "bin/plum"), "version", "--client", cwd=tmp_path)
    unit = without_network(str(current / "bin/plum"), "install", "systemd", "agent", "--dry-run", cwd=tmp_path)
    modules = "import plum_agent, plum_controller, sys; print(plum_agent.__path__[0], plum_controller.__file__, sys.prefix)"
    places = without_network(str(current / "bin/python"), "-c", modules, cwd=tmp_path)

    assert digest in said
    assert version.startswith("client 0.1.0")
    assert f"ExecStart={current}/bin/python -m plum_agent\n" in unit  # the next release is started by the same unit
    assert all(place.startswith(str(tmp_path / "opt")) for place in places.split())
    assert list((current / "share/manifests/demo").iterdir())
