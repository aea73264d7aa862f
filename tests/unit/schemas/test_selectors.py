"""Selectors: what they match is what a naive reading says, and errors are Kubernetes' own."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_schemas.int_or_percent import resolve
from plum_schemas.selectors import (
    FieldRequirement,
    FieldSelector,
    LabelRequirement,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)

EMPTY_SET = "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
keys = st.sampled_from(["a", "b", "in", "notin", "plum.dev/app"])
values = st.sampled_from(["", "x", "y", "in", "1", "2", "10"])
labels = st.dictionaries(keys, values, max_size=4)


@st.composite
def requirements(draw: st.DrawFn) -> tuple[str, LabelRequirement]:
    """A requirement as text, with the spaces that are allowed, and as it should be understood."""
    key = draw(keys)
    space = draw(st.sampled_from(["", " "]))
    operator = draw(st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "!", ">", "<"]))
    if operator == "exists":
        return f"{space}{key}", LabelRequirement(key, "exists")
    if operator == "!":
        return f"!{space}{key}", LabelRequirement(key, "!")
    if operator in ("in", "notin"):
        chosen = draw(st.lists(values, min_size=1, max_size=3))
        text = f"{key} {operator}{space}({(',' + space).join(chosen)})" if chosen != [""] else f"{key} {operator} (,)"
        return text, LabelRequirement(key, "in" if operator == "in" else "notin", tuple(sorted(set(chosen))))
    if operator in (">", "<"):
        bound = draw(st.sampled_from(["0", "2", "10"]))
        return f"{key}{space}{operator}{bound}", LabelRequirement(key, "gt" if operator == ">" else "lt", (bound,))
    value = draw(values)
    return f"{key}{space}{operator}{value}", LabelRequirement(key, "!=" if operator == "!=" else "=", (value,))


Pairs = list[tuple[str, LabelRequirement]]


def naive_match(requirement: LabelRequirement, have: Mapping[str, str]) -> bool:
    key, operator, wanted = requirement
    if operator == "exists":
        return key in have
    if operator == "!":
        return key not in have
    if operator in ("!=", "notin"):
        return key not in have or have[key] not in wanted
    if operator in ("gt", "lt"):
        if key not in have or not have[key].isdigit():
            return False
        difference = int(have[key]) - int(wanted[0])
        return difference > 0 if operator == "gt" else difference < 0
    return key in have and have[key] in wanted


@given(st.lists(requirements(), max_size=4), labels)
def test_text_is_understood_and_matches_as_a_naive_reading_says(given_: Pairs, have: dict[str, str]) -> None:
    selector = parse_label_selector(",".join(text for text, _ in given_))

    assert sorted(selector.requirements) == sorted(requirement for _, requirement in given_)
    assert selector.matches(have) == all(naive_match(requirement, have) for _, requirement in given_)


@given(st.lists(requirements(), max_size=4))
def test_a_selector_printed_is_the_same_selector(given_: Pairs) -> None:
    selector = LabelSelector(requirement for _, requirement in given_)

    assert parse_label_selector(str(selector)) == selector


@given(st.text(alphabet="ab=!(),<> in1", max_size=12))
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return

    assert parse_label_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b)", "found ')', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a in ()", f"unable to parse requirement: {EMPTY_SET}"),
    ],
)
def test_errors_are_those_of_kubernetes(text: str, error: str) -> None:
    with pytest.raises(SelectorError) as raised:
        parse_label_selector(text)

    assert str(raised.value) == error


def test_a_selector_object_is_the_same_as_its_text() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["b", "a"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["z"]},
    ]

    selector = LabelSelector.from_object({"matchLabels": {"app": "web"}, "matchExpressions": expressions})

    assert selector == parse_label_selector("app=web,tier in (a,b),!old,new,zone notin (z)")


def test_no_selector_object_selects_nothing_and_an_empty_one_everything() -> None:
    assert LabelSelector.from_object(None) is None
    everything = LabelSelector.from_object({})
    assert everything is not None
    assert everything.matches({"any": "thing"})
    assert not everything


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(SelectorError, match='"Foo" is not a valid label selector operator'):
        LabelSelector.from_object({"matchExpressions": [{"key": "a", "operator": "Foo"}]})


paths = st.sampled_from(["metadata.name", "spec.nodeName", "status.phase"])
field_values = st.text(alphabet="ab,=\\ !", max_size=6)
field_requirements = st.builds(FieldRequirement, paths, st.sampled_from(["=", "!="]), field_values)


@given(st.lists(field_requirements, max_size=4), st.dictionaries(paths, field_values))
def test_fields_match_as_a_naive_reading_says_whatever_is_escaped(given_: list[FieldRequirement], have: dict[str, str]) -> None:
    selector = parse_field_selector(",".join(map(str, given_)))

    assert sorted(selector.requirements) == sorted(given_)
    wanted = all((have.get(one.path, "") == one.value) == (one.operator == "=") for one in given_)
    assert selector.matches(lambda path: have.get(path, "")) == wanted


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
        ("a=b=c", "invalid field selector: unescaped character in value: ="),
        (r"a=b\c", r"invalid field selector: invalid escape sequence: \c"),
    ],
)
def test_field_errors_are_those_of_kubernetes(text: str, error: str) -> None:
    with pytest.raises(SelectorError) as raised:
        parse_field_selector(text)

    assert str(raised.value) == error


def test_fields_nobody_declared_are_refused() -> None:
    with pytest.raises(SelectorError, match=r"field label not supported: spec\.x"):
        FieldSelector([FieldRequirement("spec.x", "=", "1")]).check(["metadata.name"])


@given(st.integers(0, 100), st.integers(0, 1000))
def test_percentages_round_the_way_they_are_told(percent: int, total: int) -> None:
    exact = percent * total / 100

    assert resolve(f"{percent}%", total, round_up=False) == int(exact + 1e-9)
    assert 0 <= resolve(f"{percent}%", total, round_up=True) - exact < 1


@pytest.mark.parametrize("text", ["25", "%", "-1%", "1.5%", "25% "])
def test_other_texts_are_no_percentages(text: str) -> None:
    with pytest.raises(ValueError, match="percent"):
        resolve(text, 10, round_up=True)
