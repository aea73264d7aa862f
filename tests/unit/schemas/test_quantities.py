"""Quantities: Kubernetes' notation, exact, rounded up to the unit asked for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_schemas.quantities import format_bytes, format_cpu, parse_amount, parse_bytes, parse_cpu, parse_quantity

FACTORS = {
    "": Fraction(1),
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate(("m", "u", "n"), 1)},
    **{unit: Fraction(1000**power) for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


@given(st.decimals(0, 10**9, places=6), st.sampled_from(sorted(FACTORS)))
def test_a_quantity_is_its_number_times_its_unit(number: Decimal, unit: str) -> None:
    assert parse_quantity(f"{number:f}{unit}") == Fraction(number) * FACTORS[unit]


@given(st.decimals(0, 10**6, places=9))
def test_a_request_is_never_taken_for_less_than_it_said(number: Decimal) -> None:
    text = f"{number:f}"

    assert parse_cpu(text) == ceil(Fraction(number) * 1000)
    assert parse_bytes(text) == ceil(Fraction(number))


@given(st.integers(0, 2**60))
def test_printed_amounts_are_read_back(amount: int) -> None:
    assert parse_bytes(format_bytes(amount)) == amount
    assert parse_cpu(format_cpu(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1e3", 1000), ("1E3", 1000), ("1E", 10**18), ("12e-1", Fraction(6, 5)), ("-1", -1), (".5", Fraction(1, 2)), ("1.", 1)],
)
def test_exponents_signs_and_bare_points(text: str, amount: Fraction) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize("text", ["", ".", "m", "1KI", "1 Mi", "1e", "1e3Mi", "0x10", "1Mi\n", "\u0663", "1e999", "1" * 60])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|out of range"):
        parse_quantity(text)


@pytest.mark.parametrize("parse", [parse_cpu, parse_bytes])
def test_less_than_nothing_cannot_be_requested(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        parse("-1")


def test_each_resource_is_counted_in_its_own_unit() -> None:
    assert parse_amount("cpu", "500m") == 500
    assert parse_amount("memory", "1Ki") == 1024
    assert parse_amount("example.com/gpu", 2) == 2
