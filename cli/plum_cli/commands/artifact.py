"""`plum artifact`: packages of applications, to and from the server."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from plum_cli import arguments
from plum_cli.errors import INVALID, NOT_FOUND, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session

ARTIFACTS = "artifacts.plum.dev"
FINISH_SECONDS = 600.0
"""Longest check of one package over there."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum artifact`."""
    arguments.describe(
        parser,
        """
        Packages of applications: zips with start.sh and meta.ini (name=..., version=...) at their root. Templates name them with
        artifact: {name: demo-app, version: 1.0.0}, nodes fetch and check them. A version never changes.
        """,
        """
        plum artifact push ./demo-app
        plum artifact push demo-app.zip --version 1.0.1
        plum artifact list
        plum artifact pull demo-app:1.0.0 -o demo-app.zip
        plum artifact delete demo-app:1.0.0
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser(
        "push",
        help="check a folder or zip and upload it",
        description="Check a folder or zip as it will be run, and upload it. What was interrupted goes on with the same command.",
    )
    source = push.add_argument("source", metavar="DIR|ZIP", help="folder to pack, or a zip")
    arguments.completes(source, arguments.FILE_COMPLETION)
    push.add_argument("--name", default="", help="name of the application; default: that of meta.ini")
    push.add_argument("--version", default="", help="its version; default: that of meta.ini")
    push.add_argument("--check", action="store_true", help="only check, upload nothing")
    push.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")
    arguments.server(push)
    listing = actions.add_parser("list", help="which packages there are", description="Which packages there are.")
    arguments.all_namespaces(listing)
    arguments.server(listing)
    pull = actions.add_parser("pull", help="download a package", description="Download a package, and check that it is whole.")
    pull.add_argument("artifact", metavar="NAME:VERSION", help="application and version, or the name of the Artifact")
    file = pull.add_argument("-o", "--output", default="", metavar="FILE", help="default: NAME_VERSION.zip here")
    arguments.completes(file, arguments.FILE_COMPLETION)
    arguments.server(pull)
    delete = actions.add_parser("delete", help="delete packages", description="Delete packages that nothing uses.")
    delete.add_argument(
        "artifacts", nargs="+", metavar="NAME:VERSION", help="application and version, or the name of the Artifact"
    )
    arguments.server(delete)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import session

    if args.action == "push":
        return _push(args)
    actions = {"list": listed, "pull": pull, "delete": delete}
    return session.run(args, lambda connected: actions[args.action](args, connected), "plum-artifact")


# ---- push


def _push(args: argparse.Namespace) -> int:
    import tempfile

    from plum_cli import session

    source = Path(args.source)
    if not source.exists():
        raise CliError(f"{source}: there is no such file or folder", NOT_FOUND)
    with tempfile.TemporaryFile() if source.is_dir() else source.open("rb") as file:
        if source.is_dir():
            _pack(source, file)
        _check(args, file, source)
        if args.check:
            return OK
        return session.run(args, lambda connected: push(args, connected, file), "plum-artifact")


def _pack(folder: Path, target: Any) -> None:
    from plum_client.packages.build import build_zip
    from plum_client.packages.errors import PackageError

    try:
        build_zip(folder, target)
    except PackageError as error:
        raise _refusal(folder, error) from error
    except OSError as error:
        raise CliError(f"{folder} cannot be packed: {error}") from error


def _check(args: argparse.Namespace, file: BinaryIO, source: Path) -> None:
    from plum_client.packages.check import check_package
    from plum_client.packages.errors import PackageError

    from plum_cli.terminal import note

    try:
        package = check_package(file, name=args.name, version=args.version)
    except PackageError as error:
        raise _refusal(source, error) from error
    if args.check:
        from plum_cli.terminal import warn

        for warning in package.warnings:
            warn(warning)
        services = ", ".join(f"{one.name} ({one.protocol}:{one.port})" for one in package.services) or "none"
        print(f"{package.name} {package.version}: {package.files} files, {_amount(package.size)} unpacked; services: {services}")
    elif source.is_dir():
        note(f"packed {package.files} files, {_amount(package.size)}, into {_amount(_length(file))}")


def _refusal(source: Path, error: Any) -> CliError:
    return CliError("\n".join([f"{source} cannot be run", *(f"  {problem}" for problem in error.problems)]), INVALID)


async def push(args: argparse.Namespace, session: Session, file: BinaryIO) -> int:
    """Upload a package that was checked."""
    from plum_client.packages.transfer import Transfers

    from plum_cli.terminal import warn

    transport = session.server.transport(user_agent="plum-artifact", timeout=FINISH_SECONDS)
    try:
        transfers = Transfers(transport, session.namespace, _memory())
        with _Progress("uploading") as progress:
            made, is_new, warnings = await transfers.push(
                file, name=args.name, version=args.version, progress=progress.show, manager="plum-artifact"
            )
    finally:
        await transport.close()
    for warning in warnings:
        warn(warning)
    if args.output == "json":
        import json

        print(json.dumps(made))
        return OK
    spec = made["spec"]
    word = "pushed" if is_new else "is there already, unchanged"
    print(f"artifact {spec['name']}:{spec['version']} {word} ({_amount(spec['size'])}, sha256 {spec['sha256'][:12]})")
    return OK


def _memory() -> Path:
    """Where uploads that were begun are remembered."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plum" / "uploads"


# ---- the others


async def listed(args: argparse.Namespace, session: Session) -> int:
    """Print which packages there are."""
    from datetime import UTC, datetime

    from plum_client.explaining.times import age

    from plum_cli.output import print_rows

    info, now = await session.kind(ARTIFACTS), datetime.now(UTC)
    rows = []
    for item in await session.api.list(info, session.namespace_of(info, args.all_namespaces)):
        spec, status, metadata = item["spec"], item.get("status") or {}, item["metadata"]
        services = ",".join(f"{one['name']}:{one['port']}" for one in spec.get("services") or ()) or "<none>"
        image = spec.get("type") == "image"
        size = "<image>" if image else _amount(spec.get("size", 0)) if status.get("storedAt") else "<not here>"
        name = metadata["name"]
        rows.append([spec["name"], spec["version"], size, services, age(metadata["creationTimestamp"], now), name])
        if args.all_namespaces:
            rows[-1].insert(0, metadata["namespace"])
    titles = ["NAME", "VERSION", "SIZE", "SERVICES", "AGE", "ARTIFACT"]
    if not rows:
        from plum_cli.terminal import note

        note(f"no artifacts in namespace {session.namespace}; push one with `plum artifact push DIR`")
        return OK
    print_rows(["NAMESPACE", *titles] if args.all_namespaces else titles, sorted(rows))
    return OK


async def pull(args: argparse.Namespace, session: Session) -> int:
    """Download one package."""
    from plum_client.packages.transfer import Transfers

    artifact = await _find(session, args.artifact)
    spec = artifact["spec"]
    if spec.get("type") == "image":
        raise UsageError(f"{args.artifact} is the image {spec.get('image')}; pull it with the container engine")
    target = _target(args.output, f"{spec['name']}_{spec['version']}.zip")
    transfers = Transfers(session.transport, session.namespace)
    try:
        with _Progress("downloading") as progress:
            await transfers.pull(artifact, target, progress.show)
    except OSError as error:
        raise CliError(f"{target} cannot be written: {error}") from error
    except ValueError as error:
        raise CliError(str(error)) from error
    print(f"{target} ({_amount(spec['size'])}, sha256 {spec['sha256'][:12]})")
    return OK


def _target(given: str, name: str) -> Path:
    path = Path(given or name)
    return path / name if path.is_dir() else path


async def delete(args: argparse.Namespace, session: Session) -> int:
    """Delete packages; the first that is in use ends it."""
    from plum_schemas.base import ObjectKey

    info = await session.kind(ARTIFACTS)
    for word in args.artifacts:
        artifact = await _find(session, word)
        await session.api.delete(info, ObjectKey(session.namespace, artifact["metadata"]["name"]))
        print(f"artifact {artifact['spec']['name']}:{artifact['spec']['version']} deleted")
    return OK


async def _find(session: Session, word: str) -> dict[str, Any]:
    """The Artifact that `NAME:VERSION` or its own name means."""
    info = await session.kind(ARTIFACTS)
    name, colon, version = word.partition(":")
    if not colon:
        found = await session.find(info, name, session.namespace)
        if found is not None:
            return found
        versions = [
            item["spec"]["version"] for item in await session.api.list(info, session.namespace) if item["spec"]["name"] == name
        ]
        hint = f"; there is {', '.join(f'{name}:{one}' for one in versions)}" if versions else ""
        raise CliError(f"there is no artifact {name} in namespace {session.namespace}{hint}", NOT_FOUND)
    fields = f"spec.name={name},spec.version={version}"
    items = list(await session.api.list(info, session.namespace, fields=fields))
    if not items:
        raise CliError(f"there is no artifact {word} in namespace {session.namespace}; see plum artifact list", NOT_FOUND)
    item: dict[str, Any] = items[0]
    return item


class _Progress:
    """One line that is redrawn where a person looks, and nothing elsewhere."""

    def __init__(self, word: str) -> None:
        from plum_cli.terminal import is_live

        self._word = word
        self._live = is_live(sys.stderr)
        self._shown = -1

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def show(self, done: int, total: int) -> None:
        percent = 100 * done // max(1, total)
        if self._live and percent != self._shown:
            self._shown = percent
            sys.stderr.write(f"\r\x1b[K{self._word} {_amount(done)} of {_amount(total)}, {percent} %")
            sys.stderr.flush()


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _amount(size: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
