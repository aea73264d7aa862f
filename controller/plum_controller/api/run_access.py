"""Commands in `spec.commands` of a run: who asked is who asks, and what makes no sense now is refused.

write of a WorkflowRun --new commands--> requestedBy is the writer --> the engine's judgement --> 403, 409 or stored
"""

from __future__ import annotations

import msgspec
from plum_schemas.workflowrun import RunCommand, WorkflowRun

from plum_controller.api.access import Gate, forbidden
from plum_controller.api.identity import Identity
from plum_controller.domain.access import Attributes
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError


def check_commands(gate: Gate, identity: Identity, new: Json, live: Json | None) -> None:
    """Raises `ApiStatusError`."""
    metadata = new["metadata"]
    known = ((live or {}).get("spec") or {}).get("commands") or []
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
    for command in ((new.get("spec") or {}).get("commands") or [])[len(known) :]:
        if command.get("requestedBy", identity.name) != identity.name:
            write = Attributes("update", WorkflowRun.info.group, WorkflowRun.info.plural, "", namespace, name)
            raise forbidden(identity, write, "spec.commands[].requestedBy names who asks; leave it away")
        command["requestedBy"] = identity.name
        why = gate.refused_command(str(metadata.get("uid", "")), msgspec.convert(command, RunCommand), identity.groups)
        if why is not None:
            details = {"name": name, "group": WorkflowRun.info.group, "kind": WorkflowRun.info.plural}
            raise ApiStatusError(409, "Conflict", f"workflowrun {name}: {why}", details)
