"""Hypothesis strategies for the typed kinds: any object that its class allows, made from the annotations themselves."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st
from plum_schemas.base import ObjectMeta, Struct

MAX_DEPTH = 9
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
texts = st.text(alphabet="aB1 -_/.é$", max_size=6)
times = st.integers(0, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
metadata = st.builds(ObjectMeta, name=names, namespace=names, labels=st.dictionaries(names, names, max_size=2))


def objects(cls: type[Struct], depth: int = 0) -> st.SearchStrategy[Any]:
    """Objects of a class: required fields always, each optional one half of the time."""
    hints = get_type_hints(cls, include_extras=True)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is ClassVar or (field.name in ("api_version", "kind") and hasattr(cls, "info")):
            continue
        if field.name == "metadata" and hint is ObjectMeta:
            required[field.name] = metadata
        elif field.required:
            required[field.name] = values(hint, depth + 1)
        elif depth < MAX_DEPTH:
            optional[field.name] = values(hint, depth + 1)
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


def values(hint: Any, depth: int) -> st.SearchStrategy[Any]:
    """Values an annotation allows."""
    arguments = get_args(hint)
    origin = get_origin(hint)
    constraints = [argument for argument in arguments[1:] if isinstance(argument, msgspec.Meta)] if origin is Annotated else []
    base = arguments[0] if origin is Annotated else hint
    meta = constraints[0] if constraints else msgspec.Meta()
    return _plain(base, meta, depth)


def _plain(hint: Any, meta: msgspec.Meta, depth: int) -> st.SearchStrategy[Any]:
    if hint is Any:
        return json_values
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(_bound(meta.ge, -1000), _bound(meta.le, 1000))
    if hint is float:
        return st.integers(_bound(meta.ge, -1000), _bound(meta.le, 1000)).map(float)
    if hint is str:
        return _text(meta)
    if hint is datetime:
        return times
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([st.none() if argument is types.NoneType else values(argument, depth) for argument in arguments])
    if origin is list:
        return st.lists(st.deferred(lambda: values(arguments[0], depth + 1)), min_size=meta.min_length or 0, max_size=2)
    if origin is dict:
        return st.dictionaries(names, values(arguments[1], depth), max_size=2)
    if origin is Annotated:
        return values(hint, depth)
    assert issubclass(hint, Struct), hint
    return st.deferred(lambda: objects(hint, depth))


def _text(meta: msgspec.Meta) -> st.SearchStrategy[str]:
    if meta.pattern is not None:
        text = st.from_regex(meta.pattern, fullmatch=True, alphabet=st.characters(max_codepoint=127))
    else:
        text = texts
    low, high = meta.min_length or 0, meta.max_length or 1000
    return text.filter(lambda chosen: low <= len(chosen) <= high and "\n" not in chosen)


def _bound(bound: float | None, otherwise: int) -> int:
    return otherwise if bound is None else int(bound)
