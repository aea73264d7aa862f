"""The audit log over the API: what is in it, what never is, and who may read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.security.conftest import Site
from tests.integration.security.test_tokens import plum
from tests.support.server import started_server
from tests.support.sessions import Visitor

AUDIT = "/apis/plum.dev/v1/audit"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"


def records(site: Site, **query: str) -> list[dict[str, Any]]:
    status, found = site.admin.get(AUDIT + "?" + "&".join(f"{name}={value}" for name, value in query.items()))
    assert status == 200, found
    items: list[dict[str, Any]] = found["items"]
    return items


def test_who_changed_what_is_written_down(site: Site) -> None:
    anna = site.user("anna", "system:masters")
    anna.call("POST", CONFIGMAPS, {"metadata": {"generateName": "by-anna-"}})
    name = next(item["name"] for item in records(site, user="anna"))
    anna.call("DELETE", f"{CONFIGMAPS}/{name}")
    anna.call("DELETE", f"{CONFIGMAPS}/{name}")

    found = [(one["verb"], one["resource"], one["namespace"], one["name"], one["code"]) for one in records(site, user="anna")]
    assert found == [
        ("delete", "configmaps", "default", name, 404),
        ("delete", "configmaps", "default", name, 200),
        ("create", "configmaps", "default", name, 201),
    ]
    last = records(site, user="anna")[-1]
    assert (last["groups"], last["address"]) == (["system:masters"], "127.0.0.1")
    assert last["revision"] > 0


def test_refusals_logins_and_acting_as_somebody_are_written_down(site: Site, ca: Path) -> None:
    berta = site.user("berta")
    berta.call("POST", CONFIGMAPS, {"metadata": {"name": "no"}})
    site.admin.call("POST", CONFIGMAPS, {"metadata": {"name": "as-cleo"}}, Impersonate_User="cleo")
    visitor = Visitor(site.running.secure_url, ca)
    visitor.log_in(token=berta.server.token)
    visitor.ask("DELETE", "/session")

    assert [(one["verb"], one["code"]) for one in records(site, user="berta")] == [
        ("logout", 200),
        ("login", 201),
        ("create", 403),
    ]
    cleo = records(site, user="cleo", outcome="refused")[0]
    assert (cleo["impersonator"], cleo["reason"]) == ("plum-admin", "Forbidden")


def test_values_are_never_in_it(site: Site) -> None:
    site.admin.call("POST", SECRETS, {"metadata": {"name": "pin"}, "stringData": {"pin": "hush-hush-4711"}})
    site.admin.call("POST", SECRETS, {"metadata": {"name": "bad name"}, "stringData": {"pin": "hush-hush-4711"}})
    site.nobody.call("POST", f"{CONFIGMAPS}?token=hush-hush-4711", {})

    text = b"".join(path.read_bytes() for path in (site.running.data_dir / "audit").glob("*.log"))
    assert records(site, resource="secrets", name="pin")[0]["code"] == 201
    assert b"hush-hush-4711" not in text


def test_machines_reporting_are_not_in_it(site: Site) -> None:
    before = records(site, limit="1")[0]["seq"] if records(site, limit="1") else 0
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    site.admin.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    site.admin.call("PUT", "/kv/default/counter", "1")
    site.admin.call("POST", f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "dry"}})
    site.admin.get(CONFIGMAPS)

    after = records(site, limit="1")
    assert not after or after[0]["seq"] == before


def test_only_who_may_everything_reads_it_and_nobody_writes_it(site: Site) -> None:
    assert site.user("dora").get(AUDIT)[0] == 403
    assert site.nobody.get(AUDIT)[0] == 401
    assert site.admin.call("DELETE", AUDIT)[0] == 405
    assert site.admin.call("POST", AUDIT, {})[0] == 405


def test_it_is_asked_for_in_pages_and_by_time(site: Site) -> None:
    for number in range(5):
        site.user("emil", "system:masters").call("POST", CONFIGMAPS, {"metadata": {"name": f"emil-{number}"}})

    status, first = site.admin.get(f"{AUDIT}?user=emil&limit=2")
    rest = site.admin.get(f"{AUDIT}?user=emil&continue={first['metadata']['continue']}")[1]["items"]
    assert [one["name"] for one in first["items"] + rest] == [f"emil-{number}" for number in (4, 3, 2, 1, 0)]
    assert records(site, user="emil", since="2999-01-01T00:00:00Z") == []
    assert len(records(site, user="emil", until="2999-01-01T00:00:00%2B02:00")) == 5
    for wrong, field in (("since=yesterday", "since"), ("outcome=odd", "outcome"), ("limit=5000", "limit")):
        status, refused = site.admin.get(f"{AUDIT}?{wrong}")
        assert (status, refused["details"]["causes"][0]["field"]) == (422, field)


def test_the_command_shows_and_checks_it(site: Site) -> None:
    site.admin.call("POST", CONFIGMAPS, {"metadata": {"name": "shown"}})

    listed = plum(site, "audit", "list", "--name", "shown")
    checked = plum(site, "audit", "verify")

    assert "configmaps/default/shown" in listed.stdout
    assert checked.returncode == 0
    assert "is whole" in checked.stdout


def test_a_killed_controller_loses_no_record(tmp_path: Path) -> None:
    with started_server(tmp_path) as server:
        visitor = Visitor(server.url)
        for number in range(20):
            assert visitor.ask("POST", CONFIGMAPS, {"metadata": {"name": f"k{number}"}}).status == 201
        server.process.kill()
        server.process.wait()
    with started_server(tmp_path) as server:
        visitor = Visitor(server.url)
        found = visitor.ask("GET", f"{AUDIT}?resource=configmaps").json()["items"]
        assert [one["name"] for one in found] == [f"k{number}" for number in reversed(range(20))]
        path = next((tmp_path / "audit").glob("*.log"))
        path.write_bytes(path.read_bytes().replace(b'"k7"', b'"k8"'))
        verdict = visitor.ask("GET", f"{AUDIT}/verification").json()
        assert (verdict["intact"], "was changed" in verdict["problem"]) == (False, True)


def test_settings_are_shown_without_passwords(tmp_path: Path) -> None:
    with started_server(tmp_path, env={"PLUM_SMTP_URL": "smtp://me:hush@mail.example:25"}) as server:
        visitor = Visitor(server.url)
        items = {item["name"]: item for item in visitor.ask("GET", "/apis/plum.dev/v1/settings").json()["items"]}

    mail = items["PLUM_SMTP_URL"]
    assert (mail["value"], mail["source"]) == ("smtp://me:***@mail.example:25", "environment")
    assert items["PLUM_SESSION_SECONDS"]["source"] == "default"
    assert json.dumps(items).count("hush") == 0
