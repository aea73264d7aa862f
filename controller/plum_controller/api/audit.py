"""What of the requests goes into the audit log, and how it is read.

    changes, logins, commands, forwarded ports, backups, refusals (401, 403) --> AuditLog
    GET /apis/plum.dev/v1/audit?user=&verb=&resource=&namespace=&name=&outcome=&since=&until=&limit=&continue=    newest first
    GET /apis/plum.dev/v1/audit?watch=true&resourceVersion=SEQ    what follows record SEQ, as it is written; the same filters
    GET /apis/plum.dev/v1/audit/verification    whether the chain of hashes holds

Not written down, because machines do it all the time and it is nobody's decision: reports of state (`/status`), leases, Events,
heartbeats, entries of the key-value store, dry runs, and what the controllers themselves do. `PLUM_AUDIT=all` adds the first
six, `off` writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from plum_controller.api.access import STREAMED, attributes_of
from plum_controller.api.computed import OwnLines
from plum_controller.api.identity import ANONYMOUS, Identity
from plum_controller.api.limits import READING
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, flag, number
from plum_controller.api.watch import WatchHub, WatchPlan, WatchStream
from plum_controller.audit.log import AuditLog
from plum_controller.audit.records import Record
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, Cause, bad_request, expired, invalid_option
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WatchOptions

PATH = ["apis", "plum.dev", "v1", "audit"]
REFUSED = (401, 403)
OUTCOMES: dict[str, Callable[[int], bool]] = {
    "succeeded": lambda code: code < 400,
    "refused": lambda code: code in REFUSED,
    "failed": lambda code: code >= 400 and code not in REFUSED,
}
DEFAULT_LIMIT, MOST = 100, 1000

_NOBODYS_DECISION = frozenset({"leases", "events"})
_ASKING = frozenset({
    "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "subjectaccessreviews",
    "localsubjectaccessreviews", "tokenreviews",
})  # fmt: skip
"""Kinds that are created to be answered, and change nothing."""
_QUIET_ROOTS = frozenset({"agent", "devices", "kv"})
_QUIET_ENDS = frozenset({"heartbeat", "simulate", "plan"})


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_named = msgspec.json.Decoder(_Named)


class Audit:
    """Writes requests down and answers questions about them."""

    def __init__(self, log: AuditLog, level: str, stand_in: ResourceKind) -> None:
        """`stand_in`: a plan of a watch names a kind, and records have none; the stream does not look at it."""
        self.log = log
        self._level = level
        self._stand_in = stand_in

    # ---- writing

    def note(self, request: ApiRequest, code: int, *, reason: str = "", revision: int = 0, body: bytes = b"") -> None:
        """A request was answered. `body` is that of the answer, for the name that the server chose. Never raises."""
        if self._level == "off" or not self._counts(request, code):
            return
        wanted = attributes_of(request) if request.path[0] != "session" else None
        wanted = wanted or Attributes(request.method.lower(), path=_path_of(request))
        name, namespace = wanted.name, wanted.namespace
        if wanted.verb == "create" and not name and code < 300:
            name, namespace = _name_in(body, namespace)
        self._add(request, _verb_of(request, wanted), code, wanted, name, namespace, reason, revision)

    def note_login(self, request: ApiRequest, user: Identity | None, code: int, reason: str = "") -> None:
        """Somebody logged in, out, or tried to; or made a link."""
        if self._level == "off":
            return
        verb = "logout" if request.method == "DELETE" else "create-link" if len(request.path) > 1 else "login"
        if user is not None:
            request.identity = user
        self._add(request, verb, code, Attributes(verb, path="/" + "/".join(request.path)), "", "", reason, 0)

    def _add(
        self, request: ApiRequest, verb: str, code: int, wanted: Attributes, name: str, namespace: str, reason: str, revision: int
    ) -> None:
        identity = request.identity
        self.log.add(
            refused=code in REFUSED,
            user=identity.name,
            groups=[group for group in identity.groups if not group.startswith("system:authenticated")],
            credential=identity.credential,
            impersonator=request.impersonator,
            address=request.peer,
            agent=request.user_agent[:120],
            verb=verb,
            code=code,
            group=wanted.group,
            resource=wanted.resource,
            subresource=wanted.subresource,
            namespace=namespace,
            name=name,
            path=wanted.path,
            reason=reason,
            revision=revision,
        )

    def _counts(self, request: ApiRequest, code: int) -> bool:
        """Whether a request is worth a record."""
        path, last = request.path, request.path[-1]
        if code in REFUSED:
            return request.identity is not ANONYMOUS or request.method not in READING or b"cookie" in request.headers
        if last in STREAMED or path == ["backup"]:
            return True
        if request.method in READING:
            return False
        if last in _ASKING or (last in _QUIET_ENDS and self._level != "all"):
            return False
        if self._level == "all":
            return True
        if path[0] in _QUIET_ROOTS or (path[0] == "v1" and len(path) > 1 and path[1] == "kv") or last == "status":
            return False
        if request.query.get("dryRun"):
            return False
        return not (path[0] in ("api", "apis") and _NOBODYS_DECISION & set(path[2:6]))

    # ---- reading

    async def answer(self, request: ApiRequest) -> Answer | WatchAnswer | None:
        """None when the path is something else. Raises `ApiStatusError`."""
        if list(request.path[:4]) != PATH or len(request.path) > 5:
            return None
        if len(request.path) == 5 and request.path[4] != "verification":
            return None
        if request.method != "GET":
            raise ApiStatusError(405, "MethodNotAllowed", "the audit log is only read; it is written by what happens")
        if len(request.path) == 5:
            verdict = await asyncio.to_thread(self.log.check)
            return Answer(msgspec.json.encode({"kind": "AuditVerification", "apiVersion": "plum.dev/v1", **verdict._asdict()}))
        query = _Query(request)
        if flag(request.query, "watch"):
            return self._watch(request, query)
        items = await asyncio.to_thread(query.run, self.log)
        more = str(items[-1].seq) if len(items) == query.limit and items[-1].seq > 1 else ""
        return Answer(
            msgspec.json.encode(
                {"kind": "AuditRecordList", "apiVersion": "plum.dev/v1", "metadata": {"continue": more}, "items": items}
            )
        )

    def _watch(self, request: ApiRequest, query: _Query) -> WatchAnswer:
        for name in ("continue", "until", "limit"):
            if request.query.get(name):
                raise bad_request(f"{name} does not go with watch: a watch tells what is yet to come")
        after = number(request.query, "resourceVersion")

        def make(hub: WatchHub, plan: WatchPlan) -> WatchStream:
            return AuditStream(hub, plan, self.log, query, after)

        return WatchAnswer(
            WatchPlan(
                self._stand_in,
                WatchOptions(allow_bookmarks=True),
                timeout_seconds=request.identity.seconds_left(number(request.query, "timeoutSeconds")),
                credential=request.identity.credential,
                make=make,
            )
        )


class AuditStream(OwnLines):
    """A watch of records: those behind the one that the reader has, then each as it is written."""

    __slots__ = ("_after", "_early", "_log", "_query", "_seq")
    kind = "AuditRecord"

    def __init__(self, hub: WatchHub, plan: WatchPlan, log: AuditLog, query: _Query, after: int | None) -> None:
        super().__init__(hub, plan)
        self._log = log
        self._query = query
        self._after = after
        self._early: list[Record] | None = []
        """Written while the log was read; None once it has been."""
        self._seq = after or 0

    def open(self) -> None:
        self._log.listeners.add(self._added)

    def close(self) -> None:
        self._log.listeners.discard(self._added)
        super().close()

    def revision(self) -> str:
        return str(self._seq)

    async def _run(self) -> None:
        missed = [] if self._after is None else await asyncio.to_thread(self._query.behind, self._log, self._after)
        if len(missed) > MOST:
            self.fail(expired(f"more than {MOST} records were written since {self._after}; list them"))
            return
        for record in reversed(missed):
            self._tell(record)
        early, self._early = self._early or [], None
        for record in early:
            if record.seq > self._seq:
                self._tell(record)
        self.bookmark()

    def _added(self, record: Record) -> None:
        if not self._query.wants(record):
            return
        if self._early is None:
            self._tell(record)
        else:
            self._early.append(record)

    def _tell(self, record: Record) -> None:
        self._seq = record.seq
        head = {"kind": self.kind, "apiVersion": "plum.dev/v1", "metadata": {"resourceVersion": str(record.seq)}}
        self._put(b"ADDED", msgspec.json.encode({**head, **msgspec.to_builtins(record)}))


class _Query:
    """What of the log is asked for. Raises `ApiStatusError` for values that cannot be."""

    def __init__(self, request: ApiRequest) -> None:
        query = request.query
        self.limit = number(query, "limit") or DEFAULT_LIMIT
        if self.limit > MOST:
            raise _invalid("limit", f"{self.limit}: use 1 to {MOST}")
        self.before = number(query, "continue") or 0
        self.since, self.until = _time(query.get("since", ""), "since"), _time(query.get("until", ""), "until")
        self.outcome = query.get("outcome", "")
        if self.outcome and self.outcome not in OUTCOMES:
            raise _invalid("outcome", f'"{self.outcome}": use {", ".join(OUTCOMES)}')
        names = ("user", "verb", "resource", "namespace", "name", "address", "credential")
        self.equal = {name: query[name] for name in names if query.get(name)}

    def wants(self, record: Record) -> bool:
        if self.until and record.time > self.until:
            return False
        if self.outcome and not OUTCOMES[self.outcome](record.code):
            return False
        return all(getattr(record, name) == value for name, value in self.equal.items())

    def run(self, log: AuditLog) -> list[Record]:
        found = []
        for record in log.newest(self.before, self.wants, self.since):
            found.append(record)
            if len(found) == self.limit:
                break
        return found

    def behind(self, log: AuditLog, seq: int) -> list[Record]:
        """What was written after a record, newest first; one more than anybody is given when there is too much."""
        found: list[Record] = []
        for record in log.newest(0, lambda one: one.seq <= seq or self.wants(one), self.since):
            if record.seq <= seq or len(found) > MOST:
                break
            found.append(record)
        return found


def _time(text: str, field: str) -> str:
    """A time as records have it, which sort as text."""
    if not text:
        return ""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(field, f'"{text}": use a time such as 2026-01-31T12:00:00Z') from None
    if when.tzinfo is None:
        raise _invalid(field, f'"{text}": say the time zone, such as 2026-01-31T12:00:00Z')
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _invalid(field: str, problem: str) -> ApiStatusError:
    return invalid_option("AuditQuery", [Cause("FieldValueInvalid", f"Invalid value: {problem}", field)])


def _path_of(request: ApiRequest) -> str:
    """The path; of a webhook only where it belongs to: what follows may be its secret."""
    parts = list(request.path)
    return "/" + "/".join([*parts[:2], "..."] if parts[0] == "hooks" and len(parts) > 2 else parts)


def _verb_of(request: ApiRequest, wanted: Attributes) -> str:
    return request.path[-1] if request.path[-1] in STREAMED else wanted.verb


def _name_in(body: bytes, namespace: str) -> tuple[str, str]:
    try:
        metadata = _named.decode(body).metadata
    except msgspec.DecodeError:
        return "", namespace
    return metadata.name, metadata.namespace or namespace
