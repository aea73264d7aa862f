"""Repositories over https, ssh and from a path; bundles; webhooks."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plum_controller.api.requests import ApiRequest
from plum_controller.resources.errors import ApiStatusError
from plum_schemas.core import Secret
from plum_schemas.sync import Sync

from tests.support.git_servers import PASSWORD, Repository, Served, https_server, ssh_server
from tests.support.syncs import SyncSite, config

SCHEMES = ("https", "ssh", "file")


@asynccontextmanager
async def served(scheme: str, repository: Repository) -> AsyncIterator[Served]:
    if scheme == "https":
        async with https_server(repository.folder.parent) as server:
            yield Served(f"{server.url}/{repository.folder.name}/.git", ca=server.ca)
    elif scheme == "ssh":
        async with ssh_server(repository.folder) as server:
            yield Served(f"{server.url}{repository.folder}", private_key=server.private_key, known_hosts=server.known_hosts)
    else:
        yield Served(f"file://{repository.folder}")


async def follow_git(site: SyncSite, server: Served, secret: str | None = None, name: str = "fleet", **git: Any) -> None:
    """A Sync of the repository, with its credentials."""
    value = (server.private_key or PASSWORD) if secret is None else secret
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "git", "namespace": "default"},
        "stringData": {"key": value},
    }
    await site.api.apply(body, kind=Secret.info, force=True)
    source: dict[str, Any] = {"url": server.url, **git}
    if server.ca:
        source["ca"] = server.ca
    if server.known_hosts:
        source["knownHosts"] = server.known_hosts
    if server.ca or server.private_key:
        source["secretRef"] = {"name": "git", "key": "key"}
    spec = {"source": {"git": source}, "prune": True, "interval": "1s", "maxDelete": "100%"}
    sync = {"apiVersion": "plum.dev/v1", "kind": "Sync", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    await site.api.apply(sync, kind=Sync.info, force=True)


async def at(site: SyncSite, commit: str) -> Sync:
    async def there() -> Sync | None:
        found = await site.get()
        return found if found.status.applied_revision == commit and found.status.phase == "Synced" else None

    return await site.until(there, f"synced at {commit}")


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_branches_are_followed_over(scheme: str, site: SyncSite) -> None:
    repository = Repository(site.root / "repositories" / "fleet")
    first = repository.commit(a=config("a", x="1"), deep__b=config("b", x="1"))
    async with served(scheme, repository) as server:
        await follow_git(site, server)
        await at(site, first)
        second = repository.commit(a=config("a", x="2"), deep__b=None)

        await at(site, second)

        assert await site.data("a") == {"x": "2"}
        assert await site.names() == {"a"}
        broken = repository.commit(a="rubbish: [")
        failed = await site.phase("Failed", "a.yaml:")
        assert (failed.status.attempted_revision, failed.status.applied_revision) == (broken, second)


async def test_tags_commits_and_folders(site: SyncSite) -> None:
    repository = Repository(site.root / "repositories" / "fleet")
    first = repository.commit(prod__a=config("a", x="1"), other__b=config("b", x="1"))
    repository.git("tag", "-a", "v1", "-m", "v1")
    second = repository.commit(prod__a=config("a", x="2"))
    server = Served(str(repository.folder))

    await follow_git(site, server, tag="v1", path="prod")
    await at(site, first)
    assert await site.data("a") == {"x": "1"}
    assert await site.names() == {"a"}
    spec = {"spec": {"source": {"git": {"tag": None, "commit": second[:9]}}}}
    await site.edit(Sync.info, "fleet", spec)
    await at(site, second)
    await site.edit(Sync.info, "fleet", {"spec": {"source": {"git": {"commit": "deadbeef1"}}}})
    await site.phase("Failed", "has no commit deadbeef1")
    assert await site.data("a") == {"x": "2"}


async def test_what_a_server_refuses_is_told_without_secrets(site: SyncSite) -> None:
    repository = Repository(site.root / "repositories" / "fleet")
    repository.commit(a=config("a", x="1"))
    async with served("https", repository) as server:
        await follow_git(site, server, secret="wrong-password")
        failed = await site.phase("Failed", "wants other credentials")
        assert "wrong-password" not in str(failed)
        await follow_git(site, Served(server.url, ca=" "))
        await site.phase("Failed", "cert")
    await site.phase("Failed")
    async with served("ssh", repository) as server:
        await follow_git(site, Served(server.url, private_key=server.private_key))
        await site.phase("Failed", "knownHosts is empty")
        other = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(site.root / "key")], check=True)
        assert other.returncode == 0
        public = " ".join((site.root / "key.pub").read_text().split()[:2])
        strange = f"{server.known_hosts.split()[0]} {public}"
        await follow_git(site, Served(server.url, private_key=server.private_key, known_hosts=strange))
        await site.phase("Failed", "shows a key that is not in spec.source.git.knownHosts")
        await follow_git(site, server, secret=(site.root / "key").read_text())
        failed = await site.phase("Failed", "refuses the key")
        assert "PRIVATE" not in str(failed)
    assert await site.names() == set()


async def test_a_damaged_clone_is_made_anew(site: SyncSite) -> None:
    repository = Repository(site.root / "repositories" / "fleet")
    await follow_git(site, Served(str(repository.folder)))
    await site.phase("Failed", "is empty: it has no commit yet; nothing is changed or deleted")
    await at(site, repository.commit(a=config("a", x="1")))
    clones = list((site.root / "syncs").glob("default/fleet-*/git-*"))
    assert len(clones) == 1
    for path in clones[0].rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"rubbish")

    await site.restart()

    await at(site, repository.commit(a=config("a", x="2")))


async def test_a_signed_webhook_makes_it_read_at_once(site: SyncSite) -> None:
    repository = Repository(site.root / "repositories" / "fleet")
    first = repository.commit(a=config("a", x="1"))
    await follow_git(site, Served(str(repository.folder)), webhookSecretRef={"name": "git", "key": "key"})
    await site.edit(Sync.info, "fleet", {"spec": {"interval": "1h"}})
    await at(site, first)
    api = site.plane.api
    api.syncs.syncs = site.reconciler
    second = repository.commit(a=config("a", x="2"))
    path, body = ["hooks", "default", "syncs", "fleet"], b'{"ref": "refs/heads/main"}'

    with pytest.raises(ApiStatusError, match="Unauthorized"):
        await api.answer(ApiRequest("POST", path, body=body, headers={b"x-hub-signature-256": b"sha256=00"}))
    signature = b"sha256=" + hmac.new(PASSWORD.encode(), body, hashlib.sha256).hexdigest().encode()
    answer = await api.answer(ApiRequest("POST", path, body=body, headers={b"x-hub-signature-256": signature}))

    assert getattr(answer, "status", 0) == 202
    await at(site, second)
    third = repository.commit(a=config("a", x="3"))
    await api.answer(ApiRequest("POST", path, headers={b"x-gitlab-token": PASSWORD.encode()}))
    await at(site, third)


async def test_a_bundle_with_its_checksum(site: SyncSite, tmp_path: Path) -> None:
    bundle = tmp_path / "fleet.tar.gz"

    def pack(**files: str) -> str:
        folder = tmp_path / "pack"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        with tarfile.open(bundle, "w:gz") as archive:
            archive.add(folder, "fleet")
        return hashlib.sha256(bundle.read_bytes()).hexdigest()

    digest = pack(a=config("a", x="1"))
    spec = {"source": {"bundle": {"path": str(bundle), "sha256": digest}}, "interval": "1s"}
    sync = {"apiVersion": "plum.dev/v1", "kind": "Sync", "metadata": {"name": "fleet", "namespace": "default"}, "spec": spec}
    await site.api.apply(sync, kind=Sync.info)
    await site.has("a", x="1")
    other = pack(a=config("a", x="2"))
    await site.phase("Failed", "was cut or changed")
    assert await site.data("a") == {"x": "1"}

    await site.edit(Sync.info, "fleet", {"spec": {"source": {"bundle": {"sha256": other}}}})

    await site.has("a", x="2")
