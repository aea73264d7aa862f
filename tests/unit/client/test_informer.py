"""The informer: whatever happens to its watch, cache, indexes and handlers end up at what the API holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError, NotFoundError
from plum_client.fake import FakeApi
from plum_client.informer import Informer
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated, settle
from plum_client.transport import Request, Response, Stream
from plum_schemas.base import ObjectKey
from plum_schemas.core import ConfigMap

from tests.support.api import make_settings

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "put", "delete", "delete", "wait", "wait", "cut", "compact", "outage"]),
        st.sampled_from("abc"),
        st.sampled_from(["red", "blue", ""]),
    ),
    min_size=5,
    max_size=60,
)


class Repeating(FakeApi):
    """Sends lines again that it sent long before."""

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[Stream, None]:
        async with super().stream(request) as stream:
            yield Stream(stream.status, self._repeat(stream.chunks))

    async def _repeat(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        sent: list[bytes] = []
        async for chunk in chunks:
            yield chunk
            sent.append(chunk)
            if self.random.random() < 0.3:
                yield self.random.choice(sent)


def color_of(found: ConfigMap) -> Sequence[str]:
    return [found.metadata.labels["color"]] if "color" in found.metadata.labels else []


async def write(api: ApiClient, step: tuple[str, str, str]) -> None:
    what, name, color = step
    if what == "delete":
        await api.delete(ConfigMap, name)
        return
    labels = {"color": color or None}
    try:
        await api.patch(ConfigMap, name, {"metadata": {"labels": labels}, "data": {"x": color}})
    except NotFoundError:
        await api.create(make_settings(name, {"color": color} if color else {}, x=color))


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 1000), cut_share=st.sampled_from([0.0, 0.3]), labels=st.sampled_from(["", "color=red"]))
def test_cache_indexes_and_handlers_end_up_at_the_truth(
    steps: list[tuple[str, str, str]], seed: int, cut_share: float, labels: str
) -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = Repeating(clock=SimulatedClock(loop), seed=seed, kinds=[ConfigMap])
        writer = fake.client()
        informer = Informer(fake.client(), ConfigMap, labels=labels, indexers={"color": color_of}, decoded=4, random=loop.random)
        mirror: dict[ObjectKey, ConfigMap] = {}

        def follow(old: ConfigMap | None, new: ConfigMap | None) -> None:
            known = new or old
            assert known is not None
            assert mirror.get(known.key) == old
            if new is None:
                del mirror[known.key]
            else:
                mirror[known.key] = new

        informer.add_handler(follow)
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()
        fake.faults.cut_watch = cut_share
        for step in steps:
            if step[0] == "cut":
                fake.cut_watches()
            elif step[0] == "compact":
                fake.compact()
            elif step[0] == "outage":
                fake.cut_watches()
                await write(writer, ("delete", step[1], ""))
                fake.compact()
            elif step[0] == "wait":
                await asyncio.sleep(0.5)
            else:
                await write(writer, step)
                if fake.random.random() < 0.5:
                    await settle()
                    informer.list()  # fills the cache of decoded objects
        fake.faults.cut_watch = 0.0
        await asyncio.sleep(200)  # longer than any backoff and a bookmark

        truth = {found.key: found for found in fake.list(ConfigMap) if not labels or color_of(found) == ["red"]}
        assert {found.key: found for found in informer.list()} == truth == mirror
        assert sorted(informer.keys("default")) == sorted(truth)
        for color in ("red", "blue"):
            expected = sorted(key for key, found in truth.items() if color_of(found) == [color])
            assert sorted(found.key for found in informer.by_index("color", color)) == expected
        assert informer.revision == fake.revision
        following.cancel()

    run_simulated(main, seed)


class Scripted:
    """A transport whose watches send exactly these lines, one list per connection; then they hang."""

    def __init__(self, items: list[dict[str, Any]], revision: int, watches: list[list[dict[str, Any] | None]]) -> None:
        self.asked: list[str] = []
        self._items = items
        self._revision = revision
        self._watches = watches

    async def send(self, request: Request) -> Response:
        body = {"metadata": {"resourceVersion": str(self._revision)}, "items": self._items}
        return Response(200, json.dumps(body).encode())

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[Stream, None]:
        self.asked.append(request.query["resourceVersion"])
        yield Stream(200, self._lines(self._watches.pop(0) if self._watches else []))

    async def _lines(self, lines: list[dict[str, Any] | None]) -> AsyncIterator[bytes]:
        for line in lines:
            if line is None:
                raise ApiUnavailableError("cut")
            yield json.dumps(line).encode()
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        return


def event(kind: str, name: str, revision: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "resourceVersion": str(revision)}
    return {
        "type": kind,
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"at": str(revision)}},
    }


def test_a_cut_between_two_changes_of_one_revision_loses_neither() -> None:
    async def main() -> None:
        both = [event("ADDED", "a", 7), event("ADDED", "b", 7)]
        transport = Scripted([], 5, [[both[0], None], both])
        informer = Informer(ApiClient(transport), ConfigMap)
        calls: list[str] = []
        informer.add_raw_handler(lambda key, old, new: calls.append(key.name))
        following = asyncio.create_task(informer.run())
        await asyncio.sleep(5)

        assert transport.asked == ["5", "5"]
        assert calls == ["a", "b"]
        assert informer.revision == 7
        following.cancel()

    run_simulated(main())


def test_a_bookmark_moves_the_point_of_resuming() -> None:
    async def main() -> None:
        bookmark = {"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "90"}}}
        transport = Scripted([], 5, [[event("ADDED", "a", 7), bookmark, None]])
        informer = Informer(ApiClient(transport), ConfigMap)
        following = asyncio.create_task(informer.run())
        waiting = asyncio.create_task(informer.wait_for(90))
        await asyncio.sleep(5)

        assert transport.asked == ["5", "90"]
        assert await waiting
        following.cancel()

    run_simulated(main())


def test_waiting_for_a_revision_gives_up_in_time() -> None:
    async def main() -> None:
        informer = Informer(ApiClient(Scripted([], 5, [])), ConfigMap)
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()

        assert await informer.wait_for(5, timeout=1)
        assert not await informer.wait_for(6, timeout=1)
        assert asyncio.get_running_loop().time() >= 1
        following.cancel()

    run_simulated(main())


def test_an_object_that_does_not_fit_its_kind_is_absent_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broken = event("MODIFIED", "a", 8)
        broken["object"]["data"] = "text"
        transport = Scripted([], 5, [[event("ADDED", "a", 7), broken, event("ADDED", "b", 9)]])
        informer = Informer(ApiClient(transport), ConfigMap, indexers={"name": lambda found: [found.metadata.name]})
        following = asyncio.create_task(informer.run())
        await settle()

        assert [found.metadata.name for found in informer.list()] == ["b"]
        assert informer.by_index("name", "a") == []
        following.cancel()

    run_simulated(main())
    assert "object does not fit its kind" in caplog.text


def test_a_failing_handler_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        fake = FakeApi(make_settings("a"))
        informer = Informer(fake.client(), ConfigMap)
        seen: list[str] = []

        def fail(old: ConfigMap | None, new: ConfigMap | None) -> None:
            raise ValueError("broken handler")

        informer.add_handler(fail)
        informer.add_handler(lambda old, new: seen.append(new.metadata.name if new else ""))
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()

        assert seen == ["a"]
        following.cancel()

    run_simulated(main())
    assert "handler failed" in caplog.text


def test_what_is_added_late_sees_what_is_there() -> None:
    async def main() -> None:
        fake = FakeApi(make_settings("a", {"color": "red"}), make_settings("b"))
        informer = Informer(fake.client(), ConfigMap)
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()

        seen: list[str] = []
        informer.add_raw_handler(lambda key, old, new: seen.append(key.name))
        informer.add_indexers({"color": color_of})
        informer.add_indexers({"color": color_of})

        assert seen == ["a", "b"]
        assert [found.metadata.name for found in informer.by_index("color", "red")] == ["a"]
        assert informer.index_values("color") == ["red"]
        with pytest.raises(ValueError, match="another function"):
            informer.add_indexers({"color": lambda found: []})
        following.cancel()

    run_simulated(main())


def test_a_quiet_watch_that_ends_is_opened_again_soon() -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop), kinds=[ConfigMap])
        informer = Informer(fake.client(), ConfigMap, random=loop.random)
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()
        for _ in range(20):
            await asyncio.sleep(600)
            fake.cut_watches()
        await asyncio.sleep(1)

        await fake.client().create(make_settings("a"))
        assert await informer.wait_for(fake.revision, timeout=1)
        following.cancel()

    run_simulated(main)


@pytest.mark.parametrize("told", [False, True])
def test_after_a_long_outage_the_watch_returns_as_soon_as_it_is_told(told: bool) -> None:
    async def main(loop: SimulatedLoop) -> float:
        fake = FakeApi(clock=SimulatedClock(loop), kinds=[ConfigMap])
        informer = Informer(fake.client(), ConfigMap, random=loop.random)
        following = asyncio.create_task(informer.run())
        await informer.wait_synced()
        fake.faults.refuse = 1.0
        fake.cut_watches()
        await asyncio.sleep(300)
        fake.faults.refuse = 0.0
        await fake.client().create(make_settings("made", {}, x="1"))
        back = loop.time()
        if told:
            informer.try_now()
        while not len(informer):
            await asyncio.sleep(0.01)
        following.cancel()
        return loop.time() - back

    seconds = run_simulated(main, seed=3)

    assert (seconds < 0.1) is told
