"""JSONPath templates print what kubectl prints."""

from __future__ import annotations

from typing import Any

import pytest
from plum_cli.errors import USAGE
from plum_cli.jsonpath import JsonPathError, find, render

NODES: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "node-1", "labels": {"plum.dev/zone": "a", "x": "1"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Drained", "status": "False"}], "load": 3},
        },
        {"metadata": {"name": "node-2"}, "status": {"conditions": [{"type": "Ready", "status": "False"}], "load": 7}},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        (".kind", "List"),
        ("kind", "List"),
        ("{.items[*].metadata.name}", "node-1 node-2"),
        ("{$.items[0].metadata.name}", "node-1"),
        ("{.items[-1].metadata.name}", "node-2"),
        ("{.items[0:1].metadata.name}", "node-1"),
        ("{.items[0,1].metadata.name}", "node-1 node-2"),
        ("{.items[*]['metadata'].name}", "node-1 node-2"),
        ("{.items[0].metadata.labels.plum\\.dev/zone}", "a"),
        ("{.items[0].metadata.labels['plum.dev/zone']}", "a"),
        ("{..name}", "node-1 node-2"),
        ("{.items[?(@.status.load>5)].metadata.name}", "node-2"),
        ("{.items[?(@.status.load<=3)].metadata.name}", "node-1"),
        ('{.items[?(@.metadata.name!="node-1")].metadata.name}', "node-2"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "node-1"),
        ('{.items[*].status.conditions[?(@.type=="Ready")].status}', "True False"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.load}{"\\n"}{end}', "node-1\t3\nnode-2\t7\n"),
        ("{range .items[*]}[{range .status.conditions[*]}{.type},{end}]{end}", "[Ready,Drained,][Ready,]"),
        ("name={.items[0].metadata.name}!", "name=node-1!"),
        ("{.items[0].metadata.labels}", '{"plum.dev/zone":"a","x":"1"}'),
        ("{.nothing}", ""),
        ("{.items[9].metadata}", ""),
    ],
)
def test_prints_what_the_template_says(template: str, expected: str) -> None:
    assert render(template, NODES) == expected


@pytest.mark.parametrize("template", ["{.a", "{range .a}", "{end}", "{.a[}", "{.a[x]}", '{"a}', "{.a b}", "{.}}{["])
def test_a_template_that_cannot_be_read_is_a_usage_error(template: str) -> None:
    with pytest.raises(JsonPathError) as caught:
        render(template, NODES)
    assert caught.value.code == USAGE


def test_finds_all_values_at_a_path() -> None:
    assert find(".items[*].status.load", NODES) == [3, 7]
    assert find("items[0].metadata.name", NODES) == ["node-1"]
