"""Who may do what: rules of roles against requests. Nothing is allowed that no rule allows.

    Attributes (verb, group, resource, namespace, name | path) --allows(rules)--> True | False
    rules somebody wants to give away --uncovered(rules they have)--> what they may not give

The rules are those of rbac.authorization.k8s.io/v1, and what they mean is Kubernetes' documentation of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

ALL = "*"
MASTERS = "system:masters"
"""Who is in this group may do everything, whatever the roles say."""


class Attributes(NamedTuple):
    """What a request wants to do: a verb on objects, or (`path` is not empty) a verb on a path."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    """Empty: a cluster-wide kind, or all namespaces."""
    name: str = ""
    """Empty: no single object."""
    path: str = ""

    @property
    def combined(self) -> str:
        """`deployments/scale`, as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Rule(NamedTuple):
    """One rule of a role."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    """Empty: all."""
    paths: tuple[str, ...]
    """Present: the rule is about paths, and about nothing else."""


def rule_of(data: Mapping[str, Any]) -> Rule:
    """A rule as it stands in a role. Missing lists are empty."""

    def texts(field: str) -> frozenset[str]:
        return frozenset(data.get(field) or ())

    paths = tuple(data.get("nonResourceURLs") or ())
    return Rule(texts("verbs"), texts("apiGroups"), texts("resources"), texts("resourceNames"), paths)


def allows(rules: Iterable[Rule], wanted: Attributes) -> bool:
    """Whether one of the rules allows it."""
    return any(rule_allows(rule, wanted) for rule in rules)


def rule_allows(rule: Rule, wanted: Attributes) -> bool:
    """Whether this rule alone allows it."""
    if ALL not in rule.verbs and wanted.verb not in rule.verbs:
        return False
    if wanted.path:
        return any(path_matches(path, wanted.path) for path in rule.paths)
    return (
        (ALL in rule.groups or wanted.group in rule.groups)
        and _resource_matches(rule, wanted)
        and (not rule.names or wanted.name in rule.names)
    )


def path_matches(pattern: str, path: str) -> bool:
    """`/healthz`, `/apis/*` (the rest may be anything, also nothing), `*`."""
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern[:-1]))


def _resource_matches(rule: Rule, wanted: Attributes) -> bool:
    resources = rule.resources
    if ALL in resources or wanted.combined in resources:
        return True
    return bool(wanted.subresource) and f"{ALL}/{wanted.subresource}" in resources


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The parts of `wanted` that nobody with only `owned` may give to others, each with one verb and one thing."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: Rule) -> Iterator[Rule]:
    """A rule as rules about one verb and one resource (of one name) or path each."""
    none: frozenset[str] = frozenset()
    for verb in sorted(rule.verbs):
        for path in rule.paths:
            yield Rule(frozenset((verb,)), none, none, none, (path,))
        for group, resource in product(sorted(rule.groups), sorted(rule.resources)):
            for name in sorted(rule.names) or ("",):
                names = frozenset((name,)) if name else none
                yield Rule(frozenset((verb,)), frozenset((group,)), frozenset((resource,)), names, ())


def _covers(own: Rule, part: Rule) -> bool:
    """Whether `own` allows whatever `part` allows. `part` is one of `_parts`."""
    if ALL not in own.verbs and not part.verbs <= own.verbs:
        return False
    if part.paths:
        path = part.paths[0]
        return any(pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern[:-1])) for pattern in own.paths)
    if ALL not in own.groups and not part.groups <= own.groups:
        return False
    if own.names and not (part.names and part.names <= own.names):
        return False
    (resource,) = part.resources
    _, _, subresource = resource.partition("/")
    return ALL in own.resources or resource in own.resources or (bool(subresource) and f"{ALL}/{subresource}" in own.resources)


def describe(rule: Rule) -> str:
    """A rule as Kubernetes prints it in a refusal: `{APIGroups:["plum.dev"], Resources:["deployments"], Verbs:["get"]}`."""
    fields = [("APIGroups", rule.groups), ("Resources", rule.resources), ("ResourceNames", rule.names)]
    fields += [("NonResourceURLs", frozenset(rule.paths)), ("Verbs", rule.verbs)]
    shown = [f"{name}:[{', '.join(chr(34) + text + chr(34) for text in sorted(texts))}]" for name, texts in fields if texts]
    return "{" + ", ".join(shown) + "}"
