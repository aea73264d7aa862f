"""What a right to write does not include: giving away more than one has, being somebody else, another node's things.

    write of a role or binding --> the writer has every right in it, or the verb `escalate` or `bind`
    write of a Token -----------> the writer may impersonate its user and its groups
    write of a Trigger ---------> the writer may do what the trigger will do
    write of a Sync ------------> the writer may act as its account, or do everything
    command to a run -----------> the writer is who asks, and may answer what is asked
    write by an agent ----------> only what is its node's

Asked with the object as it would be stored, inside the write. Members of `system:masters` are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plum_schemas.base import KindInfo

from plum_controller.api import node_access
from plum_controller.api.access import Gate, forbidden
from plum_controller.api.identity import ACCOUNT_PREFIX, AUTHENTICATED, Identity
from plum_controller.api.run_access import check_commands
from plum_controller.api.sync_access import check_sync
from plum_controller.api.trigger_access import check_trigger
from plum_controller.domain.access import Attributes, Rule, describe, rule_of, uncovered
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError

Admit = Callable[[Json, Json | None], None]
RBAC = "rbac.authorization.k8s.io"


def admission(gate: Gate, identity: Identity, info: KindInfo) -> Admit | None:
    """What to ask before a write of this kind by this user; None for nothing."""
    if info.group == RBAC:
        check = _check_role if info.kind in ("Role", "ClusterRole") else _check_binding
        return lambda new, live: check(gate, identity, info, new, live)
    if info.resource == "tokens.plum.dev":
        return lambda new, live: _check_token(gate, identity, new, live)
    if info.resource == "triggers.plum.dev":
        return lambda new, live: check_trigger(gate, identity, new, live)
    if info.resource == "syncs.plum.dev":
        return lambda new, live: check_sync(gate, identity, new, live)
    if identity.node:
        return lambda new, live: node_access.admit(identity.node, info.kind, new, live)
    if info.resource == "workflowruns.plum.dev":
        return lambda new, live: check_commands(gate, identity, new, live)
    return None


def _check_role(gate: Gate, identity: Identity, info: KindInfo, new: Json, live: Json | None) -> None:
    wanted = [rule_of(rule) for rule in new.get("rules") or ()]
    same = live is not None and live.get("rules") == new.get("rules")
    metadata = new["metadata"]
    gathers = new.get("aggregationRule") != (live or {}).get("aggregationRule")
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    escalate = Attributes("escalate", RBAC, info.plural, "", namespace, name)
    if gate.allows(identity, escalate):
        return
    if gathers:
        # What such a role will hold is not known: only somebody who has everything may make it.
        wanted.append(rule_of({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}))
    elif same:
        return
    _refuse_more(gate, identity, Attributes("create" if live is None else "update", *escalate[1:]), wanted)


def _check_binding(gate: Gate, identity: Identity, info: KindInfo, new: Json, live: Json | None) -> None:
    if live is not None and live.get("subjects") == new.get("subjects") and live.get("roleRef") == new.get("roleRef"):
        return
    metadata, role = new["metadata"], new["roleRef"]
    namespace = metadata.get("namespace", "")
    plural = "roles" if role["kind"] == "Role" else "clusterroles"
    if gate.allows(identity, Attributes("bind", RBAC, plural, "", namespace, role["name"])):
        return
    rules = gate.roles.rules_of((namespace if role["kind"] == "Role" else "", role["name"]))
    verb = "create" if live is None else "update"
    _refuse_more(gate, identity, Attributes(verb, RBAC, info.plural, "", namespace, metadata.get("name", "")), rules)


def _refuse_more(gate: Gate, identity: Identity, write: Attributes, wanted: Any) -> None:
    owned = list(gate.roles.rules(identity, write.namespace))
    missing = uncovered(owned, wanted)
    if missing:
        shown = "\n".join(map(describe, _joined(missing)[:20]))
        user = f'user "{identity.name}" (groups={list(identity.groups)!r})'
        raise forbidden(identity, write, f"{user} is attempting to grant RBAC permissions not currently held:\n{shown}")


def _joined(parts: list[Rule]) -> list[Rule]:
    """The same parts with the verbs of one thing together, for people."""
    verbs: dict[tuple[Any, ...], frozenset[str]] = {}
    for part in parts:
        verbs[part[1:]] = verbs.get(part[1:], frozenset()) | part.verbs
    return [Rule(found, *rest) for rest, found in verbs.items()]


def _check_token(gate: Gate, identity: Identity, new: Json, live: Mapping[str, Any] | None) -> None:
    if live is not None:
        return  # whose it is can no longer be changed
    spec = new["spec"]
    user = spec.get("user", "")
    if user == identity.name and set(spec.get("groups") or ()) <= set(identity.groups):
        return  # another token of one's own
    if user.startswith(ACCOUNT_PREFIX):
        namespace, _, account = user.removeprefix(ACCOUNT_PREFIX).partition(":")
        wanted = [Attributes("impersonate", "", "serviceaccounts", "", namespace, account)]
    else:
        wanted = [Attributes("impersonate", "", "users", name=user)]
    wanted += [
        Attributes("impersonate", "", "groups", name=group) for group in spec.get("groups") or () if group != AUTHENTICATED
    ]
    for one in wanted:
        if not gate.allows(identity, one):
            refused: ApiStatusError = forbidden(identity, one, "a token lets its holder act as its user")
            raise refused
