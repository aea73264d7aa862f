"""Values of Secrets in payloads and parameters: marks stand for them until whoever executes a task puts them in.

    expressions + secrets --marked--> payload with marks, [SecretMark(marker, name, key)] --> TaskRun, readable for many
                                      params with marks, the same                         --> WorkflowRun inside, whose nodes
                                                                  pass the marks on as data: `Held` are those of a run
    TaskRun + values of its marks --revealed--> the same run as it is executed; nowhere stored

A mark holds chance that no data can guess, so a text that comes from elsewhere is never taken for one. Expressions may pass a
value on or put it into a text; one that computes with it is refused, as a mark computes to something else.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.core import Secret
from plum_schemas.taskrun import SecretMark, TaskRun

from plum_flow.calls import TaskFailedError

if TYPE_CHECKING:  # expressions are loaded with the first secret
    from plum_schemas.workflowrun import WorkflowRun

    from plum_flow.expressions import Redactor
    from plum_flow.expressions.expression import References

Evaluate = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Held:
    """The marks that a run was given with its parameters."""

    marks: Sequence[SecretMark] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    """By mark."""

    def put_in(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What expressions see, with the values instead of the marks. Never stored."""
        return {name: put_in(value, self.values) for name, value in data.items()} if self.marks else dict(data)


def marked(
    evaluate: Evaluate,
    references: References,
    secrets: Mapping[str, Mapping[str, str]],
    chance: str,
    held: Held | None = None,
    truth: Evaluate | None = None,
) -> tuple[Any, list[SecretMark]]:
    """What expressions give, with marks instead of values, and the marks that are in it. `evaluate` takes `{"secrets": ...}`.

    A run that was given marks says so with `held`; `truth` evaluates the same over data that has values instead of them.
    Raises `UnresolvedError`: a Secret is missing, or an expression computes with a value.
    """
    from plum_flow.expressions import UnresolvedError, secret_values

    marks: list[SecretMark] = []
    stand_ins: dict[str, dict[str, str]] = {}
    for name, keys in sorted(secrets.items()):
        for key in sorted(keys):
            marker = f"secret:{chance}:{len(marks):04d};"
            marks.append(SecretMark(marker=marker, name=name, key=key))
            stand_ins.setdefault(name, {})[key] = marker
    given = evaluate({"secrets": secret_values(references, stand_ins)})
    values = {mark.marker: secrets[mark.name][mark.key] for mark in marks}
    if held is not None:
        marks += held.marks
        values |= held.values
    if put_in(given, values) != (truth or evaluate)({"secrets": secret_values(references, secrets)}):
        text = "an expression computes with the value of a secret; pass it on whole, or put it into a text"
        raise UnresolvedError("secrets", text)
    text = msgspec.json.encode(given).decode()
    return given, [mark for mark in marks if mark.marker in text]


def put_in(value: Any, values: Mapping[str, str]) -> Any:
    """A JSON value with the values instead of their marks."""
    if isinstance(value, str):
        for marker, secret in values.items():
            value = value.replace(marker, secret)
        return value
    if isinstance(value, list):
        return [put_in(item, values) for item in value]
    if isinstance(value, dict):
        return {put_in(key, values): put_in(item, values) for key, item in value.items()}
    return value


def values_of(run: TaskRun | WorkflowRun, secrets: Mapping[str, Secret | None]) -> dict[str, str]:
    """The values of a run's marks. Raises `TaskFailedError` that names what is missing."""
    return values_of_marks(run.spec.secrets, run.metadata.namespace, secrets)


def values_of_marks(marks: Iterable[SecretMark], namespace: str, secrets: Mapping[str, Secret | None]) -> dict[str, str]:
    """The values of marks. Raises `TaskFailedError` that names what is missing."""
    found: dict[str, str] = {}
    for mark in marks:
        secret = secrets.get(mark.name)
        encoded = secret.data.get(mark.key) if secret is not None else None
        if encoded is None:
            what = f"key {mark.key} of Secret" if secret is not None else "Secret"
            text = f"the run needs {what} {namespace}/{mark.name}, which does not exist; create it"
            raise TaskFailedError(text, "SecretKeyMissing" if secret is not None else "SecretMissing", retryable=False)
        found[mark.marker] = base64.b64decode(encoded).decode("utf-8", "replace")
    return found


def names_of(run: TaskRun | WorkflowRun) -> list[str]:
    """The Secrets that the marks of a run name."""
    return sorted({mark.name for mark in run.spec.secrets})


def holds_any(value: Any, marks: Iterable[SecretMark]) -> bool:
    """Is a mark somewhere in a JSON value?"""
    text = msgspec.json.encode(value).decode()
    return any(mark.marker in text for mark in marks)


def revealed(run: TaskRun, values: Mapping[str, str]) -> TaskRun:
    """The run as it is executed. Never stored."""
    if not values:
        return run
    spec = msgspec.structs.replace(run.spec, payload=put_in(run.spec.payload, values))
    status = run.status
    if status.task is not None:
        task = msgspec.convert(put_in(msgspec.to_builtins(status.task), values), type(status.task))
        status = msgspec.structs.replace(status, task=task)
    return msgspec.structs.replace(run, spec=spec, status=status)


def redactor_of(values: Mapping[str, str]) -> Redactor:
    """What keeps the values out of what a run gives back."""
    from plum_flow.expressions import Redactor

    return Redactor(values.values())
