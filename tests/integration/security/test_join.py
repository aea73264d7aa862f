"""Machines become nodes: one token, one certificate, for a key that never travels."""

from __future__ import annotations

import dataclasses
import hashlib
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.integration.security.conftest import Caller, Site

PLUM = "/apis/plum.dev/v1"
TOKENS = f"{PLUM}/tokens"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
JOIN, RENEW = "/agent/v1/join", "/agent/v1/certificate"

SHA256 = hashes.SHA256()
Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def request_of(key: Any, node: str, *, name: str = "", algorithm: hashes.HashAlgorithm | None = SHA256) -> str:
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or f"system:node:{node}")])
    made = x509.CertificateSigningRequestBuilder().subject_name(common).sign(key, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def join_token(site: Site, node: str = "", seconds: float = 600) -> tuple[str, Caller]:
    """The name of a new token to join with, and somebody who has it."""
    name = f"join-{hashlib.sha256(new_key().private_numbers().private_value.to_bytes(32, 'big')).hexdigest()[:8]}"
    spec = {
        "user": f"system:bootstrap:{name}",
        "groups": ["system:bootstrappers"],
        "join": {"node": node} if node else {},
        "expiresAt": (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    made = site.make(TOKENS, {"metadata": {"name": name}, "spec": spec})
    return name, site.bearer(made["status"]["token"])


def joined(site: Site, node: str, key: Key | None = None) -> Caller:
    """A node with a certificate."""
    key = key or new_key()
    status, answer = join_token(site, node)[1].call("POST", JOIN, {"request": request_of(key, node)})
    assert status == 201, answer
    return with_certificate(site, key, answer["certificate"])


def with_certificate(site: Site, key: Key, certificate: str) -> Caller:
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return Caller(dataclasses.replace(site.admin.server, token="", client_certificate=certificate.encode(), client_key=pem))


def credentials(site: Site, node: str) -> list[str]:
    items = site.admin.get(f"{TOKENS}?fieldSelector=spec.user%3Dsystem:node:{node}")[1]["items"]
    return [item["metadata"]["name"] for item in items if item["spec"].get("certificate")]


def test_a_token_becomes_a_certificate_of_the_node(site: Site) -> None:
    key = new_key()
    _, bearer = join_token(site, "edge-1")

    status, answer = bearer.call("POST", JOIN, {"request": request_of(key, "edge-1")})
    node = with_certificate(site, key, answer["certificate"])
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert status == 201 and answer["lifeSeconds"] > 364 * 24 * 3600
    assert certificate.subject.rfc4514_string() == "CN=system:node:edge-1,O=system:nodes"
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert node.get(f"{PLUM}/instances?fieldSelector=spec.nodeName%3Dedge-1")[0] == 200
    assert node.get(f"{PLUM}/instances?fieldSelector=spec.nodeName%3Dedge-2")[0] == 403
    assert node.call("POST", f"{PLUM}/nodes", {"metadata": {"name": "edge-1"}})[0] == 201


def test_a_token_to_join_with_is_good_for_nothing_else(site: Site) -> None:
    _, bearer = join_token(site)

    answers = {
        path: bearer.get(path)[0]
        for path in ("/apis", f"{PLUM}/nodes", f"{PLUM}/instances", "/api/v1/secrets", TOKENS, "/agent/v1/connect?node=a")
    }
    answers[RENEW] = bearer.call("POST", RENEW, {"request": request_of(new_key(), "a")})[0]

    assert set(answers.values()) == {403}, answers


def test_a_token_is_good_for_one_key_of_one_node_and_for_that_again(site: Site) -> None:
    key = new_key()
    _, bearer = join_token(site)
    first = bearer.call("POST", JOIN, {"request": request_of(key, "once")})
    again = bearer.call("POST", JOIN, {"request": request_of(key, "once")})

    other_key = bearer.call("POST", JOIN, {"request": request_of(new_key(), "once")})
    other_node = bearer.call("POST", JOIN, {"request": request_of(key, "twice")})

    assert (first[0], again[0]) == (201, 201)
    assert with_certificate(site, key, again[1]["certificate"]).get(f"{PLUM}/nodes/once")[0] == 404
    for status, answer in (other_key, other_node):
        assert status == 409
        assert "was used at 20" in answer["message"] and "by node 'once' from 127.0.0.1" in answer["message"]


def test_a_bound_token_is_for_its_node_alone(site: Site) -> None:
    _, bearer = join_token(site, "bound")

    status, answer = bearer.call("POST", JOIN, {"request": request_of(new_key(), "free")})

    assert (status, "start the agent with --node bound" in answer["message"]) == (403, True)
    assert bearer.call("POST", JOIN, {"request": request_of(new_key(), "bound")})[0] == 201


def test_only_a_token_for_its_name_takes_the_place_of_a_node(site: Site) -> None:
    old = joined(site, "taken")
    assert old.get(f"{PLUM}/nodes?fieldSelector=metadata.name%3Dtaken")[0] == 200

    status, answer = join_token(site)[1].call("POST", JOIN, {"request": request_of(new_key(), "taken")})
    assert (status, "plum node token create --node taken" in answer["message"]) == (403, True)
    new = joined(site, "taken")

    assert new.get(f"{PLUM}/nodes?fieldSelector=metadata.name%3Dtaken")[0] == 200
    status, answer = old.get(f"{PLUM}/nodes/taken")
    assert (status, "is not worth anything here any more" in answer["message"]) == (401, True)
    assert len(credentials(site, "taken")) == 1


def test_a_node_that_never_joined_is_not_taken_over_either(site: Site) -> None:
    site.make(f"{PLUM}/nodes", {"metadata": {"name": "veteran"}})

    assert join_token(site)[1].call("POST", JOIN, {"request": request_of(new_key(), "veteran")})[0] == 403
    assert join_token(site, "veteran")[1].call("POST", JOIN, {"request": request_of(new_key(), "veteran")})[0] == 201


def test_of_many_who_use_a_token_at_once_one_joins(site: Site) -> None:
    _, bearer = join_token(site)
    requests = [request_of(new_key(), f"crowd-{number % 2}") for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: bearer.call("POST", JOIN, {"request": request}), requests))

    assert sorted(status for status, _ in answers) == [201, *[409] * 7]
    assert len(credentials(site, "crowd-0") + credentials(site, "crowd-1")) == 1


def test_who_may_view_sees_no_part_of_a_token(site: Site) -> None:
    name, _ = join_token(site)
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "viewer"}
    role = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "view"}
    site.make(f"{RBAC}/clusterrolebindings", {"metadata": {"name": "viewer"}, "subjects": [subject], "roleRef": role})
    viewer = site.user("viewer")

    assert viewer.get(f"{PLUM}/deployments")[0] == 200
    for path in (TOKENS, f"{TOKENS}/{name}", f"{TOKENS}/{name}/status", f"{TOKENS}/{name}/history"):
        assert viewer.get(path)[0] == 403, path


