"""Bodies with keys that are there twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.resources.schema.strict import decode_json
from plum_controller.resources.schema.values import MAX_DEPTH

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_bodies_without_duplicates_have_none(value: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()

    assert decode_json(body, report_duplicates=True) == (value, [])


@pytest.mark.parametrize(
    ("body", "value", "paths"),
    [
        ('{"a":1,"a":2}', {"a": 2}, ["a"]),
        ('{"a":1,"a":1}', {"a": 1}, ["a"]),
        ('{"a":1,"a":2,"a":3}', {"a": 3}, ["a"]),
        ('{"spec":{"image":"x","image":"y"}}', {"spec": {"image": "y"}}, ["spec.image"]),
        ('{"spec":{"env":[{"n":1},{"n":1,"n":2}]}}', {"spec": {"env": [{"n": 1}, {"n": 2}]}}, ["spec.env[1].n"]),
        ('[{"a":1,"a":2}]', [{"a": 2}], ["[0].a"]),
        ('{"b":{"x":1,"x":2},"a":1,"a":{"c":1,"c":2}}', {"b": {"x": 2}, "a": {"c": 2}}, ["a", "b.x", "a.c"]),
        (' {"a" : 1, "b": {"a": 1}} ', {"a": 1, "b": {"a": 1}}, []),
    ],
)
def test_duplicates_are_named_and_the_last_one_counts(body: str, value: Any, paths: list[str]) -> None:
    assert decode_json(body.encode(), report_duplicates=True) == (value, [f'duplicate field "{path}"' for path in paths])
    assert decode_json(body.encode(), report_duplicates=False) == (value, [])


@pytest.mark.parametrize("body", [b"", b"{", b"{]", b'{"a":NaN}', b"\xff", b'"\xff"', b"{} x", b"'a'"])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_json(body, report_duplicates=True)


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
@pytest.mark.parametrize(("depth", "is_taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (900, False), (100_000, False)])
def test_bodies_that_are_too_deep_are_refused(opening: bytes, depth: int, is_taken: bool) -> None:
    body = opening * depth + b"1" + (b"}" if b"{" in opening else b"]") * depth

    if is_taken:
        decode_json(body, report_duplicates=True)
    else:
        with pytest.raises(ValueError, match="nested more than 200 levels deep"):
            decode_json(body, report_duplicates=True)


def test_a_wide_body_is_not_deep() -> None:
    value = [{"a": []} for _ in range(MAX_DEPTH * 2)]

    assert decode_json(json.dumps(value).encode(), report_duplicates=True) == (value, [])
