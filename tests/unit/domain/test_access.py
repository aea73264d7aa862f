"""Rules of roles: what they allow, against a slow and simple oracle, and what may be given away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.domain.access import Attributes, Rule, allows, describe, path_matches, rule_of, uncovered

GROUPS, VERBS, NAMES = ["", "plum.dev", "apps"], ["get", "list", "create"], ["a", "b"]
RESOURCES = ["pods", "pods/log", "nodes", "nodes/status"]


def rules_from(verbs: list[str], groups: list[str], resources: list[str]) -> st.SearchStrategy[Rule]:
    def some(values: list[str], least: int = 1) -> st.SearchStrategy[frozenset[str]]:
        return st.frozensets(st.sampled_from(values), min_size=least, max_size=2)

    return st.builds(Rule, some(verbs), some(groups), some(resources), some(NAMES, 0), st.just(()))


WIDE = rules_from([*VERBS, "*"], [*GROUPS, "*"], [*RESOURCES, "*", "*/log", "*/status"])
REQUESTS = st.builds(
    lambda verb, group, resource, name: Attributes(verb, group, *[*resource.split("/"), ""][:2], name=name),
    st.sampled_from(VERBS),
    st.sampled_from(GROUPS),
    st.sampled_from(RESOURCES),
    st.sampled_from([*NAMES, ""]),
)


def says(rule: Rule, wanted: Attributes) -> bool:
    """The documentation, word for word."""
    verb = "*" in rule.verbs or wanted.verb in rule.verbs
    group = "*" in rule.groups or wanted.group in rule.groups
    whole = wanted.resource + ("/" + wanted.subresource if wanted.subresource else "")
    resource = any(r in ("*", whole) or (r.startswith("*/") and wanted.subresource == r[2:]) for r in rule.resources)
    name = not rule.names or wanted.name in rule.names
    return verb and group and resource and name


@given(st.lists(WIDE, max_size=4), REQUESTS)
def test_rules_allow_what_the_documentation_says(rules: list[Rule], wanted: Attributes) -> None:
    assert allows(rules, wanted) == any(says(rule, wanted) for rule in rules)


@given(st.lists(WIDE, max_size=4), st.lists(WIDE, max_size=3), REQUESTS)
def test_what_may_be_given_away_allows_nothing_new(owned: list[Rule], given_away: list[Rule], wanted: Attributes) -> None:
    if not uncovered(owned, given_away) and allows(given_away, wanted):
        assert allows(owned, wanted)


@given(st.lists(WIDE, max_size=4))
def test_everybody_may_give_away_what_they_have(owned: list[Rule]) -> None:
    assert uncovered(owned, owned) == []


def test_a_refusal_names_exactly_what_is_missing() -> None:
    owned = [rule_of({"verbs": ["get", "list"], "apiGroups": ["plum.dev"], "resources": ["deployments"]})]
    wanted = [rule_of({"verbs": ["get", "delete"], "apiGroups": ["plum.dev"], "resources": ["deployments"]})]

    missing = uncovered(owned, wanted)

    assert [describe(rule) for rule in missing] == ['{APIGroups:["plum.dev"], Resources:["deployments"], Verbs:["delete"]}']


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/x", False),
        ("/apis/*", "/apis/plum.dev/v1", True),
        ("/apis/*", "/apis", False),
        ("/apis*", "/apis", True),
        ("*", "/anything", True),
    ],
)
def test_paths(pattern: str, path: str, matches: bool) -> None:
    assert path_matches(pattern, path) is matches
    assert allows([rule_of({"verbs": ["get"], "nonResourceURLs": [pattern]})], Attributes("get", path=path)) is matches


def test_a_rule_about_paths_says_nothing_about_objects() -> None:
    rule = rule_of({"verbs": ["*"], "nonResourceURLs": ["*"]})

    assert not allows([rule], Attributes("get", "plum.dev", "deployments"))
    assert not allows([rule_of({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})], Attributes("get", path="/metrics"))
