"""Loading manifests: every mistake with its line, and nothing that JSON cannot say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_cli.errors import INVALID, NOT_FOUND, CliError
from plum_cli.manifests import Loaded, ManifestError, load_manifests, load_text
from plum_client.manifests.refusals import repeated_entries


def load(text: str, name: str = "web.yaml") -> Loaded:
    loaded = Loaded()
    load_text(name, text, loaded)
    return loaded


def problems(text: str, name: str = "web.yaml") -> list[str]:
    return [str(problem) for problem in load(text, name).problems]


HEAD = "apiVersion: plum.dev/v1\nkind: Deployment\nmetadata: {name: web}\n"


def test_keeps_the_line_of_every_field_of_every_document() -> None:
    text = (
        HEAD
        + "spec:\n  replicas: 2\n---\n"
        + HEAD
        + "spec:\n  template:\n    env:\n      - name: A\n        value: x\n      - name: B\n"
    )

    first, second = load(text).manifests

    assert first.where("spec.replicas") == "web.yaml:5"
    assert second.where("spec.template.env[1].name") == "web.yaml:15"
    assert second.where('spec.template.env[name="A"].value') == "web.yaml:14"
    assert second.where('.spec.template.env[{"name":"B"}]') == "web.yaml:15"


def test_a_missing_field_is_shown_at_its_nearest_parent() -> None:
    (manifest,) = load(HEAD + "spec:\n  template:\n    runtime: process\n").manifests

    assert manifest.where("spec.template.command") == "web.yaml:5"
    assert manifest.where("status.phase") == "web.yaml:1"


def test_keys_with_dots_are_found() -> None:
    (manifest,) = load(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n    plum.dev/site: x\n    plum: y\n"
    ).manifests

    assert manifest.where("metadata.labels.plum.dev/site") == "web.yaml:6"
    assert manifest.where("metadata.labels[plum.dev/site]") == "web.yaml:6"


def test_members_of_a_list_are_manifests_with_their_own_lines() -> None:
    item = "- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: NAME}\n"
    text = "apiVersion: v1\nkind: List\nitems:\n" + item.replace("NAME", "a") + item.replace("NAME", "b")

    first, second = load(text).manifests

    assert (first.name, second.name) == ("a", "b")
    assert second.where("metadata.name") == "web.yaml:9"


def test_a_tab_is_named_as_what_it_is() -> None:
    assert problems(HEAD + "spec:\n\treplicas: 2\n") == ["web.yaml:5: a tab in the indentation; YAML is indented with blanks"]


def test_json_may_be_indented_with_tabs() -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "a\tb"}}, indent="\t")

    (manifest,) = load(text, "a.json").manifests

    assert manifest.data["data"] == {"x": "a\tb"}
    assert manifest.where("metadata.name") == "a.json:5"


def test_a_json_key_that_is_there_twice_is_refused() -> None:
    text = '{"apiVersion": "v1", "kind": "K",\n"metadata": {"name": "a"},\n"data": {"x": "1",\n"x": "2"}}'

    assert problems(text, "a.json") == ["a.json:4: data.x is there twice, in line 3 and in line 4; keep one"]


def test_a_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    assert problems(HEAD + "spec:\n  replicas: 2\n  paused: true\n  replicas: 3\n") == [
        "web.yaml:7: spec.replicas is there twice, in line 5 and in line 7; keep one"
    ]


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "On", "NO"])
def test_words_that_yaml_reads_as_booleans_are_warned_about(word: str) -> None:
    loaded = load(HEAD + f"spec:\n  mode: {word}\n")

    (warning,) = loaded.warnings
    assert str(warning).startswith(f"web.yaml:5: spec.mode: {word} means ")
    assert isinstance(loaded.manifests[0].data["spec"]["mode"], bool)


def test_quoted_words_and_true_booleans_are_not_warned_about() -> None:
    loaded = load(HEAD + 'spec:\n  mode: "on"\n  paused: true\n  y: y\n')

    assert loaded.warnings == []
    assert loaded.manifests[0].data["spec"] == {"mode": "on", "paused": True, "y": "y"}


def test_a_number_of_base_sixty_is_warned_about() -> None:
    (warning,) = load(HEAD + "spec:\n  ports: 22:22\n").warnings

    assert "22:22 means the number 1342" in warning.message


def test_dates_stay_texts() -> None:
    assert load(HEAD + "spec: {at: 2025-01-31}\n").manifests[0].data["spec"] == {"at": "2025-01-31"}


def test_what_json_cannot_say_is_refused() -> None:
    assert "JSON has no such number" in problems(HEAD + "spec: {x: .inf}\n")[0]
    assert "JSON cannot say" in problems(HEAD + "spec: {x: !!binary aGVsbG8=}\n")[0]
    assert "means True in YAML 1.1" in problems(HEAD + "spec: {yes: 1}\n")[0]


def test_aliases_and_merges_are_resolved() -> None:
    text = HEAD + "spec:\n  a: &a {x: 1, y: 2}\n  b: {<<: *a, y: 3}\n  c: *a\n"

    assert load(text).manifests[0].data["spec"] == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}


def test_an_alias_bomb_and_a_loop_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )

    assert "values" in problems(bomb)[0]
    assert "levels deep" in problems("a: &a [*a]\n")[0]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("kind: Deployment\nmetadata: {name: web}\n", 1, "apiVersion is missing"),
        ("apiVersion: v1\nkind: 5\nmetadata: {name: web}\n", 2, "kind is 5; a text was expected"),
        ("apiVersion: v1\nkind: ConfigMap\n", 1, "metadata is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", 3, "metadata.name is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: 7\n", 4, 'metadata.name is 7; a text was expected: "7" in quotes'),
        ("- a\n- b\n", 1, "an object was expected, found a list"),
        ("a: b: c\n", 1, "is not YAML"),
        ("a: [1, 2\n", 2, "is not YAML"),
    ],
)
def test_a_broken_document_is_named_with_its_line(text: str, line: int, part: str) -> None:
    found = problems(text)

    assert any(problem.startswith(f"web.yaml:{line}: ") and part in problem for problem in found), found


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: X\nmetadata: {name: a}\n")
    (tmp_path / "b.yaml").write_text("a: b: c\n")
    (tmp_path / "c.yaml").write_text(HEAD)

    with pytest.raises(ManifestError) as caught:
        load_manifests([str(tmp_path)])

    assert caught.value.code == INVALID
    assert len(str(caught.value).splitlines()) == 2


def test_folders_are_read_in_order_and_only_with_r_below(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.yml", "deep/c.json"):
        (tmp_path / name).write_text(
            HEAD if not name.endswith("json") else '{"apiVersion":"v1","kind":"K","metadata":{"name":"n"}}'
        )
    (tmp_path / "notes.txt").write_text("no manifest")

    flat = [Path(manifest.source).name for manifest in load_manifests([str(tmp_path)]).manifests]
    deep = [Path(manifest.source).name for manifest in load_manifests([str(tmp_path)], recursive=True).manifests]

    assert flat == ["a.yml", "b.yaml"]
    assert deep == ["a.yml", "b.yaml", "c.json"]


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n")

    for source, part in ((tmp_path / "none.yaml", "does not exist"), (tmp_path / "empty.yaml", "no manifest found")):
        with pytest.raises(CliError, match=part) as caught:
            load_manifests([str(source)])
        assert caught.value.code == NOT_FOUND


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")

    with pytest.raises(ManifestError, match=r"a\.yaml:1: is not UTF-8 text"):
        load_manifests([str(tmp_path / "a.yaml")])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(spec=json_values)
def test_what_was_written_as_json_is_read_as_the_same_value(spec: object) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec}, indent=1)

    loaded = load(text, "x.json")

    assert loaded.problems == []
    assert loaded.manifests[0].data["spec"] == spec


@pytest.mark.parametrize(
    ("path", "line", "shown"),
    [
        (".spec.nodes", 6, "spec.nodes[1]"),
        ('.spec.nodes[name="again"].body.nodes', 8, 'spec.nodes[name="again"].body.nodes[1]'),
        (".spec.missing", 4, "spec.missing"),
    ],
)  # fmt: skip
def test_an_entry_that_is_there_twice_is_shown_where_it_is_repeated(path: str, line: int, shown: str) -> None:
    text = (
        "apiVersion: plum.dev/v1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  nodes: [{name: a, type: task},\n    {name: a},\n"
        "    {name: again, body: {nodes: [{name: a},\n      {name: a}]}}]\n"
    )
    [manifest] = load(text, "flow.yaml").manifests

    refused = f'failed to create typed patch object: {path}: duplicate entries for key [name="a"]'
    found = [manifest.problem(place, said) for place, said in repeated_entries(refused, manifest.data)]

    assert [str(problem) for problem in found] == [f"flow.yaml:{line}: Workflow w: {shown}: name a is there twice"]
