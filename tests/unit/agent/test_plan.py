"""The plan of one instance: its table, that no two runs ever exist at once, and that it comes to rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_agent.plan import (
    Finish,
    Forget,
    Kill,
    Observed,
    Rest,
    RunState,
    Start,
    Step,
    Stop,
    StopReason,
    Wait,
    Wanted,
    next_step,
)
from plum_agent.restart import Backoff, Ending, RestartPolicy, Verdict
from plum_schemas.template import ExitCodeRule

WANTED = Wanted(run=True, deleted=False, launch="a", restart_request="", policy=RestartPolicy(), grace_seconds=10.0)
STOPPED = replace(WANTED, run=False)
DELETED = replace(WANTED, run=False, deleted=True)
RUNNING = Observed(state=RunState.RUNNING, launch="a")
FAILED = Observed(state=RunState.ENDED, launch="a", ending=Ending(1), failures=3, ended_at=100.0)
EXCLUSIVE = replace(WANTED, exclusive=True)
PROBED = replace(FAILED, stop_reason=StopReason.PROBE, ending=Ending(0, True))
FENCED = replace(FAILED, stop_reason=StopReason.FENCED)
GIVEN_UP = replace(FAILED, finished=Verdict.FAILED)
NEVER = replace(WANTED, policy=RestartPolicy("Never"))

TABLE: list[tuple[str, Wanted, Observed, float, Step]] = [
    ("a wanted instance without a run starts", WANTED, Observed(), 0, Start()),
    ("not while something it needs is missing", WANTED, Observed(may_start=False), 0, Wait()),
    ("an unwanted one without a run rests", STOPPED, Observed(), 0, Wait()),
    ("a deleted one without a run is forgotten", DELETED, Observed(), 0, Forget()),
    ("a wanted run goes on", WANTED, RUNNING, 0, Wait()),
    ("also while nothing new may start", WANTED, replace(RUNNING, may_start=False), 0, Wait()),
    ("an unwanted run is stopped", STOPPED, RUNNING, 5, Stop(StopReason.WANTED, 15)),
    ("a deleted run is stopped", DELETED, RUNNING, 5, Stop(StopReason.DELETED, 15)),
    ("another template stops the run", replace(WANTED, launch="b"), RUNNING, 5, Stop(StopReason.CHANGED, 15)),
    ("a requested restart stops the run", replace(WANTED, restart_request="1"), RUNNING, 5, Stop(StopReason.CHANGED, 15)),
    ("a failed probe stops the run", WANTED, replace(RUNNING, probe_failed=True), 5, Stop(StopReason.PROBE, 15)),
    ("a stop gets its grace period", STOPPED, replace(RUNNING, state=RunState.STOPPING, stop_deadline=15), 14, Wait(15)),
    ("then everything is killed", STOPPED, replace(RUNNING, state=RunState.STOPPING, stop_deadline=15), 15, Kill()),
    ("a kill is repeated until nothing is left", WANTED, replace(RUNNING, state=RunState.KILLING), 0, Kill()),
    ("a stopped run comes to rest", STOPPED, replace(FAILED, stop_reason=StopReason.WANTED), 100, Rest()),
    ("a failed run waits", WANTED, FAILED, 101, Wait(104.0)),
    ("and starts again", WANTED, FAILED, 104, Start()),
    ("a changed template does not wait", replace(WANTED, launch="b"), FAILED, 101, Start()),
    ("a run the agent ended for a change does not wait", WANTED, replace(FAILED, stop_reason=StopReason.CHANGED), 101, Start()),
    ("a run ended by a probe waits", WANTED, PROBED, 101, Wait(104.0)),
    ("Never ends for good", NEVER, FAILED, 101, Finish(Verdict.FAILED)),
    ("with success on code 0", NEVER, replace(FAILED, ending=Ending(0)), 101, Finish(Verdict.SUCCEEDED)),
    ("and stays so", NEVER, GIVEN_UP, 999, Wait()),
    ("until a restart is requested", replace(NEVER, restart_request="1"), GIVEN_UP, 999, Start()),
    ("or it is deleted", DELETED, GIVEN_UP, 999, Forget()),
    ("an unknown exit with Never is a failure", NEVER, replace(FAILED, ending=Ending(None)), 101, Finish(Verdict.FAILED)),
    ("an exclusive run goes on under its lease", EXCLUSIVE,
     replace(RUNNING, fence_stop_at=50, fence_at=53), 40, Wait(50)),
    ("it is stopped before the lease ends", EXCLUSIVE,
     replace(RUNNING, fence_stop_at=50, fence_at=53), 50, Stop(StopReason.FENCED, 53)),
    ("never later than the fence", replace(WANTED, exclusive=True, run=False),
     replace(RUNNING, state=RunState.STOPPING, stop_deadline=80, fence_stop_at=50, fence_at=53), 53, Kill()),
    ("a fenced run starts again at once when it may", EXCLUSIVE, FENCED, 101, Start()),
    ("and not before", EXCLUSIVE, replace(FENCED, may_start=False), 101, Wait()),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "observed", "now", "step"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table(wanted: Wanted, observed: Observed, now: float, step: Step) -> None:
    assert next_step(wanted, observed, now) == step


@dataclass
class World:
    """A node on which steps take effect: it counts the processes there are."""

    observed: Observed
    now: float = 0.0
    processes: int = 0
    starts: int = 0
    forgotten: bool = False

    def act(self, step: Step, wanted: Wanted) -> None:
        seen = self.observed
        match step:
            case Start():
                self.processes += 1
                self.starts += 1
                self.observed = Observed(
                    RunState.RUNNING, wanted.launch, wanted.restart_request, failures=seen.failures, may_start=seen.may_start
                )
            case Stop():
                self.observed = replace(seen, state=RunState.STOPPING, stop_reason=step.reason, stop_deadline=step.deadline)
            case Kill():
                self.end(None)
            case Rest():
                self.observed = Observed(may_start=seen.may_start)
            case Finish():
                self.observed = replace(seen, finished=step.verdict)
            case Forget():
                self.forgotten = True
            case Wait():
                pass
        assert self.processes <= 1, "two runs at once"
        assert self.processes == 0 or not self.forgotten, "forgot a run that is there"

    def end(self, code: int | None) -> None:
        """The run ends, by itself or killed."""
        if self.processes:
            self.processes = 0
            ending = Ending(code, self.observed.stop_reason is StopReason.PROBE)
            self.observed = replace(
                self.observed,
                state=RunState.ENDED,
                ending=ending,
                ended_at=self.now,
                failures=self.observed.failures + 1,
                probe_failed=False,
            )


POLICIES = st.builds(
    RestartPolicy,
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.builds(Backoff, st.floats(0, 5), st.floats(1, 4), st.floats(0, 60), st.floats(0, 600)),
    st.lists(
        st.builds(
            ExitCodeRule,
            codes=st.lists(st.integers(0, 3), max_size=2),
            operator=st.sampled_from(["In", "NotIn"]),
            action=st.sampled_from(["Restart", "Fail", "Succeed"]),
        ),
        max_size=2,
    ).map(tuple),
)
WISHES = st.builds(
    Wanted,
    run=st.booleans(),
    deleted=st.just(False),
    launch=st.sampled_from(["a", "b"]),
    restart_request=st.sampled_from(["", "1"]),
    policy=POLICIES,
    grace_seconds=st.floats(0, 30),
    exclusive=st.booleans(),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wish"), WISHES),
        st.tuples(st.just("exit"), st.one_of(st.none(), st.integers(0, 3))),
        st.tuples(st.just("probe"), st.none()),
        st.tuples(st.just("pass"), st.floats(0, 400)),
        st.tuples(st.just("may"), st.booleans()),
        st.tuples(st.just("fence"), st.floats(-10, 10)),
    ),
    max_size=25,
)


@given(WISHES, EVENTS)
def test_there_are_never_two_runs_and_every_wish_is_reached(wish: Wanted, events: list[tuple[str, object]]) -> None:
    world = World(Observed())
    for event, value in [*events, ("may", True), ("fence", 1e9)]:
        if event == "wish":
            assert isinstance(value, Wanted)
            wish = value
        elif event == "exit":
            world.end(value if isinstance(value, int) else None)
        elif event == "probe" and world.processes:
            world.observed = replace(world.observed, probe_failed=True)
        elif event == "pass":
            assert isinstance(value, float)
            world.now += value
        elif event == "may":
            world.observed = replace(world.observed, may_start=bool(value))
        elif event == "fence":
            assert isinstance(value, float)
            world.observed = replace(world.observed, fence_at=world.now + value, fence_stop_at=world.now + value - 1)
        settle(world, wish)

    for _ in range(4):  # time passes: grace periods and backoffs end
        world.now += 1000
        settle(world, wish)

    if not wish.run:
        assert world.processes == 0
    else:
        assert world.processes == 1 or world.observed.finished is not None
    world.observed = replace(world.observed, fence_at=None, fence_stop_at=None)
    goodbye = replace(wish, run=False, deleted=True)
    for _ in range(4):
        world.now += 1000
        settle(world, goodbye)
    assert world.forgotten
    assert world.processes == 0


def settle(world: World, wish: Wanted) -> None:
    """Step until there is nothing to do now."""
    for _ in range(12):
        step = next_step(wish, world.observed, world.now)
        assert next_step(wish, world.observed, world.now) == step
        if isinstance(step, Wait):
            assert step.until is None or step.until > world.now, "waits for a time that is over"
            return
        world.act(step, wish)
        if world.forgotten:
            return
    raise AssertionError("does not come to rest")
