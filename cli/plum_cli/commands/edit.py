"""`plum edit`: change an object in an editor; a refusal opens it again with the reason on top."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plum_cli import arguments
from plum_cli.errors import CONFLICT, FAILED, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session, Target

ATTEMPTS = 10
"""Tries when a controller writes the status at the same time."""
HEADER = "# Change the object, save and leave the editor. Lines that begin with # are ignored; an empty file cancels.\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum edit`."""
    arguments.describe(
        parser,
        """
        Open an object in an editor (PLUM_EDITOR, VISUAL, EDITOR, else vi) and write what was saved. When the server
        refuses it, the editor opens again with the reason as comments. Someone else's change in the meantime is not lost:
        the write is refused.
        """,
        """
        plum edit deployment/web
        EDITOR=nano plum edit node node-1
        """,
    )
    parser.add_argument("what", nargs="+", metavar="KIND NAME | KIND/NAME", help="what to edit")
    arguments.server(parser)


def run(args: argparse.Namespace) -> int:
    """Edit the object."""
    from plum_cli import session

    return session.run(args, lambda connected: edit(args, connected), "plum-edit")


async def edit(args: argparse.Namespace, session: Session) -> int:
    """Open, check, write; again while it is refused."""
    from plum_client.errors import BadRequestError, ConflictError, InvalidObjectError

    from plum_cli.manifests import ManifestError
    from plum_cli.output import to_yaml, without_managed_fields

    target = await session.target(args.what)
    original = without_managed_fields(await session.get(target))
    text = to_yaml(editable(original))
    problems: list[str] = []
    with tempfile.NamedTemporaryFile("w", prefix=f"plum-{target.name}-", suffix=".yaml", delete=False) as opened:
        path = Path(opened.name)
    while True:
        edited = edit_text(path, text, problems)
        if not edited.strip():
            discard(path)
            print("cancelled, nothing was changed")
            return OK
        if edited.strip() == text.strip():
            if problems:
                raise CliError(f"saved without a change, so it is still refused; what you wrote is in {path}", FAILED)
            discard(path)
            print(f"{target} unchanged")
            return OK
        text = edited
        try:
            await write(session, target, original, text)
        except ManifestError as error:
            problems = [problem.message for problem in error.problems]
        except (InvalidObjectError, BadRequestError) as error:
            problems = [f"{cause.field}: {cause.message}" for cause in error.causes if cause.field] or [error.message]
        except (CliError, ConflictError) as error:
            raise CliError(f"{error}\n  what you wrote is in {path}", CONFLICT) from error
        else:
            discard(path)
            print(f"{target} edited")
            return OK


def editable(original: dict[str, Any]) -> dict[str, Any]:
    """What a person may change: without status, and without what the server counts."""
    metadata = {key: value for key, value in original["metadata"].items() if key not in ("resourceVersion", "generation")}
    return {key: (metadata if key == "metadata" else value) for key, value in original.items() if key != "status"}


async def write(session: Session, target: Target, original: dict[str, Any], text: str) -> None:
    """Parse the text and replace the object. Raises `ManifestError` and the refusals of the server."""
    from plum_cli.manifests import Loaded, ManifestError, load_text

    loaded = Loaded()
    load_text("the text", text, loaded)
    if not loaded.problems and len(loaded.manifests) != 1:
        raise CliError(f"one object was expected, and there are {len(loaded.manifests)}")
    if loaded.problems:
        raise ManifestError(loaded.problems)
    manifest = loaded.manifests[0]
    for field in ("apiVersion", "kind"):
        if manifest.data[field] != original[field]:
            raise ManifestError(
                [manifest.problem(field, f"{field} is {manifest.data[field]} and cannot be changed from {original[field]}")]
            )
    for field in ("name", "namespace"):
        if manifest.metadata.get(field) != original["metadata"].get(field):
            raise ManifestError(
                [
                    manifest.problem(
                        f"metadata.{field}", f"metadata.{field} cannot be changed from {original['metadata'].get(field)}"
                    )
                ]
            )
    await replace(session, target, original, manifest.data)


async def replace(session: Session, target: Target, original: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Write the object over the one that was opened. A status that moved meanwhile does not matter, everything else does."""
    from plum_client.errors import ConflictError

    from plum_cli.differences import changes, comparable, describe

    for attempt in range(ATTEMPTS):
        live = await session.get(target)
        theirs = [describe(change) for change in changes(comparable(original), comparable(live))]
        if theirs or live["metadata"]["uid"] != original["metadata"]["uid"]:
            raise CliError(
                f"{target} was changed by someone else meanwhile: {'; '.join(theirs) or 'it is another object'}", CONFLICT
            )
        wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            await session.api.update(wanted, kind=target.info, field_validation="Strict")
            return
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise


def edit_text(path: Path, text: str, problems: list[str]) -> str:
    """Let the person edit a text, with the problems of the last try on top. Answers with the text without comments."""
    path.write_text(HEADER + "".join(f"# error: {problem}\n" for problem in problems) + text, encoding="utf-8")
    open_editor(path)
    return strip_comments(path.read_text(encoding="utf-8"))


def discard(path: Path) -> None:
    """Remove the file of the editor."""
    path.unlink(missing_ok=True)


def open_editor(path: Path) -> None:
    """Open the file and wait. Raises `CliError` when the editor cannot be started or fails."""
    command = os.environ.get("PLUM_EDITOR") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
    except OSError as error:
        raise CliError(f"the editor {command!r} cannot be started: {error.strerror}; set EDITOR") from error
    if code:
        raise CliError(f"the editor {command!r} ended with {code}; nothing was changed")


def strip_comments(text: str) -> str:
    """The text without the lines that begin with #."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
