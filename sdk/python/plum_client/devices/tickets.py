"""Operations as their host knows them, and the steps they take there. Pure: whoever calls writes the answer down first.

    take -> Delivered --accept--> Accepted --progress--> Running --finish--> Succeeded | Failed
                |  |                 |                      |
                |  +--- late ------> Expired                +-- cancel, then the device's own end --> Canceled
                |  +--- cancel ----> Canceled               +-- AtMostOnce, a new session ---------> Unknown
                +<------------------ AtLeastOnce, a new session ---------+

A device may execute only after its host has written down that it accepted: an operation that was accepted once is, with
AtMostOnce, given to nobody else, whatever dies. Times inside are seconds of a clock that counts while the machine sleeps and
never jumps. It is worth nothing after a reboot, and a wall clock is never believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from plum_schemas.base import ObjectKey, Struct
from plum_schemas.durations import format_duration, parse_duration
from plum_schemas.operation import Operation, OperationPhase, OperationStatus
from plum_schemas.operation_states import is_final

from plum_client.devices.protocol import DeviceError, Move, refused

CANCEL_SECONDS = 30.0
"""A connected device that was asked to stop has so long to say how it ended."""
TIMEOUT_SECONDS = 5.0
"""The same after `timeout`."""
ABANDONED_SECONDS = 3600.0
"""A device that is silent for so long does not say any more how what it had accepted ended."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by three clocks."""

    seconds: float
    """Counts on while the machine sleeps, and never jumps."""
    now: datetime
    """Wall clock."""
    boot_id: str
    """`seconds` of another boot mean nothing."""


class Ticket(Struct):
    """One operation on its host."""

    namespace: str
    name: str
    uid: str
    resource: str
    """Name of the Resource."""
    method: str
    arguments: dict[str, Any] = {}
    delivery: Literal["AtMostOnce", "AtLeastOnce"] = "AtMostOnce"
    idempotency_key: str = ""
    timeout: float | None = None
    """Longest execution, in seconds."""
    sequence: int = 0
    """Place in the order in which operations were asked for."""
    phase: OperationPhase = "Queued"
    """Queued: taken, but nobody confirmed yet that it is this host's."""
    attempt: int = 0
    """Times the device accepted it."""
    deliveries: int = 0
    session: str = ""
    """Who accepted it."""
    boot_id: str = ""
    """Of `deadline` and `accepted`."""
    deadline: float | None = None
    """Seconds from which on it must not be started."""
    deadline_at: datetime | None = None
    """The same by the wall clock as it was then, for people and devices."""
    accepted: float = 0.0
    """Seconds at which the device accepted it."""
    canceled: bool = False
    """Its user wants it to stop."""
    cancel_sent: float | None = None
    """Seconds at which the connected device was asked to stop."""
    timed_out: bool = False
    progress: float | None = None
    result: Any = None
    error: str = ""
    reason: str = ""
    accepted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)

    @property
    def device(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.resource)

    @property
    def is_under_way(self) -> bool:
        return self.phase in ("Accepted", "Running")


def ticket_of(operation: Operation) -> Ticket:
    """A new ticket for an operation that is taken."""
    spec, metadata = operation.spec, operation.metadata
    return Ticket(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource=spec.resource_ref,
        method=spec.method,
        arguments=dict(spec.arguments),
        delivery=spec.delivery,
        idempotency_key=spec.idempotency_key or metadata.uid,
        timeout=None if spec.timeout is None else parse_duration(spec.timeout),
        sequence=operation.status.sequence,
        attempt=operation.status.attempt,
        deliveries=operation.status.deliveries,
        canceled=spec.canceled,
    )


def delivered(ticket: Ticket, left: float | None, asked: float, moment: Moment) -> Ticket:
    """Queued -> Delivered. `left`: how long it may still be started, as its controller said at the latest `asked`."""
    deadline = None if left is None else asked + left
    return msgspec.structs.replace(
        ticket,
        phase="Delivered",
        deliveries=ticket.deliveries + 1,
        boot_id=moment.boot_id,
        deadline=deadline,
        deadline_at=None if deadline is None else moment.now + timedelta(seconds=max(0.0, deadline - moment.seconds)),
    )


def is_late(ticket: Ticket, moment: Moment) -> bool:
    """Whether it must not be started any more. When nobody can know, it must not."""
    if ticket.deadline is None:
        return False
    return ticket.boot_id != moment.boot_id or moment.seconds >= ticket.deadline


def end(ticket: Ticket, phase: OperationPhase, reason: str, error: str, moment: Moment) -> Ticket:
    """It ends."""
    return msgspec.structs.replace(ticket, phase=phase, reason=reason, error=error, finished_at=moment.now)


