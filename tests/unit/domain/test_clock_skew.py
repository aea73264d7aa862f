"""Times that a node wrote with a wrong clock do not keep an instance from counting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from plum_controller.domain.members import classify
from plum_schemas.base import Condition, ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec, InstanceStatus
from plum_schemas.template import Template

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1), timedelta(days=300), timedelta(hours=-1)])
def test_an_instance_becomes_available_whatever_the_clock_of_its_node_says(ahead: timedelta) -> None:
    ready = Condition(type="Ready", status="True", reason="Ready", last_transition_time=NOW - timedelta(seconds=20) + ahead)
    metadata = ObjectMeta(name="web-1", namespace="default", creation_timestamp=NOW - timedelta(seconds=25))
    spec = InstanceSpec(node_name="node-1", template=Template(command=["run"]))
    status = InstanceStatus(phase="Running", ready=True, started_at=ready.last_transition_time, conditions=[ready])

    member = classify(Instance(metadata=metadata, spec=spec, status=status), False, 15, True, NOW)

    assert member.available
