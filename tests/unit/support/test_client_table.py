"""The table of clients is sorted, honest and complete."""

from __future__ import annotations

import pytest

from tests.support.client_table import NOT_RUN, REFUSED, TABLE, WORKS, Row, expected, listed, render


def test_rows_are_grouped_by_client_and_sorted_whatever_the_order_of_the_tests() -> None:
    rows = [Row("b 1.10", "get", WORKS), Row("a", "watch", WORKS), Row("b 1.9", "get", WORKS), Row("a", "get", WORKS)]

    page = render(rows, {"a": "3.1"})

    assert page == render(reversed(rows), {"a": "3.1"})
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## a, found as 3.1", "## b 1.9", "## b 1.10"]
    assert page.index("| get | works |") < page.index("| watch | works |")


def test_the_weakest_outcome_of_an_operation_stands() -> None:
    rows = [Row("a", "run", WORKS), Row("a", "run", REFUSED, "no pods"), Row("a", "run", WORKS), Row("a", "x", NOT_RUN, "none")]

    page = render(rows, {})

    assert "| run | refused: no pods |" in page and "| run | works |" not in page
    assert "| x | not run: none |" in page


def test_a_page_tells_what_it_lists_also_with_bars_in_it() -> None:
    rows = [Row("a", "get -o json|yaml", WORKS), Row("b", "wait", REFUSED, "why | not")]

    assert listed(render(rows, {"a": "1"})) == {("a", "get -o json|yaml"), ("b", "wait")}


def test_every_client_test_of_this_run_is_in_the_documented_table(request: pytest.FixtureRequest) -> None:
    """Complete in a run of all tests; `make clients` writes what is missing."""
    missing = expected(request.session.items) - listed(TABLE.read_text())

    assert not missing, f"not in {TABLE.name}; run `make clients`: {sorted(missing)}"
