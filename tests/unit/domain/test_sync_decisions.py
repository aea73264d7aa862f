"""Decisions of a Sync and the health of kinds: guards, holds, order, drift; all pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_controller.domain.health import RuleError, assess, compile_rule
from plum_controller.domain.sync.drift import content_hash, different_fields, entry, last_writer, remember
from plum_controller.domain.sync.guards import may_delete, suspension, wanted_revision
from plum_controller.domain.sync.identity import ObjectId, label_of
from plum_controller.domain.sync.order import OrderError, stages
from plum_schemas.sync import FolderSource, Hold, Source, SyncSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**more: Any) -> SyncSpec:
    return SyncSpec(source=Source(folder=FolderSource(path="x")), **more)


@pytest.mark.parametrize(
    ("leaving", "total", "documents", "more", "allowed"),
    [
        (0, 10, 10, {}, True),
        (2, 10, 8, {}, True),
        (3, 10, 7, {}, False),
        (1, 3, 2, {}, True),
        (3, 10, 7, {"max_delete": 3}, True),
        (3, 10, 7, {"approve_delete": "r1"}, True),
        (3, 10, 7, {"approve_delete": "r0"}, False),
        (10, 10, 0, {"approve_delete": "r1", "max_delete": "100%"}, False),
        (0, 0, 0, {}, True),
    ],
)
def test_what_may_be_deleted(leaving: int, total: int, documents: int, more: dict[str, Any], allowed: bool) -> None:
    assert may_delete(leaving, total, documents, spec(**more), "r1").allowed is allowed


def test_a_suspension_ends_at_its_time() -> None:
    assert suspension(spec(suspend=True, suspend_reason="repairs"), NOW) == "suspended: repairs"
    assert suspension(spec(suspend_until=NOW + timedelta(seconds=1)), NOW) is not None
    assert suspension(spec(suspend_until=NOW), NOW) is None


def test_a_hold_is_released_by_something_newer() -> None:
    hold = Hold(revision="a", newest="b")

    assert wanted_revision(hold, "b") == ("a", True)
    assert wanted_revision(hold, "c") == ("c", False)
    assert wanted_revision(None, "c") == ("c", False)


def obj(**annotations: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {f"plum.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}}}


def one(name: str, kind: str = "ConfigMap", group: str = "") -> ObjectId:
    return ObjectId(group, kind, "" if kind in ("Namespace", "CustomResourceDefinition") else "default", name)


def test_namespaces_and_definitions_go_first_then_waves_then_dependencies() -> None:
    found = stages(
        {
            one("late"): obj(sync_wave="2"),
            one("a"): obj(depends_on="ConfigMap/b"),
            one("b"): obj(),
            one("early"): obj(sync_wave="-1"),
            one("n", "Namespace"): obj(),
            one("d", "CustomResourceDefinition", "apiextensions.k8s.io"): obj(),
        }
    )

    assert [[member.name for member in stage.objects] for stage in found] == [["n"], ["d"], ["early"], ["b"], ["a"], ["late"]]


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ({one("a"): obj(sync_wave="soon")}, "a whole number was expected"),
        ({one("a"): obj(depends_on="ConfigMap/b")}, "not among these manifests"),
        ({one("a"): obj(depends_on="b")}, "is no KIND/NAME"),
        ({one("a"): obj(depends_on="ConfigMap/b"), one("b"): obj(depends_on="ConfigMap/a")}, "is a circle"),
        ({one("a"): obj(depends_on="ConfigMap/b"), one("b"): obj(sync_wave="1")}, "comes after its own"),
    ],
)
def test_an_order_that_cannot_be_is_refused(objects: dict[ObjectId, dict[str, Any]], said: str) -> None:
    with pytest.raises(OrderError, match=said):
        stages(objects)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15))
def test_in_every_order_dependencies_come_first(edges: list[tuple[int, int]]) -> None:
    wanted = [(high, low) for high, low in edges if high > low]
    needs = {n: ", ".join(f"ConfigMap/c{low}" for high, low in wanted if high == n) for n in range(10)}

    found = stages({one(f"c{n}"): obj(depends_on=text) if text else obj() for n, text in needs.items()})

    place = {member.name: position for position, stage in enumerate(found) for member in stage.objects}
    assert len(place) == 10
    assert all(place[f"c{low}"] < place[f"c{high}"] for high, low in wanted)


def test_drift_is_told_once_and_names_who() -> None:
    live = {
        "kind": "ConfigMap",
        "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [
            {"manager": "plum-sync/f", "time": "2026-01-01T00:00:02Z"}, {"manager": "kubectl", "time": "2026-01-01T00:00:01Z"},
            {"manager": "agent", "time": "2026-01-01T00:00:03Z", "subresource": "status"},
        ]},
        "status": {"x": 1},
    }  # fmt: skip
    first = entry("v1", live, ["data.x"], last_writer(live, "plum-sync/f"), NOW, False)

    history = remember(remember([], [first]), [entry("v1", live, ["data.x"], "kubectl", NOW + timedelta(hours=1), False)])

    assert [(one.manager, one.fields) for one in history] == [("kubectl", ["data.x"])]
    assert content_hash(live) == content_hash({"kind": "ConfigMap", "metadata": {"name": "a"}})
    wanted, there = {"e": [{"name": "A", "v": 1}]}, {"e": [{"name": "A", "v": 2}], "f": 1}
    assert list(different_fields(there, wanted)) == ["e[A].v", "f"]


def test_a_long_name_still_fits_a_label_and_stays_its_own() -> None:
    labels = {label_of("namespace", "x" * 80 + end) for end in "ab"}

    assert len(labels) == 2
    assert all(len(label) <= 63 for label in labels)


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("plum.dev/v1 Deployment", {}, "Progressing"),
        ("plum.dev/v1 Deployment", {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1}, "Healthy"),
        ("plum.dev/v1 Deployment", {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}, "Progressing"),
        ("plum.dev/v1 TaskRun", {"phase": "Succeeded"}, "Healthy"),
        ("plum.dev/v1 TaskRun", {"phase": "Timeout", "error": "late"}, "Degraded"),
        ("plum.dev/v1 Instance", {"phase": "Running", "ready": True}, "Healthy"),
        ("plum.dev/v1 Node", {}, "Progressing"),
        ("plum.dev/v1 Sync", {"phase": "Blocked"}, "Degraded"),
        ("v1 Namespace", {"phase": "Active"}, "Healthy"),
        ("v1 ConfigMap", {}, "Healthy"),
        ("x.dev/v1 Pump", {"conditions": [{"type": "Ready", "status": "False", "message": "dry"}]}, "Progressing"),
        ("x.dev/v1 Pump", {"conditions": [{"type": "Stalled", "status": "True"}]}, "Degraded"),
        ("x.dev/v1 Pump", {"phase": "Creating"}, "Progressing"),
        ("x.dev/v1 Pump", "rubbish", "Healthy"),
    ],
)
def test_health_by_kind_and_by_convention(kind: str, status: Any, state: str) -> None:
    api_version, name = kind.split()

    found = assess({"apiVersion": api_version, "kind": name, "metadata": {"generation": 2}, "spec": {}, "status": status})

    assert found.state == state, found


def test_health_by_an_expression() -> None:
    rule = compile_rule("self.status.level > 3", failed="self.status.level < 0")

    levels = {level: assess({"status": {"level": level}}, rule).state for level in (5, 1, -1)}

    assert levels == {5: "Healthy", 1: "Progressing", -1: "Degraded"}
    assert assess({}, rule).state == "Progressing"
    with pytest.raises(RuleError, match="cannot be used"):
        compile_rule("self.status.")
