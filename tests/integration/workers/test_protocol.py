"""plum.worker.v1 over real gRPC against a real controller: leases, results, capacity, order, cancellation, reconnection."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import grpc
import msgspec
import pytest
from plum_client.errors import ApiError
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_schemas.base import ObjectMeta
from plum_schemas.taskrun import TaskRun, TaskRunSpec
from plum_schemas.worker import Worker

from tests.integration.tasks.support import Tasks
from tests.support.raw_worker import RawWorker, connected, failed, raw_worker, register, succeeded
from tests.support.server import RunningServer

_NUMBERS = itertools.count(1)


async def embedded(tasks: Tasks, task: str = "t", payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    """A run of a task that workers execute, created."""
    name = f"run-{next(_NUMBERS)}"
    spec = {"task": {"executor": "embedded", "task": task, **more}, "payload": payload or {}}
    made = TaskRun(metadata=ObjectMeta(name=name, namespace=tasks.namespace), spec=msgspec.convert(spec, TaskRunSpec))
    return await tasks.api.create(made)


async def beating(worker: RawWorker, *leases: pb.LeaseKey) -> None:
    while True:
        await worker.beat(*leases)
        await asyncio.sleep(0.3)


@contextlib.asynccontextmanager
async def alive(worker: RawWorker, *leases: pb.LeaseKey) -> Any:
    task = asyncio.create_task(beating(worker, *leases))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def worker_object(tasks: Tasks, name: str, phase: str) -> Worker:
    async with asyncio.timeout(20):
        while True:
            found = await tasks.api.get(Worker, name, tasks.namespace)
            if found is not None and found.status.phase == phase:
                return found
            await asyncio.sleep(0.02)


async def test_a_registered_worker_gets_a_run_with_all_it_needs_and_its_result_ends_it(
    server: RunningServer, tasks: Tasks
) -> None:
    more = {"labels": {"zone": "a"}, "app_name": "camera", "app_version": "1.2", "capacity": 3}
    async with raw_worker(server.workers, "w1", tasks.namespace, tasks=["resize"], **more) as worker:
        shown = await worker_object(tasks, "w1", "Ready")
        assert (shown.spec.tasks, shown.spec.capacity, shown.spec.app_name) == (["resize"], 3, "camera")
        assert shown.metadata.labels == {"zone": "a", "plum.dev/app": "camera"}
        assert shown.status.session == worker.registered.session_id

        run = await embedded(tasks, "resize", payload={"width": 3}, timeout="30s", priority=4)
        assignment = await worker.expect("assignment")

        assert (assignment.task, assignment.payload, assignment.attempt) == ("resize", b'{"width":3}', 1)
        assert assignment.idempotency_key
        assert (assignment.priority, assignment.timeout.seconds, assignment.run_name) == (4, 30, run.metadata.name)
        held = await tasks.wait(run, lambda found: found.status.phase == "Running")
        assert (held.status.worker, held.status.fencing_token) == ("w1", assignment.lease.fencing_token)

        await worker.say(acknowledge=pb.Acknowledge(lease=assignment.lease))
        await worker.say(result=succeeded(assignment, b'{"area":9}'))

        assert (await worker.expect("recorded")).accepted
        ended = await tasks.wait(run)
        assert (ended.status.phase, ended.status.output, ended.status.worker) == ("Succeeded", {"area": 9}, "w1")

        await worker.say(result=succeeded(assignment, b'"again"'))  # a repetition changes nothing
        assert (await worker.expect("recorded")).accepted
        assert (await tasks.wait(run)).status.output == {"area": 9}


async def test_a_worker_may_finish_only_what_it_holds(server: RunningServer, tasks: Tasks) -> None:
    async with (
        raw_worker(server.workers, "holder", tasks.namespace) as holder,
        raw_worker(server.workers, "other", tasks.namespace, tasks=["else"]) as other,
    ):
        run = await embedded(tasks)
        assignment = await holder.expect("assignment")

        await other.say(result=succeeded(assignment, b'"stolen"'))
        refused = await other.expect("recorded")
        wrong = pb.LeaseKey(run_uid=assignment.lease.run_uid, fencing_token=assignment.lease.fencing_token + 1)
        await holder.say(result=pb.Result(lease=wrong, outcome=pb.OUTCOME_SUCCEEDED))
        refused_token = await holder.expect("recorded")

        assert not refused.accepted
        assert not refused_token.accepted
        await holder.say(result=succeeded(assignment, b'"mine"'))
        assert (await tasks.wait(run)).status.output == "mine"


async def test_a_silent_worker_loses_its_lease_and_its_late_result_is_refused(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "silent", tasks.namespace) as silent:
        run = await embedded(tasks)
        first = await silent.expect("assignment")
        await silent.say(acknowledge=pb.Acknowledge(lease=first.lease))
        async with raw_worker(server.workers, "next", tasks.namespace) as following, alive(following):
            second = await following.expect("assignment")
            assert (second.attempt, second.idempotency_key) == (2, first.idempotency_key)
            assert second.lease.fencing_token > first.lease.fencing_token

            await silent.say(result=succeeded(first, b'"late"'))
            late = await silent.expect("recorded")
            await following.say(result=succeeded(second, b'"right"'))

            assert not late.accepted
            ended = await tasks.wait(run)
            assert (ended.status.output, ended.status.worker) == ("right", "next")
            assert [(one.worker, one.reason) for one in ended.status.attempts] == [("silent", "WorkerLost"), ("next", "")]


async def test_what_is_not_acknowledged_goes_to_another_without_using_up_an_attempt(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "deaf", tasks.namespace) as deaf, alive(deaf):
        run = await embedded(tasks)
        first = await deaf.expect("assignment")
        async with raw_worker(server.workers, "taker", tasks.namespace) as taker, alive(taker):
            second = await taker.expect("assignment")
            lost = await deaf.expect("renewed")
            while not lost.lost:
                lost = await deaf.expect("renewed")

            assert (second.attempt, second.lease.run_uid) == (1, first.lease.run_uid)
            assert second.lease.fencing_token > first.lease.fencing_token
            assert lost.lost[0] == first.lease
            await taker.say(result=succeeded(second))
            assert (await tasks.wait(run)).status.phase == "Succeeded"


async def test_what_is_released_goes_to_another_at_once(server: RunningServer, tasks: Tasks) -> None:
    async with (
        raw_worker(server.workers, "full", tasks.namespace) as full,
        alive(full),
        raw_worker(server.workers, "free", tasks.namespace) as free,
        alive(free),
    ):
        run = await embedded(tasks)
        pairs = {"full": full, "free": free}
        holder = (await tasks.wait(run, lambda found: found.status.phase == "Running")).status.worker
        other = next(name for name in pairs if name != holder)
        assignment = await pairs[holder].expect("assignment")
        await pairs[holder].say(release=pb.Release(lease=assignment.lease, reason="NoPlace"))

        again = await pairs[other].expect("assignment")

        assert again.attempt == 1
        await pairs[other].say(result=succeeded(again))
        assert (await tasks.wait(run)).status.worker == other


async def test_a_failure_is_tried_again_as_the_policy_says_unless_it_is_permanent(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker, alive(worker):
        run = await embedded(tasks, retry={"limit": 3, "initial": "10ms"})
        first = await worker.expect("assignment")
        await worker.say(result=failed(first, "Busy"))
        second = await worker.expect("assignment")
        await worker.say(result=failed(second, "BadInput", permanent=True))

        ended = await tasks.wait(run)

        assert (first.attempt, second.attempt, first.idempotency_key) == (1, 2, second.idempotency_key)
        assert (ended.status.phase, ended.status.reason) == ("Failed", "BadInput")
        assert [one.reason for one in ended.status.attempts] == ["Busy", "BadInput"]


async def test_capacity_and_priority_hold(server: RunningServer, tasks: Tasks) -> None:
    runs = [await embedded(tasks, priority=priority) for priority in (0, 2, 1, 2, 0)]
    for run in runs:
        await tasks.wait(run, lambda found: found.status.phase == "Pending")

    async with raw_worker(server.workers, "w1", tasks.namespace, capacity=2) as worker:
        held = [await worker.expect("assignment"), await worker.expect("assignment")]
        await worker.nothing("assignment")
        order = [assignment.run_name for assignment in held]
        for _ in range(3):
            await worker.say(result=succeeded(held.pop(0)))
            held.append(await worker.expect("assignment"))
            order.append(held[-1].run_name)

    names = [run.metadata.name for run in runs]
    assert order == [names[1], names[3], names[2], names[0], names[4]]


async def test_labels_and_node_choose_the_worker(server: RunningServer, tasks: Tasks) -> None:
    async with (
        raw_worker(server.workers, "plain", tasks.namespace, capacity=5) as plain,
        raw_worker(server.workers, "gpu", tasks.namespace, capacity=5, labels={"gpu": "yes"}, node_name="boat1") as gpu,
    ):
        await embedded(tasks, nodeSelector={"gpu": "yes"})
        await embedded(tasks, nodeName="boat1")
        await embedded(tasks, nodeSelector={"plum.dev/worker": "plain"})

        assert (await gpu.expect("assignment")).run_name != (await gpu.expect("assignment")).run_name
        await plain.expect("assignment")
        await plain.nothing("assignment", 0.1)


async def test_who_drains_or_is_unschedulable_gets_nothing_new(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace, capacity=5) as worker, alive(worker):
        shown = await worker_object(tasks, "w1", "Ready")
        await tasks.api.patch(Worker, shown.key, {"spec": {"unschedulable": True}})
        run = await embedded(tasks)
        await worker.nothing("assignment")
        await tasks.api.patch(Worker, shown.key, {"spec": {"unschedulable": False}})
        first = await worker.expect("assignment")

        await worker.say(drain=pb.Drain(reason="the application stops"))
        await worker_object(tasks, "w1", "Draining")
        await embedded(tasks)

        await worker.nothing("assignment")
        await worker.say(result=succeeded(first))
        assert (await tasks.wait(run)).status.phase == "Succeeded"


async def test_a_cancelled_run_ends_and_its_worker_is_told(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        run = await embedded(tasks)
        assignment = await worker.expect("assignment")
        async with alive(worker, assignment.lease):
            await tasks.cancel(run)
            cancel = await worker.expect("cancel")
            ended = await tasks.wait(run)
            waiting = await embedded(tasks)
            await worker.nothing("assignment")  # the old one still takes its place
            await worker.say(result=pb.Result(lease=assignment.lease, outcome=pb.OUTCOME_CANCELED))
            following = await worker.expect("assignment")

        assert cancel.lease == assignment.lease
        assert ended.status.phase == "Canceled"
        assert following.run_name == waiting.metadata.name
        assert (await tasks.wait(run)).status.phase == "Canceled"


async def test_an_attempt_that_takes_too_long_is_ended_and_its_worker_told(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        run = await embedded(tasks, timeout="300ms")
        assignment = await worker.expect("assignment")
        async with alive(worker, assignment.lease):
            assert (await worker.expect("cancel")).lease == assignment.lease

        assert (await tasks.wait(run)).status.phase == "Timeout"


async def test_progress_is_shown(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        run = await embedded(tasks)
        assignment = await worker.expect("assignment")
        for fraction in (0.1, 0.2, 0.5):
            await worker.say(progress=pb.Progress(lease=assignment.lease, fraction=fraction, message=f"at {fraction}"))

        shown = await tasks.wait(run, lambda found: found.status.progress == 0.5)

        assert shown.status.progress_message == "at 0.5"


async def test_a_worker_comes_back_with_what_it_holds(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        session = worker.registered.session_id
        run = await embedded(tasks)
        assignment = await worker.expect("assignment")
        await worker.say(acknowledge=pb.Acknowledge(lease=assignment.lease))
    unknown = pb.LeaseKey(run_uid="nobody", fencing_token=1)
    held = [pb.HeldLease(lease=assignment.lease), pb.HeldLease(lease=unknown, finished=True)]
    async with raw_worker(server.workers, "w1", tasks.namespace, session_id=session, held=held) as worker:
        assert worker.registered.session_id == session
        assert list(worker.registered.resumed) == [assignment.lease]
        assert list(worker.registered.lost) == [unknown]

        await worker.say(result=succeeded(assignment, b'"after the cut"'))

        ended = await tasks.wait(run)
        assert (ended.status.output, ended.status.attempt, len(ended.status.attempts)) == ("after the cut", 1, 1)


async def test_another_process_of_the_same_id_waits_until_the_first_is_gone(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "twin", tasks.namespace) as first, alive(first):
        run = await embedded(tasks)
        assignment = await first.expect("assignment")
        async with connected(server.workers) as second:
            await second.say(register=register("twin", tasks.namespace, ["t"]))
            code, details = await second.end()

        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert "WORKER_ID" in details

    async with raw_worker(server.workers, "twin", tasks.namespace) as second:  # it came back, and says that it holds nothing
        again = await second.expect("assignment")
        assert (again.lease.run_uid, again.attempt) == (assignment.lease.run_uid, 2)
        await second.say(result=succeeded(again))
        assert (await tasks.wait(run)).status.attempts[0].reason == "WorkerRestarted"


async def test_at_most_once_begins_when_confirmed_and_a_lost_one_ends_as_unknown(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        run = await embedded(tasks, execution="AtMostOnce", retry={"limit": 5})
        assignment = await worker.expect("assignment")
        assert assignment.at_most_once
        await worker.say(acknowledge=pb.Acknowledge(lease=assignment.lease))
        confirmed = await worker.expect("renewed")
        assert list(confirmed.held) == [assignment.lease]
        async with raw_worker(server.workers, "other", tasks.namespace) as other, alive(other):
            ended = await tasks.wait(run)

            assert (ended.status.phase, ended.status.reason) == ("Unknown", "WorkerLost")
            await other.nothing("assignment", 0.1)


async def test_a_lost_worker_is_shown_as_lost_and_as_ready_when_it_speaks_again(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        await worker_object(tasks, "w1", "Ready")
        lost = await worker_object(tasks, "w1", "Lost")
        assert lost.status.conditions[0].reason == "NotHeard"

        await worker.beat()
        await worker_object(tasks, "w1", "Ready")
        await embedded(tasks)
        await worker.expect("assignment")


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"version": 0}, grpc.StatusCode.FAILED_PRECONDITION, "version"),
        ({"worker_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "worker_id"),
        ({"tasks": ["builtin.echo"]}, grpc.StatusCode.INVALID_ARGUMENT, "builtin.echo"),
        ({"capacity": 99_999}, grpc.StatusCode.INVALID_ARGUMENT, "99999"),
        ({"token": "plum_wrong"}, grpc.StatusCode.UNAUTHENTICATED, "token"),
        ({"namespace": "nowhere"}, grpc.StatusCode.INVALID_ARGUMENT, "nowhere"),
    ],
    ids=["version", "id", "builtin", "capacity", "token", "namespace"],
)
async def test_a_registration_that_cannot_be_taken_says_why(
    server: RunningServer, tasks: Tasks, change: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    async with connected(server.workers) as worker:
        await worker.say(register=register("w1", tasks.namespace, ["t"]) if not change else _changed(tasks, change))
        found, details = await worker.end()

    assert found is code
    assert words in details


def _changed(tasks: Tasks, change: dict[str, Any]) -> pb.Register:
    made = {"version": 1, "worker_id": "w1", "namespace": tasks.namespace, "tasks": ["t"], "capacity": 1, **change}
    return pb.Register(**made)


async def test_the_first_message_must_be_register(server: RunningServer, tasks: Tasks) -> None:
    async with connected(server.workers) as worker:
        await worker.beat()
        code, _ = await worker.end()

    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_an_output_that_is_too_large_or_no_json_is_a_failure(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        reasons = []
        for output in (b'"' + b"x" * 1_100_000 + b'"', b"{no json"):
            run = await embedded(tasks, retry={"limit": 3})
            await worker.say(result=succeeded(await worker.expect("assignment"), output))
            assert (await worker.expect("recorded")).accepted
            ended = await tasks.wait(run)
            reasons.append((ended.status.phase, ended.status.reason))

    assert reasons == [("Failed", "OutputTooLarge"), ("Failed", "InvalidOutput")]


async def test_deleting_a_run_or_a_worker_takes_the_attempt_away(server: RunningServer, tasks: Tasks) -> None:
    async with raw_worker(server.workers, "w1", tasks.namespace) as worker:
        run = await embedded(tasks)
        assignment = await worker.expect("assignment")
        await tasks.api.delete(TaskRun, run.key)
        assert (await worker.expect("cancel")).lease == assignment.lease

        shown = await worker_object(tasks, "w1", "Ready")
        await tasks.api.delete(Worker, shown.key)
        await worker.expect("go_away")
        code, _ = await worker.end()
        assert code is grpc.StatusCode.UNAVAILABLE
    with contextlib.suppress(ApiError):
        assert await tasks.api.get(Worker, "w1", tasks.namespace) is None
