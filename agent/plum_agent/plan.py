"""The next step of one instance on this node. Pure: what is wanted, what was observed, the time; out comes one step.

                    Start                     Stop                  Kill
    NONE ----------------------> STARTING -----------> STOPPING -----------> KILLING
      ^                              | seen                |                    |
      |                           RUNNING ---- Stop -------+                    |
      |  Rest                        | exit                | exit               | nothing left
      +--------------- ENDED <-------+---------------------+--------------------+
                         |  Start (after backoff) -> STARTING
                         |  Finish -> stays ENDED, for good

A run is started only where none is: from NONE and from ENDED. ENDED means that no process of the run is left, not
only that the first one exited. Everything else about "never two runs" follows from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from plum_agent.restart import Ending, RestartPolicy, Verdict, judge


class RunState(Enum):
    """Where the current run is."""

    NONE = "None"
    """There is no run: never started, or at rest after it was stopped."""
    STARTING = "Starting"
    """The intent is on disk; the process has not been seen yet."""
    RUNNING = "Running"
    STOPPING = "Stopping"
    """Asked to stop: preStop hook or stop signal, until `stop_deadline`."""
    KILLING = "Killing"
    """SIGKILL goes to every process until none is left."""
    ENDED = "Ended"
    """No process is left."""


class StopReason(StrEnum):
    """Why the agent ends a run. Kept on disk, because it decides what follows after a crash of the agent."""

    WANTED = "Wanted"
    """`spec.state` is Stopped."""
    DELETED = "Deleted"
    """The instance is being deleted, or is gone."""
    CHANGED = "Changed"
    """The template changed, or a restart was requested: start again at once."""
    PROBE = "ProbeFailed"
    """A startup or liveness probe failed: the run counts as failed."""
    FENCED = "Fenced"
    """An exclusive run must end before the lease could be given to another node."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the spec says, reduced to what matters here."""

    run: bool
    """`spec.state` is Running and the object is not being deleted."""
    deleted: bool
    """The object is being deleted or is gone: forget it once nothing runs."""
    launch: str
    """Hash of everything a running process cannot take over; another one means a new run."""
    restart_request: str
    policy: RestartPolicy
    grace_seconds: float
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known about the current run. Times are seconds of the monotonic clock of this boot."""

    state: RunState = RunState.NONE
    launch: str = ""
    """The hash the current run was started with."""
    restart_request: str = ""
    """The request the current run was started with."""
    ending: Ending | None = None
    """Set when ENDED and not at rest."""
    stop_reason: StopReason | None = None
    """Set once the agent decided to end the run."""
    stop_deadline: float = 0.0
    """When STOPPING becomes KILLING."""
    ended_at: float = 0.0
    failures: int = 0
    """Runs in a row that did not last, this one included."""
    probe_failed: bool = False
    """A startup or liveness probe asks for the end of the run."""
    finished: Verdict | None = None
    """The verdict that was reported, when the instance has ended for good."""
    may_start: bool = True
    """False while something outside the instance is missing: the lease of an exclusive one, a port, an artifact."""
    fence_stop_at: float | None = None
    """When an exclusive run is asked to stop unless the lease is renewed before; None: never."""
    fence_at: float | None = None
    """When an exclusive run must be gone; the shim sees to it too. None: never."""


@dataclass(frozen=True, slots=True)
class Start:
    """Write down the intent, then start a run."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the run to stop: preStop, stop signal; SIGKILL after the deadline."""

    reason: StopReason
    deadline: float


@dataclass(frozen=True, slots=True)
class Kill:
    """End every process of the run now."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Keep the object without a run: it was stopped on request."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The instance has ended for good."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing runs and nothing is wanted: release the object, then delete what is on disk."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes, or until a time."""

    until: float | None = None


Step = Start | Stop | Kill | Rest | Finish | Forget | Wait


def next_step(wanted: Wanted, observed: Observed, now: float) -> Step:
    """One step towards what is wanted; called again after each. Repeating it without acting gives the same answer."""
    if observed.state in (RunState.NONE, RunState.ENDED):
        return _without_process(wanted, observed, now)
    if observed.state is RunState.KILLING:
        return Kill()
    if observed.state is RunState.STOPPING:
        deadline = observed.stop_deadline
        if wanted.exclusive and observed.fence_at is not None:
            deadline = min(deadline, observed.fence_at)
        return Kill() if now >= deadline else Wait(deadline)
    return _with_process(wanted, observed, now)


def _without_process(wanted: Wanted, observed: Observed, now: float) -> Step:
    if wanted.deleted:
        return Forget()
    if not wanted.run:
        return Rest() if observed.state is RunState.ENDED else Wait()
    if observed.state is RunState.NONE or _starts_at_once(wanted, observed):
        return Start() if observed.may_start else Wait()
    if observed.finished is not None:
        return Wait()

    ending = observed.ending or Ending(None)
    verdict = judge(wanted.policy, ending)
    if verdict is not Verdict.RESTART:
        return Finish(verdict)
    due = observed.ended_at + wanted.policy.backoff.delay(observed.failures)
    if now < due:
        return Wait(due)
    return Start() if observed.may_start else Wait()


def _starts_at_once(wanted: Wanted, observed: Observed) -> bool:
    """The run ended because the agent ended it for a reason that is over, or something new is wanted."""
    if observed.stop_reason in (StopReason.WANTED, StopReason.CHANGED, StopReason.FENCED, StopReason.DELETED):
        return True
    return wanted.launch != observed.launch or wanted.restart_request != observed.restart_request


def _with_process(wanted: Wanted, observed: Observed, now: float) -> Step:
    reason = _reason_to_stop(wanted, observed)
    if reason is not None:
        return Stop(reason, now + wanted.grace_seconds)
    if wanted.exclusive and observed.fence_at is not None and observed.fence_stop_at is not None:
        if now >= observed.fence_stop_at:
            return Stop(StopReason.FENCED, min(observed.fence_at, now + wanted.grace_seconds))
        return Wait(observed.fence_stop_at)
    return Wait()


def _reason_to_stop(wanted: Wanted, observed: Observed) -> StopReason | None:
    if wanted.deleted:
        return StopReason.DELETED
    if not wanted.run:
        return StopReason.WANTED
    if observed.probe_failed:
        return StopReason.PROBE
    if wanted.launch != observed.launch or wanted.restart_request != observed.restart_request:
        return StopReason.CHANGED
    return None
