"""Formats of objects, tables, differences, times."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from plum_cli import differences, times
from plum_cli.errors import UsageError
from plum_cli.output import check_format, format_rows, object_name, print_objects, to_yaml
from plum_cli.tables import TableOptions, TableView
from plum_client.explaining.times import duration
from plum_client.manifests.paths import find_parents

WEB: dict[str, Any] = {
    "apiVersion": "plum.dev/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default", "managedFields": [{"manager": "plum"}]},
    "spec": {"replicas": 2, "note": "one\ntwo\n"},
}


def printed(capsys: pytest.CaptureFixture[str], output: str, *, single: bool = True) -> str:
    print_objects([WEB], output, single=single, managed_fields=False)
    return capsys.readouterr().out


def test_json_and_yaml_leave_out_field_owners(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {**WEB, "metadata": {"name": "web", "namespace": "default"}}

    assert json.loads(printed(capsys, "json")) == wanted
    assert yaml.safe_load(printed(capsys, "yaml")) == wanted


def test_several_objects_come_in_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(printed(capsys, "json", single=False))

    assert value["kind"] == "List"
    assert [item["metadata"]["name"] for item in value["items"]] == ["web"]


def test_names_are_those_that_commands_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "name") == "deployment.plum.dev/web\n"
    assert object_name({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}) == "namespace/a"


def test_own_columns_show_none_for_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "custom-columns=NAME:.metadata.name,N:.spec.replicas,X:.spec.x")

    assert [line.split() for line in text.splitlines()] == [["NAME", "N", "X"], ["web", "2", "<none>"]]


def test_texts_of_several_lines_are_yaml_blocks() -> None:
    assert "note: |\n" in to_yaml(WEB)


@pytest.mark.parametrize(
    "output", ["xml", "json=a", "jsonpath=", "jsonpath={.a", "custom-columns=A", "custom-columns=:.a", "jsonpath-file=/nope"]
)
def test_an_unknown_format_is_a_usage_error(output: str) -> None:
    with pytest.raises(UsageError if "{" not in output else Exception):
        check_format(output)


TABLE: dict[str, Any] = {
    "columnDefinitions": [
        {"name": "Name", "format": "name", "priority": 0},
        {"name": "Ready", "priority": 0},
        {"name": "Image", "priority": 1},
    ],
    "rows": [
        {"cells": ["web", 1, "a:1"], "object": {"metadata": {"name": "web", "namespace": "default", "labels": {"app": "w"}}}},
        {"cells": ["a-long-name", None, None], "object": {"metadata": {"name": "a-long-name", "namespace": "other"}}},
    ],
}


def lines(options: TableOptions) -> list[str]:
    view = TableView(options)
    return view.lines(view.rows(TABLE))


def test_a_table_shows_its_columns_aligned() -> None:
    assert lines(TableOptions()) == ["NAME          READY", "web           1", "a-long-name   <none>"]


def test_wide_tables_namespaces_kinds_and_labels() -> None:
    found = lines(
        TableOptions(wide=True, with_namespace=True, with_kind="deployment.plum.dev", label_columns=["app"], show_labels=True)
    )

    assert found[0].split() == ["NAMESPACE", "NAME", "READY", "IMAGE", "APP", "LABELS"]
    assert found[1].split() == ["default", "deployment.plum.dev/web", "1", "a:1", "w", "app=w"]


def test_rows_that_come_later_stand_under_the_same_titles() -> None:
    view = TableView(TableOptions())
    first = view.lines(view.rows(TABLE))
    later = view.lines(view.rows({"columnDefinitions": None, "rows": TABLE["rows"][:1]}))

    assert later == [first[1]]


def test_rows_are_sorted_by_a_value_of_the_object() -> None:
    view = TableView(TableOptions(sort_by=".metadata.name"))

    assert [row[0] for row in view.rows(TABLE)] == ["a-long-name", "web"]


def test_no_colour_outside_a_terminal() -> None:
    assert format_rows(["STATE"], [["Running"]], stream=io.StringIO()) == ["STATE", "Running"]


# ---- differences


def test_changes_name_field_old_and_new_value() -> None:
    old = {"spec": {"replicas": 2, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "gone": True}}
    new = {
        "spec": {"replicas": 3, "env": [{"name": "N", "value": "0"}, {"name": "A", "value": "9"}, {"name": "B", "value": "2"}]}
    }

    assert [differences.describe(change) for change in differences.changes(old, new)] == [
        "spec.replicas: 2 -> 3",
        "spec.env[A].value: 1 -> 9",
        '+ spec.env[N]: {"name": "N", "value": "0"}',
        "- spec.gone",
    ]


def test_a_summary_ignores_what_the_server_counts() -> None:
    old = {"metadata": {"name": "a", "resourceVersion": "1", "generation": 1}, "spec": {"x": 1}, "status": {"y": 1}}
    new = {"metadata": {"name": "a", "resourceVersion": "2", "generation": 2}, "spec": {"x": 2}, "status": {"y": 2}}

    assert differences.summarize(old, new) == "spec.x: 1 -> 2"
    assert differences.summarize(old, {**new, "spec": {"x": 1}}) == "status.y: 1 -> 2"


leaves = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(old=trees, new=trees)
def test_there_is_a_change_exactly_when_values_differ(old: object, new: object) -> None:
    assert (
        bool(list(differences.changes(old, new))) == (json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True))
        or old == new
    )


def test_a_path_of_the_server_is_found_in_a_manifest() -> None:
    data = {"spec": {"env": [{"name": "A", "valeu": "x"}]}, "metadata": {"labels": {"a.b/c": "1"}}}

    assert [parent[key] for parent, key in find_parents('.spec.env[name="A"].valeu', data)] == ["x"]
    assert [parent[key] for parent, key in find_parents("metadata.labels.a.b/c", data)] == ["1"]
    assert find_parents("spec.env[1].name", data) == []


# ---- times

NOW = datetime(2025, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1m30s", 90), ("2h", 7200), ("1d", 86400), ("250ms", 0.25)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert times.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 m", "1x", "-5s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(UsageError):
        times.parse_seconds(text)


def test_moments_are_read_in_every_form() -> None:
    assert times.parse_moment("10m", NOW) == "2025-01-31T11:50:00Z"
    assert times.parse_moment("2025-01-31T10:00:00Z", NOW) == "2025-01-31T10:00:00Z"
    assert times.parse_moment("2025-01-31T10:00:00.250+01:00", NOW) == "2025-01-31T09:00:00.250Z"
    with pytest.raises(UsageError):
        times.parse_moment("25:00", NOW)
    with pytest.raises(UsageError):
        times.parse_moment("soon", NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (150, "2m30s"), (600, "10m"), (11000, "3h3m"), (36000, "10h"), (180000, "2d2h"), (864000, "10d")],
)
def test_ages_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text
