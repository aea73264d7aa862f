"""Values on the command line are what the parameter they are for declares."""

from __future__ import annotations

from typing import Any

import pytest
from plum_cli.errors import UsageError
from plum_cli.parameters import parameters, types_of_task, types_of_workflow

DECLARED = {"spec": {"params": [{"name": "name"}, {"name": "zone", "type": "integer"}, {"name": "items", "type": "array"}]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name=5", "5"),
        ("name=true", "true"),
        ("name=码头", "码头"),
        ('name="5"', "5"),
        ('name="', '"'),
        ("name=", ""),
        ("zone=5", 5),
        ("zone=five", "five"),
        ('items=["甲", 2]', ["甲", 2]),
        ("other=5", 5),
        ("name=a=b", "a=b"),
    ],
)
def test_a_text_stays_one_where_a_text_is_declared(text: str, value: Any) -> None:
    types = types_of_workflow(DECLARED)

    assert parameters([text], types) == {text.partition("=")[0]: value}


def test_types_are_found_wherever_they_are_declared() -> None:
    assert types_of_workflow({"spec": {"params": {"name": "x", "zone": 4}}}) == {"name": "string"}
    assert types_of_workflow(None) == {}
    schema = {"properties": {"width": {"type": "integer"}, "name": {"type": "string"}, "any": {"type": ["string", "null"]}}}
    assert types_of_task({"spec": {"payloadSchema": schema}}) == {"width": "integer", "name": "string"}


@pytest.mark.parametrize("text", ["zone", "=5", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no KEY=VALUE"):
        parameters([text])
