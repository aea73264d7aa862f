"""A day of an operator, in the browser alone: from an empty controller to a fleet, a failed rollout, a lost node, an operated
device and a colleague who may only look. Only the agents are started outside, by the line that the page shows."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import OpenPage, UiSite, check_accessibility, page_errors, running_site
from tests.support.command import kill_processes_of, processes_of

META = "name=clock\nversion={version}\nservice=clock:http:8080\n"
GOOD = '#!/bin/sh\nwhile true; do echo "tick of $PLUM_INSTANCE_ID"; sleep 1; done\n'
BAD = '#!/bin/sh\necho "cannot open clock.conf"\nexit 4\n'
PIECE = 4 * 1024 * 1024
RADAR = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {{name: radar-1}}
spec:
  template:
    command: [{python}, -m, plum_worker.simulator, radar, radar-1, --speed, "4"]
    terminationGracePeriodSeconds: 2
"""
IDLE = """\
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: idle}
spec: {replicas: 0, template: {command: [sleep, "9"]}}
"""
SLOW = 90_000


@dataclass(slots=True)
class Machines:
    """Where agents run, as if each were somewhere else."""

    site: UiSite
    folder: Path
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, name: str, line: str) -> None:
        """The line that the page shows, on a machine of this name."""
        words = shlex.split(line)
        assert words[:4] == ["plum", "agent", "--node", name]
        own = self.folder / name
        own.mkdir(parents=True)
        environment = {key: value for key, value in self.site.plum.environment.items() if key != "PLUM_SERVER"}
        with (own / "log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "plum_cli", *words[1:], "--data-dir", str(own)],
                env=environment, cwd=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.agents.append(started)

    def kill_program(self, name: str, word: str) -> None:
        """`kill -9` of what an instance runs there."""
        lines = {pid: line.split() for pid, line in processes_of(self.folder / name).items()}
        found = [pid for pid, line in lines.items() if line[1:2] and line[1].endswith(word)]
        assert found, f"nothing like {word} runs on {name}: {lines}"
        os.kill(found[0], signal.SIGKILL)

    def lose(self, name: str) -> None:
        """The machine is gone, with everything on it."""
        kill_processes_of(self.folder / name)

    def close(self) -> None:
        kill_processes_of(self.folder)
        for agent in self.agents:
            agent.wait(20)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiSite]:
    """A controller with TLS, and nothing else."""
    with running_site(tmp_path_factory.mktemp("empty"), "--secure-listen", "127.0.0.1:0", manifests=None, agents=0) as running:
        yield running


@pytest.fixture
def machines(empty: UiSite, tmp_path: Path) -> Iterator[Machines]:
    found = Machines(empty, tmp_path / "machines")
    try:
        yield found
    finally:
        found.close()


