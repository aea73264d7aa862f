"""The JSONPath of printer columns: `.status.conditions[?(@.type=="Ready")].status` -> a function on a decoded object.

Only what columns use: names, quoted names, indexes, `[*]` and one equality filter. A path that cannot be read gives
no value, as a missing field does: a table with a blank cell is better than no table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Getter = Callable[[Any], Any]

_TOKEN = re.compile(
    r"""
    \.(?P<name>(?:[^.\[\]\\'"]|\\.)+)                                        # .name, with \. for a dot inside
  | \[(?P<index>-?\d+)\]                                                     # [0]
  | \[\s*(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]                       # ['name']
  | \[\?\(\s*@\.(?P<key>[\w.-]+)\s*==\s*(?P<mark>['"])(?P<value>.*?)(?P=mark)\s*\)\]   # [?(@.type=="Ready")]
  | (?P<every>\[\*\])                                                        # [*]
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=1024)
def compile_path(path: str) -> Getter:
    """A function that finds the value, or None. Of several matches the first counts, except behind `[*]`: a list."""
    steps: list[Callable[[list[Any]], list[Any]]] = []
    several = False
    position = 0
    text = path if path.startswith((".", "[")) else f".{path}"
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return _nothing
        position = match.end()
        several = several or match["every"] is not None
        steps.append(_step(match))

    def find(value: Any) -> Any:
        found = [value]
        for step in steps:
            found = step(found)
            if not found:
                return None
        return found if several else found[0]

    return find


def _nothing(_: Any) -> None:
    return None


def _step(match: re.Match[str]) -> Callable[[list[Any]], list[Any]]:
    if match["index"] is not None:
        index = int(match["index"])
        return lambda values: [value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)]
    if match["every"] is not None:
        return lambda values: [item for value in values if isinstance(value, list) for item in value]
    if match["key"] is not None:
        key, wanted = match["key"], match["value"]
        return lambda values: [
            item
            for value in values
            if isinstance(value, list)
            for item in value
            if isinstance(item, dict) and str(item.get(key)) == wanted
        ]
    name = match["quoted"] if match["quoted"] is not None else re.sub(r"\\(.)", r"\1", match["name"])
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]
