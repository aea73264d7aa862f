"""A Git repository over https, ssh or from a path, without the git program.

    references of the server --branch, tag or commit--> commit --not here yet?--> fetch --> Revision(commit, files)

The clone is bare and holds the newest commit only, unless a commit is asked for by its name. It is a cache: when something
is wrong with it, it is made anew. Credentials go to the server and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from plum_client.manifests.documents import SUFFIXES

from plum_controller.domain.sync.identity import SCP
from plum_controller.manifests.tree import MAX_BYTES, Tree, TreeError
from plum_controller.sources.base import Revision, SourceError

TIMEOUT = 30.0
"""Seconds without a byte from the server."""
MAX_PACKS = 40
"""Fetches after which the clone is made anew, so that it does not grow for ever."""
MAX_FILES = 200_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which commit. At most one is set; the default branch if none is."""

    branch: str = ""
    tag: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How the server is reached. The texts are secrets, but for `known_hosts` and `ca`."""

    username: str = ""
    password: str = ""
    private_key: str = ""
    known_hosts: str = ""
    ca: str = ""

    def __repr__(self) -> str:
        return "Access(...)"


class GitSource:
    """One branch, tag or commit of one repository."""

    def __init__(self, url: str, wanted: Wanted, access: Access, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        """`folder` is where the clone is kept; `loop` carries ssh connections."""
        self._url = url
        self._wanted = wanted
        self._access = access
        self._folder = folder
        self._loop = loop
        self._last: Revision | None = None

    def fetch(self) -> Revision:
        """The commit that the server names now. Raises `SourceError`."""
        try:
            return self._fetch()
        except _BrokenCloneError:
            shutil.rmtree(self._folder, ignore_errors=True)
        try:
            return self._fetch()
        except _BrokenCloneError as error:
            raise SourceError(f"{self._shown}: the clone in {self._folder} cannot be used: {error}") from error

    def revision(self, name: str) -> Revision | None:
        """A commit that is in the clone."""
        with contextlib.suppress(_BrokenCloneError), self._opened() as repository:
            if name.encode() in repository.object_store:
                return Revision(name, _tree(repository, name, self._folder))
        return None

    @property
    def _shown(self) -> str:
        """The address without a password that may be in it."""
        return re.sub(r"://[^/@]*@", "://", self._url)

    def _fetch(self) -> Revision:
        with self._opened() as repository:
            commit = self._here(repository)
            if not commit:
                commit = self._from_server(repository)
            if self._last is None or self._last.name != commit:
                self._last = Revision(commit, _tree(repository, commit, self._folder))
            return self._last

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        from dulwich.errors import ChecksumMismatch, NotGitRepository, ObjectFormatException
        from dulwich.repo import Repo

        try:
            if self._folder.exists() and len(list(self._folder.glob("objects/pack/*.pack"))) > MAX_PACKS:
                shutil.rmtree(self._folder)
            if not self._folder.exists():
                self._folder.mkdir(parents=True, mode=0o700)
                Repo.init_bare(str(self._folder)).close()
            repository = Repo(str(self._folder))
        except (OSError, ValueError, NotGitRepository) as error:
            raise _BrokenCloneError(str(error)) from error
        try:
            yield repository
        except (ChecksumMismatch, ObjectFormatException, KeyError, IndexError, ValueError, AssertionError, zlib.error) as error:
            raise _BrokenCloneError(repr(error)) from error
        finally:
            repository.close()

    def _here(self, repository: Any) -> str:
        """A commit that was asked for by its name and is in the clone; empty otherwise."""
        if not self._wanted.commit:
            return ""
        found = list(repository.object_store.iter_prefix(self._wanted.commit.encode()[:39]))
        found = [name for name in found if name.decode().startswith(self._wanted.commit)]
        commits = [name.decode() for name in found if repository.object_store[name].type_name == b"commit"]
        if len(commits) > 1:
            raise SourceError(f"{self._shown}: more than one commit begins with {self._wanted.commit}; write more of it")
        return str(commits[0]) if commits else ""

    def _from_server(self, repository: Any) -> str:
        with self._told():
            client, path = self._client()
            if self._wanted.commit:
                client.fetch(path, repository, determine_wants=_all_branches)
            else:
                references = client.get_refs(path)
                commit = self._choose(references.refs, references.symrefs)
                if commit not in repository.object_store:
                    local = type(client).__name__ == "LocalGitClient"
                    client.fetch(path, repository, determine_wants=lambda refs, depth=None: [commit], depth=None if local else 1)
                return _peeled(repository, commit)
        found = self._here(repository)
        if not found:
            raise SourceError(f"{self._shown} has no commit {self._wanted.commit} on any branch")
        return found

    def _choose(self, references: Mapping[bytes, bytes | None], symbolic: Mapping[bytes, bytes]) -> bytes:
        wanted = self._wanted
        if wanted.branch or wanted.tag:
            name = f"refs/heads/{wanted.branch}" if wanted.branch else f"refs/tags/{wanted.tag}"
            found = references.get(name.encode())
            if found is None:
                kind = "branch" if wanted.branch else "tag"
                names = _names(references, b"refs/heads/" if wanted.branch else b"refs/tags/")
                raise SourceError(f"{self._shown} has no {kind} {wanted.branch or wanted.tag}; it has {names}")
            return found
        found = references.get(symbolic.get(b"HEAD", b"HEAD")) or references.get(b"HEAD")
        if found is None:
            raise SourceError(f"{self._shown} is empty: it has no commit yet; nothing is changed or deleted")
        return found

    def _client(self) -> tuple[Any, bytes]:
        """A client for the scheme of the address. Raises `SourceError`."""
        from dulwich.client import HttpGitClient, LocalGitClient, SSHGitClient

        parts = urlsplit(self._url)
        scp = SCP.match(self._url) if "://" not in self._url else None
        if parts.scheme in ("https", "http"):
            if parts.scheme == "http" and self._access.password:
                raise SourceError(f"{self._shown}: a token is not sent over http; use https")
            base, path = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path
            manager = self._pool()
            user = (self._access.username or "git") if self._access.password else None
            client = HttpGitClient(base, pool_manager=manager, username=user, password=self._access.password or None)
            return client, path.encode()
        if parts.scheme == "ssh" or scp:
            from plum_controller.sources.ssh import SshVendor

            vendor: Any = SshVendor(self._loop, self._access.private_key, self._access.known_hosts, TIMEOUT)
            if scp:
                host, port, user, path = scp[2], None, scp[1], scp[3]
            else:
                host, port, user, path = parts.hostname or "", parts.port, parts.username, unquote(parts.path)
            return SSHGitClient(host, port=port, username=user or self._access.username or "git", vendor=vendor), path.encode()
        if parts.scheme in ("file", ""):
            return LocalGitClient(), (unquote(parts.path) if parts.scheme else self._url).encode()
        raise SourceError(f"{self._shown}: {parts.scheme}:// is not supported; use https://, ssh:// or a path")

    def _pool(self) -> Any:
        import ssl

        import urllib3

        context = ssl.create_default_context(cadata=self._access.ca or None)
        timeout = urllib3.Timeout(connect=10.0, read=TIMEOUT)
        return urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=False, headers={"User-Agent": "git/plum"})

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Everything that can go wrong with a server, as one sentence."""
        import urllib3.exceptions
        from dulwich.client import HTTPUnauthorized
        from dulwich.errors import GitProtocolError, NotGitRepository

        try:
            yield
        except (SourceError, _BrokenCloneError):
            raise
        except HTTPUnauthorized as error:
            raise SourceError(f"{self._shown}: the server wants other credentials; see spec.source.git.secretRef") from error
        except NotGitRepository as error:
            raise SourceError(f"{self._shown} is no Git repository, or it may not be read") from error
        except urllib3.exceptions.HTTPError as error:
            raise SourceError(f"{self._shown} cannot be reached: {_short(error)}") from error
        except (GitProtocolError, EOFError) as error:
            raise SourceError(f"{self._shown}: {_short(error)}") from error
        except (OSError, TimeoutError) as error:
            raise SourceError(f"{self._shown} cannot be reached: {_short(error)}") from error


