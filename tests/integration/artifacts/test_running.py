"""Packages on a node: from an upload to a process that runs in its own folder with what it was promised."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from plum_client.errors import ConflictError
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.core import ConfigMap, Namespace, Secret
from plum_schemas.endpoint import Endpoint, EndpointSpec
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec
from plum_schemas.kv import KV, KVSpec
from plum_schemas.template import Template

from tests.support.agent import NODE, Site, running_site, until
from tests.support.artifact_site import create, package, push, refused
from tests.support.packages import good_zip

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHOW = 'env > env.txt; pwd > pwd.txt; echo "$0" > zero.txt; cat data.txt; exec sleep 1000'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(tmp_path_factory.mktemp("site")) as running:
        await running.registered()
        yield running


def app(site: Site, name: str) -> Path:
    return site.data / NODE / f"default_{name}" / "app"


def environment(site: Site, name: str) -> dict[str, str]:
    lines = (app(site, name) / "env.txt").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


async def written(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        await asyncio.sleep(0.02)
    return path.read_text()


async def test_a_package_starts_in_its_own_folder_with_the_environment_of_2_3(site: Site) -> None:
    data = package("1.0.0", SHOW, {"data.txt": b"hello\n", "bin/tool": b"#!/bin/sh\n", "conf/app.ini": b"a=1\n"})
    await push(site, data)
    await create(site, "one")
    await create(site, "two", env=[{"name": "MODE", "value": "demo"}])

    first, second = await site.running("one"), await site.running("two")

    assert first.artifact_sha256 == second.artifact_sha256 == hashlib.sha256(data).hexdigest()
    assert (await written(app(site, "one") / "pwd.txt")).strip() == str(app(site, "one"))
    assert (await written(app(site, "two") / "zero.txt")).strip() == str(app(site, "two") / "start.sh")
    got = environment(site, "two")
    assert {name: got[name] for name in ("PLUM_INSTANCE_ID", "PLUM_APP_NAME", "PLUM_APP_VERSION", "WORKER_NODE_ID", "MODE")} == {
        "PLUM_INSTANCE_ID": "two", "PLUM_APP_NAME": "demo-app", "PLUM_APP_VERSION": "1.0.0",
        "WORKER_NODE_ID": NODE, "MODE": "demo",
    }  # fmt: skip
    assert got["CONTROLLER_BASE"] == site.url
    assert set(got) <= {
        "PLUM_INSTANCE_ID", "PLUM_APP_NAME", "PLUM_APP_VERSION", "WORKER_NODE_ID", "MODE", "CONTROLLER_BASE", "PLUM_RUN",
        "PLUM_NAMESPACE", "PLUM_DEVICES", "PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip
    assert os.access(app(site, "one") / "bin/tool", os.X_OK)
    assert not os.access(app(site, "one") / "conf/app.ini", os.X_OK)
    await site.delete("one")
    await until(lambda: not app(site, "one").exists())
    assert app(site, "two").exists()


async def test_a_package_that_is_missing_is_waited_for(site: Site) -> None:
    await create(site, "early", "7.0.0")
    status = await refused(site, "early", "ArtifactMissing")

    await push(site, package("7.0.0"))

    assert (status.phase, "plum artifact push" in status.message) == ("Preparing", True)
    await site.running("early")
    await site.delete("early")


@pytest.mark.parametrize(("name", "start", "reason", "words"), [
    ("interpreter", "#!/usr/bin/env no-such-shell\n", "InterpreterMissing", "no-such-shell, which this node does not have"),
    ("path", "#!/opt/no/such/shell\n", "InterpreterMissing", "/opt/no/such/shell"),
])  # fmt: skip
async def test_a_node_without_the_interpreter_says_so(site: Site, name: str, start: str, reason: str, words: str) -> None:
    version = f"2.{name}"
    await push(site, good_zip({"start.sh": start.encode(), "meta.ini": f"name=demo-app\nversion={version}\n".encode()}))
    await create(site, name, version)

    assert words in (await refused(site, name, reason)).message
    await site.delete(name)
    await site.gone(name)


async def test_a_program_for_another_machine_is_refused_and_one_beside_it_is_not(site: Site) -> None:
    own = bytearray(Path(shutil.which("true") or "/bin/true").read_bytes())
    other = bytearray(own)
    other[18:20] = (183 if os.uname().machine == "x86_64" else 62).to_bytes(2, "little")
    await push(site, package("3.1", files={"bin/app": bytes(other)}))
    await push(site, package("3.2", files={"arm/app": bytes(other), "own/app": bytes(own)}))
    await create(site, "wrong", "3.1")
    await create(site, "both", "3.2")

    assert (
        f"bin/app is built for {'aarch64' if os.uname().machine == 'x86_64' else 'x86_64'}"
        in (await refused(site, "wrong", "WrongArchitecture")).message
    )
    await site.running("both")
    for name in ("wrong", "both"):
        await site.delete(name)


async def test_a_library_that_nobody_has_is_named(site: Site) -> None:
    program = Path(shutil.which("ls") or "/bin/ls").read_bytes()
    assert b"libc.so.6\0" in program
    await push(site, package("4.0", files={"bin/app": program.replace(b"libc.so.6\0", b"libq.so.6\0")}))
    await create(site, "library", "4.0")

    status = await refused(site, "library", "LibraryMissing")

    assert "bin/app needs libq.so.6, which neither the package nor this node has" in status.message
    await site.delete("library")


async def test_configuration_and_secrets_arrive_as_environment_and_as_files(site: Site) -> None:
    metadata = ObjectMeta(name="web", namespace="default")
    await site.api.create(ConfigMap(metadata=metadata, data={"MODE": "demo", "app.ini": "[a]\nb=1\n"}))
    await site.api.create(Secret(metadata=metadata, data={"token": "czNjcmV0", "KEY": "a2V5"}))
    await site.api.create(KV(metadata=ObjectMeta(name="limit", namespace="default"), spec=KVSpec(type="int", value=40)))
    await push(site, package("5.0", SHOW))
    await create(
        site, "configured", "5.0",
        envFrom=[{"configMapRef": {"name": "web"}}, {"secretRef": {"name": "web"}, "prefix": "S_"}],
        env=[
            {"name": "LIMIT", "valueFrom": {"kvKeyRef": {"key": "limit"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "web", "key": "token"}}},
        ],
        files=[
            {"path": "conf/app.ini", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "app.ini"}}, "mode": "0644"},
            {"path": "secrets", "secretRef": {"name": "web"}},
            {"path": "note.txt", "value": "by hand"},
        ],
    )  # fmt: skip
    await site.running("configured")
    await written(app(site, "configured") / "zero.txt")

    got, folder = environment(site, "configured"), app(site, "configured")

    assert (got["MODE"], got["S_token"], got["S_KEY"], got["LIMIT"], got["TOKEN"]) == ("demo", "s3cret", "key", "40", "s3cret")
    assert "app.ini" not in got
    assert ((folder / "conf/app.ini").read_text(), oct((folder / "conf/app.ini").stat().st_mode & 0o777)) == (
        "[a]\nb=1\n",
        "0o644",
    )
    assert {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in (folder / "secrets").iterdir()} == {
        "token": ("s3cret", 0o600), "KEY": ("key", 0o600),
    }  # fmt: skip
    assert (folder / "note.txt").read_text() == "by hand"
    assert "s3cret" not in site.log.read_text()
    await site.delete("configured")


async def test_the_main_control_application_is_told_to_those_of_its_namespace(site: Site) -> None:
    await site.api.create(Namespace(metadata=ObjectMeta(name="bridge")))
    spec = EndpointSpec(service="maincontrol", address="10.0.0.9", port=4000, protocol="http")
    await site.api.create(Endpoint(metadata=ObjectMeta(name="main", namespace="bridge"), spec=spec))
    template = Template(command=["sh", "-c", "echo $MAIN_CONTROL_BASE > said; exec sleep 1000"])
    metadata = ObjectMeta(name="led", namespace="bridge", finalizers=[INSTANCE_FINALIZER])
    await site.api.create(Instance(metadata=metadata, spec=InstanceSpec(node_name=NODE, template=template)))

    assert (await written(site.data / NODE / "bridge_led/work/said")).strip() == "http://10.0.0.9:4000"
    await site.api.delete(Instance, ObjectKey("bridge", "led"))


async def test_a_missing_secret_is_named_and_waited_for(site: Site) -> None:
    await push(site, package("6.0"))
    await create(site, "secretless", "6.0", files=[{"path": "keys", "secretRef": {"name": "later"}}])
    status = await refused(site, "secretless", "SecretMissing")

    assert "file keys needs Secret default/later, which does not exist" in status.message
    await site.api.create(Secret(metadata=ObjectMeta(name="later", namespace="default"), data={"a": "YQ=="}))
    await site.running("secretless")
    assert (app(site, "secretless") / "keys/a").read_text() == "a"
    await site.delete("secretless")


async def test_a_zip_from_an_address_is_checked_by_its_sha256(site: Site) -> None:
    data = package("8.0", SHOW)
    made = await push(site, data)
    url = f"{site.url}/v1/artifacts/default/{made['metadata']['name']}/content"
    await site.create("by-url", [], artifact={"url": url, "sha256": hashlib.sha256(data).hexdigest()})
    await site.create("by-other", [], artifact={"url": url, "sha256": "0" * 64})
    await site.create("by-meta", [], artifact={"url": "http://169.254.169.254/latest", "sha256": "0" * 64})

    await site.running("by-url")
    await written(app(site, "by-url") / "zero.txt")

    assert environment(site, "by-url")["PLUM_APP_NAME"] == "demo-app"
    assert "has the checksum" in (await refused(site, "by-other", "ArtifactCorrupt")).message
    assert "artifacts are not fetched there" in (await refused(site, "by-meta", "ArtifactInvalid")).message
    for name in ("by-url", "by-other", "by-meta"):
        await site.delete(name)


async def test_many_instances_share_one_download(site: Site) -> None:
    data = package("9.0", files={"big.bin": random.Random(1).randbytes(3_000_000)})
    await push(site, data)
    before = downloads(site)
    for number in range(6):
        await create(site, f"many-{number}", "9.0")
    for number in range(6):
        await site.running(f"many-{number}")

    assert downloads(site) - before == 1
    for number in range(6):
        await site.delete(f"many-{number}")
    for number in range(6):
        await site.gone(f"many-{number}")


def downloads(site: Site) -> int:
    return site.log.read_text().count("artifact fetched")


async def test_an_instance_that_goes_while_it_is_prepared_leaves_nothing(site: Site) -> None:
    await push(site, package("10.0", files={"big.bin": random.Random(2).randbytes(2_900_000)}))
    await create(site, "hasty", "10.0")
    await site.delete("hasty")
    await site.gone("hasty")

    await until(lambda: not app(site, "hasty").parent.exists())


async def test_the_artifact_of_a_running_instance_is_in_use(site: Site) -> None:
    made = await push(site, package("11.0"))
    await create(site, "user", "11.0")
    await site.running("user")

    with pytest.raises(ConflictError, match="instance/user"):
        await site.api.delete(Artifact, ObjectKey("default", made["metadata"]["name"]))
    await site.delete("user")
