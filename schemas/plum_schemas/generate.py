"""Writes the CustomResourceDefinition manifests of all kinds: `python -m plum_schemas.generate [--check] DIR`.

    kinds.BUILTIN --crd_manifest--> DIR/<plural>.<group>.yaml, DIR/bundle.json

With `--check` nothing is written; the exit code is 1 if a file is missing, stale or left over.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from plum_schemas.crds import BUNDLE
from plum_schemas.crds import directory as crds_directory
from plum_schemas.kinds import builtin
from plum_schemas.manifest import crd_manifest
from plum_schemas.yaml_text import to_yaml

__all__ = ["crds_directory", "main", "render"]

_HEADER = "# Generated from {module} by `make schemas`. Do not edit.\n"


def render() -> dict[str, str]:
    """File name to content."""
    kinds = builtin()
    manifests = [crd_manifest(kind) for kind in kinds]
    files = {
        f"{kind.info.plural}.{kind.info.group or 'core'}.yaml": _HEADER.format(module=kind.__module__) + to_yaml(manifest)
        for kind, manifest in zip(kinds, manifests, strict=True)
    }
    files[BUNDLE] = msgspec.json.encode(manifests).decode() + "\n"
    return files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m plum_schemas.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder of the manifests")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file differs")
    options = parser.parse_args(arguments)
    folder: Path = options.directory

    files = render()
    present = {path.name: path.read_text() for path in folder.glob("*") if path.suffix in (".yaml", ".json")}
    stale = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
    if options.check:
        for name in stale:
            sys.stderr.write(f"{folder / name} is not what the typed kinds say; run `make schemas`\n")
        return 1 if stale else 0

    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in files:
            (folder / name).write_text(files[name])
        else:
            (folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
