"""The pure parts of speaking with an engine: credentials, names, times."""

from __future__ import annotations

import base64
import json

import pytest
from plum_agent.engine.image_files import check_name, normal_name
from plum_agent.engine.logins import Login, header_of, logins_of, registry_of
from plum_agent.engine.times import unix_seconds
from plum_agent.errors import RefusedError


def test_credentials_are_read_in_all_forms_people_have() -> None:
    auth = base64.b64encode(b"me:a:b").decode()
    modern = {".dockerconfigjson": json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": auth}}}).encode()}
    old = {".dockercfg": json.dumps({"reg.site:5000": {"username": "me", "password": "pw"}}).encode()}
    plain = {"username": b"me", "password": b"pw", "server": b"https://reg.site"}

    assert logins_of(modern) == [Login("docker.io", "me", "a:b")]
    assert logins_of(old) == [Login("reg.site:5000", "me", "pw")]
    assert logins_of(plain) == [Login("reg.site", "me", "pw")]
    for wrong in ({}, {".dockerconfigjson": b"{"}, {".dockercfg": b'{"x": {"auth": "***"}}'}):
        with pytest.raises(ValueError, match=r"neither|cannot be read|not base64"):
            logins_of(wrong)


def test_credentials_go_only_to_their_registry_and_are_never_shown() -> None:
    logins = [Login("reg.site", "me", "secret"), Login("", "anyone", "open")]

    def user(image: str) -> str:
        return json.loads(base64.urlsafe_b64decode(header_of(image, logins)["X-Registry-Auth"]))["username"]

    assert user("reg.site/app:1") == "me"
    assert user("other.site/app:1") == "anyone"
    assert header_of("other.site/app:1", logins[:1]) == {}
    assert "secret" not in repr(logins)


@pytest.mark.parametrize(
    ("image", "registry"),
    [("redis", "docker.io"), ("team/app", "docker.io"), ("localhost/app", "localhost"), ("reg.site:5000/a/b:1", "reg.site:5000")],
)
def test_the_registry_of_an_image_is_the_one_the_engine_asks(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_one_image_has_one_name() -> None:
    assert {normal_name(name) for name in ("redis", "docker.io/library/redis:latest", "library/redis")} == {"redis:latest"}
    assert normal_name("reg.site:5000/app") == "reg.site:5000/app:latest"


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a/../b", "a?x=1", "a:1\n", "/a", "a//b", "a:", "-a", "a" * 600])
def test_what_is_no_name_never_becomes_a_path(name: str) -> None:
    with pytest.raises(RefusedError, match="is no name of an image"):
        check_name(name)


def test_times_of_the_engine() -> None:
    assert unix_seconds("1970-01-01T00:00:01.5Z") == 1.5
    assert unix_seconds("1970-01-01T00:00:01Z") == 1.0
    assert unix_seconds("0001-01-01T00:00:00Z") == unix_seconds("") == 0.0
