"""Which kinds a server has, for clients that know kinds only by the words people use.

    GET /api, /apis -> group versions -> GET /apis/GROUP/VERSION -> KindInfo of each kind

Needs a transport that takes raw paths: `HttpTransport`, or `FakeApi` in tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
from plum_schemas.base import KindInfo, ScalePaths

from plum_client.errors import ApiUnavailableError, NotFoundError, error_of
from plum_client.transport import Response, Transport

OWN_GROUP = "plum.dev"


@runtime_checkable
class RawTransport(Protocol):
    """A transport that also carries requests to any path."""

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """Ask for a path with its query. Raises `ApiUnavailableError`."""


class Discovery:
    """The kinds of one server, read on first use and kept until `forget`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._kinds: tuple[KindInfo, ...] | None = None
        self._by_kind: dict[tuple[str, str], KindInfo] = {}

    def forget(self) -> None:
        """Ask the server again at the next use; after a CustomResourceDefinition was applied."""
        self._kinds = None

    def known(self, api_version: str, kind: str) -> KindInfo | None:
        """The kind, if it was read before."""
        return self._by_kind.get((api_version, kind))

    async def kinds(self) -> Sequence[KindInfo]:
        if self._kinds is None:
            core, others = await asyncio.gather(self._read("/api"), self._read("/apis"))
            paths = [("", str(version), f"/api/{version}") for version in core.get("versions") or ()]
            for group in others.get("groups") or ():
                versions = [group.get("preferredVersion") or {}, *(group.get("versions") or ())]
                names = dict.fromkeys(str(entry["version"]) for entry in versions if entry.get("version"))
                paths += [(str(group["name"]), version, f"/apis/{group['name']}/{version}") for version in names]
            answers = await asyncio.gather(*(self._read(path) for _, _, path in paths))
            found = [
                info
                for (group_name, version, _), answer in zip(paths, answers, strict=True)
                for info in kinds_of(group_name, version, answer)
            ]
            self._kinds = tuple(found)
            self._by_kind = {(info.api_version, info.kind): info for info in reversed(found)}
        return self._kinds

    async def resolve(self, word: str) -> KindInfo:
        """A kind by plural, singular, short name or `plural.group`. Raises `NotFoundError` that names what is close.

        Of two kinds of one name ours is meant: the core group has views of Nodes and Deployments for Kubernetes' clients.
        """
        name, _, group = word.lower().partition(".")
        for fresh in (False, True):
            if fresh:
                self.forget()
            kinds = sorted(await self.kinds(), key=lambda info: info.group != OWN_GROUP)
            for info in kinds:
                if group and group not in (info.group, f"{info.version}.{info.group}"):
                    continue
                if name in (info.plural, info.singular, *info.short_names):
                    return info
        import difflib

        close = difflib.get_close_matches(name, [info.plural for info in kinds], n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise NotFoundError(f"the server has no kind {word!r}{hint}")

    async def _read(self, path: str) -> dict[str, Any]:
        if not isinstance(self._transport, RawTransport):
            raise ApiUnavailableError("discovery needs a transport that takes raw paths, such as HttpTransport")
        response = await self._transport.request("GET", path)
        if response.status >= 400:
            raise error_of(response.status, response.body, f"GET {path}")
        return cast("dict[str, Any]", msgspec.json.decode(response.body))


def kinds_of(group: str, version: str, resources: Mapping[str, Any]) -> list[KindInfo]:
    """The kinds of one `APIResourceList`."""
    entries = list(resources.get("resources") or ())
    names = {str(entry["name"]) for entry in entries}
    found = []
    for entry in entries:
        plural = str(entry["name"])
        if "/" in plural:
            continue
        found.append(
            KindInfo(
                kind=str(entry["kind"]),
                plural=plural,
                group=group,
                version=version,
                short_names=tuple(entry.get("shortNames") or ()),
                categories=tuple(entry.get("categories") or ()),
                namespaced=bool(entry.get("namespaced")),
                has_status=f"{plural}/status" in names,
                scale=ScalePaths() if f"{plural}/scale" in names else None,
            )
        )
    return found
