"""What a plan says of endpoints: those that people wrote, not those that come and go with instances."""

from __future__ import annotations

from typing import Any

from plum_controller.api.plan_changes import changes_between
from plum_controller.store.base import Key


def endpoint(name: str, **spec: Any) -> dict[Key, dict[str, Any]]:
    data = {"kind": "Endpoint", "metadata": {"name": name}, "spec": {"service": "orders", "port": 80, **spec}}
    return {Key("endpoints.plum.dev", "default", name): data}


def test_endpoints_that_follow_from_instances_are_no_lines_of_a_plan() -> None:
    before = endpoint("made", instanceUid="u1") | endpoint("written", port=80)
    after = endpoint("written", port=81) | endpoint("new")

    assert [(change.action, change.name) for change in changes_between(before, after, [])] == [
        ("create", "new"),
        ("change", "written"),
    ]
