"""`get -w`: what is there, and then every change, as lines; resumed when the server ends the watch.

list -> lines -> watch since its revision -> lines ... -> ended? watch since the last revision
                                                      -> too old? list again, print what differs
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plum_client.errors import ApiUnavailableError, RevisionCompactedError, error_of
from plum_client.transport import Request

from plum_cli.session import TABLE, Session, Target
from plum_cli.tables import TableView

RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Watching:
    """One watch on one kind, with a table view or a function that prints an object."""

    session: Session
    target: Target
    namespace: str
    query: Mapping[str, str]
    view: TableView | None
    text: Callable[[dict[str, Any]], str]
    changes_only: bool = False
    """Print nothing for what is there at the start."""
    _shown: dict[str, str] = field(default_factory=dict)
    """Revision of each object as it was printed last, by key."""
    _revision: str = ""

    async def lines(self) -> AsyncIterator[str]:
        """Lines until the caller has enough of them."""
        while True:
            try:
                if not self._revision:
                    for line in await self._list():
                        yield line
                async for line in self._changes():
                    yield line
            except RevisionCompactedError:
                self._revision = ""
            except ApiUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> Sequence[str]:
        """What is there and was not printed yet."""
        page = await self.session.ask(self._request({}))
        first = not self._shown
        self._revision = str(page["metadata"]["resourceVersion"])
        if self.view is not None:
            self.view.set_columns(page["columnDefinitions"])
            rows = [row for row in page.get("rows") or () if self._is_news(row["object"]["metadata"])]
            return [] if first and self.changes_only else self.view.lines(self.view.rows({"rows": rows}))
        info = self.target.info
        items = [{"apiVersion": info.api_version, "kind": info.kind, **item} for item in page.get("items") or ()]
        news = [item for item in items if self._is_news(item["metadata"])]
        return [] if first and self.changes_only else [self.text(item) for item in news]

    async def _changes(self) -> AsyncIterator[str]:
        """What happens after the last revision, until the server ends the watch."""
        query = {"watch": "true", "resourceVersion": self._revision, "allowWatchBookmarks": "true"}
        async with self.session.stream(self._request(query)) as lines:
            async for line in lines:
                event = json.loads(line)
                value = event["object"]
                if event["type"] == "ERROR":
                    raise error_of(int(value.get("code") or 500), json.dumps(value).encode(), "watch")
                metadata = _metadata(value)
                self._revision = str(metadata.get("resourceVersion") or self._revision)
                if event["type"] == "BOOKMARK":
                    continue
                self._is_news(metadata)
                if self.view is None:
                    yield self.text(value)
                    continue
                for shown in self.view.lines(self.view.rows({"rows": value["rows"]})):
                    yield shown

    def _request(self, query: Mapping[str, str]) -> Request:
        only = {"fieldSelector": f"metadata.name={self.target.name}"} if self.target.name else {}
        accept = "application/json" if self.view is None else TABLE
        return Request("GET", self.target.info, self.namespace, query={**self.query, **only, **query}, accept=accept)

    def _is_news(self, metadata: Mapping[str, Any]) -> bool:
        """Whether this revision of an object was not printed before."""
        key, revision = f"{metadata.get('namespace', '')}/{metadata['name']}", str(metadata["resourceVersion"])
        news = self._shown.get(key) != revision
        self._shown[key] = revision
        return news


def _metadata(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of an event's object, plain or as a table of one row."""
    rows = value.get("rows")
    found = rows[0]["object"]["metadata"] if rows else value.get("metadata") or {}
    return dict(found)