class _BrokenCloneError(Exception):
    """The clone on this machine is damaged; it is made anew."""


class _Files(Mapping[str, bytes]):
    """The files of a commit, each read from the clone when it is asked for: a repository may hold much besides manifests."""

    def __init__(self, folder: Path, names: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._names = names
        self._read: dict[str, bytes] = {}
        self._bytes = 0

    def __getitem__(self, path: str) -> bytes:
        content = self._read.get(path)
        if content is None:
            from dulwich.repo import Repo

            name = self._names[path]
            with Repo(str(self._folder)) as repository:
                store: Any = repository.object_store
                content = self._read[path] = bytes(store[name].data)
            self._bytes += len(content)
            if self._bytes > MAX_BYTES:
                raise TreeError(f"the manifests of this commit are larger than {MAX_BYTES // 2**20} MB")
        return content

    def take(self, path: str, content: bytes) -> None:
        """Remember a file that was read together with others."""
        self._read[path] = content
        self._bytes += len(content)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _tree(repository: Any, commit: str, folder: Path) -> Tree:
    """The files of a commit. Links are left out: what they lead to may be anywhere."""
    names: dict[str, bytes] = {}
    store = repository.object_store
    files = _Files(folder, names)
    for entry in store.iter_tree_contents(store[commit.encode()].tree):
        path = entry.path.decode("utf-8", "replace")
        if not stat.S_ISREG(entry.mode) or any(part.startswith(".") for part in path.split("/")):
            continue
        names[path] = entry.sha
        if path.removesuffix(".age").endswith(SUFFIXES):
            files.take(path, bytes(store[entry.sha].data))
        if len(names) > MAX_FILES:
            raise SourceError(f"the commit {commit[:10]} holds more than {MAX_FILES} files")
    return Tree(files, {path: name.decode() for path, name in names.items()})


def _peeled(repository: Any, name: bytes) -> str:
    """The commit behind a reference: an annotated tag is an object of its own."""
    found = repository.object_store[name]
    while found.type_name == b"tag":
        name = found.object[1]
        found = repository.object_store[name]
    return name.decode()


def _all_branches(references: Mapping[bytes, bytes], depth: int | None = None) -> list[bytes]:
    return [value for name, value in references.items() if name.startswith((b"refs/heads/", b"refs/tags/")) and value]


def _names(references: Mapping[bytes, Any], prefix: bytes) -> str:
    found = sorted(
        name.removeprefix(prefix).decode() for name in references if name.startswith(prefix) and not name.endswith(b"^{}")
    )
    return ", ".join(found[:5]) + (", ..." if len(found) > 5 else "") or "none"


def _short(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return re.sub(r"://[^/@]*@", "://", text.splitlines()[0])[:300]
