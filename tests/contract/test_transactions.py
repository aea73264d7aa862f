"""What every API promises of transactions: the same tests over the fake API, the real one in process, and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from plum_client import transactions as tx
from plum_client.codec import revision_of
from plum_client.errors import AlreadyExistsError, BadRequestError, ConflictError, NotFoundError
from plum_client.writes import recorded_writes
from plum_schemas.base import Object, ObjectKey
from plum_schemas.core import ConfigMap
from plum_schemas.deployment import Deployment, DeploymentStatus
from plum_schemas.instance import Instance
from plum_schemas.kv import KV

from tests.support.api import TARGETS, Target, make_deployment, make_instance, make_settings, watching

WEB = ObjectKey("default", "web")


@pytest.fixture(params=sorted(TARGETS))
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    async with TARGETS[request.param]() as target:
        yield target


async def names(target: Target, kind: type[Object]) -> list[str]:
    return [one.metadata.name for one in await target.api.list(kind, "default")]


async def test_all_operations_are_one_revision(target: Target) -> None:
    await target.api.create(make_deployment())
    await target.api.create(make_settings("old", a="1"))

    result = await target.api.transact(
        [
            tx.create(make_instance("web-1")),
            tx.patch(Deployment, WEB, {"spec": {"replicas": 5}}),
            tx.delete(ConfigMap, "old"),
            tx.get(Instance, "web-1"),
            tx.get(Instance, "none"),
        ]
    )

    assert result.succeeded
    made, patched = result[0].decode(Instance), result[1].decode(Deployment)
    assert made.metadata.resource_version == patched.metadata.resource_version == result.revision
    assert result[0].created and not result[1].created
    assert patched.spec.replicas == 5
    assert result[2].deleted
    assert result[3].decode(Instance).metadata.resource_version == result.revision
    assert not result[4]
    assert await names(target, ConfigMap) == []
    assert (await target.api.get(Instance, "web-1")) == made


async def test_a_refused_operation_is_named_and_nothing_happens(target: Target) -> None:
    await target.api.create(make_settings("taken"))

    with pytest.raises(AlreadyExistsError, match=r"then\[1\].*already exists.*nothing was written") as refused:
        await target.api.transact([tx.create(make_settings("new")), tx.create(make_settings("taken"))])

    assert refused.value.status["details"]["operation"] == "then[1]"
    assert await names(target, ConfigMap) == ["taken"]


async def test_the_comparison_chooses_the_branch(target: Target) -> None:
    stored = await target.api.create(make_deployment())
    then, otherwise = [tx.create(make_settings("yes"))], [tx.create(make_settings("no"))]
    true = [
        tx.exists(Deployment, "web"),
        tx.absent(Deployment, "other"),
        tx.at_revision(stored),
        tx.at_revision(Deployment, "other", "0"),
        tx.field(Deployment, "web", "spec.replicas", 2),
        tx.field(Deployment, "web", "spec.replicas", 1, ">"),
        tx.field(Deployment, "web", "/spec/replicas", 3, "!="),
        tx.field(Deployment, "web", "status.phase", None),
    ]
    false = [
        tx.absent(Deployment, "web"),
        tx.exists(Deployment, "other"),
        tx.at_revision(Deployment, "web", "999999999"),
        tx.field(Deployment, "web", "spec.replicas", 2, "!="),
        tx.field(Deployment, "web", "spec.replicas", 2, "<"),
        tx.field(Deployment, "other", "spec.replicas", 2),
    ]

    assert (await target.api.transact(then, compare=true, otherwise=otherwise)).succeeded
    for one in false:
        result = await target.api.transact(then, compare=[*true, one], otherwise=[tx.get(Deployment, "web")])
        assert not result.succeeded
        assert result[0].decode(Deployment) == stored

    assert await names(target, ConfigMap) == ["yes"]


async def test_later_operations_see_earlier_ones(target: Target) -> None:
    status = DeploymentStatus(replicas=2)

    result = await target.api.transact(
        [
            tx.create(make_deployment()),
            tx.update_status(replace(make_deployment(), status=status)),
            tx.patch(Deployment, WEB, {"metadata": {"labels": {"a": "b"}}}),
        ]
    )

    stored = await target.api.get(Deployment, WEB)
    assert stored is not None and stored.status.replicas == 2 and stored.metadata.labels == {"a": "b"}
    assert stored.metadata.resource_version == result.revision


async def test_watchers_see_each_object_once(target: Target) -> None:
    start = await target.api.list(ConfigMap)
    async with watching(target.api.watch(ConfigMap, since=start.revision)) as watch:
        await target.api.transact(
            [tx.create(make_settings("a")), tx.patch(ConfigMap, "a", {"data": {"x": "y"}}), tx.create(make_settings("b"))]
        )

        assert sorted(await watch.until(2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_stale_object_is_a_conflict(target: Target) -> None:
    stored = await target.api.create(make_deployment())
    await target.api.patch(Deployment, WEB, {"spec": {"replicas": 7}})

    with pytest.raises(ConflictError, match=r"then\[1\]"):
        await target.api.transact([tx.create(make_settings("a")), tx.update(stored)])

    assert await names(target, ConfigMap) == []


async def test_a_missing_object_is_not_found(target: Target) -> None:
    for operation in (tx.patch(Deployment, "none", {}), tx.delete(Deployment, "none")):
        with pytest.raises(NotFoundError, match=r"then\[0\]"):
            await target.api.transact([operation])


async def test_a_dry_run_stores_nothing(target: Target) -> None:
    result = await target.api.transact([tx.create(make_settings("a")), tx.get(ConfigMap, "a")], dry_run=True)

    assert result[0].decode(ConfigMap).metadata.name == result[1].decode(ConfigMap).metadata.name == "a"
    assert await names(target, ConfigMap) == []


async def test_what_changes_nothing_says_so(target: Target) -> None:
    stored = await target.api.create(make_settings("a", x="1"))

    result = await target.api.transact([tx.patch(ConfigMap, "a", {"data": {"x": "1"}})])

    assert result[0].unchanged
    assert result[0].decode(ConfigMap).metadata.resource_version == stored.metadata.resource_version


async def test_an_unknown_kind_is_refused(target: Target) -> None:
    body = tx.Operation("get", ConfigMap.info, ObjectKey("", "x"), b'{"kind":"Nothing","name":"x"}')

    with pytest.raises(BadRequestError, match="Nothing"):
        await target.api.transact([body])


async def test_put_sets_an_entry_of_the_key_value_store(target: Target) -> None:
    await target.api.transact([tx.put("plant", "Level A", 80, "int")])
    result = await target.api.transact(
        [tx.put("plant", "Level A", 81)],
        compare=[tx.value("plant", "Level A", 80), tx.entry_exists("plant", "other", False)],
        otherwise=[tx.put("plant", "failed", True, "bool")],
    )

    entry = result[0].decode(KV)
    assert (entry.spec.key, entry.spec.type, entry.spec.value) == ("Level A", "int", 81)
    assert (await target.api.get(KV, entry.metadata.name, "plant")) == entry
    failed = await target.api.transact(
        [tx.put("plant", "Level A", 1)],
        compare=[tx.entry_revision("plant", "Level A", "1")],
        otherwise=[tx.put("plant", "failed", True, "bool")],
    )
    assert not failed.succeeded and failed[0].decode(KV).spec.value is True


async def test_the_writes_are_noted_for_whoever_reads_them_back(target: Target) -> None:
    await target.api.create(make_settings("gone"))

    with recorded_writes() as written:
        result = await target.api.transact([tx.create(make_settings("a")), tx.delete(ConfigMap, "gone"), tx.get(ConfigMap, "a")])

    assert [(one.key.name, bool(one.value)) for one in written] == [("a", True), ("gone", False)]
    assert {one.revision for one in written} == {revision_of(result.revision)}
    assert target.api.last_revision == revision_of(result.revision)
