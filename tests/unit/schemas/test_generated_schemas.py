"""The generated schemas say what the types say: constraints, defaults, descriptions, and the rules of structural schemas."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import jsonschema_rs
import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plum_schemas import crds, generate
from plum_schemas.base import Object, Struct
from plum_schemas.kinds import MODULES, REVIEWS, builtin, find
from plum_schemas.markers import ListMap
from plum_schemas.openapi import SchemaError, structural_schema
from plum_schemas.yaml_text import to_yaml

from tests.support.schema_oracle import add_defaults, unknown_fields, walk
from tests.support.typed_strategies import objects

KINDS = [*builtin(), *(kind for names in REVIEWS if (kind := find(*names)) is not None)]
schema_of = cache(structural_schema)
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@by_kind
@settings(max_examples=3, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_any_object_survives_json_and_its_schema(kind: type[Object], data: st.DataObject) -> None:
    _survives(kind, data)


@pytest.mark.slow
@by_kind
@settings(max_examples=6, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_some_objects_survive_json_and_their_schema(kind: type[Object], data: st.DataObject) -> None:
    _survives(kind, data)


@pytest.mark.soak
@by_kind
@settings(max_examples=500, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_many_objects_survive_json_and_their_schema(kind: type[Object], data: st.DataObject) -> None:
    _survives(kind, data)


def _survives(kind: type[Object], data: st.DataObject) -> None:
    made = data.draw(objects(kind))
    schema = schema_of(kind)

    stored = msgspec.json.decode(msgspec.json.encode(made))
    unknown = unknown_fields(schema, stored)
    add_defaults(schema, stored)

    assert unknown == []
    jsonschema_rs.Draft4Validator(schema).validate(stored)
    assert msgspec.convert(stored, kind) == made


@by_kind
def test_what_is_left_out_means_the_same_to_the_schema_and_to_the_types(kind: type[Object]) -> None:
    for path, schema, in_list in walk(schema_of(kind)):
        if "default" in schema:
            assert not in_list, f"{path} has a default inside a list"
    defaulted: dict[str, Any] = {}
    add_defaults({"properties": {"it": {**schema_of(kind), "required": []}}}, {"it": defaulted})

    for name in ("spec", "status"):
        hint = get_type_hints(kind).get(name)
        if isinstance(hint, type) and issubclass(hint, Struct) and not _required(hint):
            filled: dict[str, Any] = {}
            add_defaults(schema_of(kind)["properties"][name], filled)
            assert msgspec.convert(filled, hint) == hint()


def _required(cls: type[Struct]) -> bool:
    return any(field.required for field in msgspec.structs.fields(cls))


@by_kind
def test_defaults_that_are_not_empty_are_in_the_schema(kind: type[Object]) -> None:
    _compare_defaults(kind, schema_of(kind), kind.__name__)


def _compare_defaults(cls: type[Struct], schema: dict[str, Any], path: str) -> None:
    hints = get_type_hints(cls)
    for field in msgspec.structs.fields(cls):
        if field.name in ("api_version", "kind", "metadata", "status") and issubclass(cls, Object):
            continue
        declared = schema["properties"][field.encode_name]
        where = f"{path}.{field.encode_name}"
        if isinstance(field.default, int | float | str) and field.default is not False and field.default != "":
            assert declared["default"] == field.default, where
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Struct) and field.default_factory is hint:
            _compare_defaults(hint, declared, where)


@by_kind
def test_every_field_has_a_description(kind: type[Object]) -> None:
    missing = [path for path, schema, _ in walk(schema_of(kind)) if not path.endswith("[]") and not schema.get("description")]

    assert missing == []


@by_kind
def test_descriptions_are_sentences(kind: type[Object]) -> None:
    for path, schema, _ in walk(schema_of(kind)):
        description = schema.get("description", "")
        if description:
            assert description[-1] in ".?", f"{path}: {description}"


@by_kind
def test_the_schema_is_structural(kind: type[Object]) -> None:
    for path, schema, _ in walk(schema_of(kind)):
        free = schema.get("x-kubernetes-preserve-unknown-fields")
        if schema.get("x-kubernetes-int-or-string"):
            assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
            assert "type" not in schema, path
        else:
            assert "type" in schema or free, path
            assert "anyOf" not in schema, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert "$ref" not in schema, path
        if "pattern" in schema:
            re.compile(schema["pattern"])
        if schema.get("x-kubernetes-list-type") == "map":
            keys, items = schema["x-kubernetes-list-map-keys"], schema["items"]
            assert set(keys) <= set(items["required"]), path
            assert all(items["properties"][key]["type"] in ("string", "integer", "boolean") for key in keys), path
        if schema.get("x-kubernetes-list-type") == "set":
            assert schema["items"]["type"] == "string", path


@by_kind
def test_paths_of_columns_and_selectable_fields_exist(kind: type[Object]) -> None:
    info = kind.info
    paths = [column.path for column in info.columns] + list(info.selectable_fields)
    if info.scale is not None:
        paths += [info.scale.spec_replicas, info.scale.status_replicas, info.scale.label_selector]
    for path in paths:
        schema = schema_of(kind)
        for part in re.sub(r"\[[^]]*\]", ".[]", path).strip(".").split("."):
            if part == "metadata":
                break
            schema = schema["items"] if part == "[]" else schema.get("properties", {}).get(part) or schema["additionalProperties"]
    if info.group == "plum.dev":
        assert len(info.selectable_fields) <= 8, "a Kubernetes API server takes no more"


def test_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check", str(crds.directory())]) == 0, capsys.readouterr().err


def test_generation_writes_what_check_accepts_and_removes_leftovers(tmp_path: Path) -> None:
    (tmp_path / "gone.plum.dev.yaml").write_text("kind: Gone\n")
    assert generate.main([str(tmp_path), "--check"]) == 1

    assert generate.main([str(tmp_path)]) == 0

    assert generate.main([str(tmp_path), "--check"]) == 0
    assert not (tmp_path / "gone.plum.dev.yaml").exists()


printable = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20)
tricky = st.sampled_from(["yes", "a: b", "a #b", "- a", "1e3", "~", "0x1", "a:", ".5", "+1", "=", "<<", "1:30", ".inf", "null"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | printable | tricky,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(printable | tricky, inner, min_size=1, max_size=3),
).filter(lambda value: isinstance(value, dict | list))


@given(documents)
def test_generated_yaml_says_what_it_was_made_from(value: Any) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_names_and_short_names_are_unique() -> None:
    manifests = crds.load()
    assert len(manifests) == len(MODULES)
    taken: set[str] = set()
    for manifest in manifests:
        names = manifest["spec"]["names"]
        mine = {names["plural"], names["singular"], *names.get("shortNames", ())}
        if manifest["spec"]["group"] in ("", "plum.dev"):
            assert not mine & taken, f"{names['kind']}: {mine & taken}"
            taken |= mine
        assert manifest["metadata"]["name"].startswith(names["plural"])
        assert names["plural"] == names["plural"].lower()


def test_the_bundle_holds_every_kind_once() -> None:
    kinds = [(manifest["spec"]["names"]["kind"]) for manifest in crds.load()]

    assert kinds == [kind.__name__ for kind in builtin()]
    assert len(set(kinds)) == len(kinds)


def test_an_unknown_kind_is_none() -> None:
    assert find("plum.dev/v1", "Nothing") is None
    assert find("v1", "Deployment") is None


class Unkeyed(Struct):
    """An item without its key."""

    name: str = ""
    """Optional, so it cannot be a key."""


class Broken(Object):
    """A kind whose list map has no required key."""

    items: Annotated[list[Unkeyed], ListMap("name")] = []
    """Items."""


def test_a_list_map_whose_key_may_be_missing_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"Broken\.items: list map key name"):
        structural_schema(Broken)
