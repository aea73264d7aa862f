"""`meta.ini` in both dialects: name and version leniently, services exactly."""

from __future__ import annotations

from plum_client.packages.meta_ini import Service, parse


def test_name_and_version_are_read_as_they_always_were() -> None:
    meta, problems = parse(b"# simulator\n; more\nName : Hello: World\r\nVERSION=v1.0.0\nversion = v1.0.1")

    assert problems == []
    assert (meta.name, meta.version) == ("Hello: World", "v1.0.1")


def test_the_first_sign_splits_and_the_rest_is_value() -> None:
    meta, _ = parse(b"name=a:b\nurl: http://x=1\n")

    assert meta.values == {"name": "a:b", "url": "http://x=1"}


def test_only_exact_lines_are_services() -> None:
    meta, problems = parse(b"name=a\nversion=1\nservice=one:http:3300\n#service=two:udp:1\nservice=three: udp:3301\n")

    assert problems == []
    assert meta.services == [Service("one", "http", 3300), Service("three", " udp", 3301)]


def test_lines_that_look_like_services_and_are_none_are_told() -> None:
    meta, problems = parse(b"Service=a:http:1\nservice: b:http:2\n service=c:http:3\nservice =d:http:4\n")

    assert (meta.services, problems) == ([], [])
    assert [warning.message.split(" is ")[0] for warning in meta.warnings] == ["line 1", "line 2", "line 3", "line 4"]


def test_several_services_may_share_a_port_and_the_same_line_twice_is_one() -> None:
    meta, problems = parse(b"service=a:http:80\nservice=b:udp:80\nservice=a:http:80\r\n")

    assert problems == []
    assert meta.services == [Service("a", "http", 80), Service("b", "udp", 80)]


def test_no_service_no_last_newline_and_a_byte_order_mark_are_fine() -> None:
    meta, problems = parse("\ufeffname=数据\nversion=1".encode())

    assert (meta.name, meta.version, meta.services, problems) == ("数据", "1", [], [])
