"""The instances of one node: keeps what runs equal to what is wanted of this node.

    Instance (informer, or the ledger while no controller answers) -> key -> reconcile
       next_step -> Start | Stop | Kill | Rest | Finish | Forget -> ledger, driver -> again, until it is Wait
       exit, probe, lease, timer -> key                          -> status -> delivery queue

`plan` decides, this file acts. Every act first writes down what it is about to do where a crash in the middle would
otherwise leave something unexplained; every act may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from plum_client.clock import Clock
from plum_client.errors import ApiUnavailableError, ConflictError
from plum_client.events import EventRecorder
from plum_client.finalizers import remove_finalizer
from plum_client.informer import Informer
from plum_client.reconciler import Result
from plum_client.work_queue import WorkQueue
from plum_schemas.base import ObjectKey
from plum_schemas.instance import INSTANCE_FINALIZER, Instance

from plum_agent.adoption import Adopter
from plum_agent.delivery import DeliveryQueue
from plum_agent.drivers.base import Driver, Exit
from plum_agent.errors import RefusedError, StartError
from plum_agent.following import Follower
from plum_agent.ledger import Ledger, Record
from plum_agent.output import OutputKeeper
from plum_agent.plan import Finish, Forget, Kill, Rest, RunState, Start, Step, Stop, StopReason, Wait, next_step
from plum_agent.preparing import MakeCache, PrepareImage, Preparer
from plum_agent.starter import WAITS_FOR_RESERVATION, Starter
from plum_agent.stopping import stop_run
from plum_agent.telling import Teller
from plum_agent.unit import Fence, Refusal, Unit
from plum_agent.withdrawal import wait_withdrawn

logger = logging.getLogger(__name__)

MAX_STEPS = 8
"""Steps of one reconcile; more would mean that two rules fight."""
MAX_REFUSAL_SECONDS = 30.0
RESERVED_RETRY_SECONDS = 1.0
"""Between two looks whether a device is free: only instances that somebody put on this node by name look here."""
FENCED_RETRY_SECONDS = 1.0
"""Between two looks whether the lease is held again; the lease thread tells too."""


class InstanceReconciler:
    """Owns the units of one node. `reconcile` is never called twice at once for one key."""

    def __init__(
        self,
        informer: Informer[Instance],
        starter: Starter,
        delivery: DeliveryQueue,
        queue: WorkQueue[ObjectKey],
        keeper: OutputKeeper | None,
        events: EventRecorder | None,
        fence: Callable[[], Fence],
        make_cache: MakeCache | None = None,
        prepare_image: PrepareImage | None = None,
    ) -> None:
        """`make_cache` is called with the first package that is needed; without it packages are refused."""
        self.units: dict[ObjectKey, Unit] = {}
        self._informer = informer
        self._starter = starter
        self._driver: Driver = starter.driver
        self._ledger: Ledger = starter.ledger
        self._clock: Clock = starter.clock
        self._delivery = delivery
        self._queue = queue
        self._fence = fence
        self._adopter = Adopter(starter)
        self._preparer = Preparer(make_cache, queue.add, prepare_image)
        self._teller = Teller(informer, delivery, events, starter.clock, starter.boot_id, starter.place.address)
        self._follower = Follower(
            driver=starter.driver,
            ledger=starter.ledger,
            ports=starter.ports,
            keeper=keeper,
            teller=self._teller,
            clock=starter.clock,
            boot_id=starter.boot_id,
            enqueue=queue.add,
        )
        self._ending = False
        self._level = logging.INFO if starter.driver.keeps_runs else logging.DEBUG
        """Thousands of instances that are only played are not worth a line each."""

    # ---- life of the agent

    async def load(self) -> None:
        """Take in the ledger: everything in it is looked for, and wanted, until the API says otherwise."""
        for key, record in self._ledger.load().items():
            self.units[key] = self._adopter.unit_of(key, record)
            self._queue.add(key)
        await self._adopter.find_strays(self.units.values())

    def on_synced(self) -> None:
        """The first list is here: instances that are not in it are gone."""
        for key in list(self.units):
            self._queue.add(key)

    async def end_strays(self) -> None:
        """End what an agent with this ledger started for objects that are gone, where the record of it was lost."""
        await self._adopter.end_strays({obj.metadata.uid for obj in self._informer.list()})

    def enqueue_exclusive(self) -> None:
        """The lease changed: those that depend on it look again."""
        for key, unit in self.units.items():
            if unit.record.instance.spec.template.exclusive:
                self._queue.add(key)

    def on_engine(self) -> None:
        """The container engine came or went: those that wait for it look again at once."""
        for key, unit in self.units.items():
            waits = unit.refusal is not None and unit.refusal.reason == "EngineUnavailable"
            if waits and unit.refusal is not None:
                unit.refusal.retry_at = self._clock.monotonic()
            if waits or unit.state is RunState.STARTING:
                self._queue.add(key)

    def needs(self, marker: str) -> bool:
        """Is this the marker of a run whose end was not written down yet?"""
        runs = (unit.record.run for unit in self.units.values())
        return any(run is not None and run.marker == marker and run.exit is None for run in runs)

    async def stop_all(self) -> None:
        """End every run, as `onStop: stop` wants it; what is wanted stays in the ledger and starts with the next agent."""
        self._ending = True
        for key in self.units:
            self._queue.add(key)
        while any(unit.alive for unit in self.units.values()):  # noqa: ASYNC110 -- once, at the very end
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Stop watching. Runs go on."""
        for unit in self.units.values():
            for task in (unit.watch, unit.stopping):
                if task is not None:
                    task.cancel()
            if unit.prober is not None:
                unit.prober.stop()
        self._preparer.close()

    def packages(self) -> set[str]:
        """Checksums of the packages that instances of this node run."""
        return {unit.package.sha256 for unit in self.units.values() if unit.package is not None}

    # ---- reconcile

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring one instance one or several steps closer to its spec, then tell how it is."""
        unit = self.units.get(key)
        instance = self._find(key, unit)
        if unit is None:
            if instance is None:
                return Result.wait_for_change()
            unit = self.units[key] = self._adopter.unit_of(key, Record(instance=_without_status(instance)))
        replaced = instance is not None and instance.metadata.uid != unit.record.instance.metadata.uid
        deleted = instance is None or replaced
        current = unit.record.instance if instance is None or replaced else instance
        await self._remember(unit, current)

        step = await self._step_until_waiting(unit, current, deleted)
        if isinstance(step, Forget):
            if replaced:
                self._queue.add(key)
            return Result.wait_for_change()
        if not deleted:
            self._teller.report(unit, current)
        return self._when_again(unit, step)

    def _find(self, key: ObjectKey, unit: Unit | None) -> Instance | None:
        if self._informer.is_synced:
            return self._informer.get(key)
        return unit.record.instance if unit is not None else None

    async def _remember(self, unit: Unit, instance: Instance) -> None:
        """Keep what is wanted on disk. An instance that never started is written with its first intent."""
        known = unit.record.instance
        if known.metadata.resource_version == instance.metadata.resource_version:
            return
        changed = known.spec != instance.spec or known.metadata.deletion_timestamp != instance.metadata.deletion_timestamp
        unit.record.instance = _without_status(instance)
        if changed and unit.record.run is not None:
            await self._ledger.record(unit.key, unit.record)

    async def _step_until_waiting(self, unit: Unit, instance: Instance, deleted: bool) -> Step:
        step: Step = Wait()
        for _ in range(MAX_STEPS):
            if unit.state is RunState.STARTING:
                await self._adopt(unit, instance)
            if unit.exit is not None and unit.alive:
                await self._follower.finish(unit)
                ended = unit.record.last_exit
                fields = {"key": str(unit.key), "code": ended.code if ended else None, "reason": ended.reason if ended else ""}
                logger.log(self._level, "instance ended", extra=fields)
            fence = self._fence() if instance.spec.template.exclusive else None
            wanted = unit.wanted(instance, deleted)
            step = next_step(wanted, unit.observed(self._clock.monotonic(), fence), self._clock.monotonic())
            if self._ending and not isinstance(step, (Stop, Kill, Wait)):
                return Wait()
            if self._ending and isinstance(step, Wait) and unit.state is RunState.RUNNING:
                step = Stop(StopReason.WANTED, self._clock.monotonic() + wanted.grace_seconds)
            unit.next_start = step.until if isinstance(step, Wait) and unit.state is RunState.ENDED else None
            if isinstance(step, Wait):
                if wanted.run and not unit.alive and fence is not None and not fence.may_start:
                    retry_at = self._clock.monotonic() + FENCED_RETRY_SECONDS
                    unit.refusal = Refusal("LeaseNotHeld", "waiting for the lease of this node", retry_at)
                return step
            await self._act(unit, instance, step)
            if isinstance(step, Forget):
                return step
        self._queue.add(unit.key)
        return step

    async def _act(self, unit: Unit, instance: Instance, step: Step) -> None:
        match step:
            case Start():
                await self._start(unit, instance)
            case Stop():
                await self._stop(unit, instance, step)
            case Kill():
                await self._follower.kill(unit)
            case Rest():
                unit.record.at_rest, unit.state = True, RunState.NONE
                unit.record.failures, unit.record.finished = 0, ""
                await self._ledger.record(unit.key, unit.record)
            case Finish():
                unit.record.finished = step.verdict.value
                await self._ledger.record(unit.key, unit.record)
                logger.log(self._level, "instance ended for good", extra={"key": str(unit.key), "verdict": step.verdict.value})
            case Forget():
                await self._forget(unit, instance)

    def _when_again(self, unit: Unit, step: Step) -> Result:
        times = [step.until] if isinstance(step, Wait) and step.until is not None else []
        if unit.refusal is not None and not unit.alive and not unit.is_preparing:
            times.append(unit.refusal.retry_at)
        if not times:
            return Result.wait_for_change()
        return Result.requeue(after=max(0.0, min(times) - self._clock.monotonic()) + 0.001)

    # ---- acts

    async def _start(self, unit: Unit, instance: Instance) -> None:
        try:
            self._starter.check(instance)
            if not self._preparer.ready(unit, instance, self._ledger.folder(unit.key)):
                return
            await self._starter.start(unit, instance)
        except RefusedError as error:
            self._refuse(unit, instance, error)
            return
        except StartError as error:
            unit.refusal, unit.failure = None, str(error)
            unit.exit = Exit(None, "", self._clock.now().timestamp())
            logger.warning("instance did not start", extra={"key": str(unit.key), "error": str(error)})
            self._teller.warn(instance, "StartFailed", str(error))
            unit.state = RunState.RUNNING  # it ends like a run that failed: backoff, then again
            return
        unit.refusal, unit.failure = None, ""
        handle = unit.record.run.handle if unit.record.run else None
        logger.log(self._level, "instance started", extra={"key": str(unit.key), "pid": handle.pid if handle else None})
        self._follower.follow(unit, instance)

    def _refuse(self, unit: Unit, instance: Instance, error: RefusedError) -> None:
        count = unit.refusal.count + 1 if unit.refusal is not None and unit.refusal.reason == error.reason else 1
        pause = min(MAX_REFUSAL_SECONDS, 0.5 * 2.0 ** min(count - 1, 10))
        if error.reason == WAITS_FOR_RESERVATION:
            pause = RESERVED_RETRY_SECONDS
        unit.refusal = Refusal(error.reason, error.message, self._clock.monotonic() + pause, count)
        if count == 1:
            logger.warning("instance cannot start", extra={"key": str(unit.key), "reason": error.reason, "error": error.message})
            self._teller.warn(instance, error.reason, error.message)

    async def _adopt(self, unit: Unit, instance: Instance) -> None:
        """Find out what became of a run whose start was written down by an agent before this one."""
        try:
            found = await self._adopter.adopt(unit, instance)
        except StartError as error:
            unit.failure = str(error)
            self._teller.report(unit, instance)
            raise
        unit.failure = ""
        if isinstance(found, Exit):
            unit.exit, unit.state = found, RunState.RUNNING
        elif found is None:
            unit.state = RunState.NONE
        else:
            unit.state, unit.adopted = RunState.RUNNING, True
            self._follower.follow(unit, instance, adopted=True)
            if unit.record.run is not None and unit.record.run.stop_reason:
                logger.info("instance was being stopped when the agent ended", extra={"key": str(unit.key)})
                unit.record.run.stop_reason = ""

    async def _stop(self, unit: Unit, instance: Instance, step: Stop) -> None:
        run = unit.record.run
        assert run is not None  # noqa: S101 -- a run that can be stopped has a record
        run.stop_reason = step.reason.value
        unit.state, unit.stop_deadline = RunState.STOPPING, step.deadline
        await self._ledger.record(unit.key, unit.record)
        logger.log(self._level, "instance is stopped", extra={"key": str(unit.key), "reason": step.reason.value})
        if step.reason is StopReason.PROBE and unit.prober is not None:
            self._teller.warn(instance, "Unhealthy", unit.prober.state.failed)
        if self._find(unit.key, unit) is not None:
            self._teller.report(unit, instance)
        withdraw = partial(wait_withdrawn, self._starter.api, self._delivery)
        stopping = stop_run(unit, instance, step, self._driver, withdraw, self._clock)
        unit.stopping = asyncio.get_running_loop().create_task(stopping)

    async def _forget(self, unit: Unit, instance: Instance) -> None:
        """Release the object, then delete what is on disk. In this order: the other way round a crash could leave an
        object that nobody releases."""
        current = self._informer.get(unit.key) if self._informer.is_synced else instance
        if current is not None and current.metadata.uid == unit.record.instance.metadata.uid:
            if not self._informer.is_synced:
                raise ApiUnavailableError("the controller is away, the instance cannot be released")
            try:
                await remove_finalizer(self._starter.api, current, INSTANCE_FINALIZER)
            except ConflictError:
                fresh = await self._starter.api.get(Instance, unit.key)
                if fresh is not None and fresh.metadata.uid == current.metadata.uid:
                    await remove_finalizer(self._starter.api, fresh, INSTANCE_FINALIZER)
        await self._preparer.cancel(unit.key)
        self._delivery.drop(unit.key)
        self.units.pop(unit.key, None)
        await self._ledger.forget(unit.key)
        logger.log(self._level, "instance is gone", extra={"key": str(unit.key)})


def _without_status(instance: Instance) -> Instance:
    """What is kept on disk: the wish, not the answer."""
    return Instance(metadata=instance.metadata, spec=instance.spec)
