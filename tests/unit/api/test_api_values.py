"""The pure parts of the API: accept headers, paths of columns, ages, protobuf, hosts, headers, logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.api import protobuf
from plum_controller.api.columns import human_age
from plum_controller.api.discovery import version_rank
from plum_controller.api.jsonpath import compile_path
from plum_controller.api.limits import HostGuard, PeerRate, is_loopback, split_host
from plum_controller.api.negotiation import Form, accepts_gzip, body_form, object_form, parse_accept
from plum_controller.api.requests import parse_query, split_path
from plum_controller.api.wire import warning_value
from plum_controller.api.yamls import dump, load
from plum_controller.logs import JsonFormatter, TextFormatter, fields
from plum_controller.resources.errors import ApiStatusError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.JSON),
        ("*/*", Form.JSON),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form.TABLE),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Form.JSON),
        ("application/vnd.kubernetes.protobuf,application/json", Form.JSON),
        ("application/json;q=0.1, application/yaml", Form.YAML),
        ("application/json;q=0", None),
        ("text/html, application/xhtml+xml", None),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form.PARTIAL),
    ],
)
def test_the_first_form_we_have_is_taken(accept: str, form: Form | None) -> None:
    assert object_form(accept) is form


@given(st.text())
def test_no_accept_header_is_too_strange(header: str) -> None:
    assert all(entry.quality > 0 for entry in parse_accept(header))
    object_form(header)
    body_form(header)


@pytest.mark.parametrize(
    ("header", "yes"), [(b"gzip", True), (b"br, gzip;q=0.5", True), (b"gzip; q=0", False), (b"br", False), (None, False)]
)
def test_gzip_is_for_those_who_ask(header: bytes | None, yes: bool) -> None:
    assert accepts_gzip(header) is yes


OBJECT = {
    "metadata": {"name": "web", "annotations": {"a.b/c": "dotted"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Available", "status": "False"}], "numbers": [1, 2]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".metadata.name", "web"),
        (r".metadata.annotations.a\.b/c", "dotted"),
        (".metadata.annotations['a.b/c']", "dotted"),
        ('.status.conditions[?(@.type=="Ready")].status', "True"),
        (".status.conditions[?(@.type=='Nothing')].status", None),
        (".status.numbers[1]", 2),
        (".status.numbers[9]", None),
        (".status.numbers[*]", [1, 2]),
        (".status.nothing.below", None),
        (".status[", None),
    ],
)
def test_column_paths_find_their_value(path: str, value: object) -> None:
    assert compile_path(path)(OBJECT) == value


@given(st.text(alphabet=".[]*?@()='\"ab0 \\", max_size=20))
def test_no_column_path_breaks_a_table(path: str) -> None:
    compile_path(path)(OBJECT)


AGES = (
    "0=0s 119=119s 120=2m 123=2m3s 599=9m59s 600=10m 10799=179m 10800=3h 18600=5h10m 28800=8h "
    "172800=2d 176400=2d1h 691200=8d 63072000=2y 65664000=2y30d -5=<invalid>"
)


@pytest.mark.parametrize(("seconds", "text"), [(int(pair.split("=")[0]), pair.split("=")[1]) for pair in AGES.split()])
def test_ages_are_as_short_as_kubernetes_makes_them(seconds: int, text: str) -> None:
    assert human_age(NOW - timedelta(seconds=seconds), NOW) == text


def test_versions_are_ordered_best_first() -> None:
    versions = ["v1alpha1", "v2beta1", "v1", "foo", "v10", "v2", "v2beta2"]

    assert sorted(versions, key=version_rank) == ["v10", "v2", "v1", "v2beta2", "v2beta1", "v1alpha1", "foo"]


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, raw)


def test_a_lease_is_read_from_protobuf() -> None:
    meta = field(1, b"lock") + field(3, b"default") + field(7, 0) + field(8, b"") + field(11, field(1, b"a") + field(2, b"b"))
    spec = field(1, b"me") + field(2, 15) + field(4, field(1, 1767225600) + field(2, 5000))

    value = protobuf.decode(envelope("coordination.k8s.io/v1", "Lease", field(1, meta) + field(2, spec) + field(99, b"later")))

    assert value == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "lock", "namespace": "default", "labels": {"a": "b"}},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000005Z"},
    }


def test_secrets_and_delete_options_are_read_from_protobuf() -> None:
    secret = field(1, field(1, b"s")) + field(2, field(1, b"key") + field(2, b"\x00\xff")) + field(3, b"Opaque")
    options = field(1, 0) + field(2, field(1, b"uid")) + field(4, b"Background") + field(5, b"All")

    assert protobuf.decode(envelope("v1", "Secret", secret))["data"] == {"key": "AP8="}
    assert protobuf.decode(envelope("v1", "DeleteOptions", options)) == {
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "uid"},
        "propagationPolicy": "Background", "dryRun": ["All"],
    }  # fmt: skip


@given(st.sampled_from(sorted(protobuf.MESSAGES)), st.binary(max_size=60))
def test_damaged_protobuf_is_refused_and_nothing_else_happens(kind: str, raw: bytes) -> None:
    for body in (envelope("v1", kind, raw), b"k8s\x00" + raw):
        try:
            assert json.dumps(protobuf.decode(body))
        except protobuf.ProtobufError:
            pass


def test_an_unknown_kind_of_protobuf_is_refused() -> None:
    with pytest.raises(protobuf.ProtobufError, match="kind 'Pod'"):
        protobuf.decode(envelope("v1", "Pod", b""))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1", "a.localhost"])
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.evil", "evil", "127.0.0.1.evil", "::ffff:10.0.0.1"])
def test_names_that_leave_this_machine(host: str) -> None:
    assert not is_loopback(host)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_no_host_or_origin_breaks_the_guard(host: bytes, origin: bytes) -> None:
    split_host(host.decode("latin-1"))
    try:
        HostGuard().check(host, origin)
    except ApiStatusError as error:
        assert error.code == 403


def test_a_bucket_lets_a_burst_through_and_then_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("plum_controller.api.limits.time.monotonic", lambda: now)
    rate = PeerRate(10)

    assert _allowed(rate, "a", 50) == 20
    now += 0.55
    assert _allowed(rate, "a", 50) == 5
    assert _allowed(rate, "b", 50) == 20
    now += 3600
    assert _allowed(rate, "a", 50) == 20


def _allowed(rate: PeerRate, peer: str, tries: int) -> int:
    allowed = 0
    for _ in range(tries):
        try:
            rate.take(peer)
        except ApiStatusError:
            continue
        allowed += 1
    return allowed


@given(st.binary(max_size=40))
def test_every_path_and_query_can_be_taken_apart(data: bytes) -> None:
    split_path(data)
    try:
        parse_query(data)
    except ApiStatusError as error:
        assert error.code == 400


def test_an_encoded_slash_stays_inside_its_part() -> None:
    assert split_path(b"/apis/a%2Fb/%E4%B8%AD/") == ["apis", "a/b", "中"]


@given(st.text())
def test_warnings_are_always_safe_headers(text: str) -> None:
    value = warning_value(text)

    assert value.startswith(b'299 - "') and value.endswith(b'"')
    assert all(0x20 <= byte < 0x7F for byte in value)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)


@given(JSON)
def test_what_is_written_as_yaml_is_read_back(value: object) -> None:
    assert load(dump(value)) == value


@given(st.text(alphabet="ab: -[]{}&*!|>'\"#\n\t1,?%@`~.", max_size=40))
def test_yaml_is_read_or_refused(text: str) -> None:
    try:
        json.dumps(load(text.encode()))
    except ApiStatusError as error:
        assert error.code == 400


def test_times_stay_text_and_aliases_are_refused() -> None:
    assert load(b"a: 2026-01-01\nb: 2026-01-01T00:00:00Z\n<<: 1\n") == {"a": "2026-01-01", "b": "2026-01-01T00:00:00Z", "<<": 1}
    with pytest.raises(ApiStatusError, match="aliases"):
        load(b"a: &x [1, 2]\nb: [*x, *x]\n")


def test_logs_carry_their_data_in_fields() -> None:
    record = logging.getLogger("plum.test").makeRecord(
        "plum.test", logging.INFO, "f", 1, "instance started", (), None, extra=fields(key="default/web", note='two "words"')
    )

    line = json.loads(JsonFormatter().format(record))
    text = TextFormatter().format(record)

    assert (line["message"], line["key"], line["level"]) == ("instance started", "default/web", "info")
    assert text.endswith('plum.test  instance started  key=default/web note="two \\"words\\""')
