"""What a cron trigger decides, against an oracle that goes through all times one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from plum_controller.domain.cron import parse
from plum_controller.domain.cron_firing import (
    MAX_BACK,
    MAX_COUNTED,
    MAX_QUEUE,
    PROMPT,
    CronPolicy,
    CronState,
    jittered,
    plan,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ZERO = timedelta(0)
HOURLY, EVERY_MINUTE = parse("0 * * * *"), parse("* * * * *")


def hours(*numbers: int) -> tuple[datetime, ...]:
    return tuple(NOON.replace(hour=number) for number in numbers)


def test_a_time_fires_when_it_comes_and_never_again() -> None:
    policy = CronPolicy(HOURLY)

    before = plan(policy, CronState(NOON - timedelta(minutes=5)), NOON - timedelta(seconds=1))
    at = plan(policy, CronState(before.dealt), NOON)
    after = plan(policy, CronState(at.dealt), NOON)

    assert (before.start, before.wake_at) == ((), NOON)
    assert (at.start, at.dealt) == ((NOON,), NOON)
    assert (after.start, after.missed, after.wake_at) == ((), (), NOON + timedelta(hours=1))


def test_what_is_made_up_for_after_an_absence() -> None:
    state, now = CronState(NOON.replace(hour=7)), NOON + timedelta(minutes=30)

    def decide(**wanted: object) -> tuple[tuple[datetime, ...], list[tuple[str, int]]]:
        done = plan(CronPolicy(HOURLY, **wanted), state, now)  # type: ignore[arg-type]
        assert done.dealt == NOON
        return done.start, [(m.reason, m.count) for m in done.missed]

    assert decide() == ((), [("NotCaughtUp", 5)])
    assert decide(deadline=timedelta(hours=1)) == (hours(12), [("TooLate", 4)])
    assert decide(catch_up="Last") == (hours(12), [("NotCaughtUp", 4)])
    assert decide(catch_up="Last", deadline=timedelta(minutes=10)) == ((), [("TooLate", 5)])
    assert decide(catch_up="All") == (hours(8, 9, 10, 11, 12), [])
    assert decide(catch_up="All", max_catch_up=2) == (hours(11, 12), [("NotCaughtUp", 3)])
    assert decide(catch_up="All", deadline=timedelta(hours=2)) == (hours(11, 12), [("TooLate", 3)])


def test_a_firing_meets_a_run_that_goes_on() -> None:
    state = CronState(NOON - timedelta(minutes=1), active=1)

    def decide(concurrency: str) -> tuple[object, ...]:
        done = plan(CronPolicy(HOURLY, concurrency=concurrency), state, NOON)
        return done.start, done.replace, done.queue, [m.reason for m in done.missed]

    assert decide("Allow") == ((NOON,), False, (), [])
    assert decide("Forbid") == ((), False, (), ["Forbidden"])
    assert decide("Replace") == ((NOON,), True, (), [])
    assert decide("Queue") == ((), False, (NOON,), [])


def test_what_waits_starts_in_order_when_the_run_has_ended() -> None:
    policy = CronPolicy(HOURLY, concurrency="Queue")
    waiting = hours(10, 11)

    done = plan(policy, CronState(NOON.replace(hour=11), waiting, active=0), NOON)

    assert (done.start, done.queue) == (hours(10), hours(11, 12))


def test_a_queue_has_an_end() -> None:
    waiting = tuple(NOON - timedelta(minutes=number) for number in range(MAX_QUEUE, 0, -1))

    done = plan(CronPolicy(EVERY_MINUTE, concurrency="Queue"), CronState(waiting[-1], waiting, active=1), NOON)

    assert done.queue == waiting
    assert [(m.reason, m.last) for m in done.missed] == [("QueueFull", NOON)]


def test_a_clock_that_jumps_a_year_ahead_starts_no_flood() -> None:
    year = NOON + timedelta(days=365)

    nothing = plan(CronPolicy(EVERY_MINUTE), CronState(NOON), year + timedelta(seconds=30))
    most = plan(CronPolicy(EVERY_MINUTE, catch_up="All", max_catch_up=7), CronState(NOON), year)

    assert nothing.start == (year,)
    assert [(m.reason, m.count) for m in nothing.missed] == [("NotCaughtUp", MAX_COUNTED)]
    assert most.start == tuple(year - timedelta(minutes=number) for number in range(6, -1, -1))


def test_a_clock_set_back_by_an_hour_repeats_nothing_and_by_a_year_counts_anew() -> None:
    policy = CronPolicy(HOURLY)

    hour = plan(policy, CronState(NOON), NOON - timedelta(hours=1))
    year = plan(policy, CronState(NOON + timedelta(days=365)), NOON + timedelta(minutes=10))

    assert (hour.start, hour.set_back, hour.wake_at) == ((), False, NOON + timedelta(hours=1))
    assert (year.start, year.set_back) == ((), True)
    assert year.wake_at == NOON + timedelta(hours=1)


def test_a_time_that_waited_for_an_earlier_one_is_not_late() -> None:
    jitter, minute = timedelta(minutes=30), timedelta(minutes=1)
    policy = CronPolicy(EVERY_MINUTE, jitter=jitter, deadline=minute)
    first, second = next(
        (time, time + minute)
        for time in EVERY_MINUTE.times(NOON)
        if jittered(policy, time) - jittered(policy, time + minute) > 2 * minute
    )
    before = CronState(first - minute)

    assert plan(policy, before, jittered(policy, second)).start == (), "no time fires before an earlier one"
    both = plan(policy, before, jittered(policy, first))
    assert both.start[:2] == (first, second)
    assert not both.missed


seconds = st.integers(0, 4 * 3600).map(lambda n: timedelta(seconds=n))
policies = st.builds(
    CronPolicy,
    st.sampled_from(
        [parse(text, "Europe/Berlin") for text in ("* * * * *", "*/7 * * * *", "0 * * * *", "30 1,2 * * *", "5-9 3 * * *")]
    ),
    seed=st.sampled_from(["a", "b", "c"]),
    concurrency=st.sampled_from(["Allow", "Forbid", "Replace", "Queue"]),
    deadline=st.none() | seconds,
    catch_up=st.sampled_from(["None", "Last", "All"]),
    max_catch_up=st.integers(1, 5),
    jitter=st.sampled_from([ZERO, timedelta(seconds=40), timedelta(minutes=13), timedelta(hours=2)]),
)


def oracle(policy: CronPolicy, dealt: datetime, now: datetime) -> tuple[list[datetime], list[datetime]]:
    """All times that are due, and those of them that may start, by the words of the documentation."""
    due: list[tuple[datetime, timedelta]] = []
    passed = dealt
    for time in policy.schedule.between(dealt, now, 1_000_000):
        passed = max(passed, jittered(policy, time))
        if passed > now:
            break
        due.append((time, now - passed))
    fresh = [(time, late) for time, late in due if policy.deadline is None or late <= policy.deadline]
    number = policy.max_catch_up if policy.catch_up == "All" else int(policy.catch_up == "Last" or policy.deadline is not None)
    newest = fresh[-number:] if number else []
    return [time for time, _ in due], [time for time, late in fresh if late <= PROMPT or (time, late) in newest]


@given(policy=policies, away=seconds, start=st.integers(0, 86_400))
@settings(max_examples=300, deadline=None)
def test_a_decision_is_that_of_the_oracle(policy: CronPolicy, away: timedelta, start: int) -> None:
    dealt = datetime(2026, 10, 24, 12, tzinfo=UTC) + timedelta(seconds=start)
    due, wanted = oracle(policy, dealt, dealt + away)

    done = plan(policy, CronState(dealt, active=1), dealt + away)

    assert done.dealt == (due[-1] if due else dealt)
    known = {"Allow": wanted, "Replace": wanted[-1:], "Forbid": [], "Queue": []}[policy.concurrency]
    assert list(done.start) == known
    assert list(done.queue) == (wanted if policy.concurrency == "Queue" else [])[:MAX_QUEUE]
    if len(due) < MAX_COUNTED:
        assert sum(m.count for m in done.missed) == len(due) - len(done.start) - len(done.queue)
    assert done.wake_at is not None
    assert done.wake_at > dealt + away
    assert not plan(policy, CronState(done.dealt, done.queue, 1), dealt + away).start, "deciding again starts nothing"
    asleep = plan(policy, CronState(done.dealt, (), 0), done.wake_at - timedelta(milliseconds=1))
    awake = plan(policy, CronState(done.dealt, (), 0), done.wake_at)
    assert not asleep.start
    assert awake.dealt > done.dealt


steps = st.lists(
    st.tuples(
        st.one_of(
            st.integers(0, 120), st.integers(-7200, 7200), st.sampled_from([-3600, 3600, 86_400, 365 * 86_400, -365 * 86_400])
        ),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=40,
)


@given(policy=policies, steps=steps)
@settings(max_examples=150, deadline=None)
def test_no_time_starts_twice_whatever_the_clock_does_and_whenever_the_controller_dies(
    policy: CronPolicy, steps: list[tuple[int, bool, int]]
) -> None:
    """A crash loses what was decided. Setting the clock back by more than a day begins anew; names of runs keep that apart."""
    now = datetime(2026, 10, 24, 12, tzinfo=UTC)
    state = CronState(now)
    started: list[datetime] = []
    for step, crashes, active in steps:
        now += timedelta(seconds=step)
        done = plan(policy, CronState(state.dealt, state.queue, active), now)
        assert done.set_back == (state.dealt - now > MAX_BACK)
        if done.set_back:
            started.clear()
        if crashes:
            continue
        assert not set(done.start) & set(started)
        assert list(done.start) == sorted(done.start)
        assert all(time <= now for time in done.start if time not in state.queue)
        assert done.set_back or done.dealt >= state.dealt
        started.extend(done.start)
        state = CronState(done.dealt, done.queue)