def expire(ticket: Ticket, moment: Moment) -> Ticket:
    """Its time is over before the device accepted it. What an earlier attempt did, nobody knows."""
    if ticket.attempt:
        text = "notAfter passed before it could be sent again; nobody saw how the attempt before ended"
        return end(ticket, "Unknown", "Expired", text, moment)
    return end(ticket, "Expired", "Expired", "notAfter passed before the device confirmed it; nothing of it was begun", moment)


def cancel(ticket: Ticket, moment: Moment) -> Ticket:
    """Its user wants it to stop."""
    ticket = msgspec.structs.replace(ticket, canceled=True)
    if ticket.phase != "Delivered":
        return ticket
    if ticket.attempt:
        text = "cancelled before it was sent again; nobody saw how the attempt before ended"
        return end(ticket, "Unknown", "Canceled", text, moment)
    return end(ticket, "Canceled", "Canceled", "cancelled before the device confirmed it", moment)


def move(ticket: Ticket, asked: Move, moment: Moment) -> tuple[Ticket, DeviceError | None]:
    """What a device says of it: the ticket after that, and why the device is refused. A refusal may still have ended it."""
    name = f"operation {ticket.name}"
    if is_final(ticket.phase):
        if ticket.phase == asked.phase and ticket.session == asked.session:
            return ticket, None  # said again: the answer was lost
        text = f"{name} ended as {ticket.phase} and does not change any more"
        return ticket, refused(f"{text}: {ticket.error}" if ticket.error else text, ticket.phase)
    if asked.phase == "Accepted":
        return _accept(ticket, asked, moment)
    if not ticket.is_under_way:
        return ticket, refused(f"{name} is {ticket.phase}; say Accepted first, and begin only when that was not refused")
    if ticket.session != asked.session:
        return ticket, refused(f"{name} was accepted in session {ticket.session}, not in {asked.session}", "OtherSession")
    if asked.phase == "Running":
        progress = ticket.progress if asked.progress is None else asked.progress
        started = ticket.started_at or moment.now
        return msgspec.structs.replace(ticket, phase="Running", progress=progress, started_at=started), None
    return _finish(ticket, asked, moment), None


def _accept(ticket: Ticket, asked: Move, moment: Moment) -> tuple[Ticket, DeviceError | None]:
    name = f"operation {ticket.name}"
    if ticket.is_under_way:
        if ticket.session == asked.session:
            return _accept_again(ticket, moment)
        return ticket, refused(f"{name} was accepted in session {ticket.session}", "OtherSession")
    if ticket.phase != "Delivered":
        return ticket, refused(f"{name} is {ticket.phase}, and not yet to be executed")
    if ticket.canceled:
        return cancel(ticket, moment), refused(f"{name} was cancelled; do not execute it", "Canceled")
    if is_late(ticket, moment):
        return expire(ticket, moment), refused(f"{name} is too late: notAfter has passed; do not execute it", "Expired")
    return msgspec.structs.replace(
        ticket,
        phase="Accepted",
        session=asked.session,
        attempt=ticket.attempt + 1,
        boot_id=moment.boot_id,
        accepted=moment.seconds,
        accepted_at=moment.now,
        cancel_sent=None,
        timed_out=False,
        progress=None,
        reason="",
        error="",
    ), None


def _accept_again(ticket: Ticket, moment: Moment) -> tuple[Ticket, DeviceError | None]:
    """Asked a second time: the answer was lost, and the device has not begun. It still may, unless it is too late by now."""
    if ticket.phase != "Accepted":
        return ticket, None
    before = msgspec.structs.replace(ticket, phase="Delivered", attempt=ticket.attempt - 1)
    if ticket.canceled:
        return _as_asked(cancel(before, moment), ticket), refused(
            f"operation {ticket.name} was cancelled; do not execute it", "Canceled"
        )
    if is_late(ticket, moment):
        text = f"operation {ticket.name} is too late by now: notAfter has passed; do not execute it"
        return _as_asked(expire(before, moment), ticket), refused(text, "Expired")
    return ticket, None


def _as_asked(ended: Ticket, ticket: Ticket) -> Ticket:
    """How often it was confirmed is a fact, whatever came of it."""
    return msgspec.structs.replace(ended, attempt=ticket.attempt)


def _finish(ticket: Ticket, asked: Move, moment: Moment) -> Ticket:
    done = msgspec.structs.replace(ticket, result=asked.result, started_at=ticket.started_at or ticket.accepted_at)
    if asked.phase == "Succeeded":
        return msgspec.structs.replace(end(done, "Succeeded", "", "", moment), progress=None)
    if ticket.timed_out:
        return end(done, "Failed", "Timeout", _took_longer(ticket, asked.error), moment)
    if ticket.canceled and ticket.cancel_sent is not None:
        return end(done, "Canceled", "Canceled", asked.error or "stopped by the device", moment)
    return end(done, "Failed", "DeviceFailed", asked.error or "the device gave no reason", moment)


def _took_longer(ticket: Ticket, error: str = "") -> str:
    text = f"it took longer than its timeout of {format_duration(ticket.timeout or 0.0)}"
    return f"{text}; {error}" if error else text


