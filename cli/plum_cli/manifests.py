"""Manifests from files, folders and the standard input.

FILE | DIR | - --> texts --plum_client.manifests--> Manifest(data, where(field))    or ManifestError with every problem found
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from plum_client.manifests.documents import SUFFIXES, Loaded, Manifest, Problem, load_text

from plum_cli.errors import INVALID, NOT_FOUND, CliError

__all__ = ["Loaded", "Manifest", "ManifestError", "Problem", "list_files", "load_manifests", "load_text", "read_sources"]


class ManifestError(CliError):
    """Manifests that cannot be used. Lists every problem, one per line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), INVALID)
        self.problems = tuple(problems)


def load_manifests(sources: Sequence[str], *, recursive: bool = False) -> Loaded:
    """Read and parse every source. Raises `ManifestError` with all problems, or `CliError` when there is nothing to read."""
    loaded = Loaded()
    for source, text in read_sources(sources, recursive=recursive):
        load_text(source, text, loaded)
    if loaded.problems:
        raise ManifestError(loaded.problems)
    if not loaded.manifests:
        raise CliError(f"no manifest found in {', '.join(sources)}", NOT_FOUND)
    return loaded


def read_sources(sources: Sequence[str], *, recursive: bool) -> Iterator[tuple[str, str]]:
    """Name and text of every file behind the sources, folders in order of name."""
    for source in sources:
        if source == "-":
            yield "stdin", sys.stdin.read()
            continue
        path = Path(source)
        for file in list_files(path, recursive=recursive):
            try:
                yield str(file), file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise ManifestError(
                    [Problem(f"{file}:1", f"is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}")]
                ) from error
            except OSError as error:
                raise CliError(f"cannot read {file}: {error.strerror}", NOT_FOUND) from error


def list_files(path: Path, *, recursive: bool) -> list[Path]:
    """The manifest files behind one argument. Raises `CliError` when there is none."""
    if not path.is_dir():
        if not path.exists():
            raise CliError(f"{path} does not exist", NOT_FOUND)
        return [path]
    found = sorted(
        entry for entry in (path.rglob("*") if recursive else path.iterdir()) if entry.suffix in SUFFIXES and entry.is_file()
    )
    if not found:
        hint = "" if recursive else "; use -R for the folders below it"
        raise CliError(f"{path} holds no {', '.join(SUFFIXES)} file{hint}", NOT_FOUND)
    return found
