"""`/v1/apps` and `/artifacts` as programs of the system before use them, over the same objects as everything else."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_client.client import ApiClient
from plum_controller.api.classic import engine_images
from plum_controller.api.multipart import FormError, FormFile
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.template import ArtifactSource, Template

from tests.support.packages import BASE, good_zip
from tests.support.server import HttpAnswer, RunningServer

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
DATA = good_zip({**BASE, "bin/app": random.Random(5).randbytes(200_000)})
SHA8 = hashlib.sha256(DATA).hexdigest()[:8]


def form(data: bytes, field: str = "file", before: str = "", after: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.zip"\r\n\r\n'
    return before.encode() + head.encode() + data + f"\r\n--{BOUNDARY}{after}--\r\n".encode()


async def upload(server: RunningServer, namespace: str, body: bytes) -> HttpAnswer:
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    return await server.request("POST", f"/v1/apps/upload?namespace={namespace}", body, content_type=content_type)


def line(answer: HttpAnswer) -> tuple[int, str]:
    """Status and the one line of a refusal."""
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return answer.status, text.strip()


async def test_a_form_becomes_an_artifact_that_everybody_sees(server: RunningServer, api: ApiClient, namespace: str) -> None:
    note = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nfrom the shore\r\n'

    answer = await upload(server, namespace, form(DATA, before=note))

    assert answer.status == 200, answer.body
    artifact = await api.get(Artifact, "demo-app-1.0.0", namespace)
    assert artifact is not None
    info = answer.json()
    assert abs(info.pop("createdAt") - time.time()) < 30
    assert info == {
        "artifactId": artifact.metadata.uid.replace("-", ""), "name": "demo-app", "version": "1.0.0", "type": "zip",
        "url": f"/artifacts/demo-app_1.0.0_{SHA8}.zip?namespace={namespace}",
        "sha256": hashlib.sha256(DATA).hexdigest(), "sizeBytes": len(DATA),
    }  # fmt: skip
    listed = (await server.get(f"/v1/apps?namespace={namespace}")).json()
    assert [one["artifactId"] for one in listed] == [info["artifactId"]]
    assert re.fullmatch("[0-9a-f]{32}", info["artifactId"])


async def test_files_are_listed_and_read_whole_or_in_part(server: RunningServer, namespace: str) -> None:
    url = (await upload(server, namespace, form(DATA))).json()["url"]

    listing = await server.get(f"/artifacts/?namespace={namespace}")
    whole, part = await server.get(url), await server.get(url, range="bytes=10-19")

    assert listing.headers["content-type"].startswith("text/html")
    assert re.findall('href="([^"]*)"', listing.body.decode()) == [url.removeprefix("/artifacts/")]
    assert (whole.status, whole.body) == (200, DATA)
    assert (part.status, part.body) == (206, DATA[10:20])
    for path in ("/artifacts/other.zip", f"/artifacts/..%2f..%2fplum.db?namespace={namespace}", "/artifacts/a/b"):
        assert (await server.get(path)).status == 404
    assert (await server.request("DELETE", "/artifacts/")).status == 405


async def test_what_cannot_be_taken_is_refused_in_one_line(server: RunningServer, namespace: str) -> None:
    await upload(server, namespace, form(DATA))

    assert line(await upload(server, namespace, form(DATA)))[0] == 409
    other = good_zip({**BASE, "other": b"1"})
    assert line(await upload(server, namespace, form(other)))[0] == 409
    status, text = line(await upload(server, namespace, form(good_zip({"x/start.sh": b"#!/bin/sh\n"}))))
    assert (status, text[:53]) == (400, "zip must contain start.sh and meta.ini(name,version):")
    assert "at the root of the zip" in text
    assert line(await upload(server, namespace, form(b"hello")))[1].startswith("not a zip: ")
    assert line(await upload(server, namespace, form(DATA, field="other"))) == (400, "file required")
    assert line(await upload(server, namespace, form(DATA)[:-100]))[0] == 400
    assert line(await upload(server, namespace, b"no form"))[1].startswith("bad form")
    plain = await server.request("POST", f"/v1/apps/upload?namespace={namespace}", DATA, content_type="application/zip")
    assert line(plain)[1].startswith("bad form")
    assert line(await server.request("POST", f"/v1/apps?namespace={namespace}", {}))[0] == 405
    assert len((await server.get(f"/v1/apps?namespace={namespace}")).json()) == 1


async def test_an_image_is_an_application_too(server: RunningServer, api: ApiClient, namespace: str) -> None:
    ports = [{"host": 18080, "container": 80}, {"host": 0, "container": 5353, "serviceName": "names", "protocol": "udp"}]
    body = {"name": "web", "version": "2", "imageRepository": "shore:5000/web", "imageTag": "2.1", "portMappings": ports}
    path = f"/v1/apps/create-image?namespace={namespace}"

    made = (await server.request("POST", path, body)).json()

    assert made["url"] == f"image://{made['artifactId']}"
    assert (made["type"], made["imageRepository"], made["imageTag"]) == ("image", "shore:5000/web", "2.1")
    assert made["portMappings"] == [
        {"host": 18080, "container": 80, "serviceName": "web", "protocol": "http"},
        {"container": 5353, "serviceName": "names", "protocol": "udp"},
    ]
    artifact = next(iter(await api.list(Artifact, namespace)))
    assert (artifact.spec.type, artifact.spec.image) == ("image", "shore:5000/web:2.1")
    assert line(await server.request("POST", path, body))[0] == 409
    assert line(await server.request("POST", path, {**body, "imageTag": ""})) == (400, "missing imageTag")
    assert line(await server.request("POST", path, {**body, "version": "a b"}))[0] == 400
    wrong = {**body, "version": "3", "portMappings": [{"host": 1, "container": 99999}]}
    assert line(await server.request("POST", path, wrong))[0] == 400


async def test_applications_are_deleted_by_their_id_unless_they_are_in_use(
    server: RunningServer, api: ApiClient, namespace: str
) -> None:
    artifact_id = (await upload(server, namespace, form(DATA))).json()["artifactId"]
    source = ArtifactSource(name="demo-app", version="1.0.0")
    spec = DeploymentSpec(replicas=0, template=Template(artifact=source))
    await api.create(Deployment(metadata=ObjectMeta(name="web", namespace=namespace), spec=spec))
    path = f"/v1/apps/{artifact_id}?namespace={namespace}"

    status, text = line(await server.request("DELETE", path))
    assert (status, "deployment/web" in text) == (409, True)
    await api.delete(Deployment, ObjectKey(namespace, "web"))
    for _ in range(200):
        if (answer := await server.request("DELETE", path)).status != 409:
            break
        await asyncio.sleep(0.05)

    assert answer.status == 204
    assert line(await server.request("DELETE", path)) == (404, "not found")
    assert (await server.get(f"/v1/apps?namespace={namespace}")).json() == []


async def test_a_list_is_bounded_and_names_its_next_page(server: RunningServer, namespace: str) -> None:
    for number in range(3):
        body = {"name": "web", "version": str(number), "imageRepository": "web", "imageTag": str(number)}
        assert (await server.request("POST", f"/v1/apps/create-image?namespace={namespace}", body)).status == 200

    first = await server.get(f"/v1/apps?namespace={namespace}&limit=2")
    link = re.match("<(.*)>; rel=.next.", first.headers["link"])
    assert link is not None
    rest = await server.get(link[1])

    assert [one["version"] for one in first.json() + rest.json()] == ["0", "1", "2"]
    assert "link" not in rest.headers


async def test_images_of_an_engine_are_told_and_none_without_one(server: RunningServer, tmp_path: Path) -> None:
    assert (await server.get("/v1/apps/docker-images")).status == 200
    path = tmp_path / "engine.sock"
    assert await engine_images.list_images(f"unix://{path}") == []
    answers = [
        b'HTTP/1.0 200 OK\r\n\r\n[{"Id": "sha256:abcdef0123456789", "Created": 1700000000, "Size": 4261550,'
        b' "RepoTags": ["shore:5000/web:2", "<none>:<none>"]}, {"Id": "x", "RepoTags": null}]',
        b"HTTP/1.0 500 no\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[{", b"",
    ]  # fmt: skip
    found: list[Any] = []
    for answer in answers:
        with socket.socket(socket.AF_UNIX) as listening:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            listening.listen()
            asking = asyncio.create_task(engine_images.list_images(f"unix://{path}"))
            connection, _ = await asyncio.to_thread(listening.accept)
            with connection:
                await asyncio.to_thread(connection.recv, 1000)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_RDWR)
            found.append(await asking)

    assert [[(one.repository, one.tag, one.image_id, one.created, one.size) for one in images] for images in found] == [
        [("shore:5000/web", "2", "abcdef012345", "2023-11-14T22:13:20Z", "4.26MB")], [], [], [],
    ]  # fmt: skip


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 700), max_size=8), near=st.integers(0, 60))
async def test_the_file_of_a_form_is_the_same_however_it_arrives(data: bytes, cuts: list[int], near: int) -> None:
    data += f"\r\n--{BOUNDARY}"[:near].encode() if near < len(BOUNDARY) + 4 else b""
    whole = form(data)
    places = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    pieces = [whole[start:end] for start, end in itertools.pairwise(places)]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    file = FormFile(receive, f"multipart/form-data; boundary={BOUNDARY}")
    assert await file.find("file")
    got, more = b"", True
    while more:
        message = await file()
        got += message["body"]
        more = message["more_body"]

    assert got == data


@given(end=st.integers(0, 400))
async def test_a_form_that_was_cut_is_no_file(end: int) -> None:
    whole = form(b"x" * 100)
    pieces = [whole[: min(end, len(whole) - 8)]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0) if pieces else b"", "more_body": False}

    file = FormFile(receive, f"multipart/form-data; boundary={BOUNDARY}")
    try:
        found = await file.find("file")
    except FormError:
        return
    assert found
    for _ in range(10):
        if (await file())["type"] == "http.disconnect":
            return
    pytest.fail("a part that has no end was taken for a file")
