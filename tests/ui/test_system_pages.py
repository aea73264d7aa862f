"""The pages for events, audit log, tokens, syncs and settings: each journey once, as a person makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import OpenPage, UiSite, check_accessibility, opened_pages, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiSite]:
    """Its own: what follows the folder is suspended and rolled back here."""
    with running_site(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def open_page(chromium: Browser, site: UiSite, tmp_path: Path) -> Iterator[OpenPage]:
    with opened_pages(chromium, lambda: site.url, tmp_path) as opened:
        yield opened


def test_a_token_is_made_shown_once_and_revoked(open_page: OpenPage) -> None:
    page = open_page("/ui/tokens")
    page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User", exact=True).fill("rita")
    dialog.get_by_label("Groups").fill("ops, night shift")
    check_accessibility(page)
    dialog.get_by_role("button", name="Create").click()

    token = dialog.get_by_label("Token", exact=True)
    expect(token).to_have_value(re.compile("^plum_.{40,}"))
    dialog.get_by_role("button", name="I have kept it").click()
    found = page.get_by_role("row").filter(has_text="rita")
    expect(found).to_contain_text("ops, night, shift")
    found.get_by_role("checkbox").check()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()

    expect(page.get_by_role("row").filter(has_text="rita")).to_have_count(0)
    check_accessibility(page)


def test_the_audit_log_tells_who_did_what_and_that_it_is_whole(site: UiSite, open_page: OpenPage) -> None:
    site.run("token", "create", "--user", "audited", "--name", "audited-token")
    instance = site.run("get", "instances", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}").out.strip()
    with site.plum.process("exec", instance, "--", "true") as command:
        assert command.wait(60) == 0
    page = open_page("/ui/audit")

    expect(page.get_by_role("row").filter(has_text=re.compile(f"exec\\s*instances/exec default/{instance}"))).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="tokens audited-token")).to_contain_text("Succeeded")
    page.get_by_role("button", name="Check the chain").click()
    expect(page.get_by_role("status").filter(has_text="The log is whole")).to_be_visible()
    page.get_by_label("Outcome").select_option("refused")
    expect(page.get_by_role("row").filter(has_text="tokens audited-token")).to_have_count(0)
    check_accessibility(page)
    page.reload()
    expect(page.get_by_label("Outcome")).to_have_value("refused")


@pytest.mark.parametrize(
    ("language", "title", "plan", "drift"), [("en", "Syncs", "Plan", "Drift"), ("zh", "同步", "计划", "漂移")]
)
def test_a_sync_is_suspended_planned_and_resumed(
    site: UiSite, open_page: OpenPage, language: str, title: str, plan: str, drift: str
) -> None:
    page = open_page("/ui/syncs", language=language)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.get_by_role("link", name="manifests").click()
    suspend, resume = ("Suspend", "Resume") if language == "en" else ("挂起", "继续")
    page.get_by_role("button", name=suspend).click()
    page.get_by_role("dialog").get_by_role("button", name=suspend).click()
    expect(page.get_by_role("button", name=resume)).to_be_visible()

    manifest = site.manifests / "hello.yaml"
    wanted = f"memory: {9 if language == 'en' else 10}Mi"
    manifest.write_text(re.sub(r"memory: \d+Mi", wanted, manifest.read_text()))
    page.get_by_role("tab", name=plan, exact=True).click()
    change = page.get_by_role("button", name="Deployment default/hello")
    expect(change).to_contain_text("spec.template.resources.requests.memory")
    change.click()
    expect(page.get_by_text(wanted).first).to_be_visible()
    check_accessibility(page)

    page.get_by_role("button", name=resume).click()
    expect(change).to_have_count(0)
    site.run("scale", "deployment/hello", "--replicas", "3")
    page.get_by_role("tab", name=drift, exact=True).click()
    expect(page.get_by_role("row").filter(has_text="spec.replicas").first).to_be_visible()
    check_accessibility(page)


def test_a_sync_goes_back_to_an_earlier_revision(site: UiSite, open_page: OpenPage) -> None:
    manifest = site.manifests / "hello.yaml"
    manifest.write_text(manifest.read_text() + "# another revision\n")
    page = open_page("/ui/syncs/default/manifests?tab=revisions")
    expect(page.get_by_role("button", name="Roll back").nth(1)).to_be_visible()
    page.get_by_role("button", name="Roll back").nth(1).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the new one is not good")
    dialog.get_by_role("button", name="Roll back").click()

    page.get_by_role("tab", name="Objects", exact=True).click()
    expect(page.get_by_text("the new one is not good")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("the new one is not good")).to_have_count(0)


@pytest.mark.parametrize(
    ("language", "events", "reason", "settings", "free"),
    [("en", "Events", "NodeReady", "Settings", "MiB free for the store"), ("zh", "事件", "节点就绪", "设置", "存储可用空间")],
)
def test_events_and_settings(open_page: OpenPage, language: str, events: str, reason: str, settings: str, free: str) -> None:
    page = open_page("/ui/events", language=language)
    expect(page.get_by_role("heading", level=1)).to_have_text(events)
    expect(page.get_by_role("row").filter(has_text=reason).first).to_be_visible()
    check_accessibility(page)

    page.goto(page.url.replace("/ui/events", "/ui/settings"))
    expect(page.get_by_role("heading", level=1)).to_have_text(settings)
    expect(page.get_by_role("row").filter(has_text="PLUM_SESSION_SECONDS")).to_contain_text("43200")
    expect(page.get_by_text(free)).to_be_visible()
    check_accessibility(page)
