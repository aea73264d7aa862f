"""Merge patches of typed values leave nothing of what was there before."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from plum_client.merge_patch import replacing


class Inner(msgspec.Struct, rename="camel", omit_defaults=True):
    exit_code: int | None = None
    signal: str = ""
    names: list[str] = []


class Outer(msgspec.Struct, rename="camel", omit_defaults=True):
    is_ready: bool = False
    last_exit: Inner | None = None
    count: int = 0


INNER = st.builds(Inner, st.none() | st.integers(0, 3), st.sampled_from(["", "SIGKILL"]), st.lists(st.just("a"), max_size=2))
OUTER = st.builds(Outer, st.booleans(), st.none() | INNER, st.integers(0, 2))


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(before=OUTER, after=OUTER)
def test_whatever_was_there_the_object_is_what_was_said_last(before: Outer, after: Outer) -> None:
    found = merged(msgspec.to_builtins(before), replacing(after))

    assert msgspec.convert(found, Outer) == after
