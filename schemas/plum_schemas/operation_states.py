"""The life of an Operation: one table of transitions, for the controller that stores it and the agent that hands it over.

    Queued --host takes it--> Delivered --device confirms--> Accepted --> Running --> Succeeded | Failed
       |                       |   ^                            |            |
       +--> Expired, Canceled <+   +---- AtLeastOnce, again ----+------------+--> Canceled | Unknown

The host of a device is the agent of its node, or the controller. It writes down each step before it acts on it, and tells
the newest: what the API sees may leave steps out, never go back. Expired means that nothing of it was ever begun.
"""

from __future__ import annotations

from collections.abc import Mapping

from plum_schemas.operation import TERMINAL_OPERATION_PHASES, OperationPhase

TRANSITIONS: Mapping[tuple[OperationPhase, OperationPhase], str] = {
    ("Queued", "Delivered"): "its host has it on disk, or sent it to the device",
    ("Queued", "Expired"): "`notAfter` passed",
    ("Queued", "Canceled"): "cancelled, its Resource was deleted, or a taint `NoExecute` is not tolerated",
    ("Queued", "Failed"): "it can never be carried out: the model changed, and no longer has it",
    ("Delivered", "Queued"): "its host gave it back before the device heard of it: the device moved to another node",
    ("Delivered", "Accepted"): "the device confirmed it",
    ("Delivered", "Running"): "the device began",
    ("Delivered", "Succeeded"): "the device reported its end",
    ("Delivered", "Failed"): "the device reported its end, or that it cannot do it",
    ("Delivered", "Expired"): "`notAfter` passed before the device confirmed it",
    ("Delivered", "Canceled"): "cancelled before the device confirmed it, or stopped by the device",
    ("Delivered", "Unknown"): "its host lost its memory, or is gone for good",
    ("Accepted", "Running"): "the device began",
    ("Accepted", "Delivered"): "AtLeastOnce: the device started anew, and gets it again",
    ("Accepted", "Succeeded"): "the device reported its end",
    ("Accepted", "Failed"): "the device reported its end, or took longer than `timeout`",
    ("Accepted", "Expired"): "the device asked again whether it may begin, and `notAfter` had passed",
    ("Accepted", "Canceled"): "cancelled, and the device stopped it",
    ("Accepted", "Unknown"): "nobody saw its end",
    ("Running", "Delivered"): "AtLeastOnce: the device started anew, and gets it again",
    ("Running", "Succeeded"): "the device reported its end",
    ("Running", "Failed"): "the device reported its end, or took longer than `timeout`",
    ("Running", "Canceled"): "cancelled, and the device stopped it",
    ("Running", "Unknown"): "nobody saw its end",
}
"""Every allowed change of `status.phase`, and what makes it. A phase that is no start of any is final."""


class OperationMoveError(Exception):
    """A step that the operation cannot take. The message is the text of the 409 that answers it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def is_final(phase: OperationPhase) -> bool:
    return phase in TERMINAL_OPERATION_PHASES


def check_move(old: OperationPhase, new: OperationPhase, name: str = "") -> None:
    """Raises `OperationMoveError` unless the table has this change. No change is no move, and fine."""
    if old == new or (old, new) in TRANSITIONS:
        return
    subject = f"operation {name}" if name else "the operation"
    if is_final(old):
        raise OperationMoveError(f"{subject} ended as {old}, which is final; it cannot become {new}; ask again")
    allowed = ", ".join(to for start, to in TRANSITIONS if start == old)
    raise OperationMoveError(f"{subject} is {old} and cannot become {new}; from {old} it can become {allowed}")


def table() -> str:
    """The transitions as Markdown."""
    lines = ["| from | to | when |", "|---|---|---|"]
    lines += [f"| {old} | {new} | {why} |" for (old, new), why in TRANSITIONS.items()]
    return "\n".join(lines) + "\n"
