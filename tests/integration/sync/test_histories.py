"""Random histories of a repository, with crashes between any two writes and hands that change what is applied.

Whatever happened before: what lives is what the last valid commit says, and the inventory is what lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from dulwich.repo import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plum_client.client import ApiClient
from plum_client.clock import SystemClock
from plum_client.errors import ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.transport import Request, Response
from plum_client.writes import recorded_writes
from plum_controller.api.local import LocalTransport
from plum_controller.controllers.sync import SyncReconciler
from plum_controller.domain.sync.identity import id_of_item
from plum_schemas.base import ObjectKey
from plum_schemas.core import ConfigMap
from plum_schemas.sync import SYNC_LABEL, Sync

from tests.support.control_plane import ControlPlane
from tests.support.syncs import config

KEY = ObjectKey("default", "fleet")
NAMES = ("a", "b", "c", "d", "e")
BROKEN = ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: 7\n", "rubbish: [\n", "")


class CrashError(BaseException):
    """The controller is gone."""


class CrashingTransport(LocalTransport):
    """Lets the controller die at one of its writes: before it reached the store, or after, when nobody hears the answer."""

    left = -1
    after = False

    async def send(self, request: Request) -> Response:
        is_write = request.method != "GET" and "dryRun" not in request.query and request.info.kind != "Event"
        if is_write and self.left == 0 and not self.after:
            raise CrashError
        response = await super().send(request)
        if is_write:
            if self.left == 0:
                raise CrashError
            self.left -= 1
        return response


@dataclass
class Step:
    """One commit, what somebody does by hand before it is seen, and where the controller dies."""

    put: dict[str, str] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)
    broken: int | None = None
    by_hand: str = ""
    crash: int | None = None
    after: bool = False


steps = st.lists(
    st.builds(
        Step,
        put=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2"]), max_size=3),
        remove=st.sets(st.sampled_from(NAMES), max_size=3),
        broken=st.sampled_from([None, None, None, 0, 1, 2]),
        by_hand=st.sampled_from(["", "", "edit", "delete"]),
        crash=st.one_of(st.none(), st.integers(0, 6)),
        after=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


class Machine:
    """The repository, the store, and the controller of the moment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "repository"
        self.folder.mkdir()
        self.repository: Any = Repo.init(str(self.folder), default_branch=b"main")
        self.plane = ControlPlane(SystemClock())
        self.files: dict[str, str] = {}
        self.expected: dict[str, str] = {}

    async def start(self) -> None:
        await self.plane.start()
        self.client = self.plane.client("test")
        source = {"git": {"url": str(self.folder), "branch": "main"}}
        body = {"apiVersion": "plum.dev/v1", "kind": "Sync", "metadata": {"name": "fleet", "namespace": "default"},
                "spec": {"source": source, "prune": True, "maxDelete": "100%", "interval": "1s"}}  # fmt: skip
        await self.client.apply(body, kind=Sync.info)
        await self.boot()

    async def boot(self) -> None:
        """A controller that remembers nothing."""
        self.transport = CrashingTransport(self.plane.api)
        self.manager = Manager(ApiClient(self.transport, field_manager="plum-controller"), SystemClock())
        self.reconciler = SyncReconciler(self.manager, self.root / "syncs")
        self.running = asyncio.create_task(self.manager.run())
        await self.manager.wait_synced()

    async def die(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def close(self) -> None:
        await self.die()
        await self.plane.close()
        self.repository.close()

    def commit(self, step: Step) -> None:
        self.files = {name: value for name, value in {**self.files, **step.put}.items() if name not in step.remove}
        for path in self.folder.glob("*.yaml"):
            path.unlink()
        for name, value in self.files.items():
            (self.folder / f"{name}.yaml").write_text(config(name, x=value))
        if step.broken is not None:
            (self.folder / "broken.yaml").write_text(BROKEN[step.broken])
        porcelain.add(self.repository, [str(path) for path in self.folder.glob("*.yaml")])
        gone = [name for name in self.repository.open_index() if not (self.folder / name.decode()).exists()]
        if gone:
            index = self.repository.open_index()
            for name in gone:
                del index[name]
            index.write()
        author = b"x <x@example.org>"
        porcelain.commit(self.repository, message=b"step", author=author, committer=author)
        if step.broken is None and self.files:
            self.expected = dict(self.files)

    async def by_hand(self, what: str) -> None:
        """Somebody changes or deletes the first object there is."""
        for name in sorted(self.expected):
            with contextlib.suppress(NotFoundError, ConflictError):
                if what == "edit":
                    await self.client.patch(ConfigMap, ObjectKey("default", name), {"data": {"x": "by hand"}})
                elif what == "delete":
                    await self.client.delete(ConfigMap, ObjectKey("default", name))
            return

    async def reconcile(self) -> None:
        """Until nothing is written."""
        for _ in range(20):
            state = self.reconciler._states.get(KEY)
            if state is not None:
                state.dirty = True
            await self.caught_up()
            with recorded_writes() as writes:
                with contextlib.suppress(ConflictError):
                    await self.reconciler.reconcile(KEY)
            if not [one for one in writes if one.info.kind != "Event"]:
                return
        raise AssertionError("it does not come to rest")

    async def caught_up(self) -> None:
        """Wait until the informers hold what is in the store."""
        for kind in (ConfigMap, Sync):
            for stored in await self.client.list(kind, "default"):
                informer = self.manager.informer(kind.info if kind is ConfigMap else kind)
                while (value := informer.value(stored.key)) is None or stored.metadata.resource_version.encode() not in value:
                    await asyncio.sleep(0)
        live = {one.key for one in await self.client.list(ConfigMap, "default")}
        while set(self.manager.informer(ConfigMap.info).keys("default")) != live:
            await asyncio.sleep(0)

    async def check(self) -> None:
        listed = await self.client.list(ConfigMap, "default", labels=SYNC_LABEL)
        found = await self.client.get(Sync, KEY)
        assert found is not None
        assert {one.metadata.name: one.data["x"] for one in listed} == self.expected
        assert {id_of_item(item).name for item in found.status.inventory} == set(self.expected), found.status


async def play(history: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as root:
        machine = Machine(Path(root))
        await machine.start()
        try:
            for step in history:
                machine.commit(step)
                if step.by_hand:
                    await machine.by_hand(step.by_hand)
                machine.transport.left, machine.transport.after = -1 if step.crash is None else step.crash, step.after
                try:
                    await machine.reconcile()
                except CrashError:
                    await machine.die()
                    await machine.boot()
                machine.transport.left = -1
                await machine.reconcile()
                await machine.check()
        finally:
            await machine.close()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_any_history_ends_in_the_last_valid_commit(history: list[Step]) -> None:
    asyncio.run(play(history))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_a_thousand_histories_end_in_the_last_valid_commit(history: list[Step]) -> None:
    asyncio.run(play(history))
