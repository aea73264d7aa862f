"""Bundles that were cut, changed or made to do harm are refused in words, before anything is written."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from plum_cli import bundling, offline
from plum_cli.errors import CliError
from plum_cli.offline import BundleError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HEAD: dict[str, object] = {"format": 1, "version": "1.2.3", "python": PYTHON, "machines": [platform.machine()]}
PROGRAM = "def main():\n    print('client 1.2.3')\n    return 0\n"


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / f"{name}-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What is in a small bundle: a `plum` that starts, and the two programs it looks for."""
    folder = tmp_path / "files"
    folder.mkdir()
    entry = "plum_cli-1.2.3.dist-info/entry_points.txt"
    cli = wheel(folder, "plum_cli", {"plum_cli/__init__.py": PROGRAM, entry: "[console_scripts]\nplum = plum_cli:main\n"})
    rest = wheel(
        folder, "plum_rest", {"plum_agent/main.py": "", "plum_controller/main.py": "", "plum_rest-1.2.3.data/scripts/tool": "x"}
    )
    (folder / "web.yaml").write_text("kind: Deployment\n")
    return {f"wheels/any/{path.name}": path for path in (cli, rest)} | {"manifests/demo/web.yaml": folder / "web.yaml"}


@pytest.fixture
def bundle(tmp_path: Path, files: dict[str, Path]) -> Path:
    path = tmp_path / "plum.tar"
    bundling.write(path, HEAD, files)
    return path


def test_the_same_files_give_the_same_bytes(tmp_path: Path, files: dict[str, Path], bundle: Path) -> None:
    again = tmp_path / "again.tar"
    for path in files.values():
        path.touch()
        path.chmod(0o600)

    bundling.write(again, dict(reversed(HEAD.items())), dict(reversed(files.items())))

    assert again.read_bytes() == bundle.read_bytes()


def test_a_bundle_becomes_a_release_that_starts(tmp_path: Path, bundle: Path) -> None:
    release = offline.install(offline.check(bundle), tmp_path / "opt")

    assert (tmp_path / "opt/current").resolve() == release
    assert (release / "share/manifests/demo/web.yaml").read_text() == "kind: Deployment\n"
    assert (release / "bin/tool").stat().st_mode & 0o111
    assert list((release / f"lib/python{PYTHON}/site-packages").rglob("*.pyc"))
    assert offline.install(offline.check(bundle), tmp_path / "opt") == release


def test_a_new_release_takes_the_place_of_the_old_one_which_stays(tmp_path: Path, files: dict[str, Path], bundle: Path) -> None:
    first = offline.install(offline.check(bundle), tmp_path / "opt")
    (tmp_path / "more.yaml").write_text("more")
    bundling.write(bundle, HEAD, {**files, "manifests/more.yaml": tmp_path / "more.yaml"})

    second = offline.install(offline.check(bundle), tmp_path / "opt")

    assert (tmp_path / "opt/current").resolve() == second != first
    assert (first / "bin/plum").exists()


def test_own_wheels_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = bundling.find_source()

    made = [{path.name: path.read_bytes() for path in bundling.build_own(source, tmp_path / name, ("schemas",))} for name in "ab"]

    assert made[0] == made[1] and len(made[0]) == 1


def test_what_does_not_start_never_becomes_the_current_release(tmp_path: Path, files: dict[str, Path], bundle: Path) -> None:
    first = offline.install(offline.check(bundle), tmp_path / "opt")
    broken = wheel(tmp_path, "plum_rest", {"plum_agent/main.py": "import nothing_like_it", "plum_controller/main.py": ""})
    bundling.write(bundle, HEAD, {**files, "wheels/any/plum_rest-1.2.3-py3-none-any.whl": broken})

    with pytest.raises(BundleError, match="does not start"):
        offline.install(offline.check(bundle), tmp_path / "opt")

    assert (tmp_path / "opt/current").resolve() == first


@pytest.mark.parametrize("part", [0, 1, 511, 512, 5000, -512, -10300, -20000])
def test_a_truncated_bundle_is_refused(part: int, bundle: Path) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:part])

    try:
        found = offline.check(bundle)
    except BundleError as error:
        assert str(bundle) in str(error)
    else:
        assert found.members and part == -512  # only padding after the end of the archive was cut


def test_every_cut_inside_a_file_is_seen(bundle: Path) -> None:
    whole = bundle.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for part in range(600, end, 997):
        bundle.write_bytes(whole[:part])
        with pytest.raises(BundleError):
            offline.check(bundle)


def test_every_changed_byte_of_a_file_is_seen(bundle: Path) -> None:
    whole = bytearray(bundle.read_bytes())
    with tarfile.open(bundle) as tar:
        places = [member.offset_data for member in tar if member.size]
    for place in places:
        changed = whole.copy()
        changed[place] ^= 1
        bundle.write_bytes(changed)
        with pytest.raises(BundleError):
            offline.check(bundle)


def test_another_file_than_the_one_that_was_meant_is_refused(bundle: Path) -> None:
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()

    assert offline.check(bundle, digest.upper()).sha256 == digest
    with pytest.raises(BundleError, match="not the file that was meant"):
        offline.check(bundle, "0" * 64)


