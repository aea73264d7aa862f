"""The rows of the bench and how they are printed: what was measured beside the goal, and a reference where there is one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number."""

    what: str
    value: float
    unit: str
    goal: float
    more_is_better: bool = True
    reference: str = ""
    """What others reach at the same work, from docs/architecture.md."""

    @property
    def reached(self) -> bool:
        """Whether the goal holds."""
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def render(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | measured | goal | reached | others |", "|---|---:|---:|---|---|"]
    for row in rows:
        sign = "≥" if row.more_is_better else "≤"
        mark = "yes" if row.reached else "**no**"
        lines.append(
            f"| {row.what} | {number(row.value)} {row.unit} | {sign} {number(row.goal)} {row.unit} | {mark} | {row.reference} |"
        )
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits and thousands separated: `6,120`, `0.47`."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
