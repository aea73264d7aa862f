"""Packages are checked as they will be run; every broken or hostile form is refused with a file and a remedy."""

from __future__ import annotations

import io
import random

import pytest
from plum_client.packages.check import Package, check_package
from plum_client.packages.errors import PackageError
from plum_client.packages.zip_directory import Limits

from tests.support.packages import BASE, META, START, Form, forms, good_zip, zip64

FORMS = forms()


def checked(data: bytes, **options: object) -> Package:
    return check_package(io.BytesIO(data), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_hostile_or_broken_form_is_refused_with_its_file_and_a_remedy(form: Form) -> None:
    with pytest.raises(PackageError) as refused:
        checked(form.data)

    assert form.file in str(refused.value)
    assert form.words in str(refused.value)
    assert any(form.file in str(problem) for problem in refused.value.problems)


def test_there_are_more_than_thirty_forms() -> None:
    assert len({form.name for form in FORMS}) == len(FORMS) > 30


def test_a_good_package_says_what_it_is() -> None:
    package = checked(good_zip({**BASE, "bin/app": b"x" * 100}, {"lib/current": "../bin/app"}))

    assert (package.name, package.version, package.entry) == ("demo-app", "1.0.0", "start.sh")
    assert [(one.name, one.protocol, one.port) for one in package.services] == [("orders", "http", 8080)]
    assert package.metadata == {"name": "demo-app", "version": "1.0.0"}
    assert package.size == len(START) + len(META) + 100 + len("../bin/app")
    assert package.warnings == ()


def test_a_zip64_package_is_read() -> None:
    assert checked(zip64()).name == "demo-app"


def test_a_start_that_is_a_link_inside_the_package_is_followed() -> None:
    package = checked(good_zip({"meta.ini": META, "bin/start.sh": START}, {"start.sh": "bin/start.sh"}))

    assert package.entry == "start.sh"


def test_a_start_may_be_a_program() -> None:
    assert checked(good_zip({"meta.ini": META, "start.sh": b"\x7fELF" + bytes(60)})).name == "demo-app"


def test_given_name_and_version_win_over_those_of_the_package() -> None:
    package = checked(good_zip({**BASE, "meta.ini": b"service=a:udp:1\n"}), name="other", version="2")

    assert (package.name, package.version) == ("other", "2")


def test_names_that_differ_only_in_case_are_a_warning() -> None:
    assert "differs from a.txt only in case" in checked(good_zip({**BASE, "a.txt": b"", "A.txt": b""})).warnings[0]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(PackageError) as refused:
        checked(good_zip({"start.sh": b"sleep 1\n", "meta.ini": b"version=1\nservice=x\n"}))

    assert [problem.file for problem in refused.value.problems] == ["start.sh", "meta.ini", "meta.ini"]


def test_limits_are_kept() -> None:
    with pytest.raises(PackageError, match="at most 2 are allowed"):
        checked(good_zip({**BASE, "a": b""}), limits=Limits(entries=2))
    with pytest.raises(PackageError, match="at most 1 MiB are allowed"):
        checked(good_zip({**BASE, "a": random.Random(1).randbytes(2**20)}), limits=Limits(unpacked_bytes=2**20))


def test_no_damage_makes_anything_but_a_refusal() -> None:
    """Bytes changed at random, cut and doubled: it is a good package or a refusal, never another error."""
    chance = random.Random(7)
    whole = good_zip({**BASE, "bin/app": chance.randbytes(400), "lib/": b""}, {"lib/app": "../bin/app"})
    refused = 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        try:
            checked(bytes(data))
        except PackageError:
            refused += 1
    assert refused > 1000
