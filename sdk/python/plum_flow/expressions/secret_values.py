"""Secrets in expressions: which are needed, what they are, and how their values are kept out of what is shown.

    "${{ secrets.db.password }}"   key `password` of the Secret `db`
    "${{ secrets.token }}"         the only key of the Secret `token`, or its key `value`

Values of secrets go to the task that needs them and nowhere else: outputs and errors pass a `Redactor` before they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plum_flow.expressions.errors import UnresolvedError
from plum_flow.expressions.expression import References

HIDDEN = "***"
"""Stands for the value of a secret."""
LEAST_LENGTH = 4
"""Characters of a value that is hidden: shorter ones are in every other word."""


def secret_names(references: References) -> frozenset[str]:
    """The Secrets that expressions need. Raises `UnresolvedError` when they ask for all of them."""
    paths = references.paths_of("secrets")
    if () in paths:
        raise UnresolvedError("secrets", "name the Secret: secrets.NAME or secrets.NAME.KEY")
    return frozenset(path[0] for path in paths)


def secret_values(references: References, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What `secrets` stands for in these expressions. `secrets` are the keys and values of each Secret by its name.

    Raises `UnresolvedError` for one that is not there.
    """
    found: dict[str, Any] = {}
    for path in sorted(references.paths_of("secrets"), key=len, reverse=True):
        if not path:
            raise UnresolvedError("secrets", "name the Secret: secrets.NAME or secrets.NAME.KEY")
        name = path[0]
        keys = secrets.get(name)
        if keys is None:
            raise UnresolvedError(f"secrets.{name}", f"there is no Secret {name}")
        if len(path) > 1:
            if path[1] not in keys:
                raise UnresolvedError(f"secrets.{name}.{path[1]}", f"the Secret {name} has no key {path[1]}")
            found[name] = dict(keys)
        elif name not in found:
            found[name] = _only(name, keys)
        else:
            raise UnresolvedError(f"secrets.{name}", f"other expressions here name a key of {name}: name one here too")
    return found


def _only(name: str, keys: Mapping[str, str]) -> str:
    if len(keys) == 1:
        return next(iter(keys.values()))
    if "value" in keys:
        return keys["value"]
    raise UnresolvedError(f"secrets.{name}", f"the Secret {name} has the keys {', '.join(sorted(keys))}: name one")


class Redactor:
    """Replaces values of secrets wherever they occur in a JSON value."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted({value for value in values if len(value) >= LEAST_LENGTH}, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __call__(self, value: Any) -> Any:
        """The value without secrets; the same object when there are none to hide."""
        if not self._values:
            return value
        if isinstance(value, str):
            for secret in self._values:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        return value
