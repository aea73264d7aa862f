"""What people may ask of a run and of its nodes, in every state. One table; the documentation is generated from it.

run_refusal("pause", "Succeeded") -> "the run has ended (Succeeded)"        None: it may be asked
"""

from __future__ import annotations

from plum_flow.workflow.phases import ALL, CANCELED, FAILED, PENDING, RUNNING, SUCCEEDED, TERMINAL, WAITING

RUN_PHASES = ("Queued", "Pending", "Running", "Paused", "Succeeded", "Failed", "Canceled", "Timeout")
_GOING = frozenset({"Queued", "Pending", "Running", "Paused"})
_ENDED = frozenset(RUN_PHASES) - _GOING

RUN_CONTROLS: dict[str, frozenset[str]] = {
    "pause": _GOING,
    "resume": _GOING,
    "cancel": _GOING,
    "retry": frozenset({"Running", "Paused", "Failed", "Canceled", "Timeout"}),
    "rerun": _ENDED | {"Running", "Paused"},
    "skip": frozenset({"Running", "Paused"}),
    "markSucceeded": frozenset({"Running", "Paused"}),
    "markFailed": frozenset({"Running", "Paused"}),
    "cancelNode": frozenset({"Running", "Paused"}),
    "approve": frozenset({"Running", "Paused"}),
    "reject": frozenset({"Running", "Paused"}),
}
"""Control -> phases of the run in which it may be asked. Pausing a paused run and resuming a running one change nothing.
Retry and rerun of a run that has ended make a new run, which takes over results; what is terminal stays as it is."""

NODE_CONTROLS: dict[str, frozenset[str]] = {
    "skip": frozenset({PENDING, WAITING, RUNNING}),
    "markSucceeded": frozenset({PENDING, WAITING, RUNNING, FAILED, CANCELED}),
    "markFailed": frozenset({PENDING, WAITING, RUNNING}),
    "cancelNode": frozenset({WAITING, RUNNING}),
    "approve": frozenset({WAITING}),
    "reject": frozenset({WAITING}),
    "retry": frozenset({FAILED, CANCELED}),
    "rerun": TERMINAL,
}
"""Control -> phases of the node it is about."""

COMMANDS = {
    "RetryFailed": "retry",
    "RerunFrom": "rerun",
    "Skip": "skip",
    "MarkSucceeded": "markSucceeded",
    "MarkFailed": "markFailed",
    "Approve": "approve",
    "Reject": "reject",
    "CancelNode": "cancelNode",
}
"""Action of a command in `spec.commands` -> control."""
STATES = {"Paused": "pause", "Running": "resume", "Canceled": "cancel"}
"""`spec.state` that is asked for -> control."""


def run_refusal(control: str, phase: str) -> str | None:
    """Why a control may not be asked of a run in this phase; None if it may."""
    if phase in RUN_CONTROLS[control]:
        return None
    if phase in _ENDED:
        return f"{control} is not possible: the run has ended ({phase})"
    return f"{control} is not possible while the run is {phase}; it is possible in {', '.join(sorted(RUN_CONTROLS[control]))}"


def node_refusal(control: str, node: str, phase: str) -> str | None:
    """Why a control may not be asked of a node in this phase; None if it may."""
    allowed = NODE_CONTROLS[control]
    if phase in allowed:
        return None
    return f"{control} is not possible: node {node} is {phase}; it is possible in {', '.join(sorted(allowed))}"


def tables() -> str:
    """Both tables for the documentation, in Markdown."""
    return "\n".join([
        *_table("control", RUN_PHASES, RUN_CONTROLS),
        "",
        *_table("control", ALL, NODE_CONTROLS),
        "",
    ])  # fmt: skip


def _table(first: str, phases: tuple[str, ...], controls: dict[str, frozenset[str]]) -> list[str]:
    head = f"| {first} | {' | '.join(phases)} |"
    rows = [
        f"| `{name}` | {' | '.join('yes' if p in allowed else '409' for p in phases)} |" for name, allowed in controls.items()
    ]
    return [head, "|---" * (len(phases) + 1) + "|", *rows]


__all__ = ["COMMANDS", "NODE_CONTROLS", "RUN_CONTROLS", "STATES", "SUCCEEDED", "node_refusal", "run_refusal", "tables"]