def new_session(ticket: Ticket, session: str, moment: Moment) -> Ticket:
    """The device has started anew: what it had accepted before, it knows nothing of."""
    if not ticket.is_under_way or ticket.session == session:
        return ticket
    return lose(ticket, "DeviceRestarted", "the program of the device was started anew while it was under way", moment)


def lose(ticket: Ticket, reason: str, why: str, moment: Moment) -> Ticket:
    """Nobody will say how the attempt under way ends."""
    if not ticket.is_under_way:
        return ticket
    if ticket.delivery == "AtLeastOnce" and not ticket.timed_out and not ticket.canceled:
        if is_late(ticket, moment):
            return expire(msgspec.structs.replace(ticket, phase="Delivered"), moment)
        return msgspec.structs.replace(ticket, phase="Delivered", reason=reason, progress=None, deliveries=ticket.deliveries + 1)
    return end(ticket, "Unknown", reason, f"{why}; nobody saw how it ended", moment)


def after_restart(ticket: Ticket, moment: Moment) -> Ticket:
    """What a host that starts anew makes of a ticket: seconds of another boot mean nothing, and wall clocks are not believed.

    One that may be too late is taken again: the controller says how long is left. One under way is not given out again then.
    """
    if ticket.boot_id == moment.boot_id or is_final(ticket.phase):
        return ticket
    if ticket.phase == "Delivered" and ticket.deadline is not None:
        return msgspec.structs.replace(ticket, phase="Queued", deadline=None, deadline_at=None)
    return msgspec.structs.replace(
        ticket,
        boot_id=moment.boot_id,
        accepted=moment.seconds,
        cancel_sent=None if ticket.cancel_sent is None else moment.seconds,
        deadline=None if ticket.deadline is None else moment.seconds,
    )


def tick(ticket: Ticket, moment: Moment, silent: float) -> Ticket:
    """What time alone does. `silent`: seconds since the device was heard of; 0 while it is connected."""
    if ticket.phase == "Delivered":
        if ticket.canceled:
            return cancel(ticket, moment)
        return expire(ticket, moment) if is_late(ticket, moment) else ticket
    if not ticket.is_under_way:
        return ticket
    if ticket.cancel_sent is not None and not silent:
        limit = TIMEOUT_SECONDS if ticket.timed_out else CANCEL_SECONDS
        if moment.seconds >= ticket.cancel_sent + limit:
            if ticket.timed_out:
                return end(ticket, "Failed", "Timeout", f"{_took_longer(ticket)}; the device did not stop it", moment)
            text = f"the device did not say within {CANCEL_SECONDS:g} s of being asked to stop how it ended"
            return end(ticket, "Unknown", "CancelUnanswered", text, moment)
    if ticket.timeout is not None and not ticket.timed_out and moment.seconds >= ticket.accepted + ticket.timeout:
        late = msgspec.structs.replace(ticket, timed_out=True, cancel_sent=None)
        return lose(late, "Timeout", f"{_took_longer(ticket)}, and the device is away", moment) if silent else late
    if silent and ticket.timed_out:
        return lose(ticket, "Timeout", f"{_took_longer(ticket)}, and the device is away", moment)
    if silent >= ABANDONED_SECONDS:
        text = f"nothing was heard of the device for {ABANDONED_SECONDS:g} s"
        return lose(ticket, "DeviceLost", text, moment)
    return ticket


def due(ticket: Ticket, moment: Moment, silent: float) -> float | None:
    """Seconds until `tick` may do something; None when time alone does nothing."""
    if ticket.phase == "Delivered":
        if ticket.deadline is None:
            return None
        return 0.0 if is_late(ticket, moment) else ticket.deadline - moment.seconds
    if not ticket.is_under_way:
        return None
    found: list[float] = []
    if ticket.timeout is not None and not ticket.timed_out:
        found.append(ticket.accepted + ticket.timeout - moment.seconds)
    if ticket.cancel_sent is not None and not silent:
        found.append(ticket.cancel_sent + (TIMEOUT_SECONDS if ticket.timed_out else CANCEL_SECONDS) - moment.seconds)
    if silent:
        found.append(0.0 if ticket.timed_out else ABANDONED_SECONDS - silent)
    return max(0.0, min(found)) if found else None


def status_of(ticket: Ticket, before: OperationStatus) -> OperationStatus:
    """What the API is told. The verdict of its condition follows on the server."""
    return msgspec.structs.replace(
        before,
        phase=ticket.phase,
        deliveries=ticket.deliveries,
        attempt=ticket.attempt,
        session=ticket.session,
        progress=ticket.progress,
        reason=ticket.reason,
        error=ticket.error,
        result=ticket.result,
        accepted_at=ticket.accepted_at,
        started_at=ticket.started_at,
        finished_at=ticket.finished_at,
    )
