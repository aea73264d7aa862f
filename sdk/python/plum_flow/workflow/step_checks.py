"""What nodes are given, as far as it is written out: settings of steps and payloads of builtins that can never work.

    {type: http, config: {ulr: ...}} --check_given--> FieldError("spec.nodes[0].config.ulr", ... did you mean url?)

A text with an expression in it has its value later, and is judged then, by the step itself. The readers are those of the steps,
so both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from plum_schemas.node_types import WorkflowNode
from plum_schemas.validation import FieldError, invalid, required

from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config, camel

Reader = Callable[[Config, str], object]
"""Reads one setting. Raises `TaskFailedError` for a value that cannot be used."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _address(config: Config, name: str) -> object:
    found = config.text(name)
    if not found.startswith(("http://", "https://")):
        raise TaskFailedError(f"config.{name} is {found!r}; use an address such as https://example.com/path")
    return found


def _statuses(config: Config, name: str) -> object:
    found = config.any(name)
    if not isinstance(found, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in found):
        raise TaskFailedError(f"config.{name} is {found!r}; use a list of statuses")
    return found


def _list(config: Config, name: str) -> object:
    found = config.any(name)
    if not isinstance(found, list):
        raise TaskFailedError(f"config.{name} is {found!r}; use a list")
    return found


def _command(config: Config, name: str) -> object:
    return config.names(name)


def _choice(*allowed: str) -> Reader:
    return lambda config, name: config.choice(name, allowed)


def _number(low: int, high: int) -> Reader:
    return lambda config, name: config.number(name, low, low, high)


def _text(config: Config, name: str) -> object:
    return config.text(name)


def _map(config: Config, name: str) -> object:
    return config.mapping(name)


def _seconds(config: Config, name: str) -> object:
    return config.seconds(name, 1.0)


def _flag(config: Config, name: str) -> object:
    return config.flag(name)


def _any(config: Config, name: str) -> object:
    return config.any(name)


class Settings(NamedTuple):
    """What one type of step takes."""

    fields: Mapping[str, Reader]
    needed: Sequence[str] = ()
    one_of: Sequence[str] = ()
    """Exactly one of these is needed."""
    some_of: Sequence[str] = ()
    """At least one of these is needed."""


STEP_SETTINGS: Mapping[str, Settings] = {
    "http": Settings(
        {
            "method": _choice(*METHODS), "url": _address, "query": _map, "headers": _map, "body": _any, "timeout": _seconds,
            "redirects": _number(0, 20), "expect": _statuses,
        },
        needed=("url",),
    ),
    "webhook": Settings(
        {
            "url": _address, "method": _choice("POST", "PUT"), "event": _text, "body": _any, "headers": _map, "secret": _text,
            "timeout": _seconds,
        },
        needed=("url",),
    ),
    "script": Settings(
        {
            "script": _text, "command": _command, "code": _text, "interpreter": _text, "args": _command, "env": _map,
            "workingDir": _text, "user": _text, "node": _text, "nodeSelector": _map, "input": _text, "timeout": _seconds,
        },
        one_of=("script", "command", "code"),
    ),
    "agent": Settings(
        {"agent": _text, "task": _text, "input": _map, "node": _text, "nodeSelector": _map, "timeout": _seconds},
        one_of=("agent", "task"),
    ),
    "database": Settings(
        {
            "url": _text, "query": _text, "statements": _command, "params": _map, "maxRows": _number(0, 10_000),
            "timeout": _seconds, "readOnly": _flag,
        },
        needed=("url",),
        some_of=("query", "statements"),
    ),
    "email": Settings(
        {
            "to": _command, "cc": _command, "bcc": _command, "from": _text, "replyTo": _text, "subject": _text, "text": _text,
            "body": _text, "html": _text, "server": _text, "security": _choice("none", "starttls", "tls"), "username": _text,
            "password": _text, "timeout": _seconds,
        },
        needed=("subject",),
        some_of=("to", "cc", "bcc"),
    ),
    "llm": Settings(
        {
            "url": _address, "apiKey": _text, "model": _text, "prompt": _text, "messages": _list, "system": _text,
            "temperature": _any, "maxTokens": _number(1, 10_000_000), "json": _flag, "options": _map, "headers": _map,
            "timeout": _seconds,
        },
        needed=("model",),
    ),
    "mcp": Settings(
        {
            "url": _address, "tool": _text, "resource": _text, "prompt": _text, "list": _choice("tools", "resources", "prompts"),
            "arguments": _map, "headers": _map, "timeout": _seconds,
        },
        needed=("url",),
        one_of=("tool", "resource", "prompt", "list"),
    ),
    "operation": Settings(
        {
            "resource": _text, "method": _text, "arguments": _map, "notAfter": _seconds,
            "delivery": _choice("AtMostOnce", "AtLeastOnce"),
        },
    ),
}  # fmt: skip
"""By type of node. That a resource and a method are named is checked with the graph, also for a `Draft`'s sake."""

