"""What writing a Sync needs besides the right to write Syncs: it writes later what its source says.

without spec.serviceAccountName   everything, because it applies with the rights of the controller
with it                           to impersonate that account, or to make tokens of it
a folder, a bundle, a local path  `use` of `syncs/local` as well: the controller reads its own machine then
"""

from __future__ import annotations

from typing import Any

from plum_schemas.sync import Sync

from plum_controller.api.access import Gate, forbidden
from plum_controller.api.identity import Identity
from plum_controller.domain.access import Attributes, rule_of, uncovered
from plum_controller.domain.sync.identity import is_local
from plum_controller.resources.encode import Json

_EVERYTHING = rule_of({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
_RUNNING = frozenset({"suspend", "suspendUntil", "suspendReason", "hold", "approveDelete", "interval", "waitTimeout"})
"""Fields that change when a Sync acts, and not what it does in whose name."""


def check_sync(gate: Gate, identity: Identity, new: Json, live: Json | None) -> None:
    """Raises `ApiStatusError` 403 when the writer may not have done what the Sync will do."""
    spec = new.get("spec") or {}
    if live is not None and _deed(spec) == _deed(live.get("spec") or {}):
        return
    metadata = new["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    group, plural = Sync.info.group, Sync.info.plural
    account = spec.get("serviceAccountName") or ""
    if not account:
        if uncovered(list(gate.roles.rules(identity, "")), [_EVERYTHING]):
            write = Attributes("create" if live is None else "update", group, plural, "", namespace, name)
            why = "without spec.serviceAccountName it applies with the rights of the controller"
            raise forbidden(identity, write, f"{why}; name an account that you may act as")
        return
    act = Attributes("impersonate", "", "serviceaccounts", "", namespace, account)
    if not gate.allows(identity, act) and not gate.allows(identity, act._replace(verb="create", subresource="token")):
        raise forbidden(identity, act, "a Sync acts as the account of spec.serviceAccountName")
    local = Attributes("use", group, plural, "local", namespace, name)
    if _is_local(spec.get("source") or {}) and not gate.allows(identity, local):
        raise forbidden(identity, local, "the source is a path of the controller's own machine; use a Git repository elsewhere")


def _deed(spec: Json) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in _RUNNING}


def _is_local(source: Json) -> bool:
    git = source.get("git")
    return git is None or is_local(str(git.get("url") or ""))
