"""Makes a bundle: one file with Plum and all it needs, for machines without a network (`plum_cli.offline` installs it).

requirements/*.txt (locked, hashed) -> pip download -> wheels/{any,x86_64,aarch64}
own distributions -> hatchling -> wheels/any                                        -> tar -> the same bytes each time
files of images, manifests
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from plum_cli import offline
from plum_cli.errors import FAILED, INVALID, NOT_FOUND, CliError
from plum_cli.offline import FORMAT, HEAD, INSTALLER, SUMS

MACHINES = ("x86_64", "aarch64")
DISTRIBUTIONS = ("schemas", "proto", "sdk/python", "controller", "agent", "cli")
REQUIREMENTS = ("controller", "agent", "cli")
_GLIBC = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")
"""What wheels may ask of the system, newest first."""


def find_source(given: str = "") -> Path:
    """The source tree of Plum. Raises `CliError`."""
    root = Path(given).absolute() if given else Path(__file__).parents[2]
    if not all((root / name / "pyproject.toml").is_file() for name in DISTRIBUTIONS) or not (root / "requirements").is_dir():
        raise CliError(f"{root} is no source tree of Plum; name one with --source", NOT_FOUND)
    return root


def create(
    source: Path, target: Path, machines: Sequence[str], images: Sequence[Path], manifests: Sequence[Path], wheels: Path | None
) -> str:
    """Write the bundle and answer with its sha256. `wheels` is a folder with downloads to use instead of an index.

    Raises `CliError`; then the target is as it was.
    """
    with tempfile.TemporaryDirectory(prefix="plum-bundle-") as folder:
        made = Path(folder)
        files = {f"wheels/any/{path.name}": path for path in build_own(source, made / "own")}
        for machine in machines:
            found = wheels if wheels is not None else download(source, machine, made / machine)
            for path in needed(source, found, machine):
                kind = "any" if path.name.endswith("-none-any.whl") else machine
                files[f"wheels/{kind}/{path.name}"] = path
        for image in images:
            files[f"images/{image.name}"] = image
        for place in manifests:
            files |= below(place)
        version = re.search(r"plum_cli-([^-]+)-", " ".join(files))
        head = {
            "format": FORMAT,
            "version": version[1] if version else "0",
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "machines": sorted(machines),
        }
        new = target.with_name(f".{target.name}.new")
        try:
            write(new, head, files)
            offline.check(new)
            new.replace(target)
        except offline.BundleError as error:
            raise CliError(f"the bundle would be refused: {error}", INVALID) from error
        except OSError as error:
            raise CliError(f"{target} cannot be written: {error}") from error
        finally:
            new.unlink(missing_ok=True)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: Path, head: dict[str, object], files: dict[str, Path]) -> None:
    """The tar: names in order, no times, no owners."""
    texts = {HEAD: json.dumps(head, indent=1, sort_keys=True).encode() + b"\n", INSTALLER: Path(offline.__file__).read_bytes()}
    sums = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    for name, path in files.items():
        with path.open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    texts[SUMS] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    with tarfile.open(target, "w:", format=tarfile.GNU_FORMAT) as tar:
        for name, text in sorted(texts.items()):
            tar.addfile(_entry(name, len(text)), io.BytesIO(text))
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                tar.addfile(_entry(name, os.fstat(file.fileno()).st_size), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry


def below(place: Path) -> dict[str, Path]:
    """Files of a folder, or one file, as `manifests/...`."""
    if not place.exists():
        raise CliError(f"{place}: there is no such file or folder", NOT_FOUND)
    if place.is_file():
        return {f"manifests/{place.name}": place}
    found = sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"manifests/{place.name}/{path.relative_to(place).as_posix()}": path for path in found}


def build_own(source: Path, folder: Path, distributions: Sequence[str] = DISTRIBUTIONS) -> list[Path]:
    """Wheels of Plum's own distributions. The same sources give the same bytes."""
    folder.mkdir(parents=True)
    for name in distributions:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1580601600"}
        done = subprocess.run(command, cwd=source / name, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise CliError(f"the wheel of {name} could not be built: {done.stderr.strip()[-500:]}", FAILED)
    return sorted(folder.glob("*.whl"))


def download(source: Path, machine: str, folder: Path) -> Path:
    """Wheels of everything that is locked, for a machine, from the index that pip is set up for."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--python-version", f"{sys.version_info.major}.{sys.version_info.minor}", "--dest", str(folder),
    ]  # fmt: skip
    command += [word for glibc in _GLIBC for word in ("--platform", f"{glibc}_{machine}")]
    command += [word for name in REQUIREMENTS for word in ("-r", str(source / "requirements" / f"{name}.txt"))]
    if shutil.which("pip", path=str(Path(sys.executable).parent)) is None:
        raise CliError("pip is missing beside this interpreter; `python -m ensurepip` brings it, or use --wheels DIR")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CliError(f"the wheels for {machine} could not be downloaded: {done.stderr.strip()[-800:]}", FAILED)
    return folder


def needed(source: Path, folder: Path, machine: str) -> list[Path]:
    """The wheels in a folder that the locks name, by their hashes. Raises `CliError` when one is missing."""
    hashes: dict[str, set[str]] = {}
    for name in REQUIREMENTS:
        text = (source / "requirements" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if (found := re.match(r"([\w.-]+)==(\S+)", line)) and not _elsewhere(line):
                hashes.setdefault(found[1], set()).update(re.findall(r"sha256:([0-9a-f]{64})", line))
    chosen: dict[str, Path] = {}
    for path in sorted(folder.glob("*.whl")):
        if not path.name.endswith(("-none-any.whl", f"{machine}.whl")):
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for name, known in hashes.items():
            if digest in known:
                chosen[name] = path
    missing = sorted(hashes.keys() - chosen.keys())
    if missing:
        raise CliError(f"{folder} lacks wheels for {machine} that the locks name: {', '.join(missing)}", NOT_FOUND)
    return sorted(chosen.values())


def _elsewhere(line: str) -> bool:
    """Whether a locked requirement is for another system or another Python."""
    marker = line.partition(";")[2].partition("--hash")[0]
    return bool(re.search(r"sys_platform == 'win32'|platform_system == 'Windows'|sys_platform == 'darwin'", marker))