BUILTIN_PAYLOADS: Mapping[str, Settings] = {
    "builtin.apply": Settings({}, one_of=("manifest", "manifests")),
    "builtin.patch": Settings({}, needed=("kind", "name", "patch")),
    "builtin.delete": Settings({}, needed=("kind", "name")),
    "builtin.rollout": Settings({}, needed=("name",)),
    "builtin.rollback": Settings({}, needed=("name",)),
    "builtin.transform": Settings({}, one_of=("output", "expression")),
    "builtin.wait": Settings({}, one_of=("until", "kind")),
}
"""What builtins cannot do without. They take other fields as well, which become part of the output of some."""
_PAUSES = ("builtin.delay", "builtin.sleep")


def check_given(node: WorkflowNode, path: str) -> Iterator[FieldError]:
    """What is wrong with the settings or the payload of a node."""
    if node.type in STEP_SETTINGS:
        yield from _check_config(node.config, f"{path}.config", STEP_SETTINGS[node.type])
        if node.type == "llm" and not node.payload and not {"prompt", "messages"} & {camel(name) for name in node.config}:
            yield required(f"{path}.config", "name a prompt, or messages")
    elif node.type == "task" and node.task_ref in BUILTIN_PAYLOADS:
        yield from _check_presence(node.payload, f"{path}.payload", BUILTIN_PAYLOADS[node.task_ref])
    elif node.type == "task" and node.task_ref in _PAUSES and node.payload and not {"seconds", "duration"} & node.payload.keys():
        yield invalid(f"{path}.payload", sorted(node.payload), f"{node.task_ref} takes seconds, or a duration such as 2s")


def _check_config(given: Mapping[str, Any], path: str, settings: Settings) -> Iterator[FieldError]:
    unknown = False
    for written, value in given.items():
        name = camel(written)
        reader = settings.fields.get(name)
        if reader is None:
            unknown = True
            close = get_close_matches(name, settings.fields, 1)
            hint = f"did you mean {close[0]}?" if close else f"this step takes {', '.join(settings.fields)}"
            yield invalid(f"{path}.{written}", value, f"no such setting; {hint}")
        elif value is not None and not _is_open(value):
            try:
                reader(Config({name: value}, [name]), name)
            except TaskFailedError as error:
                yield invalid(f"{path}.{written}", value, error.message.partition("; ")[2] or error.message)
    if not unknown:  # what is missing is then most likely what was mistyped
        yield from _check_presence({camel(name): value for name, value in given.items()}, path, settings)


def _check_presence(given: Mapping[str, Any], path: str, settings: Settings) -> Iterator[FieldError]:
    present = {name for name, value in given.items() if value not in (None, "")}
    for name in settings.needed:
        if name not in present:
            yield required(f"{path}.{name}", "it cannot do without")
    found = [name for name in settings.one_of if name in present]
    if settings.one_of and len(found) != 1:
        text = f"name one of {', '.join(settings.one_of)}"
        yield invalid(path, found, f"{text}, not several") if found else required(path, text)
    if settings.some_of and not present.intersection(settings.some_of):
        yield required(path, f"name {' or '.join(settings.some_of)}")


def _is_open(value: Any) -> bool:
    """Whether there is an expression somewhere in it: its value comes later."""
    if isinstance(value, str):
        return "{{" in value
    if isinstance(value, dict):
        return any(_is_open(item) for item in value.values())
    return isinstance(value, list) and any(_is_open(item) for item in value)