def test_an_expired_or_revoked_token_joins_nobody(site: Site) -> None:
    name, bearer = join_token(site)
    site.admin.call("DELETE", f"{TOKENS}/{name}")
    late = join_token(site, seconds=-5)[1]

    for caller in (bearer, late, site.bearer("plum_nonsense")):
        status, answer = caller.call("POST", JOIN, {"request": request_of(new_key(), "late")})
        assert (status, "is not known here" in answer["message"]) == (401, True)
    assert site.nobody.call("POST", JOIN, {"request": request_of(new_key(), "late")})[0] == 401


def test_an_ordinary_token_and_the_administrator_do_not_join(site: Site) -> None:
    for caller in (site.user("alice"), site.admin, site.node("old")):
        assert caller.call("POST", JOIN, {"request": request_of(new_key(), "x")})[0] == 403


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"user": "alice"}, "spec.user"),
        ({"groups": ["system:bootstrappers", "system:masters"]}, "spec.groups"),
        ({"expiresAt": None}, "spec.expiresAt"),
        ({"certificate": "0" * 64}, "spec.certificate"),
    ],
)
def test_tokens_to_join_with_that_would_be_more_are_refused(site: Site, spec: dict[str, Any], words: str) -> None:
    whole = {
        "user": "system:bootstrap:x", "groups": ["system:bootstrappers"], "join": {}, "expiresAt": "2100-01-01T00:00:00Z", **spec,
    }  # fmt: skip

    status, answer = site.admin.call("POST", TOKENS, {"metadata": {"generateName": "j-"}, "spec": whole})

    assert status == 422 and words in answer["message"]


