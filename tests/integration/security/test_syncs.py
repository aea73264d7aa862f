"""Syncs that act for a ServiceAccount do what that may, and nobody writes a Sync that may more than its writer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.security.conftest import Caller, Site
from tests.integration.security.test_gate import PLUM, RBAC

TEAM = "team-a"
SYNCS = f"{PLUM}/namespaces/{TEAM}/syncs"
MERGE = {"Content_Type": "application/merge-patch+json"}
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{x: '{value}'}}\n"


@pytest.fixture(scope="module")
def team(site: Site) -> Site:
    """A namespace with an account that may write ConfigMaps there, and not delete them."""
    site.make("/api/v1/namespaces", {"metadata": {"name": TEAM}})
    site.make(f"/api/v1/namespaces/{TEAM}/serviceaccounts", {"metadata": {"name": "deployer"}})
    allow(site, "ServiceAccount", "deployer", "writes", ["create", "get", "patch"], ["configmaps"])
    return site


def allow(site: Site, kind: str, name: str, role: str, verbs: list[str], resources: list[str], group: str = "") -> None:
    """A Role in the namespace of the team, and somebody who has it."""
    rules = [{"verbs": verbs, "apiGroups": [group], "resources": resources}]
    site.make(f"{RBAC}/namespaces/{TEAM}/roles", {"metadata": {"name": role}, "rules": rules})
    bind(site, kind, name, "Role", role)


def bind(site: Site, kind: str, name: str, role_kind: str, role: str) -> None:
    subject = {"kind": kind, "name": name}
    subject |= {"namespace": TEAM} if kind == "ServiceAccount" else {"apiGroup": "rbac.authorization.k8s.io"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}
    body = {"metadata": {"name": f"{name}-{role}"}, "subjects": [subject], "roleRef": reference}
    site.make(f"{RBAC}/namespaces/{TEAM}/rolebindings", body)


def sync(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"source": source, "prune": True, "maxDelete": "100%", **spec}}


def until(who: Caller, path: str, fits: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + 40
    while True:
        status, found = who.get(path)
        if status == 200 and fits(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.05)


def said(text: str) -> Callable[[Any], bool]:
    return lambda found: text in found.get("status", {}).get("message", "")


def test_a_sync_does_what_its_account_may_and_says_what_it_may_not(team: Site, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    one, other = folder / "one.yaml", folder / "other.yaml"
    one.write_text(CONFIG.format(name="one", namespace=TEAM, value=1))
    team.make(f"/api/v1/namespaces/{TEAM}/secrets", {"metadata": {"name": "age"}, "stringData": {"key": "secret"}})
    team.make("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "theirs"}, "data": {"hidden": "word"}})
    path = f"{SYNCS}/by-account"

    team.make(SYNCS, sync("by-account", {"folder": {"path": str(folder)}}, serviceAccountName="deployer", interval="2s"))
    until(team.admin, path, lambda found: found.get("status", {}).get("phase") == "Synced")

    other.write_text(CONFIG.format(name="theirs", namespace="default", value=2))
    one.write_text(CONFIG.format(name="one", namespace=TEAM, value=2))
    refused = until(team.admin, path, said("other.yaml:1"))["status"]
    assert refused["phase"] == "Failed"
    assert 'User "system:serviceaccount:team-a:deployer" cannot patch resource "configmaps"' in refused["message"]
    assert team.admin.get(f"/api/v1/namespaces/{TEAM}/configmaps/one")[1]["data"] == {"x": "1"}
    planned = team.admin.get(f"{path}/plan")[1]
    assert "cannot patch" in planned["problems"][0]["message"]
    assert "word" not in str(planned)

    other.unlink()
    one.rename(folder / "two.yaml").write_text(CONFIG.format(name="two", namespace=TEAM, value=2))
    kept = until(team.admin, path, said('cannot delete resource "configmaps"'))["status"]
    assert (kept["phase"], kept["conditions"][0]["reason"]) == ("Failed", "DeleteFailed")
    assert {item["name"]: item.get("pendingDelete", False) for item in kept["inventory"]} == {"one": True, "two": False}
    allow(team, "ServiceAccount", "deployer", "deletes", ["delete"], ["configmaps"])
    until(team.admin, path, lambda found: found["status"]["phase"] == "Synced")
    assert team.admin.get(f"/api/v1/namespaces/{TEAM}/configmaps/one")[0] == 404

    change = {"spec": {"decryption": {"name": "age", "key": "key"}}}
    assert team.admin.call("PATCH", path, change, **MERGE)[0] == 200
    until(team.admin, path, said('Secret team-a/age cannot be read: secrets "age" is forbidden'))
    nobody = {"spec": {"decryption": None, "serviceAccountName": "nobody"}}
    assert team.admin.call("PATCH", path, nobody, **MERGE)[0] == 200
    until(team.admin, path, said("spec.serviceAccountName: there is no ServiceAccount nobody in team-a"))


def test_a_writer_of_a_sync_gives_it_no_more_than_they_have(team: Site, tmp_path: Path) -> None:
    git, folder = {"git": {"url": "https://127.0.0.1:1/x.git"}}, {"folder": {"path": str(tmp_path)}}
    bind(team, "User", "lead", "ClusterRole", "admin")
    allow(team, "User", "writer", "writes-syncs", ["*"], ["syncs"], "plum.dev")
    lead, writer = team.user("lead"), team.user("writer")
    account = {"serviceAccountName": "deployer"}
    team.make(SYNCS, sync("of-admin", folder, suspend=True))

    def answers(who: Caller, body: dict[str, Any]) -> tuple[int, str]:
        status, found = who.call("POST", SYNCS, body)
        return status, str(found.get("message", ""))

    assert answers(lead, sync("mine", git, **account)) == (201, "")
    for body, why in [
        (sync("all", git), "without spec.serviceAccountName it applies with the rights of the controller"),
        (sync("disk", folder, **account), "the source is a path of the controller's own machine"),
        (sync("file", {"git": {"url": "file:///etc"}}, **account), "the source is a path of the controller's own machine"),
        (sync("path", {"git": {"url": "/srv/x"}}, **account), "the source is a path of the controller's own machine"),
        (sync("bundle", {"bundle": {"path": "/srv/x.tar"}}, **account), "the source is a path of the controller's own machine"),
    ]:
        status, message = answers(lead, body)
        assert (status, why in message) == (403, True), (body, message)
    status, message = answers(writer, sync("acting", git, **account))
    assert (status, 'cannot impersonate resource "serviceaccounts"' in message) == (403, True), message

    changes: list[tuple[str, dict[str, Any], int]] = [
        ("of-admin", {"suspend": False}, 200),
        ("of-admin", {"suspendReason": "x", "approveDelete": "y"}, 200),
        ("of-admin", {"source": {"folder": {"path": "/etc"}}}, 403),
        ("of-admin", {"serviceAccountName": "deployer"}, 403),
        ("mine", {"serviceAccountName": None}, 403),
        ("mine", {"source": {"git": None, "folder": {"path": "/etc"}}}, 403),
        ("mine", {"prune": False}, 200),
    ]
    assert [
        (name, spec, lead.call("PATCH", f"{SYNCS}/{name}", {"spec": spec}, **MERGE)[0]) for name, spec, _ in changes
    ] == changes
