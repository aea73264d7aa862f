"""Which addresses the controller calls for others."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from plum_client.outgoing_rules import parse_allow_list, refusal


def refused(allow: str, scheme: str, host: str, address: str, port: int = 80) -> str:
    return refusal(parse_allow_list(allow), scheme, host, ip_address(address), port, {8080})


@pytest.mark.parametrize(
    ("allow", "scheme", "host", "address", "port"),
    [
        ("*", "http", "example.com", "93.184.216.34", 80),
        ("*", "http", "127.0.0.1", "127.0.0.1", 9000),
        ("https://*.example.com", "https", "a.b.example.com", "93.184.216.34", 443),
        ("hooks.plant.local:8443", "https", "HOOKS.plant.local.", "10.0.0.9", 8443),
        ("10.0.0.0/8", "http", "anything", "10.2.3.4", 80),
        ("169.254.169.254", "http", "169.254.169.254", "169.254.169.254", 80),
        ("127.0.0.1:8080", "http", "localhost", "127.0.0.1", 8080),
        ("[fd12::]/16", "http", "x", "fd12::1", 80),
    ],
)
def test_what_is_listed_may_be_called(allow: str, scheme: str, host: str, address: str, port: int) -> None:
    assert refused(allow, scheme, host, address, port) == ""


@pytest.mark.parametrize(
    ("allow", "scheme", "host", "address", "port", "why"),
    [
        ("*", "http", "169.254.169.254", "169.254.169.254", 80, "credentials"),
        ("*", "http", "evil.example", "169.254.1.1", 80, "link-local"),
        ("*", "http", "evil.example", "::ffff:169.254.169.254", 80, "credentials"),
        ("*", "http", "evil.example", "fe80::1", 80, "link-local"),
        ("evil.example", "http", "evil.example", "fd00:ec2::254", 80, "credentials"),
        ("*", "http", "x", "0.0.0.0", 80, "no address"),
        ("*", "http", "x", "224.0.0.1", 80, "multicast"),
        ("*", "http", "localhost", "127.0.0.1", 8080, "own port"),
        ("*", "http", "localhost", "::ffff:127.0.0.1", 8080, "own port"),
        ("", "http", "example.com", "93.184.216.34", 80, "allow list"),
        ("*.example.com", "http", "example.com", "93.184.216.34", 80, "allow list"),
        ("*.example.com", "http", "badexample.com", "93.184.216.34", 80, "allow list"),
        ("https://example.com", "http", "example.com", "93.184.216.34", 80, "allow list"),
        ("example.com:81", "http", "example.com", "93.184.216.34", 80, "allow list"),
        ("10.0.0.0/8", "http", "10.evil.example", "93.184.216.34", 80, "allow list"),
    ],
)
def test_what_is_special_or_not_listed_is_refused(allow: str, scheme: str, host: str, address: str, port: int, why: str) -> None:
    assert why in refused(allow, scheme, host, address, port)


@pytest.mark.parametrize("text", ["host:99999", "10.0.0.0/99", "a b!c", "1http://x", "[fd12::"])
def test_an_entry_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is n|has no scheme"):
        parse_allow_list(text)
