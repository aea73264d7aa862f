"""Workers that come back, and what they are handed: what they still hold, what they have lost, runs with their secrets.

register --take_over--> leases that go on, leases that are lost --> Welcome          lease --hand_over--> Link.assign
"""

from __future__ import annotations

from collections.abc import Sequence

from plum_flow import secret_marks
from plum_flow.calls import TaskFailedError
from plum_flow.task_states import Outcome
from plum_schemas.taskrun import TaskRun
from plum_schemas.worker import Worker

from plum_controller.rpc.leases import Leases
from plum_controller.rpc.runs import Runs
from plum_controller.rpc.sessions import Hello, Lease, LeaseState, Session


class AlreadyConnectedError(Exception):
    """Another process is connected under the same worker id."""


class Welcome:
    """What a worker is told when it has registered."""

    def __init__(self, session: Session, resumed: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None:
        self.session = session
        self.resumed = resumed
        self.lost = lost


def hello_of(worker: Worker) -> Hello:
    """What a worker said when it registered, from its object."""
    spec = worker.spec
    return Hello(
        worker.key, tuple(spec.tasks), spec.capacity, worker.metadata.labels, spec.protocol,
        node=spec.node_name, instance=spec.instance_name, app=spec.app_name, app_version=spec.app_version,
    )  # fmt: skip


def take_over(leases: Leases, session: Session, hello: Hello, now: float) -> tuple[list[Lease], list[tuple[str, int]]]:
    """What a worker that comes back says it holds, against what is known: what it keeps, what it has lost. `now`: monotonic."""
    resumed: list[Lease] = []
    lost: list[tuple[str, int]] = []
    if hello.protocol != "grpc":
        return resumed, lost
    named = set()
    for uid, token, finished in hello.held:
        lease = session.leases.get(uid)
        if lease is not None and lease.fencing_token == token and lease.is_held:
            if lease.state is LeaseState.ASSIGNED:
                lease.state = LeaseState.RUNNING
            named.add(uid)
            resumed.append(lease)
            if lease.cancel_by and session.link is not None and not finished:
                session.link.cancel(lease, "the run was cancelled", max(0.0, lease.cancel_by - now))
        else:
            lost.append((uid, token))
    for lease in list(session.leases.values()):
        if lease.uid in named:
            continue
        if lease.state is LeaseState.OVER:
            leases.drop(session, lease)
        elif lease.state is LeaseState.ASSIGNED:
            message = f"worker {session.key.name} came back without it: it was never begun there"
            leases.return_unbegun(session, lease, "NotDelivered", message)
        elif lease.state is LeaseState.RUNNING:
            leases.lose(session, lease, "Dropped", f"worker {session.key.name} came back without it")
    return resumed, lost


def hand_over(leases: Leases, runs: Runs, session: Session, lease: Lease, run: TaskRun) -> None:
    """Hand the run over, with the values of its secrets."""
    if session.link is None:
        return
    try:
        session.link.assign(lease, secret_marks.revealed(run, runs.values(run)))
    except TaskFailedError as error:
        outcome = Outcome("Failed", error.reason, error.message, retryable=error.retryable)
        leases.result(session, lease.uid, lease.fencing_token, outcome)
