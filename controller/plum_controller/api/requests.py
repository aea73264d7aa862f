"""One request and its answer as values, whatever carried them: HTTP, a test, or a caller in this process.

    bytes of HTTP  --app-->  ApiRequest --ObjectsApi, discovery, ...--> Answer | WatchAnswer --app--> bytes of HTTP
    plum_client.Request --LocalTransport-->  the same

An `Answer` is complete; a `WatchAnswer` says what to stream and leaves the streaming to whoever carries it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from plum_controller.api.identity import LOCAL, Identity
from plum_controller.resources.errors import ApiStatusError, bad_request

if TYPE_CHECKING:
    from plum_controller.api.watch import WatchPlan

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

NO_QUERY: Mapping[str, str] = {}
MAX_QUERY_FIELDS = 10_000
"""Parameters of one request: a command to run has one for each word. The longest request line holds fewer."""


@dataclass(slots=True)
class ApiRequest:
    """One call. `path` is split and percent-decoded: `["apis", "plum.dev", "v1", "deployments"]`."""

    method: str
    path: Sequence[str]
    query: Mapping[str, str] = field(default_factory=lambda: NO_QUERY)
    body: bytes = b""
    accept: str = ""
    content_type: str = ""
    user_agent: str = ""
    identity: Identity = LOCAL
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """The rarely needed headers, by lower-case name."""
    peer: str = ""
    """Address it came from; empty inside this process."""
    raw_path: bytes = b""
    """The path as it was sent, without the query."""
    impersonator: str = ""
    """Who it really is, when `identity` is somebody they act as."""

    @property
    def user(self) -> str:
        """Name of who asks."""
        return self.identity.name


@dataclass(slots=True)
class Answer:
    """A complete answer. `revision` is the store's after a write, 0 otherwise."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    revision: int = 0
    warnings: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class WatchAnswer:
    """An answer that goes on: `plan` knows how to open the stream."""

    plan: WatchPlan


def split_path(raw_path: bytes) -> list[str]:
    """Parts of a path, each decoded on its own, so that `%2F` stays inside its part. A trailing slash is ignored."""
    text = raw_path.decode("ascii", "replace")
    parts = text.strip("/").split("/")
    if "%" in text:
        parts = [unquote(part) for part in parts]
    return parts


def parse_query(query_string: bytes) -> Mapping[str, str]:
    """Parameters by name; of a repeated one the first counts. Raises `ApiStatusError` 400."""
    if not query_string:
        return NO_QUERY
    try:
        pairs = parse_qsl(query_string.decode("ascii", "replace"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise bad_request(f"the query cannot be read: {error}") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name, value)
    return values


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter as Go reads it: `true`, `1` and the bare name are true. Raises `ApiStatusError` 400."""
    value = query.get(name)
    if value is None or value in ("false", "0", "f", "F", "False", "FALSE"):
        return False
    if value in ("true", "1", "t", "T", "True", "TRUE", ""):
        return True
    raise bad_request(f"{name} is {value!r}; use true or false")


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole, not negative parameter; None when it is absent or empty. Raises `ApiStatusError` 400."""
    value = query.get(name)
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise bad_request(f"{name} is {value!r}; use a whole number, 0 or more")
    return int(value)


def error_answer(error: ApiStatusError) -> Answer:
    """A refusal as its `Status` object."""
    seconds = error.retry_after_seconds
    headers: tuple[tuple[bytes, bytes], ...] = ((b"retry-after", b"%d" % seconds),) if seconds else ()
    if error.code == 401:
        headers += ((b"www-authenticate", b'Bearer realm="plum"'),)
    return Answer(error.body(), status=error.code, headers=headers)
