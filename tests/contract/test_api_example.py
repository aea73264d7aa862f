"""The example of an own controller: as a program against a real server, and converging after every crash on the fake one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from plum_client import ApiClient, FakeApi, KindInfo, Manager, ObjectKey, converge
from plum_client.controller import Controller
from plum_client.fake import CrashError
from plum_client.http_transport import HttpTransport

from tests.support.api import TARGETS

FOLDER = Path(__file__).parents[2] / "manifests" / "30-own-controller"
DOCS = ObjectKey("default", "docs")


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return document


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_controller", FOLDER / "controller.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_to(example: ModuleType, manager: Manager) -> None:
    reconciler = example.WebsiteReconciler(manager)
    manager.add(Controller("website", reconciler, example.WEBSITE, owns=[example.DEPLOYMENT]))


async def test_it_converges_from_a_crash_after_every_write(example: ModuleType) -> None:
    kinds: list[KindInfo] = [example.WEBSITE, example.DEPLOYMENT]
    clean = FakeApi(load("website.yaml"), kinds=kinds)
    await converge(clean, lambda manager: add_to(example, manager))
    assert clean.writes >= 2

    for crash_after in range(1, clean.writes + 1):
        api = FakeApi(load("website.yaml"), kinds=kinds)
        api.crash_after = crash_after
        with pytest.raises(CrashError):
            await converge(api, lambda manager: add_to(example, manager))
        await converge(api, lambda manager: add_to(example, manager))

        deployment = await api.client().get(example.DEPLOYMENT, DOCS)
        assert deployment is not None
        assert deployment["spec"]["replicas"] == 2


@pytest.fixture
async def server() -> AsyncIterator[ApiClient]:
    async with TARGETS["http"]() as target:
        yield target.api


async def test_it_runs_against_a_server(example: ModuleType, server: ApiClient) -> None:
    transport = server.transport
    assert isinstance(transport, HttpTransport)
    definitions = KindInfo(
        kind="CustomResourceDefinition", plural="customresourcedefinitions", group="apiextensions.k8s.io", namespaced=False
    )
    await server.create(load("crd.yaml"), kind=definitions)
    await server.create(load("website.yaml"), kind=example.WEBSITE)
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(FOLDER / "controller.py"), env={**os.environ, "PLUM_SERVER": transport.url}
    )
    try:
        deployment = await _until(server, example.DEPLOYMENT, lambda found: found["spec"]["replicas"] == 2)
        assert deployment["metadata"]["ownerReferences"][0]["kind"] == "Website"
        await server.patch(example.DEPLOYMENT, DOCS, {"status": {"readyReplicas": 2}}, subresource="status")
        await _until(server, example.WEBSITE, lambda found: found.get("status", {}).get("ready") == 2)
        await server.patch(example.WEBSITE, DOCS, {"spec": {"copies": 5}})
        await _until(server, example.DEPLOYMENT, lambda found: found["spec"]["replicas"] == 5)
        scaled = await server.patch(example.DEPLOYMENT, DOCS, {"spec": {"replicas": 9}}, field_manager="somebody")
        await _until(server, example.DEPLOYMENT, lambda found: found["spec"]["replicas"] == 5)
        assert scaled["spec"]["replicas"] == 9
        await server.delete(example.DEPLOYMENT, DOCS)
        await _until(server, example.DEPLOYMENT, lambda found: found["metadata"]["uid"] != deployment["metadata"]["uid"])
        assert program.returncode is None
    finally:
        if program.returncode is None:
            program.terminate()
        await program.wait()


def test_it_is_thirty_lines() -> None:
    text = (FOLDER / "controller.py").read_text()
    body = text.split("class WebsiteReconciler")[1]
    assert sum(bool(line.strip()) for line in body.splitlines()) <= 30


async def _until(api: ApiClient, kind: KindInfo, condition: Any) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found = await api.get(kind, DOCS)
            if found is not None and condition(found):
                return found
            await asyncio.sleep(0.05)
