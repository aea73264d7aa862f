"""Which server to talk to: environment, then kubeconfig files, then the local default.

    PLUM_SERVER (+ PLUM_TOKEN, PLUM_CA_FILE)        a server by its address
    PLUM_KUBECONFIG, KUBECONFIG, .plum/kubeconfig   the file kubectl uses too
    http://127.0.0.1:8080                           `plum dev` on this machine

PLUM_TOKEN wins over the token of a file. Nothing here connects.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport

if TYPE_CHECKING:
    import ssl

DEFAULT_SERVER = "http://127.0.0.1:8080"
LOCAL_KUBECONFIG = Path(".plum/kubeconfig")
"""Written by `plum dev` below the directory it was started in."""


class KubeconfigError(ValueError):
    """The file cannot be used; the message names the file, the entry, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach one API."""

    url: str
    token: str = ""
    namespace: str = "default"
    ca: bytes = b""
    """Certificates to trust, as PEM; empty: those of the system."""
    client_certificate: bytes = b""
    """PEM; with `client_key`, proves who we are instead of a token."""
    client_key: bytes = b""
    verify: bool = True
    """False: any certificate is taken. For experiments."""
    source: str = ""
    """Where this came from, for error messages."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for plain HTTP."""
        if not self.url.startswith("https:"):
            return None
        import ssl
        import tempfile

        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate:
            # The ssl module reads key pairs from files only.
            with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
                pair.write(self.client_certificate + b"\n" + self.client_key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context

    def transport(self, **options: Any) -> HttpTransport:
        """A transport to it; `options` go to `HttpTransport`."""
        return HttpTransport(self.url, self.token or None, self.ssl_context(), **options)


def resolve(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Server:
    """The server meant by the environment. Raises `KubeconfigError` when a file that was named cannot be used."""
    environ = os.environ if environ is None else environ
    token = environ.get("PLUM_TOKEN", "")
    if address := environ.get("PLUM_SERVER", ""):
        ca_file = environ.get("PLUM_CA_FILE", "")
        ca = _read(Path(ca_file), "PLUM_CA_FILE") if ca_file else b""
        return Server(address, token, environ.get("PLUM_NAMESPACE") or "default", ca, source="PLUM_SERVER")
    for variable in ("PLUM_KUBECONFIG", "KUBECONFIG"):
        names = [name for name in environ.get(variable, "").split(os.pathsep) if name]
        for name in names:
            if Path(name).exists() or len(names) == 1:
                return _with_token(load(Path(name)), token)
    local = (directory or Path()) / LOCAL_KUBECONFIG
    if local.exists():
        return _with_token(load(local), token)
    return Server(DEFAULT_SERVER, token, source="default")


def connect(field_manager: str = "plum-client", environ: Mapping[str, str] | None = None) -> ApiClient:
    """A client of the server meant by the environment."""
    return ApiClient(resolve(environ).transport(user_agent=field_manager), field_manager)


def load(path: Path, context: str = "") -> Server:
    """The server of a kubeconfig file: of the named context, or of the current one. Raises `KubeconfigError`."""
    config = _parse(path, _read(path, "kubeconfig"))
    if not isinstance(config, dict):
        raise KubeconfigError(f"{path}: is no kubeconfig")
    name = context or str(config.get("current-context") or "")
    chosen = _entry(path, config, "contexts", name, "context")
    cluster = _entry(path, config, "clusters", str(chosen.get("cluster") or ""), "cluster")
    user = _entry(path, config, "users", str(chosen.get("user") or ""), "user") if chosen.get("user") else {}
    if not cluster.get("server"):
        raise KubeconfigError(f"{path}: cluster {chosen.get('cluster')!r} has no server")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = _read(_beside(path, str(user["tokenFile"])), "tokenFile").decode().strip()
    return Server(
        url=str(cluster["server"]),
        token=token,
        namespace=str(chosen.get("namespace") or "default"),
        ca=_data(path, cluster, "certificate-authority"),
        client_certificate=_data(path, user, "client-certificate"),
        client_key=_data(path, user, "client-key"),
        verify=not cluster.get("insecure-skip-tls-verify"),
        source=str(path),
    )


def write(path: Path, server: Server, name: str = "plum", user: str = "plum") -> None:
    """Write a kubeconfig for one server, readable by its owner only. kubectl asks for a password when there is neither token
    nor certificate, so a token is always in it; over plain HTTP kubectl does not send it. It is written as JSON, which is
    YAML as well and is read without a YAML parser."""
    cluster: dict[str, Any] = {"server": server.url}
    if server.ca:
        cluster["certificate-authority-data"] = base64.b64encode(server.ca).decode()
    if not server.verify:
        cluster["insecure-skip-tls-verify"] = True
    identity: dict[str, Any] = {"token": server.token or "none"}
    if server.client_certificate:
        identity = {
            "client-certificate-data": base64.b64encode(server.client_certificate).decode(),
            "client-key-data": base64.b64encode(server.client_key).decode(),
        }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user, "namespace": server.namespace}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    beside.replace(path)


def _parse(path: Path, text: bytes) -> Any:
    """The content of a kubeconfig. Loading a YAML parser costs 40 ms of a command's start, so what is JSON is read as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{path}: {error}") from error


def _with_token(server: Server, token: str) -> Server:
    from dataclasses import replace

    return replace(server, token=token) if token else server


def _entry(path: Path, config: Mapping[str, Any], section: str, name: str, kind: str) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            return dict(entry.get(kind) or {})
    raise KubeconfigError(f"{path}: there is no {kind} {name!r}")


def _data(path: Path, entry: Mapping[str, Any], name: str) -> bytes:
    """A certificate or key: in the file as base64, or beside it."""
    if entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(entry[f"{name}-data"]), validate=True)
        except ValueError as error:
            raise KubeconfigError(f"{path}: {name}-data is no base64") from error
    return _read(_beside(path, str(entry[name])), name) if entry.get(name) else b""


def _beside(path: Path, name: str) -> Path:
    return path.parent / Path(name).expanduser()


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{what} {path}: {error.strerror}") from error
