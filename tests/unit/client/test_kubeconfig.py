"""Which server is meant, and kubeconfig files in the forms people have."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from plum_client.kubeconfig import DEFAULT_SERVER, KubeconfigError, Server, load, resolve, write

FILE = """
apiVersion: v1
kind: Config
current-context: two
clusters:
- {name: a, cluster: {server: "https://a:1", certificate-authority-data: UEVN}}
- {name: b, cluster: {server: "https://b:2", certificate-authority: ca.pem, insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: secret}}
- {name: v, user: {tokenFile: token}}
contexts:
- {name: one, context: {cluster: a, user: u, namespace: ns}}
- {name: two, context: {cluster: b, user: v}}
- {name: broken, context: {cluster: absent}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text("CA")
    (tmp_path / "token").write_text("from-file\n")
    path = tmp_path / "config"
    path.write_text(FILE)
    return path


def test_contexts(file: Path) -> None:
    current, named = load(file), load(file, "one")

    assert (current.url, current.token, current.ca, current.verify) == ("https://b:2", "from-file", b"CA", False)
    assert (named.url, named.token, named.ca, named.namespace) == ("https://a:1", "secret", b"PEM", "ns")


def test_what_is_wrong_is_named(file: Path) -> None:
    with pytest.raises(KubeconfigError, match="no cluster 'absent'"):
        load(file, "broken")
    with pytest.raises(KubeconfigError, match="no context 'three'"):
        load(file, "three")
    with pytest.raises(KubeconfigError, match="No such file"):
        load(file.with_name("absent"))
    file.write_text("a: [")
    with pytest.raises(KubeconfigError, match=str(file)):
        load(file)
    file.write_text("just text")
    with pytest.raises(KubeconfigError, match="no kubeconfig"):
        load(file)


def test_what_is_written_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kubeconfig"
    server = Server("https://c:3", "t", "ns", b"CA", source=str(path))
    write(path, server)
    write(path, server)

    assert load(path) == server
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["kubeconfig"]


def test_a_written_file_never_makes_kubectl_ask_for_a_password(tmp_path: Path) -> None:
    write(tmp_path / "kubeconfig", Server("http://127.0.0.1:1"))

    assert yaml.safe_load((tmp_path / "kubeconfig").read_text())["users"][0]["user"]["token"]


def test_the_environment_decides(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other, Server("http://other"))
    (tmp_path / "here" / ".plum").mkdir(parents=True)
    write(tmp_path / "here" / ".plum" / "kubeconfig", Server("http://here"))

    def url(directory: str = "", **environ: str) -> str:
        return resolve(environ, tmp_path / directory).url

    assert url() == DEFAULT_SERVER
    assert url("here") == "http://here"
    assert url("here", KUBECONFIG=str(other)) == "http://other"
    assert url("here", KUBECONFIG=f"{tmp_path}/absent:{other}") == "http://other"
    assert url(KUBECONFIG=str(other), PLUM_KUBECONFIG=str(file)) == "https://b:2"
    assert url(PLUM_KUBECONFIG=str(file), PLUM_SERVER="http://x") == "http://x"
    with pytest.raises(KubeconfigError):
        url("here", PLUM_KUBECONFIG=str(tmp_path / "absent"))
    assert resolve({"PLUM_KUBECONFIG": str(file), "PLUM_TOKEN": "mine"}).token == "mine"


def test_plain_http_needs_no_certificates() -> None:
    assert Server("http://a").ssl_context() is None
