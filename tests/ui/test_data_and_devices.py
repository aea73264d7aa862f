"""Entries of the key-value store and devices, as people meet them in the browser."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from tests.support.browser import PHONE, OpenPage, UiSite, check_accessibility, page_errors

RADAR = """
apiVersion: plum.dev/v1
kind: Resource
metadata: {name: radar-07}
spec:
  type: Radar
  model:
    properties:
    - {name: range, type: double, unit: m, min: 100, max: 5000}
    - {name: active, type: boolean, readOnly: true}
    operations:
    - {name: calibrate, arguments: [{name: mode, type: enum, enum: [fast, full], required: true}]}
  desired: {range: 1500}
"""

WORDS = {
    "en": ("Online", "Set", "Desired value of range", "It must be at most 5000 m", "Call calibrate", "A value is needed"),
    "zh": ("在线", "设置", "range 的期望值", "不得大于 5000 m", "调用 calibrate", "必须填写"),
}


def put(site: UiSite, key: str, value: str, kind: str = "int") -> None:
    request = Request(f"{site.url}/kv/plant?key={key}&type={kind}", data=value.encode(), method="PUT")
    assert urlopen(request, timeout=20).status in (200, 201)


def report(site: UiSite, number: float) -> None:
    """What the device's driver would say."""
    reported = {"range": {"value": number, "time": "2026-01-01T00:00:00Z"}}
    status = {"reported": reported, "delta": {"range": {"desired": 1500, "reported": number}}, "connection": {"online": True}}
    path = "/apis/plum.dev/v1/namespaces/default/resources/radar-07/status"
    headers = {"Content-Type": "application/merge-patch+json"}
    request = Request(site.url + path, data=json.dumps({"status": status}).encode(), method="PATCH", headers=headers)
    assert urlopen(request, timeout=20).status == 200


def test_an_entry_is_edited_and_a_conflict_loses_nothing(site: UiSite, open_page: OpenPage) -> None:
    put(site, "line/level", "80")
    page = open_page("/ui/kv?ns=plant")
    page.get_by_role("link", name="line/level").click()
    value = page.get_by_role("dialog").get_by_role("textbox", name="Value")
    expect(value).to_have_value("80")
    check_accessibility(page)

    value.fill("eighty")
    expect(page.get_by_role("alert").filter(has_text="A whole number is expected")).to_be_visible()
    put(site, "line/level", "81")
    expect(page.get_by_text("Somebody changed this entry while you were editing")).to_be_visible()

    page_errors(page).expect("412")
    value.fill("9007199254740993")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing was saved: the entry has changed")).to_be_visible()
    page.get_by_role("button", name="Save mine over it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    with urlopen(f"{site.url}/kv/plant?key=line/level", timeout=20) as answer:
        assert answer.read() == b"9007199254740993", "whole numbers keep their 64 bits"


def test_a_new_entry_appears_and_goes_without_a_reload(site: UiSite, open_page: OpenPage) -> None:
    page = open_page("/ui/kv?ns=plant")
    page.get_by_role("button", name="New entry").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Namespace").fill("plant")
    dialog.get_by_role("textbox", name="Key").fill("made/here")
    dialog.get_by_role("textbox", name="Value").fill("on")
    dialog.get_by_role("button", name="Save").click()
    made = page.get_by_role("link", name="made/here")
    expect(made).to_be_visible()

    site.run("kv", "delete", "-n", "plant", "made/here")
    expect(made).to_have_count(0)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_device_shows_what_differs_and_takes_values_of_its_model(site: UiSite, open_page: OpenPage, language: str) -> None:
    site.apply("radar", RADAR, "--force-conflicts")
    report(site, 812.5)
    online, set_it, label, too_much, call, needed = WORDS[language]
    page = open_page("/ui/resources/default/radar-07", language=language)
    expect(page.get_by_role("heading", level=1)).to_have_text("radar-07")
    expect(page.get_by_text(online, exact=True).first).to_be_visible()
    row = page.get_by_role("row").filter(has_text="range")
    expect(row).to_contain_text("1500 m")
    expect(row).to_contain_text("812.5 m")

    row.get_by_role("button", name=set_it, exact=True).click()
    field = page.get_by_label(label)
    field.fill("6000")
    field.press("Enter")
    expect(page.get_by_text(too_much)).to_be_visible()
    field.fill("2000")
    field.press("Enter")
    expect(row.first).to_contain_text("2000 m")
    report(site, 900)
    expect(row.first).to_contain_text("900 m")

    page.get_by_role("button", name=call).click()
    expect(page.get_by_text(needed)).to_be_visible()
    check_accessibility(page)


def test_an_operation_is_called_and_cancelled(site: UiSite, open_page: OpenPage) -> None:
    site.apply("radar", RADAR, "--force-conflicts")
    page = open_page("/ui/resources/default/radar-07")
    page.get_by_label("mode").press("ArrowDown")
    page.get_by_role("option", name="fast").click()
    page.get_by_role("button", name="Call calibrate").click()

    row = page.get_by_role("row").filter(has_text="mode=fast")
    expect(row).to_be_visible()
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("Canceled")


def test_devices_and_workers_fit_a_phone(site: UiSite, open_page: OpenPage) -> None:
    site.apply("radar", RADAR, "--force-conflicts")
    page = open_page("/ui/resources", size=PHONE, theme="dark")
    expect(page.get_by_role("link", name="radar-07")).to_be_visible()
    check_accessibility(page)
    page.goto(f"{site.url}/ui/workers")
    expect(page.get_by_text("No worker has dialled in")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
