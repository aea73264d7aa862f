"""A package unpacked for one instance, or the image that an artifact stands for, and the note beside it that says so.

<instance>/app/           what was in the zip; the workload may write there, it is nobody else's
<instance>/package.json   written last: without it the folder is not complete and is made again
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from plum_schemas.artifact import ArtifactService
from plum_schemas.base import Struct
from plum_schemas.instance import Instance
from plum_schemas.template import ArtifactSource, Port

from plum_agent.ledger import sync_folder

FOLDER = "app"
NOTE = "package.json"


class PreparedPackage(Struct):
    """A package that can be started from its folder."""

    folder: Path
    """Where it is unpacked: the working folder of a process, the folder to mount for a container."""
    entry: str
    """The program to start when the template has no command, relative to `folder`."""
    sha256: str
    """Of the zip."""
    name: str
    """Of the application, as its Artifact or its `meta.ini` says."""
    version: str
    services: list[ArtifactService] = []
    source: ArtifactSource = msgspec.field(default_factory=ArtifactSource)
    """What the template asked for."""
    fits: bool = False
    """This node was found able to run it."""
    notices: list[str] = []
    """What may be missing on this node, for the condition Prepared."""
    image: str = ""
    """The image that the artifact stands for. With one there is no folder, and the image says what runs."""
    ports: list[Port] = []
    """Ports that the image publishes, for templates that name none."""

    @property
    def command(self) -> tuple[str, ...]:
        """The default command, as a process of this node starts it."""
        return () if self.image else (str(self.folder / self.entry),)


_encode = msgspec.json.Encoder(enc_hook=str).encode
_decoder = msgspec.json.Decoder(PreparedPackage, dec_hook=lambda kind, value: kind(value))


def read_package(instance_folder: Path, source: ArtifactSource) -> PreparedPackage | None:
    """What was unpacked there before for the same wish, None when it was not, or not to its end."""
    with suppress(OSError, msgspec.MsgspecError):
        package = _decoder.decode((instance_folder / NOTE).read_bytes())
        is_complete = bool(package.image) or (package.folder / package.entry).exists()
        if package.source == source and package.folder == instance_folder / FOLDER and is_complete:
            return package
    return None


def as_packaged(instance: Instance, package: PreparedPackage | None) -> Instance:
    """The instance with what the artifact of an image adds to its template: the image, and the ports if it names none."""
    if package is None or not package.image:
        return instance
    template = instance.spec.template
    template = msgspec.structs.replace(template, image=package.image, ports=template.ports or package.ports)
    return msgspec.structs.replace(instance, spec=msgspec.structs.replace(instance.spec, template=template))


def write_note(instance_folder: Path, package: PreparedPackage) -> None:
    """Durable when this returns."""
    temporary = instance_folder / f"{NOTE}.new"
    temporary.write_bytes(_encode(package))
    temporary.replace(instance_folder / NOTE)
    sync_folder(instance_folder)
