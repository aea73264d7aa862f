"""Objects without the parts that a reader does not need: `?omit=/metadata/managedFields,/spec/template` on lists and watches.

    stored bytes --members of the maps on the way, still as bytes--> without the named ones --> joined again

A list of thousands is mostly who owns which field and one template again and again; a page shows neither. Parts are named by
JSON pointers (RFC 6901). What is left comes as it is stored, in its order. Clients that do not ask see no difference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import msgspec

from plum_controller.api.negotiation import Form
from plum_controller.resources.errors import ApiStatusError, Cause, invalid_option

MOST = 16
"""Parts that one request may leave out."""
_NEEDED = frozenset({
    "/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace", "/metadata/uid", "/metadata/resourceVersion",
})  # fmt: skip
"""Without these no reader can tell which object, in which version, it looks at."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


_Tree: TypeAlias = "dict[str, _Tree | None]"
"""By name of a member: what of it is left out, or None for all of it."""


class Omission:
    """What is left out. Two of the same parts are equal, so that what was made for one watcher serves the next."""

    __slots__ = ("_tree", "parts")

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.parts = parts
        self._tree: _Tree = {}
        for part in sorted(parts):  # what is around a part comes before it
            branch: _Tree | None = self._tree
            *around, last = (_name(step) for step in part[1:].split("/"))
            for step in around:
                if branch is not None:
                    branch = branch.setdefault(step, {})
            if branch is not None:
                branch[last] = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Omission) and other.parts == self.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def applied(self, value: bytes) -> bytes:
        """An object as JSON without these parts; what is not there needs no leaving out."""
        return _without(value, self._tree)


def _without(value: bytes | msgspec.Raw, tree: _Tree) -> bytes:
    whole = bytes(value)
    try:
        members = _members(whole)
    except msgspec.ValidationError:
        return whole  # no map
    changed = False
    for name, below in tree.items():
        found = members.get(name)
        if found is None:
            continue
        if below is None:
            del members[name]
            changed = True
        elif len(rest := _without(found, below)) != len(found):
            members[name] = msgspec.Raw(rest)
            changed = True
    return _encode(members) if changed else whole


def _name(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


@lru_cache(maxsize=256)
def omission(text: str, form: Form, options: str) -> Omission | None:
    """What the parameter `omit` asks for; None for nothing. `options` is what a refusal names. Raises `ApiStatusError` 422."""
    if not text:
        return None
    if form not in (Form.JSON, Form.YAML):
        raise _refused(options, text, "goes with whole objects, as JSON or YAML")
    parts = tuple(sorted(set(text.split(","))))
    if len(parts) > MOST:
        raise _refused(options, text[:200], f"names {len(parts)} parts; use {MOST} at most")
    for part in parts:
        if not part.startswith("/") or part.endswith("/") or "//" in part:
            raise _refused(options, part, "use JSON pointers separated by commas, such as /metadata/managedFields,/spec/template")
        if part in _NEEDED:
            raise _refused(options, part, "cannot be left out: it tells which object this is")
    return Omission(parts)


def _refused(options: str, value: str, problem: str) -> ApiStatusError:
    return invalid_option(options, [Cause("FieldValueInvalid", f'Invalid value: "{value}": {problem}', "omit")])
