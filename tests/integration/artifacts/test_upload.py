"""Uploading, downloading and deleting artifacts, against a real controller."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_client.client import ApiClient
from plum_client.errors import ConflictError, InvalidObjectError
from plum_schemas.artifact import Artifact, ArtifactSpec
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec

from tests.support.packages import BASE, META, forms, good_zip
from tests.support.server import RunningServer

DATA = good_zip({**BASE, "bin/app": random.Random(3).randbytes(300_000)})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blobs(server: RunningServer) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "artifacts/blobs").glob("??/*"))


def uploads(server: RunningServer) -> list[Path]:
    return list((server.data_dir / "artifacts/uploads").glob("*"))


async def push(server: RunningServer, namespace: str, data: bytes = DATA, query: str = "") -> Any:
    return await server.request("POST", f"/v1/artifacts/{namespace}{query}", data, content_type="application/zip")


def deployment(namespace: str, name: str, version: str) -> Deployment:
    spec = msgspec.convert({"replicas": 0, "template": {"artifact": {"name": name, "version": version}}}, DeploymentSpec)
    return Deployment(metadata=ObjectMeta(name="web", namespace=namespace), spec=spec)


async def test_an_upload_becomes_an_artifact_with_what_its_meta_ini_says(
    server: RunningServer, api: ApiClient, namespace: str
) -> None:
    answer = await push(server, namespace)

    assert answer.status == 201, answer.body
    artifact = await api.get(Artifact, "demo-app-1.0.0", namespace)
    assert artifact is not None
    assert (artifact.spec.name, artifact.spec.version, artifact.spec.entry) == ("demo-app", "1.0.0", "start.sh")
    assert (artifact.spec.sha256, artifact.spec.size) == (sha256(DATA), len(DATA))
    assert [(one.name, one.protocol, one.port) for one in artifact.spec.services] == [("orders", "http", 8080)]
    assert artifact.status.stored_at is not None
    assert [(one.type, one.status) for one in artifact.status.conditions] == [("Stored", "True")]
    assert answer.json()["metadata"]["uid"] == artifact.metadata.uid
    assert uploads(server) == []


async def test_a_download_is_what_was_uploaded_whole_or_in_part(server: RunningServer, namespace: str) -> None:
    await push(server, namespace)
    path = f"/v1/artifacts/{namespace}/demo-app-1.0.0/content"

    whole = await server.get(path)
    part = await server.get(path, range="bytes=1000-1999")
    rest = await server.get(path, range=f"bytes={len(DATA) - 7}-", if_range=f'"{sha256(DATA)}"')
    last = await server.get(path, range="bytes=-5")
    other = await server.get(path, range="bytes=10-", if_range='"another"')
    beyond = await server.get(path, range=f"bytes={len(DATA)}-")
    same = await server.get(path, if_none_match=f'"{sha256(DATA)}"')

    assert (whole.status, whole.body, whole.headers["etag"]) == (200, DATA, f'"{sha256(DATA)}"')
    assert (part.status, part.body, part.headers["content-range"]) == (206, DATA[1000:2000], f"bytes 1000-1999/{len(DATA)}")
    assert (rest.status, rest.body, last.body) == (206, DATA[-7:], DATA[-5:])
    assert (other.status, other.body) == (200, DATA)
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    assert (same.status, same.body) == (304, b"")
    assert (await server.request("HEAD", path)).headers["content-length"] == str(len(DATA))


async def test_an_upload_in_pieces_goes_on_where_it_was(server: RunningServer, namespace: str) -> None:
    base = f"/v1/artifacts/{namespace}/uploads"
    upload = (await server.request("POST", f"{base}?size={len(DATA)}")).json()["id"]

    first = await server.request("PATCH", f"{base}/{upload}?offset=0", DATA[:100_000])
    wrong = await server.request("PATCH", f"{base}/{upload}?offset=50000", DATA[50_000:])
    known = await server.get(f"{base}/{upload}")
    rest = await server.request("PATCH", f"{base}/{upload}?offset=100000", DATA[100_000:])
    done = await server.request("POST", f"{base}/{upload}/finish?sha256={sha256(DATA)}")

    assert first.json() == known.json() == {"id": upload, "offset": 100_000}
    assert (wrong.status, wrong.json()["details"]["offset"]) == (409, 100_000)
    assert (rest.json()["offset"], done.status) == (len(DATA), 201)
    assert (await server.get(f"{base}/{upload}")).status == 404


async def test_what_was_damaged_on_the_way_is_refused(server: RunningServer, namespace: str) -> None:
    answer = await push(server, namespace, query=f"?sha256={sha256(b'other')}")

    assert answer.status == 422
    assert "damaged on the way" in answer.json()["message"]
    assert uploads(server) == []


async def test_the_same_package_again_is_a_success_and_another_under_its_version_is_not(
    server: RunningServer, namespace: str
) -> None:
    await push(server, namespace)

    again = await push(server, namespace)
    other = await push(server, namespace, good_zip({**BASE, "more": b"x"}))
    renamed = await push(server, namespace, good_zip({**BASE, "more": b"x"}), "?name=Other&version=v2")

    assert again.status == 200
    assert (other.status, other.json()["reason"]) == (409, "AlreadyExists")
    assert "raise the version in meta.ini" in other.json()["message"]
    assert (renamed.status, renamed.json()["spec"]["name"], renamed.json()["spec"]["version"]) == (201, "Other", "v2")


@pytest.mark.parametrize(
    "form", [one for one in forms() if one.data and one.name not in ("bomb", "too large")][::6], ids=lambda f: f.name
)
async def test_a_package_that_could_not_run_is_refused_and_leaves_nothing(
    server: RunningServer, namespace: str, form: Any
) -> None:
    before = blobs(server)
    answer = await push(server, namespace, form.data)

    assert answer.status == 422, answer.body
    assert form.words in answer.json()["message"]
    assert any(cause["field"].startswith(form.file[:20]) for cause in answer.json()["details"]["causes"])
    assert (blobs(server), uploads(server)) == (before, [])


async def test_warnings_are_told(server: RunningServer, namespace: str) -> None:
    answer = await push(server, namespace, good_zip({**BASE, "meta.ini": META + b"Service=a:http:1\n"}))

    assert answer.status == 201
    assert any("line 4 is read as no service" in warning for warning in answer.warnings)


async def test_what_is_too_large_is_refused_before_it_is_read(server: RunningServer, namespace: str) -> None:
    announced = await server.request("POST", f"/v1/artifacts/{namespace}/uploads?size=3000001")
    chunked = b"".join(b"%x\r\n%b\r\n" % (500_000, bytes(500_000)) for _ in range(7)) + b"0\r\n\r\n"
    head = (
        f"POST /v1/artifacts/{namespace} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    streamed = await server.raw(head.encode() + chunked)

    assert (announced.status, streamed.status) == (413, 413)
    assert "PLUM_ARTIFACT_LIMIT_BYTES" in announced.json()["message"]
    assert uploads(server) == []


async def test_unknown_namespaces_and_requests_are_told(server: RunningServer, namespace: str) -> None:
    assert (await push(server, "nowhere")).status == 404
    assert (await server.get(f"/v1/artifacts/{namespace}/demo-app-1.0.0/content")).status == 404
    assert (await server.request("PUT", f"/v1/artifacts/{namespace}/x")).status == 405
    assert (await server.get(f"/v1/artifacts/{namespace}/uploads/../../x")).status == 404


async def test_an_artifact_in_use_is_not_deleted_and_the_refusal_names_its_users(
    server: RunningServer, api: ApiClient, namespace: str
) -> None:
    await push(server, namespace)
    await api.create(deployment(namespace, "demo-app", "1.0.0"))
    key = ObjectKey(namespace, "demo-app-1.0.0")

    with pytest.raises(ConflictError, match="is in use by deployment/web"):
        await api.delete(Artifact, key)
    with pytest.raises(ConflictError, match="is in use by deployment/web"):
        await api.delete_collection(Artifact.info, namespace)
    await api.delete(Deployment, ObjectKey(namespace, "web"))
    await api.delete(Artifact, key)

    assert await api.get(Artifact, key) is None


async def test_bytes_go_with_the_last_artifact_that_names_them(server: RunningServer, api: ApiClient, namespace: str) -> None:
    for number in range(2):  # the first time might be the work of the search that follows a start
        data = good_zip({**BASE, "own": f"{namespace} {number}".encode()})
        await push(server, namespace, data)
        await push(server, namespace, data, "?version=2")

        await api.delete(Artifact, ObjectKey(namespace, "demo-app-1.0.0"))
        await asyncio.sleep(0)
        assert sha256(data) in blobs(server)
        await api.delete(Artifact, ObjectKey(namespace, "demo-app-2"))

        deadline = time.monotonic() + 20
        while sha256(data) in blobs(server):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    assert "watcher failed" not in server.log.read_text()


async def test_a_checksum_in_a_manifest_does_not_give_the_bytes_away(
    server: RunningServer, api: ApiClient, namespace: str
) -> None:
    await push(server, namespace)
    spec = ArtifactSpec(name="stolen", version="1", sha256=sha256(DATA), size=len(DATA))
    await api.create(Artifact(metadata=ObjectMeta(name="stolen", namespace="default"), spec=spec))

    answer = await server.get("/v1/artifacts/default/stolen/content")

    assert answer.status == 404
    assert "plum artifact push" in answer.json()["message"]
    await api.delete(Artifact, ObjectKey("default", "stolen"))


async def test_bytes_that_were_lost_come_back_with_the_same_package(server: RunningServer, namespace: str) -> None:
    data = good_zip({**BASE, "lost": namespace.encode()})
    await push(server, namespace, data)
    path = f"/v1/artifacts/{namespace}/demo-app-1.0.0/content"
    next((server.data_dir / "artifacts/blobs").glob(f"??/{sha256(data)}")).unlink()

    lost = await server.get(path)
    again = await push(server, namespace, data)

    assert (lost.status, again.status) == (404, 200)
    assert "push them with `plum artifact push`" in lost.json()["message"]
    assert (await server.get(path)).body == data


async def test_name_and_version_exist_once_in_a_namespace(server: RunningServer, api: ApiClient, namespace: str) -> None:
    await push(server, namespace)
    spec = ArtifactSpec(name="demo-app", version="1.0.0", sha256="0" * 64)

    with pytest.raises(InvalidObjectError, match=r"the artifact demo-app-1\.0\.0 is this one"):
        await api.create(Artifact(metadata=ObjectMeta(name="again", namespace=namespace), spec=spec))


async def test_two_writers_of_one_upload_do_not_mix(server: RunningServer, namespace: str) -> None:
    base = f"/v1/artifacts/{namespace}/uploads"
    upload = (await server.request("POST", base)).json()["id"]
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"PATCH {base}/{upload}?offset=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n".encode())
    writer.write(bytes(1_500_000))

    deadline = time.monotonic() + 10
    while not (offset := (await server.get(f"{base}/{upload}")).json()["offset"]):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    second = await server.request("PATCH", f"{base}/{upload}?offset={offset}", b"y" * 10)
    writer.close()

    assert (second.status, "somebody is writing" in second.json()["message"]) == (409, True)
    while (offset := (await server.get(f"{base}/{upload}")).json()["offset"]) != 1_500_000:
        assert time.monotonic() < deadline, offset
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_slow_link_is_given_time_for_as_long_as_something_comes(server: RunningServer, namespace: str) -> None:
    data = good_zip({**BASE, "slow": namespace.encode()})
    head = (
        f"POST /v1/artifacts/{namespace} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )

    async def send(pieces: int) -> bytes:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(head.encode())
        step = len(data) // 6 + 1
        for number in range(pieces):
            await asyncio.sleep(0.6)
            writer.write(data[number * step : (number + 1) * step])
        answer = await reader.read(-1)
        writer.close()
        return answer

    started = time.monotonic()
    assert (await send(6)).startswith(b"HTTP/1.1 201")
    assert time.monotonic() - started > 3, "longer than the server waits for one that says nothing"
    assert (await send(3)).startswith(b"HTTP/1.1 408")
