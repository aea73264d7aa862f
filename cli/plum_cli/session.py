"""A command's connection to the server: untyped requests, with errors turned into sentences and exit codes.

    run(args, command) --> Session --> plum_client.ApiClient --> server

Kinds are known only from the server's discovery, so a command works for kinds that users define as well.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import (
    ApiError,
    ApiUnavailableError,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
    UnauthorizedError,
    error_of,
)
from plum_client.kubeconfig import Server
from plum_client.transport import Request, Response
from plum_schemas.base import KindInfo, ObjectKey

from plum_cli import terminal
from plum_cli.config import find_server
from plum_cli.errors import CONFLICT, FAILED, INVALID, NOT_FOUND, UNAVAILABLE, CliError, UsageError

FIELD_MANAGER = "plum"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a person named: one object, or (without a name) all of a kind."""

    info: KindInfo
    name: str = ""

    def __str__(self) -> str:
        kind = self.info.singular + (f".{self.info.group}" if self.info.group else "")
        return f"{kind}/{self.name}" if self.name else self.info.resource


class Session:
    """One command's requests. Methods raise the errors of `plum_client`; `run` turns them into `CliError`."""

    def __init__(self, server: Server, namespace: str = "", field_manager: str = FIELD_MANAGER) -> None:
        self.server = server
        self.namespace = namespace or server.namespace or "default"
        self.transport = server.transport(user_agent=field_manager)
        self.api = ApiClient(self.transport, field_manager=field_manager, on_warning=terminal.warn)

    # ---- names

    async def kind(self, word: str) -> KindInfo:
        """The kind that a word means."""
        return await self.api.resolve(word)

    def namespace_of(self, info: KindInfo, everywhere: bool = False) -> str:
        """The namespace for requests on a kind; empty for cluster-wide kinds and for all namespaces."""
        return self.namespace if info.namespaced and not everywhere else ""

    async def targets(self, words: Sequence[str], *, names: bool = False) -> list[Target]:
        """`deployment/web node/n1`, `deployments web api`, `deployments,instances`, `all`. Raises `UsageError`."""
        if not words:
            raise UsageError("name a kind, such as deployments, or an object, such as deployment/web")
        if any("/" in word for word in words):
            targets = []
            for word in words:
                kind, separator, name = word.partition("/")
                if not separator or not kind or not name:
                    raise UsageError(f"{word!r} is no KIND/NAME; write either KIND/NAME for each object, or KIND NAME NAME ...")
                targets.append(Target(await self.kind(kind), name))
            return targets
        kinds = await self.kinds(words[0])
        if len(words) > 1:
            return [Target(info, name) for info in kinds for name in words[1:]]
        if names:
            raise UsageError(f"which of the {words[0]}? Write {words[0]}/NAME")
        return [Target(info) for info in kinds]

    async def target(self, words: Sequence[str]) -> Target:
        """Exactly one object. Raises `UsageError`."""
        found = await self.targets(words, names=True)
        if len(found) != 1:
            raise UsageError(f"one object at a time; {len(found)} were named")
        return found[0]

    async def kinds(self, words: str) -> list[KindInfo]:
        """The kinds of a list with commas; a category such as `all` stands for its kinds."""
        found: list[KindInfo] = []
        for word in filter(None, words.split(",")):
            members = [info for info in await self.api.discover() if word in info.categories]
            found += members or [await self.kind(word)]
        return list(dict.fromkeys(found))

    # ---- requests

    async def get(self, target: Target, **query: str) -> JsonObject:
        """One object. Raises `NotFoundError`."""
        return await self.ask(Request("GET", target.info, self.namespace_of(target.info), target.name, query=query))

    async def find(self, info: KindInfo, name: str, namespace: str = "") -> JsonObject | None:
        """One object, None when it is not there."""
        return await self.api.get(info, name, namespace if info.namespaced else "")

    async def ask(self, request: Request) -> JsonObject:
        """Send it and decode the answer."""
        return cast("JsonObject", msgspec.json.decode((await self.send(request)).body))

    async def send(self, request: Request) -> Response:
        """Send it; warnings go to stderr, refusals are raised."""
        response = await self.transport.send(request)
        for warning in response.warnings:
            terminal.warn(warning)
        if response.status >= 400:
            raise error_of(response.status, response.body, f"{request.method} {request.path}")
        return response

    async def raw(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """Ask for a path that belongs to no kind, JSON in and out."""
        target = f"{path}?{urlencode(query)}" if query else path
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if content else {}
        response = await self.transport.request(method, target, headers, content)
        if response.status >= 400:
            raise error_of(response.status, response.body, f"{method} {path}")
        try:
            return msgspec.json.decode(response.body)
        except msgspec.DecodeError:
            return response.body.decode(errors="replace")

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer that goes on; a refusal is raised."""
        async with self.transport.stream(request) as stream:
            if stream.status >= 400:
                body = b"".join([chunk async for chunk in stream.chunks])
                raise error_of(stream.status, body, f"{request.method} {request.path}")
            yield stream.chunks

    async def merge(self, target: Target, patch: JsonObject, subresource: str = "", **options: Any) -> JsonObject:
        """Change some fields of an object."""
        return await self.api.patch(target.info, self.key(target), patch, subresource=subresource, **options)

    async def merge_json(self, target: Target, operations: Sequence[JsonObject]) -> JsonObject:
        """Change an object by a JSON patch."""
        return await self.api.patch(target.info, self.key(target), list(operations), type="json")

    def key(self, target: Target) -> ObjectKey:
        """Namespace and name of a target."""
        return ObjectKey(self.namespace_of(target.info), target.name)

    async def close(self) -> None:
        await self.transport.close()


def run(args: argparse.Namespace, command: Callable[[Session], Awaitable[int]], field_manager: str = FIELD_MANAGER) -> int:
    """Run a command with a session; its writes are in the name of the field manager. Raises `CliError` whatever goes wrong."""
    server = find_server(args)

    async def main() -> int:
        session = Session(server, getattr(args, "namespace", None) or "", field_manager)
        try:
            return await command(session)
        except ApiError as error:
            raise explained(error, server) from error
        finally:
            await session.close()

    return asyncio.run(main())


def explained(error: ApiError, server: Server) -> CliError:
    """A sentence and an exit code for a refusal."""
    if isinstance(error, ApiUnavailableError) and not error.status:
        return CliError(
            f"no server answers at {server.url} ({server.source}): {error}\n"
            "  start one with `plum dev`, or name another with --server URL or PLUM_SERVER",
            UNAVAILABLE,
        )
    text = error.message
    if isinstance(error, UnauthorizedError):
        return CliError(
            f"{server.url} does not know who you are: {text}; set PLUM_TOKEN or use a kubeconfig with credentials", UNAVAILABLE
        )
    if isinstance(error, NotFoundError):
        return CliError(text, NOT_FOUND)
    if isinstance(error, ConflictError):
        return CliError(text, CONFLICT)
    if isinstance(error, InvalidObjectError | BadRequestError):
        causes = [f"  {cause.field}: {cause.message}" for cause in error.causes if cause.field]
        head = re.split(r" is invalid: ", text)[0] + " is invalid" if causes and " is invalid: " in text else text
        return CliError("\n".join([head, *causes]) if len(causes) > 1 else text, INVALID)
    if isinstance(error, ForbiddenError | ApiUnavailableError):
        return CliError(text, UNAVAILABLE if isinstance(error, ApiUnavailableError) else FAILED)
    return CliError(text, FAILED)
