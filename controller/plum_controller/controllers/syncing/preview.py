"""A plan as JSON, for `plum sync plan` and `plum sync diff`. What is in Secrets is told as changed, never shown."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from plum_controller.controllers.syncing.deleting import Leaving
from plum_controller.controllers.syncing.engine import Checked, Plan
from plum_controller.domain.sync.drift import content, different_fields
from plum_controller.domain.sync.identity import ObjectId

Json = dict[str, Any]


def render(revision: str, newest: str, held: bool, plan: Plan, going: Leaving, blocked: str) -> Json:
    """The answer to `GET .../syncs/NAME/plan`."""
    waves = {identity: stage.wave for stage in plan.stages for identity in stage.objects}
    changes = [_change(identity, checked, waves.get(identity, 0)) for identity, checked in sorted(plan.checked.items())]
    changes += [_entry("delete", identity, live=_shown(identity, obj)) for identity, obj in sorted(going.delete.items())]
    changes += [_entry("keep", identity, detail=reason) for identity, reason in sorted(going.kept.items())]
    return {
        "revision": revision,
        "sourceRevision": newest,
        "held": held,
        "blocked": blocked,
        "problems": [{"where": problem.where, "message": problem.message} for problem in plan.problems],
        "changes": [change for change in changes if change["action"] != "unchanged"],
        "unchanged": sum(change["action"] == "unchanged" for change in changes),
    }


def _change(identity: ObjectId, checked: Checked, wave: int) -> Json:
    live, wanted = _shown(identity, checked.live), _shown(identity, checked.result or checked.item.data)
    if checked.action == "unchanged":
        return _entry("unchanged", identity)
    fields = checked.fields or (list(different_fields(live or {}, wanted or {})) if checked.live is not None else [])
    entry = _entry(checked.action, identity, live=live, wanted=wanted, detail=", ".join(fields[:10]))
    entry["where"], entry["wave"] = checked.item.document.manifest.where(), wave
    if checked.manager:
        entry["manager"] = checked.manager
    return entry


def _entry(action: str, identity: ObjectId, live: Json | None = None, wanted: Json | None = None, detail: str = "") -> Json:
    return {
        "action": action,
        "group": identity.group,
        "kind": identity.kind,
        "namespace": identity.namespace,
        "name": identity.name,
        "detail": detail,
        "live": live,
        "wanted": wanted,
    }


def _shown(identity: ObjectId, obj: Mapping[str, Any] | None) -> Json | None:
    if obj is None:
        return None
    shown = content(obj)
    if (identity.group, identity.kind) == ("", "Secret"):
        for part in ("data", "stringData"):
            if isinstance(shown.get(part), Mapping):
                shown[part] = {key: f"(hidden, {_mark(value)})" for key, value in shown[part].items()}
    return shown


def _mark(value: object) -> str:
    """Tells two values apart, and says nothing of either to who does not have them."""
    return hashlib.sha256(_SALT + str(value).encode()).hexdigest()[:8]


_SALT = secrets.token_bytes(16)
