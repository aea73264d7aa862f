"""Deleting a namespace in use: nothing new gets in, everything in it goes, processes too, and the name is free again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ApiError, ConflictError, ForbiddenError, NotFoundError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap, Namespace
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.revision import Revision

from tests.support.programs import is_running, sandbox

WRITERS = 8


async def write(api: ApiClient, number: int, outcomes: Counter[str], stop: asyncio.Event) -> None:
    """Create and change objects in the namespace, as fast as it answers, until told to stop."""
    count = 0
    while not stop.is_set():
        count += 1
        try:
            await api.create(ConfigMap(metadata=ObjectMeta(name=f"w{number}-{count}", namespace="busy"), data={"a": "b"}))
            outcomes["created"] += 1
        except ForbiddenError as error:
            outcomes["terminating" if "being terminated" in error.message else f"forbidden: {error.message}"] += 1
        except NotFoundError:
            outcomes["gone"] += 1
        except (AlreadyExistsError, ConflictError):
            outcomes["conflict"] += 1
        except ApiError as error:
            outcomes[f"{type(error).__name__}: {error.message}"] += 1
        await asyncio.sleep(0)


@pytest.mark.slow
async def test_deleting_a_namespace_under_load_empties_it(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.node("node-1", controller)
        api = box.api()
        await api.create(Namespace(metadata=ObjectMeta(name="busy")))
        await box.deploy("web", ["sleep", "1000"], namespace="busy", replicas=5)
        await box.until(lambda: box.available("web", 5, "busy"))
        pids = [i.status.pid or 0 for i in await box.instances("web", "busy")]
        outcomes: Counter[str] = Counter()
        stop = asyncio.Event()
        writers = [asyncio.create_task(write(api, number, outcomes, stop)) for number in range(WRITERS)]

        async def loaded() -> bool:
            return outcomes["created"] > 500

        await box.until(loaded, what="the namespace is in use")
        await api.delete(Namespace, "busy")

        async def gone() -> bool:
            return await api.get(Namespace, "busy") is None

        await box.until(gone, 30, what="the namespace is gone")
        stop.set()
        await asyncio.gather(*writers)

        for kind in (ConfigMap, Deployment, Instance, Revision):
            assert not (await api.list(kind, "busy")).items, f"{kind.__name__} left"
        assert not any(is_running(pid) for pid in pids), "its processes are gone"
        assert outcomes["terminating"] > 0, outcomes
        assert set(outcomes) <= {"created", "terminating", "gone"}, outcomes

        await api.create(Namespace(metadata=ObjectMeta(name="busy")))
        await api.create(ConfigMap(metadata=ObjectMeta(name="again", namespace="busy")))
        assert [item.metadata.name for item in await api.list(ConfigMap, "busy")] == ["again"]


@pytest.mark.slow
async def test_a_namespace_is_emptied_by_the_next_controller_when_the_first_was_killed(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        api = box.api()
        await api.create(Namespace(metadata=ObjectMeta(name="busy")))
        names = [f"c{number}" for number in range(400)]
        await asyncio.gather(*(api.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="busy"))) for name in names))

        await api.delete(Namespace, "busy")
        controller.kill()
        await box.restarted(controller)

        async def gone() -> bool:
            return await api.get(Namespace, "busy") is None

        await box.until(gone, 20, what="the namespace is gone")
        assert not (await api.list(ConfigMap, "busy")).items
