"""The files of the UI: which paths are theirs, what browsers keep, and what nobody can ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plum_controller.api.requests import split_path
from plum_controller.api.ui.files import UiFiles

HASHED = "assets/index-Bx3kQ.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build = tmp_path / "ui_dist"
    (build / "assets").mkdir(parents=True)
    (build / ".vite").mkdir()
    (build / "index.html").write_text("<!doctype html><title>Plum</title>")
    (build / "favicon.svg").write_text("<svg/>")
    (build / HASHED).write_text("let a = 1")
    (build / f"{HASHED}.br").write_bytes(b"brotli")
    (build / f"{HASHED}.gz").write_bytes(b"gzip")
    (build / ".vite" / "manifest.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("outside")
    return build


def named(files: UiFiles, path: str) -> str | None:
    return files.find(split_path(path.encode()))


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/", "/ui/deployments", "/ui/deployments/default/web?tab=diff", "/ui/a/b/c.js"])
def test_pages_are_one_document(folder: Path, path: str) -> None:
    assert named(UiFiles(folder), path) == "index.html"


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/apis/plum.dev/v1/deployments", "/kv/default/a", "/artifacts/app.zip", "/metrics", "/version", "/docs",
        "/session",
        "/nothing", "/index.html", "/.vite/manifest.json", "/deployments", "/uix", "/assetsx/index-Bx3kQ.js", "/favicon.svg/x",
    ],
)  # fmt: skip
def test_every_other_path_is_the_apis(folder: Path, path: str) -> None:
    assert named(UiFiles(folder), path) is None


@pytest.mark.parametrize(
    "path", ["/assets/..%2f..%2fsecret.txt", "/assets/%2e%2e", "/assets/../../secret.txt", "/..%2fsecret.txt"]
)
async def test_no_path_leads_out_of_the_build(folder: Path, path: str) -> None:
    files = UiFiles(folder)
    name = named(files, path)

    assert name is None or (await files.answer(name, {})).status == 404


async def test_hashed_files_are_kept_for_ever_and_pages_are_asked_for_again(folder: Path) -> None:
    files = UiFiles(folder)

    script = await files.answer(HASHED, {})
    page = await files.answer("index.html", {})

    assert dict(script.headers)[b"cache-control"] == b"public, max-age=31536000, immutable"
    assert (script.content_type, script.body) == (b"text/javascript; charset=utf-8", b"let a = 1")
    assert dict(page.headers)[b"cache-control"] == b"no-cache"
    assert b"script-src 'self';" in dict(page.headers)[b"content-security-policy"]
    assert dict(page.headers)[b"x-frame-options"] == b"DENY"


@pytest.mark.parametrize(
    ("accepted", "body", "encoding"),
    [
        (b"gzip, deflate, br", b"brotli", b"br"),
        (b"gzip", b"gzip", b"gzip"),
        (b"gzip;q=0", b"let a = 1", None),
        (b"", b"let a = 1", None),
    ],
)
async def test_what_the_build_compressed_goes_to_whoever_reads_it(
    folder: Path, accepted: bytes, body: bytes, encoding: bytes | None
) -> None:
    answer = await UiFiles(folder).answer(HASHED, {b"accept-encoding": accepted})

    assert (answer.body, dict(answer.headers).get(b"content-encoding")) == (body, encoding)
    assert dict(answer.headers)[b"vary"] == b"Accept-Encoding"


async def test_what_a_browser_has_is_not_sent_again(folder: Path) -> None:
    files = UiFiles(folder)
    etag = dict((await files.answer("index.html", {})).headers)[b"etag"]

    again = await files.answer("index.html", {b"if-none-match": b'"other", W/' + etag})
    (folder / "index.html").write_text("<!doctype html><title>Plum 2</title>")
    os.utime(folder / "index.html", ns=(1, 1))
    changed = await files.answer("index.html", {b"if-none-match": etag})

    assert (again.status, again.body) == (304, b"")
    assert (changed.status, changed.body) == (200, b"<!doctype html><title>Plum 2</title>")


async def test_a_new_build_is_seen_without_a_restart(folder: Path) -> None:
    files = UiFiles(folder)
    assert (await files.answer(HASHED, {})).status == 200

    (folder / HASHED).unlink()
    (folder / "assets" / "index-New.js").write_text("let b = 2")
    os.utime(folder / "index.html", ns=(2, 2))

    assert (await files.answer("assets/index-New.js", {})).body == b"let b = 2"
    assert (await files.answer(HASHED, {})).status == 404


async def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    files = UiFiles(tmp_path / "none")

    page = await files.answer("index.html", {})

    assert page.status == 200
    assert b"make ui" in page.body
    assert named(files, "/assets/x.js") == "assets/x.js"
    assert (await files.answer("assets/x.js", {})).status == 404
