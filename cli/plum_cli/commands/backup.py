"""`plum backup`: save the server's store to a file, while it runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plum_cli import arguments
from plum_cli.errors import NOT_FOUND, OK, CliError

if TYPE_CHECKING:
    from plum_cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum backup`."""
    arguments.describe(
        parser,
        """
        Save a consistent copy of the server's store, history included, while the server goes on. The file appears only
        when it is complete and on disk. It holds everything the server knows: keep it as you keep passwords.
        """,
        """
        plum backup plum-$(date +%F).db
        plum backup - | ssh vault 'cat > plum.db'
        plum restore plum-2025-01-31.db --data-dir .plum
        """,
    )
    file = parser.add_argument("file", metavar="FILE|-", help="where to write it")
    arguments.completes(file, arguments.FILE_COMPLETION)
    arguments.server(parser, namespace=False)
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from plum_cli import session

    if args.file == "-" and sys.stdout.isatty():
        raise CliError("a backup is no text for a terminal; name a file")
    if args.file != "-" and Path(args.file).exists() and not args.force:
        raise CliError(f"{args.file} is there already; use --force to replace it")
    return session.run(args, lambda connected: backup(args, connected))


async def backup(args: argparse.Namespace, session: Session) -> int:
    """Stream the copy; the file gets its name when all of it is on disk."""
    from plum_client.errors import error_of

    from plum_cli.sqlite_file import MAGIC
    from plum_cli.terminal import note

    path = Path(args.file)
    partial = path.with_name(f".{path.name}.partial")
    size = 0
    async with session.transport.stream_path("GET", "/backup", {"accept": "application/octet-stream"}) as stream:
        if stream.status == 404:
            raise CliError(f"the server at {session.server.url} makes no backups; it is older than this command", NOT_FOUND)
        if stream.status >= 400:
            raise error_of(stream.status, b"".join([chunk async for chunk in stream.chunks]), "GET /backup")
        try:
            file = (
                sys.stdout.buffer
                if args.file == "-"
                else os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
            )
            head = b""
            async for chunk in stream.chunks:
                file.write(chunk)
                size += len(chunk)
                head = (head + chunk)[: len(MAGIC)] if len(head) < len(MAGIC) else head
            file.flush()
            if head != MAGIC:
                raise CliError("the server sent something that is no store; nothing was kept")
            if args.file != "-":
                os.fsync(file.fileno())
                file.close()
                partial.replace(path)
        except OSError as error:
            raise CliError(f"cannot write {args.file}: {error.strerror or error}") from error
        finally:
            if args.file != "-":
                partial.unlink(missing_ok=True)
    note(f"{size} bytes in {args.file}")
    return OK
