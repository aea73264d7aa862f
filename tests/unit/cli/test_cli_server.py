"""Which server is meant: flags, environment, files, in the documented order."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from plum_cli.config import find_server
from plum_cli.errors import UsageError

CONFIG = """\
clusters:
- {name: a, cluster: {server: "http://127.0.0.1:1001"}}
- {name: b, cluster: {server: "http://127.0.0.1:1002"}}
users:
- {name: u, user: {token: from-file}}
contexts:
- {name: one, context: {cluster: a, user: u, namespace: blue}}
- {name: two, context: {cluster: b, user: u}}
current-context: one
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PLUM_SERVER", "PLUM_TOKEN", "PLUM_KUBECONFIG", "KUBECONFIG", "PLUM_NAMESPACE", "PLUM_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def args(**given: str) -> argparse.Namespace:
    return argparse.Namespace(**{"server": None, "token": None, "kubeconfig": None, "context": None, **given})


def test_without_anything_it_is_this_machine(folder: Path) -> None:
    assert find_server(args()).url == "http://127.0.0.1:8080"


def test_later_sources_give_way_to_earlier_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def config(name: str, port: int) -> str:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(CONFIG.replace("1001", str(port)))
        return str(path)

    config(".plum/kubeconfig", 2001)
    assert find_server(args()).url.endswith(":2001")
    monkeypatch.setenv("KUBECONFIG", config("kube", 2002))
    assert find_server(args()).url.endswith(":2002")
    monkeypatch.setenv("PLUM_KUBECONFIG", config("plum", 2003))
    assert find_server(args()).url.endswith(":2003")
    monkeypatch.setenv("PLUM_SERVER", "http://127.0.0.1:2004")
    assert find_server(args()).url.endswith(":2004")
    assert find_server(args(kubeconfig=config("flag", 2005))).url.endswith(":2005")
    assert find_server(args(server="http://127.0.0.1:2006")).url.endswith(":2006")


def test_tokens_and_contexts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kube").write_text(CONFIG)
    monkeypatch.setenv("KUBECONFIG", str(folder / "kube"))

    first = find_server(args())
    second = find_server(args(context="two"))
    monkeypatch.setenv("PLUM_TOKEN", "from-environment")

    assert (first.token, first.namespace) == ("from-file", "blue")
    assert (second.url, second.namespace) == ("http://127.0.0.1:1002", "default")
    assert find_server(args()).token == find_server(args(context="two")).token == "from-environment"
    assert find_server(args(token="from-flag")).token == "from-flag"


@pytest.mark.parametrize("given", [{"context": "three"}, {"kubeconfig": "nope"}, {"server": "localhost:8080"}])
def test_what_cannot_be_used_is_a_usage_error(folder: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    (folder / "kube").write_text(CONFIG)
    monkeypatch.setenv("KUBECONFIG", str(folder / "kube"))

    with pytest.raises(UsageError):
        find_server(args(**given))