def package(folder: Path, version: str, start: str = GOOD, meta: str = META, filling: int = 0) -> Path:
    path = folder / f"clock-{version}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.ini", meta.format(version=version))
        entry = zipfile.ZipInfo("start.sh")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, start)
        archive.writestr("filling", os.urandom(filling))
    return path


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def join(page: Page, machines: Machines, name: str) -> None:
    """Let a machine join by the line in the dialog, and wait for the dialog to see it."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name of the node").fill(name)
    dialog.get_by_label("Name of the node").press("Enter")
    machines.run(name, dialog.locator("pre.line").inner_text())
    expect(dialog.get_by_text(f"{name} has joined")).to_be_visible(timeout=SLOW)
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(dialog).to_have_count(0)


def test_an_operator_without_a_terminal(empty: UiSite, machines: Machines, open_page: OpenPage, tmp_path: Path) -> None:
    found = re.search(r"log in\s+(https://\S+?)(/ui/login#link=\S+)", empty.dev.text)
    assert found, empty.dev.text
    url, link = found[1], found[2]

    # ---- in by the link, which is good once; what is empty says what to do
    page = open_page(link, url=url)
    page_errors(page).expect("401")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert "link=" not in page.url
    assert len([text for text in page_errors(page).seen if "401" in text]) == 1, "nothing but who it is was asked as nobody"
    check_accessibility(page)
    again = open_page(link, url=url)
    page_errors(again).expect("401")
    expect(again.get_by_role("alert")).to_contain_text("a link works once")
    again.close()

    # ---- two machines join; a name that a shell would take apart is refused
    page.get_by_role("link", name="Add a node").click()
    page.get_by_role("dialog").get_by_label("Name of the node").fill("Bad Name!")
    expect(page.get_by_role("alert")).to_contain_text("Lower case letters")
    expect(page.get_by_role("button", name="Make a token")).to_be_disabled()
    join(page, machines, "alpha")
    press(page, "Add a node")
    join(page, machines, "beta")
    expect(page.get_by_role("row").filter(has_text="beta")).to_contain_text("Ready")
    check_accessibility(page)

    # ---- packages: refused in words, put away; cut in the middle, and there nevertheless; seen again after another page
    page.get_by_role("link", name="Artifacts", exact=True).click()
    page_errors(page).expect("422")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(package(tmp_path, "0.9.0", meta="version={version}\n"))
    expect(page.get_by_role("alert")).to_contain_text("name")
    press(page, "Hide")
    expect(page.get_by_role("alert")).to_have_count(0)
    sent: list[str] = []

    def cut_once(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) == 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    page_errors(page).expect("ERR_CONNECTION_RESET")
    page.route(re.compile(r"/uploads/\w+\?offset="), cut_once)
    chooser.set_input_files(package(tmp_path, "1.0.0", filling=2 * PIECE))
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("link", name="Upload a package first").click()
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_visible()
    assert len(sent) == 4, "three pieces, one of them twice"
    chooser.set_input_files(package(tmp_path, "2.0.0", BAD))
    expect(page.get_by_text("clock 2.0.0")).to_be_visible()
    page.locator("li", has_text="clock 1.0.0").get_by_role("button", name="Deploy").click()

    # ---- by form, with the YAML beside it; block by block
    expect(page.get_by_label("Name", exact=True)).to_have_value("clock")
    expect(page.locator(".cm-content")).to_contain_text("version: 1.0.0")
    page.get_by_label("Fewer than wanted").fill("lots")
    page.get_by_label("Fewer than wanted").press("Tab")
    expect(page.get_by_role("alert").filter(has_text="lots").first).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_have_attribute("aria-disabled", "true")
    page.get_by_label("Fewer than wanted").fill("1")
    page.get_by_role("spinbutton", name="Instances").fill("2")
    page.get_by_label("Failed after").fill("4")
    page.get_by_label("Failed after").press("Tab")
    expect(page.locator(".cm-content")).to_contain_text("replicas: 2")
    expect(page.get_by_text("The server would take it")).to_be_visible()
    check_accessibility(page)
    press(page, "Create")
    expect(page.get_by_role("heading", name="clock", level=1)).to_be_visible()
    expect(page.get_by_text("Complete", exact=True)).to_be_visible(timeout=SLOW)
    blocks = page.get_by_role("listitem").get_by_role("link", name=re.compile(r"^clock-.* · Ready"))
    expect(blocks).to_have_count(2)
    check_accessibility(page)

    # ---- a program that is killed is started again, and that is seen
    machines.kill_program("alpha", "start.sh")
    row = page.get_by_role("table", name="Instances").get_by_role("row").filter(has_text="alpha")
    expect(row.locator(".many")).to_have_text("1", timeout=SLOW)
    expect(row).to_contain_text("Ready", timeout=SLOW)

    # ---- a version that cannot work says why; an earlier spec comes back from the history
    press(page, "Edit")
    page.get_by_role("combobox", name="Version", exact=True).press("ArrowDown")
    page.get_by_role("option", name="2.0.0").click()
    expect(page.get_by_text("The server would take it")).to_be_visible()
    press(page, "Apply")
    expect(page.get_by_text("Rollout failed")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("heading", name="Why it is not where it should be")).to_be_visible()
    page.get_by_role("tab", name="Why").click()
    expect(page.get_by_role("tabpanel")).to_contain_text("exit code 4")
    page.get_by_role("tab", name="History").click()
    page.get_by_role("list", name="History").get_by_role("listitem").last.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    page.get_by_role("tab", name="Overview").click()
    expect(page.get_by_text("Complete", exact=True)).to_be_visible(timeout=SLOW)
    press(page, "Undo to 2")  # which failed: only when it is meant
    expect(page.get_by_role("dialog")).to_contain_text("which failed")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    # ---- stopped and started by a click each; what is stopped is as desired
    press(page, "Stop")
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.get_by_role("heading", name="clock").locator("..")).to_contain_text("Stopped")
    expect(page.get_by_role("tab", name="Diff", exact=True)).to_be_visible()
    press(page, "Start")
    expect(page.get_by_text("Complete", exact=True)).to_be_visible(timeout=SLOW)

    # ---- a device: what it reports, what it should be, what it is asked to do
    page.keyboard.press("ControlOrMeta+k")
    page.keyboard.insert_text("from yaml")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name=re.compile("YAML")).click()
    page.keyboard.insert_text(RADAR.format(python=sys.executable))
    press(page, "Apply")
    expect(page.get_by_text("Applied")).to_be_visible()
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_role("link", name="radar-1", exact=True).click(timeout=SLOW)
    mode = page.get_by_role("row").filter(has_text="mode").first
    mode.get_by_role("button", name="Set", exact=True).click()
    page.get_by_label("Desired value of mode").press("ArrowDown")
    page.get_by_role("option", name="scan").click()
    page.locator("tr.editor").get_by_role("button", name="Set", exact=True).click()
    expect(mode.get_by_role("cell").nth(1)).to_have_text("scan", timeout=SLOW)
    page.get_by_label("sector").fill("3")
    press(page, "Call scan")
    expect(page.get_by_role("row").filter(has_text="sector=3")).to_contain_text("Succeeded", timeout=SLOW)
    expect(page.locator("canvas").first).to_be_visible()
    check_accessibility(page)

    # ---- a lost node: silent, said everywhere, and its instance runs on the other one
    page.goto(f"{url}/ui/nodes")
    machines.lose("beta")
    silent = page.get_by_role("row").filter(has_text="beta")
    expect(silent).to_contain_text("Silent", timeout=SLOW)
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="beta").first).to_contain_text("Silent")
    page.goto(f"{url}/ui/deployments/default/clock")
    expect(page.get_by_role("link", name=re.compile(r"^clock-.* · Ready"))).to_have_count(2, timeout=SLOW)
    check_accessibility(page)


def test_a_colleague_who_may_only_look(empty: UiSite, open_page: OpenPage) -> None:
    url = re.search(r"log in\s+(https://\S+?)/ui/", empty.dev.text)
    assert url, empty.dev.text
    empty.apply("idle", IDLE)

    # ---- a token with a role, shown once
    page = open_page("/ui/tokens", url=empty.url)
    press(page, "New token")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User", exact=True).fill("vera")
    dialog.get_by_label("Role").select_option("view")
    check_accessibility(page)
    dialog.get_by_role("button", name="Create").click()
    token = dialog.get_by_label("Token", exact=True)
    expect(token).to_have_value(re.compile("^plum_.{40,}"))
    secret = token.input_value()
    dialog.get_by_role("button", name="I have kept it").click()

    # ---- she signs in, comes back to where she was, and buttons say what she may not
    vera = open_page("/ui/deployments/default/idle?tab=events", url=url[1])
    page_errors(vera).expect("40[13]|Authentication failed")
    expect(vera.get_by_role("heading", level=1)).to_have_text("Sign in to Plum")
    check_accessibility(vera)
    vera.get_by_label("Token", exact=True).fill("plum_made-up")
    press(vera, "Sign in")
    expect(vera.get_by_role("alert")).to_be_visible()
    vera.get_by_label("Token", exact=True).fill(secret)
    press(vera, "Sign in")
    expect(vera).to_have_url(f"{url[1]}/ui/deployments/default/idle?tab=events")
    delete = vera.get_by_role("button", name="Delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(delete).to_contain_text("You may not delete deployments")
    vera.goto(f"{url[1]}/ui/audit")
    expect(vera.get_by_role("alert")).to_contain_text("You may not do this")

    # ---- her session is ended: told at once, and back to the same place with the next one
    vera.goto(f"{url[1]}/ui/deployments?q=idle")
    shown = vera.get_by_role("row").filter(has_text="idle")
    expect(shown).to_be_visible()
    page.reload()
    session = page.get_by_role("row").filter(has_text="vera").filter(has_text="Browser session")
    session.get_by_role("checkbox").check()
    press(page, "Revoke")
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(vera.get_by_text("Your session has ended")).to_be_visible()
    check_accessibility(vera)
    vera.get_by_label("Token", exact=True).fill(secret)
    press(vera, "Sign in")
    expect(vera).to_have_url(f"{url[1]}/ui/deployments?q=idle")
    expect(shown).to_be_visible()
    vera.goto(f"{url[1]}/ui/settings")
    expect(vera.get_by_text("vera", exact=True)).to_be_visible()
    press(vera, "Sign out")
    expect(vera.get_by_role("heading", level=1)).to_have_text("Sign in to Plum")
    expect(vera.get_by_text("Your session has ended")).to_have_count(0)
