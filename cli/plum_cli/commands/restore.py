"""`plum restore`: put a backup in place of a stopped controller's store."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path

from plum_cli import arguments
from plum_cli.errors import OK, CliError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum restore`."""
    arguments.describe(
        parser,
        """
        Put a backup in place of the store in a data folder. The controller must be stopped. The backup is checked before
        anything is touched, and the old store is kept beside it. Agents adopt what runs; what was started after the backup
        was made is unknown to the restored store and is stopped or adopted as its desired state says.
        """,
        """
        plum restore plum-2025-01-31.db --data-dir .plum
        """,
    )
    file = parser.add_argument("file", metavar="FILE", help="a file of `plum backup`")
    arguments.completes(file, arguments.FILE_COMPLETION)
    data = parser.add_argument("--data-dir", required=True, metavar="DIR", help="data folder of the stopped controller")
    arguments.completes(data, arguments.DIRECTORY_COMPLETION)


def run(args: argparse.Namespace) -> int:
    """Check, keep the old store, put the new one in place."""
    from plum_cli.sqlite_file import STORE_NAME, check_store, exclusive

    source, folder = Path(args.file), Path(args.data_dir)
    rows = check_store(source)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / STORE_NAME
    with exclusive(store):
        copy = folder / f".{STORE_NAME}.restored"
        try:
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            with copy.open("rb+") as file:
                os.fsync(file.fileno())
            kept = keep_old(store)
            copy.replace(store)
            flush(folder)
        except OSError as error:
            copy.unlink(missing_ok=True)
            raise CliError(f"cannot restore to {folder}: {error.strerror or error}") from error
    print(f"{store} restored from {source}: {rows} changes in its history")
    if kept:
        print(f"the old store is {kept}")
    print(f"start the controller: plum controller --data-dir {folder}")
    return OK


def keep_old(store: Path) -> Path | None:
    """Move the old store and its log aside, so that the new one does not meet a log that is not its own."""
    if not store.exists():
        return None
    kept = store.with_name(f"{store.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("-wal", "-shm", ""):
        part = store.with_name(store.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    return kept


def flush(folder: Path) -> None:
    """Put the new names on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
