"""Names and labels: the fast answers agree with the rules written out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_schemas.names import (
    check_label,
    check_label_key,
    check_label_value,
    check_subdomain,
    is_label,
    is_label_key,
    is_label_value,
    is_subdomain,
)

LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
ANY_CASE = LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
texts = st.text(alphabet="ab1-._/A\né", max_size=8) | st.text(max_size=5) | st.integers(60, 66).map(lambda n: "a" * n)


def naive_label(text: str) -> bool:
    edges = text[:1] in LOWER and text[-1:] in LOWER
    return 0 < len(text) <= 63 and edges and all(character in LOWER | {"-"} for character in text)


def naive_subdomain(text: str) -> bool:
    parts = text.split(".")
    return len(text) <= 253 and all(part != "" and naive_label(part[:63]) and naive_label(part[-63:]) for part in parts)


def naive_value(text: str) -> bool:
    if text == "":
        return True
    edges = text[0] in ANY_CASE and text[-1] in ANY_CASE
    return len(text) <= 63 and edges and all(character in ANY_CASE | {"-", "_", "."} for character in text)


@given(texts)
def test_labels_follow_the_rule(text: str) -> None:
    assert is_label(text) == naive_label(text)


@given(texts)
def test_subdomains_follow_the_rule(text: str) -> None:
    assert is_subdomain(text) == naive_subdomain(text)


@given(texts)
def test_label_values_follow_the_rule(text: str) -> None:
    assert is_label_value(text) == naive_value(text)


@given(texts, texts)
def test_label_keys_are_a_name_with_an_optional_subdomain(prefix: str, name: str) -> None:
    if "/" not in name:
        assert is_label_key(name) == (name != "" and naive_value(name))
        assert is_label_key(f"{prefix}/{name}") == (naive_subdomain(prefix) and name != "" and naive_value(name))


@given(texts)
def test_checks_raise_exactly_when_the_answer_is_no(text: str) -> None:
    pairs = [
        (is_label, check_label),
        (is_subdomain, check_subdomain),
        (is_label_key, check_label_key),
        (is_label_value, check_label_value),
    ]
    for answer, check in pairs:
        if answer(text):
            check(text)
        else:
            with pytest.raises(ValueError, match=r"must|consist"):
                check(text)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("a/b/c", "a qualified name must consist of"),
        ("A.b/c", "prefix part a lowercase RFC 1123 subdomain"),
        ("a" * 64, "name part must be no more than 63 bytes"),
        ("-a", "name part must consist of alphanumeric characters"),
    ],
)
def test_a_wrong_key_is_answered_with_kubernetes_sentence(key: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_label_key(key)

    assert str(raised.value).startswith(sentence)
