"""Roles and bindings as they are now, found by who they are for.

    Role, ClusterRole, RoleBinding, ClusterRoleBinding --watch--> RoleIndex --rules(identity, namespace)--> rules
                                                                            --allows(identity, wanted)----> remembered answers

A change of any of them forgets what was remembered. Between changes a repeated question is one look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from plum_schemas.selectors import LabelSelector

from plum_controller.api.identity import Identity
from plum_controller.domain.access import Attributes, Rule, allows, rule_of
from plum_controller.resources.encode import decode
from plum_controller.store.cache import WatchCache, Watcher, WatchEvent

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES, ROLES = f"clusterroles.{GROUP}", f"roles.{GROUP}"
CLUSTER_BINDINGS, BINDINGS = f"clusterrolebindings.{GROUP}", f"rolebindings.{GROUP}"
MAX_REMEMBERED = 20_000

Subject = tuple[str, str]
"""`User`, `Group` or `ServiceAccount`, and the name; that of an account is `NAMESPACE:NAME`."""
RoleKey = tuple[str, str]
"""Namespace (empty for a ClusterRole) and name."""


class _Binding(NamedTuple):
    namespace: str
    """Empty: everywhere."""
    role: RoleKey
    subjects: tuple[Subject, ...]


class _Role(NamedTuple):
    rules: tuple[Rule, ...]
    labels: Mapping[str, str]
    selectors: tuple[LabelSelector, ...]
    """Present: the rules are those of the ClusterRoles that one of them selects."""


class RoleIndex:
    """Follows the cache from `follow` to `close`."""

    def __init__(self) -> None:
        self._roles: dict[RoleKey, _Role] = {}
        self._bindings: dict[tuple[str, str], _Binding] = {}
        self._by_subject: dict[Subject, set[tuple[str, str]]] = {}
        self._watchers: list[Watcher] = []
        self._remembered: dict[tuple[Any, ...], bool] = {}
        self._resolved: dict[RoleKey, tuple[Rule, ...]] = {}

    def follow(self, cache: WatchCache) -> None:
        """Know what there is, and from now on every change before it is answered."""
        for resource in (CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS):
            self._watchers.append(cache.watch(resource, "", None, None, None, self._changed))

    def close(self) -> None:
        """Stop following. Safe to repeat."""
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()

    # ---- questions

    def allows(self, identity: Identity, wanted: Attributes) -> bool:
        """Whether a rule allows it."""
        question = (identity.name, identity.groups, wanted)
        answer = self._remembered.get(question)
        if answer is None:
            answer = allows(self.rules(identity, wanted.namespace), wanted)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[question] = answer
        return answer

    def rules(self, identity: Identity, namespace: str) -> Iterator[Rule]:
        """All rules that hold for somebody in a namespace; with an empty one, those that hold everywhere."""
        for binding in self._bindings_of(identity):
            if not binding.namespace or binding.namespace == namespace:
                yield from self.rules_of(binding.role)

    def rules_of(self, role: RoleKey) -> tuple[Rule, ...]:
        """The rules of a role, those it takes from others included. None for a role that does not exist."""
        known = self._resolved.get(role)
        if known is None:
            known = self._resolved[role] = tuple(dict.fromkeys(self._resolve(role, frozenset())))
        return known

    def _resolve(self, key: RoleKey, above: frozenset[RoleKey]) -> Iterator[Rule]:
        role = self._roles.get(key)
        if role is None or key in above:
            return
        yield from role.rules
        if role.selectors:
            for other, found in list(self._roles.items()):
                if not other[0] and other != key and any(selector.matches(found.labels) for selector in role.selectors):
                    yield from self._resolve(other, above | {key})

    def _bindings_of(self, identity: Identity) -> Iterator[_Binding]:
        seen: set[tuple[str, str]] = set()
        for subject in _subjects(identity):
            for key in self._by_subject.get(subject, ()):
                if key not in seen:
                    seen.add(key)
                    yield self._bindings[key]

    # ---- changes

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        self._remembered.clear()
        self._resolved.clear()
        for event in events:
            key = event.entry.key
            data = None if event.type == "DELETED" else decode(event.entry.value)
            if key.resource in (ROLES, CLUSTER_ROLES):
                self._put_role((key.namespace, key.name), data)
            else:
                self._put_binding((key.namespace, key.name), data)

    def _put_role(self, key: RoleKey, data: Mapping[str, Any] | None) -> None:
        if data is None:
            self._roles.pop(key, None)
            return
        selectors = (data.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
        self._roles[key] = _Role(
            tuple(rule_of(rule) for rule in data.get("rules") or ()),
            data["metadata"].get("labels") or {},
            tuple(found for selector in selectors if (found := LabelSelector.from_object(selector)) is not None),
        )

    def _put_binding(self, key: tuple[str, str], data: Mapping[str, Any] | None) -> None:
        old = self._bindings.pop(key, None)
        for subject in old.subjects if old is not None else ():
            self._by_subject.get(subject, set()).discard(key)
        if data is None:
            return
        reference = data["roleRef"]
        role = (key[0] if reference["kind"] == "Role" else "", reference["name"])
        subjects = tuple(_subject_of(subject) for subject in data.get("subjects") or ())
        self._bindings[key] = _Binding(key[0], role, subjects)
        for subject in subjects:
            self._by_subject.setdefault(subject, set()).add(key)


def _subject_of(data: Mapping[str, Any]) -> Subject:
    if data["kind"] == "ServiceAccount":
        return "ServiceAccount", f"{data.get('namespace', '')}:{data['name']}"
    return data["kind"], data["name"]


def _subjects(identity: Identity) -> Iterable[Subject]:
    yield "User", identity.name
    for group in identity.groups:
        yield "Group", group
    account = identity.account
    if account is not None:
        yield "ServiceAccount", ":".join(account)
