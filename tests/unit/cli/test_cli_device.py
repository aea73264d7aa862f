"""Values of devices on the command line: read as their model says, refused with what is allowed."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_cli.commands import device
from plum_cli.device_values import SPARKS, parse_value, parse_values, signature, sparkline, text_of
from plum_cli.errors import INVALID, CliError
from plum_cli.main import COMMANDS, new_parser
from plum_worker.simulator.program import add_arguments

RANGE = {"name": "range", "type": "double", "unit": "m", "min": 100, "max": 5000}
MODE = {"name": "mode", "type": "enum", "enum": ["idle", "scan", 3]}


@pytest.mark.parametrize(
    ("text", "model", "value"),
    [
        ("1500", RANGE, 1500.0),
        ("8", {"type": "integer"}, 8),
        ("on", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("scan", MODE, "scan"),
        ("3", MODE, 3),
        ("12", {"type": "string"}, "12"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("12", None, 12),
        ("twelve", None, "twelve"),
    ],
)
def test_a_value_is_read_as_its_model_says(text: str, model: dict[str, Any] | None, value: Any) -> None:
    found = parse_value(text, model, "property x")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "model", "allowed"),
    [
        ("wide", RANGE, "a number from 100 to 5000 m"),
        ("99", RANGE, "a number from 100 to 5000 m"),
        ("nan", RANGE, "a number from 100 to 5000 m"),
        ("1.5", {"type": "integer", "min": 1}, "a whole number of at least 1"),
        ("2", {"type": "integer", "max": 1, "unit": "W"}, "a whole number of at most 1 W"),
        ("2", {"type": "boolean"}, "true or false"),
        ("sing", MODE, "one of idle, scan, 3"),
        ("{}", {"type": "array"}, "JSON: an array"),
        ("", {"type": "double", "unit": "m"}, "a number (m)"),
    ],
)
def test_a_value_that_is_refused_says_what_is_allowed(text: str, model: dict[str, Any], allowed: str) -> None:
    with pytest.raises(CliError, match="property x is") as caught:
        parse_value(text, model, "property x")
    assert allowed in str(caught.value)
    assert caught.value.code == INVALID


def test_names_that_are_not_there_are_answered_with_those_that_are() -> None:
    with pytest.raises(CliError) as caught:
        parse_values(["rang=1"], [RANGE, MODE], "property")
    assert str(caught.value).splitlines() == [
        "there is no property 'rang'",
        "  range: a number from 100 to 5000 m",
        "  mode: one of idle, scan, 3",
    ]
    with pytest.raises(CliError, match="no PROPERTY=VALUE"):
        parse_values(["range"], [RANGE], "property")
    assert parse_values(["a=b=c"], [], "property") == {"a": "b=c"}


def test_a_signature_shows_what_must_be_given() -> None:
    scan = {"name": "scan", "arguments": [{"name": "sector", "type": "integer", "required": True}, RANGE]}
    assert signature(scan) == "scan sector=<a whole number> [range=<a number from 100 to 5000 m>]"


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=80))
def test_bars_are_as_high_as_their_numbers(numbers: list[float | None]) -> None:
    bars = sparkline(numbers)
    known = [(number, bar) for number, bar in zip(numbers, bars, strict=False) if number is not None]
    assert len(bars) == (len(numbers) if known else 0)
    for number, bar in known:
        for other, other_bar in known:
            assert number > other or SPARKS.index(bar) <= SPARKS.index(other_bar)
    assert all(bar == " " for number, bar in zip(numbers, bars, strict=False) if number is None)


def test_numbers_are_short_and_the_rest_is_json() -> None:
    assert [text_of(value) for value in (1 / 3, 2.0, True, None, "a", [1])] == ["0.333333", "2", "true", "", "a", "[1]"]


def test_both_programs_of_the_simulator_take_the_same_arguments() -> None:
    def options(parser: argparse.ArgumentParser) -> dict[str, Any]:
        return {
            a.dest: (a.option_strings, a.default, a.choices and sorted(a.choices)) for a in parser._actions if a.dest != "help"
        }

    program, command = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_arguments(program)
    device._simulator(command)
    assert options(program) == options(command)


def test_devices_are_a_command() -> None:
    parser = new_parser(next(command for command in COMMANDS if command.name == "device"))
    args = parser.parse_args(["operate", "radar-1", "scan", "sector=3", "--wait", "--not-after", "10s"])
    assert (args.name, args.method, args.values, args.not_after) == ("radar-1", "scan", ["sector=3"], "10s")
