"""`plum bundle`: everything in one file, for machines without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from plum_cli import arguments
from plum_cli.errors import INVALID, OK, CliError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum bundle`."""
    arguments.describe(
        parser,
        """
        Make, check and install bundles: one file with Plum, everything it is locked to, files of images, and manifests.
        A machine without Plum installs one with its own Python alone:
        tar -xf plum.tar install.py && python3 install.py plum.tar --to /opt/plum
        """,
        """
        plum bundle create -o plum.tar --machine x86_64 --machine aarch64 --image base.tar --manifests manifests/
        plum bundle verify plum.tar --sha256 3f9c...
        plum bundle install plum.tar --to /opt/plum
        """,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="make a bundle", description="Make a bundle from a source tree; the same input gives the same bytes."
    )
    target = create.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    create.add_argument(
        "--machine", action="append", choices=["x86_64", "aarch64"], help="may be repeated; default: that of this machine"
    )
    image = create.add_argument("--image", action="append", default=[], metavar="FILE", help="file of an image (docker save)")
    places = create.add_argument("--manifests", action="append", default=[], metavar="FILE|DIR", help="manifests to take along")
    wheels = create.add_argument("--wheels", metavar="DIR", help="take wheels from here; default: downloaded with pip")
    source = create.add_argument("--source", default="", metavar="DIR", help="source tree; default: the one this runs from")
    verify = actions.add_parser("verify", help="check a bundle", description="Read all of a bundle and compare it with its sums.")
    install = actions.add_parser(
        "install",
        help="install a bundle",
        description="Check a bundle, install it beside earlier releases, try it, and make DIR/current that release.",
    )
    for action in (verify, install):
        file = action.add_argument("bundle", metavar="FILE", help="the bundle")
        action.add_argument("--sha256", default="", metavar="SUM", help="what the whole file must have; create prints it")
        arguments.completes(file, arguments.FILE_COMPLETION)
    to = install.add_argument("--to", required=True, metavar="DIR", help="folder of releases, such as /opt/plum")
    for folder in (wheels, source, to):
        arguments.completes(folder, arguments.DIRECTORY_COMPLETION)
    for path in (target, image, places):
        arguments.completes(path, arguments.FILE_COMPLETION)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from plum_cli import offline

    if args.action == "create":
        return _create(args)
    try:
        bundle = offline.check(Path(args.bundle), args.sha256)
        for line in offline.describe(bundle):
            print(line)
        if args.action == "install":
            release = offline.install(bundle, Path(args.to))
            print(f"installed in {release}; {args.to}/current/bin/plum is this release now")
    except offline.BundleError as error:
        raise CliError(str(error), INVALID) from error
    return OK


def _create(args: argparse.Namespace) -> int:
    import platform

    from plum_cli import bundling, terminal

    images = [Path(image) for image in args.image]
    for image in images:
        if not image.is_file():
            raise CliError(f"--image {image}: there is no such file; write one with `docker save -o FILE NAME`", INVALID)
    source = bundling.find_source(args.source)
    if not (source / "controller/plum_controller/ui_dist/index.html").is_file():
        terminal.warn(f"{source} has no built web UI, so the bundle has none either; run `make ui` there first")
    digest = bundling.create(
        source,
        Path(args.output).absolute(),
        args.machine or [platform.machine()],
        images,
        [Path(place) for place in args.manifests],
        Path(args.wheels) if args.wheels else None,
    )
    print(f"{digest}  {args.output}")
    return OK
