"""The bytes of artifacts: uploads that are their owner's, blobs that stay while they are given to an object."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from plum_controller.store.blobs import UPLOAD_SECONDS, BlobStore, NoRoomError, NoUploadError, Upload


def filled(store: BlobStore, data: bytes = b"data") -> tuple[Upload, str]:
    upload = store.begin("me", len(data))
    with upload.data.open("ab") as file:
        store.append(file, data)
    return upload, store.digest(upload)


def test_an_upload_becomes_a_blob_and_may_be_kept_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "artifacts")
    upload, sha256 = filled(store)

    for _ in range(2):
        store.keep(upload, sha256)
    store.cancel(upload)

    assert sha256 == hashlib.sha256(b"data").hexdigest()
    assert store.path(sha256).read_bytes() == b"data"
    assert store.list() == [sha256]
    assert (tmp_path / "artifacts").stat().st_mode & 0o777 == 0o700


def test_an_upload_is_its_owners(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    upload, _ = filled(store)

    assert store.find(upload.id, "me").offset == 4
    for wrong in ((upload.id, "you"), ("../uploads", "me"), ("0" * 32, "me"), (upload.id.upper() + "x", "me")):
        with pytest.raises(NoUploadError):
            store.find(*wrong)


def test_uploads_that_nobody_goes_on_with_are_thrown_away(tmp_path: Path) -> None:
    now = [0.0]
    store = BlobStore(tmp_path, clock=lambda: now[0])
    upload, _ = filled(store)
    now[0] = upload.data.stat().st_mtime + UPLOAD_SECONDS - 60
    store.give_up()
    assert upload.folder.exists()

    now[0] += 120
    store.give_up()

    assert not upload.folder.exists()


def test_a_blob_that_is_given_to_an_object_is_not_dropped(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    upload, sha256 = filled(store)
    store.keep(upload, sha256)

    store.busy.add(sha256)
    assert not store.drop(sha256)
    store.busy.discard(sha256)
    assert store.drop(sha256)
    assert store.list() == []


def test_a_file_system_without_links_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    store = BlobStore(tmp_path)
    upload, sha256 = filled(store)
    monkeypatch.setattr(Path, "hardlink_to", refuse)

    store.keep(upload, sha256)

    assert store.path(sha256).read_bytes() == b"data"


def test_room_is_left_for_the_objects(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)

    with pytest.raises(NoRoomError, match="the artifact store is full"):
        store.begin("me", 1 << 60)
