"""What a streaming request wants of which Instance, and the node it goes to.

    /apis/plum.dev/v1/namespaces/N/instances/X/exec?command=ls&command=-l  ->  StreamTarget  ->  Tunnel of its node
    /api/v1/namespaces/N/pods/X/exec?...  the same Instance, as the view of it that kubectl knows

By now the gate has let the request pass: as `create` on `instances/exec` or `pods/exec`, whatever the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from plum_schemas.base import ObjectKey

from plum_controller.api.api import Api
from plum_controller.api.requests import flag
from plum_controller.api.tunnel import Tunnel
from plum_controller.resources.errors import ApiStatusError, bad_request

MAX_WORDS = 10_000
"""Parameters of an exec: one for each word of the command. The longest request line is reached long before."""
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
"""Channels of the remote command protocol; CLOSE says that there is no more of the channel in its second byte."""
_ATTACH = "attach is not possible: the input of an instance is empty from its start. Use `kubectl logs -f {0}` or `plum logs -f {0}` for its output, `plum exec -it {0} -- sh` for a shell"  # noqa: E501 - one sentence


class StreamTarget(NamedTuple):
    """What a path names."""

    what: str
    """exec, attach or portforward."""
    key: ObjectKey


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Instance(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


@dataclass(frozen=True, slots=True)
class CommandQuery:
    """What a client asked to run, and which streams it wants."""

    words: tuple[str, ...]
    stdin: bool
    tty: bool
    outputs: frozenset[int]
    """Of `STDOUT` and `STDERR`."""

    def params(self, key: ObjectKey) -> dict[str, Any]:
        """As the agent is asked."""
        return {
            "namespace": key.namespace,
            "instance": key.name,
            "command": list(self.words),
            "stdin": self.stdin,
            "tty": self.tty,
        }


def find(path: Sequence[str]) -> StreamTarget | None:
    """The target of a path; None when it is about something else."""
    match path:
        case ["apis", "plum.dev", "v1", "namespaces", namespace, "instances", name, ("exec" | "attach" | "portforward") as what]:
            return StreamTarget(what, ObjectKey(namespace, name))
        case ["api", "v1", "namespaces", namespace, "pods", name, ("exec" | "attach" | "portforward") as what]:
            return StreamTarget(what, ObjectKey(namespace, name))
    return None


def find_tunnel(api: Api, target: StreamTarget) -> Tunnel:
    """The tunnel to the node of an Instance. Raises `ApiStatusError`: 404, 409 without a node, 503 without its agent."""
    if target.what == "attach":
        raise ApiStatusError(405, "MethodNotAllowed", _ATTACH.format(target.key.name))
    kind = api.service.registry.by_path("plum.dev", "v1", "instances")
    assert kind is not None  # noqa: S101 -- built in
    value = api.service.get(kind, target.key)
    node = msgspec.json.decode(value, type=_Instance).spec.node_name
    if not node:
        raise ApiStatusError(409, "Conflict", f'instance "{target.key.name}" is not running: it waits for a node')
    return api.tunnels.get(node)


def command_query(query_string: bytes) -> CommandQuery:
    """Raises `ApiStatusError` 400."""
    fields = _fields(query_string)
    first = {name: values[0] for name, values in fields.items()}
    tty = flag(first, "tty")
    outputs = [STDOUT] if flag(first, "stdout") else []
    if flag(first, "stderr") and not tty:
        outputs.append(STDERR)
    words = tuple(fields.get("command", ()))
    if not words or not words[0]:
        raise bad_request("there is no command to run: command is missing")
    stdin = flag(first, "stdin")
    if not stdin and not outputs:
        raise bad_request("you must specify at least one of stdin, stdout and stderr")
    return CommandQuery(words, stdin, tty, frozenset(outputs))


def ports_query(query_string: bytes) -> tuple[int, ...]:
    """Ports of a forward without SPDY: `ports=80,443` or `ports=80&ports=443`. Raises `ApiStatusError` 400."""
    return tuple(port_of(text) for value in _fields(query_string).get("ports", ()) for text in value.split(","))


def port_of(text: str) -> int:
    """A TCP port. Raises `ApiStatusError` 400."""
    if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise bad_request(f"port is {text!r}; use a number from 1 to 65535")


def _fields(query_string: bytes) -> dict[str, list[str]]:
    try:
        text = query_string.decode("ascii", "replace")
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_WORDS, errors="surrogateescape")
    except ValueError as error:
        raise bad_request(f"the query cannot be read: {error}") from error