def remade(bundle: Path, change: Callable[[dict[str, bytes | tarfile.TarInfo]], None], *, sums: bool = True) -> None:
    """The bundle with other members, and sums that fit."""
    with tarfile.open(bundle) as tar:
        members: dict[str, bytes | tarfile.TarInfo] = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    change(members)
    if sums:
        texts = {name: text for name, text in members.items() if isinstance(text, bytes) and name != offline.SUMS}
        members[offline.SUMS] = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in texts.items()).encode()
    with tarfile.open(bundle, "w:") as tar:
        for name, text in members.items():
            if isinstance(text, tarfile.TarInfo):
                tar.addfile(text)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text))


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd", "../out", "wheels/../../out", "wheels//a.whl", "./wheels/a.whl", "wheels/./a", "other/a", "a.txt",
        "wheels", "manifests/a\nb", "manifests/-x/../y", "manifests/" + "a" * 300, "manifests/" + "a/" * 20 + "b",
        "manifests/\u202egpj.yaml",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    remade(bundle, lambda members: members.update({name: b"x"}))

    with pytest.raises(BundleError):
        offline.check(bundle)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "bundle.json"), (tarfile.DIRTYPE, ""), (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""), (tarfile.BLKTYPE, ""),
    ],
)  # fmt: skip
def test_only_plain_files_are_taken(kind: bytes, target: str, bundle: Path) -> None:
    remade(bundle, lambda members: members.update({"manifests/x": special("manifests/x", kind, target)}))

    with pytest.raises(BundleError, match="not a plain file"):
        offline.check(bundle)


def test_what_is_there_twice_is_refused(bundle: Path) -> None:
    with tarfile.open(bundle, "a:") as tar:
        entry = tarfile.TarInfo("bundle.json")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"{}"))

    with pytest.raises(BundleError, match="twice"):
        offline.check(bundle)


@pytest.mark.parametrize("missing", ["bundle.json", "SHA256SUMS", "install.py", "manifests/demo/web.yaml"])
def test_what_is_missing_is_named(missing: str, bundle: Path) -> None:
    remade(bundle, lambda members: members.pop(missing), sums=False)

    with pytest.raises(BundleError, match=missing.split("/")[-1]):
        offline.check(bundle)


def test_what_the_sums_do_not_list_is_refused(bundle: Path) -> None:
    remade(bundle, lambda members: members.update({"manifests/more.yaml": b"x"}), sums=False)

    with pytest.raises(BundleError, match=r"more\.yaml is not listed"):
        offline.check(bundle)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2"),
        ({"format": None}, "format None"),
        ({"version": "../../x"}, "cannot be"),
        ({"version": 3}, "cannot be"),
        ({"machines": []}, "cannot be"),
        ({"machines": 5}, "cannot be read"),
        ({"python": "2.7"}, "for Python 2.7"),
        ({"machines": ["sparc"]}, "for sparc"),
    ],
)
def test_a_bundle_for_something_else_is_refused_before_anything_is_written(
    change: dict[str, object], says: str, bundle: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    bundling.write(bundle, {**HEAD, **change}, files)

    with pytest.raises(BundleError, match=says):
        offline.install(offline.check(bundle), tmp_path / "opt")
    assert not (tmp_path / "opt").exists()


@pytest.mark.parametrize("head", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_a_head_that_cannot_be_read_is_refused(head: bytes, bundle: Path) -> None:
    remade(bundle, lambda members: members.update({"bundle.json": head}))

    with pytest.raises(BundleError):
        offline.check(bundle)


@pytest.mark.parametrize("inside", ["../../../out", "/out", "a/../../out", "a\\..\\out"])
def test_a_wheel_writes_nowhere_else(inside: str, bundle: Path, files: dict[str, Path], tmp_path: Path) -> None:
    evil = wheel(tmp_path, "evil", {inside: "x"})
    bundling.write(bundle, HEAD, {**files, f"wheels/any/{evil.name}": evil})

    with pytest.raises(BundleError):
        offline.install(offline.check(bundle), tmp_path / "opt")

    assert not list(tmp_path.rglob("out"))
    assert not (tmp_path / "opt/current").exists()
    assert not list((tmp_path / "opt/releases").iterdir())


@pytest.mark.parametrize("program", ["../x = a:b", "x = a:b;import os", "x = a b:c"])
def test_a_wheel_makes_no_program_that_cannot_be(program: str, bundle: Path, files: dict[str, Path], tmp_path: Path) -> None:
    evil = wheel(tmp_path, "evil", {"evil-1.dist-info/entry_points.txt": f"[console_scripts]\n{program}\n"})
    bundling.write(bundle, HEAD, {**files, f"wheels/any/{evil.name}": evil})

    with pytest.raises(BundleError, match="cannot be"):
        offline.install(offline.check(bundle), tmp_path / "opt")


def test_a_folder_that_is_somebody_elses_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "opt/current").mkdir(parents=True)

    with pytest.raises(BundleError, match="is not a link"):
        offline.install(offline.check(bundle), tmp_path / "opt")


def test_a_wheel_that_the_locks_do_not_name_is_not_taken(tmp_path: Path) -> None:
    source = bundling.find_source()
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "msgspec", {"msgspec.py": "harm"})

    with pytest.raises(CliError, match="msgspec"):
        bundling.needed(source, tmp_path / "wheels", "x86_64")


def test_the_head_is_what_was_asked_for(bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        head = tar.extractfile("bundle.json")
        assert head is not None
        assert json.load(head) == HEAD
    assert "2 wheels" in "\n".join(offline.describe(offline.check(bundle)))
