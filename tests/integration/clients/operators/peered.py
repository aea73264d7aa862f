"""One handler, run by several operators that agree through a peering object which of them works."""

import os
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.peering.lifetime = 3
    settings.peering.mandatory = True
    settings.posting.enabled = False


@kopf.on.create("jobs")
@kopf.on.update("jobs", field="spec.round")
def served(patch: kopf.Patch, spec: Any, logger: Any, **_: Any) -> None:
    patch.status["served"] = f"{os.environ['PEER']} {spec['round']}"
