"""schemathesis over the OpenAPI documents: no request makes the server fail, and every answer is as described.

    /openapi/v3/apis/G/V -> requests that fit the description, and some that do not -> status, content type, schema of answers

Random values alone rarely get past the first check, so most requests are aimed: an existing namespace, few names, the right
kind. The same few hundred requests in every run; `soak` makes new ones each time, for every kind.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.support.kubernetes_clients import GROUP, Cluster, cluster_of, definition, until
from tests.support.server import started_server

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without controllers: objects of any content are about to be written, and nobody should act on them."""
    folder = tmp_path_factory.mktemp("openapi")
    with started_server(folder, env={"PLUM_CONTROLLERS_ENABLED": "false"}) as server:
        cluster = cluster_of(server, folder / "client")
        define(cluster)
        yield cluster


def define(cluster: Cluster) -> None:
    """Make the user-defined kind, unless it is there: requests that are drawn delete definitions, too."""
    made = requests.post(f"{cluster.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=definition(), timeout=10)
    assert made.status_code in (201, 409), made.text
    until(lambda: f"apis/{GROUP}/v1" in documents(cluster), what="the kind is described")


def documents(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{cluster.url}/openapi/v3", timeout=10).json()["paths"]
    return found


def operations(cluster: Cluster, path: str, plurals: tuple[str, ...] = ()) -> Iterator[Any]:
    document = requests.get(f"{cluster.url}{documents(cluster)[path]['serverRelativeURL']}", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=cluster.url)
    for result in schema.get_all_operations():
        operation = result.ok()
        if not plurals or any(part in operation.path.split("/") for part in plurals):
            yield operation


def aim(case: Any, operation: Any) -> None:
    """Make a request that reaches further than the checks of its envelope. One in seven stays as it was drawn."""
    choose = random.Random(zlib.crc32(repr((case.body, case.query, case.path_parameters)).encode()))
    query, path = dict(case.query or {}), dict(case.path_parameters or {})
    query.pop("watch", None)  # a watch does not end; what it says is tested where clients watch
    if choose.random() > 1 / 7:
        path.update({"namespace": "default"} if "namespace" in path else {})
        path.update({"name": choose.choice("ab")} if "name" in path else {})
        query = {name: value for name, value in query.items() if choose.random() < 0.3}
        if case.media_type == "application/apply-patch+yaml":
            query |= {"fieldManager": "tests", "force": "true"}
        if isinstance(case.body, dict) and operation.method.upper() in ("POST", "PUT", "PATCH"):
            kind = operation.definition.raw["x-kubernetes-group-version-kind"]
            given = case.body.get("metadata")
            kept = {name: given[name] for name in ("labels", "annotations") if isinstance(given, dict) and name in given}
            metadata = {**(kept if choose.random() < 0.3 else {}), "name": path.get("name") or choose.choice("abcdefghij")}
            version = f"{kind['group']}/{kind['version']}".removeprefix("/")
            case.body.update({"kind": kind["kind"], "apiVersion": version, "metadata": metadata})
    case.query, case.path_parameters = query, path


def exercise(cluster: Cluster, operation: Any, examples: int, *, fixed: bool) -> Counter[int]:
    """Send requests of both kinds; fails on the first answer that is not as described. Answers by status."""
    seen: Counter[int] = Counter()
    with requests.Session() as session:
        for mode in MODES:

            @settings(
                max_examples=examples,
                derandomize=fixed,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                aim(case, operation)
                response = case.call(session=session, timeout=20)
                seen[response.status_code] += 1
                case.validate_response(response, checks=CHECKS)
                # Refusals are described together; what a success may be is listed.
                assert response.status_code >= 400 or str(response.status_code) in operation.definition.raw["responses"]

            send()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "plurals"),
    [
        ("api/v1", ("configmaps", "namespaces", "secrets", "events")),
        ("api/v1", ("pods", "nodes")),
        ("apis/apps/v1", ()),
        ("apis/coordination.k8s.io/v1", ()),
        ("apis/rbac.authorization.k8s.io/v1", ("roles", "clusterrolebindings")),
        ("apis/apiextensions.k8s.io/v1", ()),
        (f"apis/{GROUP}/v1", ()),
        ("apis/plum.dev/v1", ("deployments",)),
    ],
)
def test_answers_are_as_described(quiet: Cluster, path: str, plurals: tuple[str, ...]) -> None:
    seen: Counter[int] = Counter()
    define(quiet)

    for operation in operations(quiet, path, plurals):
        seen += exercise(quiet, operation, 2, fixed=True)

    assert seen[200] + seen[201], f"no request got through: {seen}"


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_answers_of_every_kind_are_as_described(quiet: Cluster) -> None:
    for path in documents(quiet):
        define(quiet)
        for operation in list(operations(quiet, path)):
            exercise(quiet, operation, 200, fixed=False)


def test_every_operation_describes_its_refusals_and_the_status_of_what_it_makes(quiet: Cluster) -> None:
    for path in documents(quiet):
        for operation in operations(quiet, path):
            responses = operation.definition.raw["responses"]
            described = operation.schema.raw_schema["components"]["responses"]
            expected = {"post": {"201"}, "put": {"200", "201"}, "patch": {"200", "201"}}.get(operation.method.lower(), {"200"})
            assert set(responses) == {*expected, "default"}, operation.label
            refusal = described[responses["default"]["$ref"].rpartition("/")[2]]["content"]["application/json"]["schema"]
            assert refusal == {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Status"}
