"""What a cron trigger does now: a pure decision, the same for the same times however often it is asked.

    policy, state, now --plan--> start these times, these were missed, dealt with up to here, look again then

Times are dealt with in order and once: `dealt` only grows, and a run is named after its time, so that deciding twice starts
nothing twice. Every time up to `dealt` was started, is queued, or was counted as missed.

- prompt        up to a minute late: always fires, unless startingDeadline is shorter
- None          of later ones nothing is made up for; with a startingDeadline, the newest if it is within it
- Last, All     the newest, or the newest `max_catch_up`, within startingDeadline
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from plum_controller.domain.cron import Schedule

PROMPT = timedelta(seconds=60)
"""A time that is dealt with this late was not missed: a controller restarts, a disk is slow."""
MAX_BACK = timedelta(days=1)
"""A clock that was set back by less repeats nothing until it has caught up. By more: it was wrong before, and counts from now."""
MAX_QUEUE = 100
"""Firings that wait with policy Queue; more are missed."""
MAX_COUNTED = 1000
"""Missed times are counted up to here: a clock that jumps by a year passes half a million minutes."""


@dataclass(frozen=True, slots=True)
class CronPolicy:
    """What the spec asks for."""

    schedule: Schedule
    seed: str = ""
    """Of the jitter: the uid of the trigger."""
    concurrency: str = "Allow"
    deadline: timedelta | None = None
    catch_up: str = "None"
    max_catch_up: int = 10
    jitter: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class CronState:
    """What is known from before."""

    dealt: datetime
    """Times up to here are dealt with."""
    queue: tuple[datetime, ...] = ()
    """Times that wait for a run to end, oldest first."""
    active: int = 0
    """Runs of this trigger that go on."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Times that start nothing."""

    reason: str
    """CamelCase: TooLate, NotCaughtUp, Forbidden, Replaced, QueueFull."""
    count: int
    last: datetime
    """The newest of them."""


@dataclass(frozen=True, slots=True)
class CronPlan:
    """What to do now."""

    start: tuple[datetime, ...]
    """Times to start a run for, oldest first."""
    replace: bool
    """Cancel the runs that go on, before."""
    missed: tuple[Missed, ...]
    queue: tuple[datetime, ...]
    dealt: datetime
    wake_at: datetime | None
    """When the next time is due; None if there is none."""
    set_back: bool = False
    """The clock was set back by so much that counting begins anew."""


def plan(policy: CronPolicy, state: CronState, now: datetime) -> CronPlan:
    """Decide. Costs a few hundred steps even after a jump of years."""
    set_back = state.dealt - now > MAX_BACK
    dealt = now if set_back else state.dealt
    due, late, wake_at = _due(policy, dealt, now)
    accepted = _accepted(policy, due, late)
    missed = _missed(policy, dealt, now, due, late, accepted)
    start, queue, refused = _admit(policy.concurrency, accepted, state)
    return CronPlan(
        start=start,
        replace=policy.concurrency == "Replace" and bool(start) and state.active > 0,
        missed=(*missed, *refused),
        queue=queue,
        dealt=due[-1] if due else dealt,
        wake_at=wake_at,
        set_back=set_back,
    )


def jittered(policy: CronPolicy, time: datetime) -> datetime:
    """When a time fires: later by a part of the jitter that only trigger and time decide."""
    if not policy.jitter:
        return time
    digest = hashlib.blake2b(f"{policy.seed}/{time.isoformat()}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return time + timedelta(seconds=int(policy.jitter.total_seconds() * share * 1000) / 1000)


def _due(policy: CronPolicy, dealt: datetime, now: datetime) -> tuple[list[datetime], list[timedelta], datetime | None]:
    """The newest times that are due, by how much each is late, and when the next one is due. No time fires before an earlier one,
    whatever their jitter."""
    wanted = policy.max_catch_up if policy.catch_up == "All" else 1
    newest = policy.schedule.latest(dealt, now - policy.jitter, wanted)  # due whatever their jitter
    oldest = now - PROMPT - policy.jitter
    begin = max(dealt, min([oldest, *newest[:1]]) - policy.jitter - timedelta(minutes=1))
    due: list[datetime] = []
    late: list[timedelta] = []
    passed = dealt
    for time in policy.schedule.times(begin):
        fires = jittered(policy, time)
        if time > now or fires > now:
            return due, late, max(fires, passed)
        passed = max(fires, passed)
        due.append(time)
        late.append(now - passed)
    return due, late, None


def _accepted(policy: CronPolicy, due: Sequence[datetime], late: Sequence[timedelta]) -> list[datetime]:
    """Those of the due times that are not too late, oldest first."""
    fresh = [i for i in range(len(due)) if policy.deadline is None or late[i] <= policy.deadline]
    newest: list[int] = []
    if policy.catch_up == "All":
        newest = fresh[-policy.max_catch_up :]
    elif policy.catch_up == "Last" or policy.deadline is not None:
        newest = fresh[-1:]
    return [due[i] for i in fresh if i in newest or late[i] <= PROMPT]


def _missed(
    policy: CronPolicy,
    dealt: datetime,
    now: datetime,
    due: Sequence[datetime],
    late: Sequence[timedelta],
    accepted: Sequence[datetime],
) -> list[Missed]:
    """Everything due that was not accepted, as one sum."""
    if not due:
        return []
    passed = policy.schedule.between(dealt, due[-1], MAX_COUNTED)
    taken = set(accepted)
    skipped = [time for time in (*passed, *due) if time not in taken]
    # Past MAX_COUNTED the rest is not counted.
    count = len(passed) if len(passed) == MAX_COUNTED else len(set(skipped))
    if not skipped:
        return []
    last = max(skipped)
    waited = dict(zip(due, late, strict=True)).get(last, now - last)
    expired = policy.deadline is not None and waited > policy.deadline
    return [Missed("TooLate" if expired else "NotCaughtUp", count, last)]


def _admit(
    concurrency: str, accepted: Sequence[datetime], state: CronState
) -> tuple[tuple[datetime, ...], tuple[datetime, ...], list[Missed]]:
    """What starts now and what waits, with runs that go on."""
    if concurrency == "Queue":
        waiting = [*state.queue, *accepted]
        start = waiting[:1] if state.active == 0 else []
        waiting = waiting[len(start) :]
        full = waiting[MAX_QUEUE:]
        return tuple(start), tuple(waiting[:MAX_QUEUE]), [Missed("QueueFull", len(full), full[-1])] if full else []
    # Times that waited when the policy was another one start with those of now.
    wanted = [*state.queue, *accepted]
    if concurrency == "Forbid" and wanted:
        start = wanted[:1] if state.active == 0 else []
        refused = wanted[len(start) :]
        return tuple(start), (), [Missed("Forbidden", len(refused), refused[-1])] if refused else []
    if concurrency == "Replace" and len(wanted) > 1:
        return (wanted[-1],), (), [Missed("Replaced", len(wanted) - 1, wanted[-2])]
    return tuple(wanted), (), []
