"""What a Sync reads besides its own spec: its source with credentials, the values of variables, the identities of age."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from plum_schemas.sync import Sync
from plum_schemas.template import KeyRef

from plum_controller.controllers.syncing.live import Live
from plum_controller.domain.sync.identity import ObjectId
from plum_controller.manifests.loading import Options
from plum_controller.sources.base import Source, SourceError
from plum_controller.sources.bundle import BundleSource
from plum_controller.sources.folder import FolderSource


def folder_of(data_dir: Path, sync: Sync) -> Path:
    """Where this Sync keeps its clone and its revisions. Another Sync of the same name, later, has another one."""
    return data_dir / sync.metadata.namespace / f"{sync.metadata.name}-{sync.metadata.uid[:8]}"


def references(sync: Sync) -> Iterator[ObjectId]:
    """Secrets and ConfigMaps that the Sync reads."""
    spec, namespace = sync.spec, sync.metadata.namespace
    git = spec.source.git
    for reference in (spec.decryption, git.secret_ref if git else None, git.webhook_secret_ref if git else None):
        if reference is not None:
            yield ObjectId("", "Secret", namespace, reference.name)
    for source in spec.substitute.sources if spec.substitute is not None else ():
        kind, name = ("ConfigMap", source.config_map) if source.config_map else ("Secret", source.secret)
        yield ObjectId("", kind, namespace, name)


def options_of(sync: Sync, live: Live) -> Options:
    """How to read the source. Raises `SourceError` when something it names is missing."""
    spec, source = sync.spec, sync.spec.source
    start = source.git.path if source.git else source.folder.subfolder if source.folder else ""
    if source.bundle is not None:
        start = source.bundle.subfolder
    identities = secret_value(sync, live, spec.decryption, "spec.decryption") if spec.decryption is not None else ""
    return Options(
        start=start.strip("/"),
        recurse=spec.recurse,
        ignore=tuple(spec.ignore),
        variables=_variables(sync, live),
        identities=identities,
    )


def source_of(sync: Sync, live: Live, data_dir: Path, loop: asyncio.AbstractEventLoop) -> tuple[str, Source]:
    """The source, and what tells it from another one. Raises `SourceError`."""
    source = sync.spec.source
    if source.folder is not None:
        return f"folder\0{source.folder.path}", FolderSource(Path(source.folder.path))
    if source.bundle is not None:
        path, checksum = source.bundle.path, source.bundle.sha256
        return f"bundle\0{path}\0{checksum}", BundleSource(Path(path), checksum)
    git = source.git
    if git is None:
        raise SourceError("spec.source names neither folder, git nor bundle")
    from plum_controller.sources.git import Access, GitSource, Wanted

    secret = secret_value(sync, live, git.secret_ref, "spec.source.git.secretRef") if git.secret_ref is not None else ""
    is_key = "PRIVATE KEY" in secret
    access = Access(
        username=git.username,
        password="" if is_key else secret.strip(),
        private_key=secret if is_key else "",
        known_hosts=git.known_hosts,
        ca=git.ca,
    )
    wanted = Wanted(git.branch, git.tag, git.commit)
    parts = [git.url, git.branch, git.tag, git.commit, git.username, git.known_hosts, git.ca, secret]
    fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    clone = folder_of(data_dir, sync) / f"git-{hashlib.sha256(git.url.encode()).hexdigest()[:10]}"
    return fingerprint, GitSource(git.url, wanted, access, clone, loop)


def secret_value(sync: Sync, live: Live, reference: KeyRef, field: str) -> str:
    """One key of a Secret of the Sync's namespace, as text. Raises `SourceError`."""
    values = _data(live.get(ObjectId("", "Secret", sync.metadata.namespace, reference.name)), encoded=True)
    if values is None:
        if reference.optional:
            return ""
        raise SourceError(f"{field}: there is no Secret {reference.name} in {sync.metadata.namespace}")
    if reference.key not in values:
        if reference.optional:
            return ""
        raise SourceError(f"{field}: the Secret {reference.name} has no key {reference.key}; it has {', '.join(sorted(values))}")
    return values[reference.key]


def _variables(sync: Sync, live: Live) -> Mapping[str, str] | None:
    substitute = sync.spec.substitute
    if substitute is None:
        return None
    values: dict[str, str] = {}
    for number, source in enumerate(substitute.sources):
        kind, name = ("ConfigMap", source.config_map) if source.config_map else ("Secret", source.secret)
        found = _data(live.get(ObjectId("", kind, sync.metadata.namespace, name)), encoded=kind == "Secret")
        if found is None and not source.optional:
            raise SourceError(f"spec.substitute.from[{number}]: there is no {kind} {name} in {sync.metadata.namespace}")
        values.update(found or {})
    values.update(substitute.variables)
    return values


def _data(obj: Mapping[str, object] | None, *, encoded: bool) -> dict[str, str] | None:
    if obj is None:
        return None
    data = obj.get("data")
    if not isinstance(data, Mapping):
        return {}
    if not encoded:
        return {str(key): str(value) for key, value in data.items()}
    return {str(key): base64.b64decode(str(value)).decode(errors="replace") for key, value in data.items()}