def test_requests_that_prove_nothing_are_refused(site: Site) -> None:
    key, other = new_key(), new_key()
    good = x509.load_pem_x509_csr(request_of(key, "csr").encode())
    foreign = x509.load_pem_x509_csr(request_of(other, "csr").encode())
    plain = ssl.PEM_cert_to_DER_cert(_as_certificate(good))
    forged = plain.replace(_public(good), _public(foreign))
    body = ssl.DER_cert_to_PEM_cert(forged).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    rsa_key = rsa.generate_private_key(65537, 2048)
    requests = {
        "somebody else's key": body,
        "rsa": request_of(rsa_key, "csr"),
        "ed25519": request_of(ed25519.Ed25519PrivateKey.generate(), "csr", algorithm=None),
        "a weak curve": request_of(ec.generate_private_key(ec.SECP192R1()), "csr"),
        "no node": request_of(key, "", name="plum-admin"),
        "a name that is none": request_of(key, "../../x"),
        "a name in capitals": request_of(key, "Upper"),
        "nonsense": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    }
    name, bearer = join_token(site)

    answers = {what: bearer.call("POST", JOIN, {"request": text}) for what, text in requests.items()}

    assert {what: status for what, (status, _) in answers.items()} == dict.fromkeys(requests, 422)
    assert bearer.call("POST", JOIN, ["x"])[0] == 400
    assert bearer.call("POST", JOIN, {"request": "x" * 20_000})[0] == 413
    assert "used" not in (site.admin.get(f"{TOKENS}/{name}")[1].get("status") or {})


def _public(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _as_certificate(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(serialization.Encoding.PEM).decode().replace("CERTIFICATE REQUEST", "CERTIFICATE")


def test_a_certificate_renews_itself_and_no_other(site: Site) -> None:
    key, next_key = new_key(), new_key()
    node = joined(site, "renewing", key)

    other = node.call("POST", RENEW, {"request": request_of(next_key, "theirs")})
    status, answer = node.call("POST", RENEW, {"request": request_of(next_key, "renewing")})
    renewed = with_certificate(site, next_key, answer["certificate"])

    assert (other[0], status) == (403, 201)
    for caller in (node, renewed):  # until the new one is used to renew, both count
        assert caller.get(f"{PLUM}/nodes?fieldSelector=metadata.name%3Drenewing")[0] == 200
    for stranger in (site.node("renewing"), site.admin, site.user("alice")):
        assert stranger.call("POST", RENEW, {"request": request_of(new_key(), "renewing")})[0] == 403


def test_lost_answers_do_not_pile_up(site: Site) -> None:
    node = joined(site, "lossy")

    for _ in range(20):
        assert node.call("POST", RENEW, {"request": request_of(new_key(), "lossy")})[0] == 201

    assert len(credentials(site, "lossy")) == 16
    assert node.get(f"{PLUM}/nodes?fieldSelector=metadata.name%3Dlossy")[0] == 200


def test_the_authority_is_shown_to_everybody(site: Site) -> None:
    status, answer = site.nobody.get("/agent/v1/ca")

    assert status == 200
    assert answer["authority"].encode() == (site.running.data_dir / "pki" / "ca.crt").read_bytes()
    assert answer["controller"] == site.running.secure_url
