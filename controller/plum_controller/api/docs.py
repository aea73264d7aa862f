"""`/docs`: what people read and ask, as a FastAPI application of its own, loaded with the first request.

    /docs                this documentation, self-contained      /docs/openapi.json   its machine-readable form
    /docs/build          versions                                /docs/store          size, revision, history
    /docs/doctor         what a check-up looks at                /docs/store/compact

Everything else is routed by hand and only described here: objects (OpenAPI v3 under `/openapi/v3`), plan, backup, logs.
"""

from __future__ import annotations

import platform
import resource
import shutil
import time
from html import escape
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from plum_controller.api.api import KUBERNETES_VERSION, Api, plum_version
from plum_controller.api.metrics import resident_bytes
from plum_controller.api.ui.files import POLICY, SAFETY

BY_HAND = (
    ("POST", "/plan", "What manifests would do, tried on a copy in memory: <code>{manifests: [...], namespace}</code>"),
    ("GET", "/apis/plum.dev/v1/namespaces/NS/syncs/NAME/plan", "What a Sync would do now, object by object."),
    ("POST", "/hooks/NS/syncs/NAME", "Has a Sync read its repository: signed as GitHub, Gitea and GitLab do."),
    ("GET", "/backup", "A consistent copy of the store, as a file"),
    (
        "GET",
        "/apis/plum.dev/v1/namespaces/NAMESPACE/instances/NAME/log",
        "Output of an Instance: follow, previous, tailLines, sinceSeconds",
    ),
    ("POST", "/v1/artifacts/NAMESPACE", "A package: <code>?name=&amp;version=&amp;sha256=</code>, the zip as body"),
    ("POST GET PATCH DELETE", "/v1/artifacts/NAMESPACE/uploads[/ID[/finish]]", "A package in pieces, on from where it broke off"),
    ("GET HEAD", "/v1/artifacts/NAMESPACE/NAME/content", "The zip of an Artifact: Range, If-Range, If-None-Match"),
    ("POST", "/v1/apps/upload", "A package as the field <code>file</code> of a form"),
    ("POST", "/v1/apps/create-image", "An image as an application"),
    ("GET DELETE", "/v1/apps /v1/apps/ID /v1/apps/docker-images", "Applications; images of the engine on this machine"),
    ("GET POST", "/v1/deployments", "Deployments by package and node; made stopped"),
    ("GET PATCH POST DELETE", "/v1/deployments/ID", "One of them; <code>?action=start|stop</code>"),
    ("GET HEAD", "/artifacts/ /artifacts/NAME_VERSION_SHA8.zip", "Packages as files"),
    ("GET", "/v1/discovery /v1/discovery/one /v1/discovery/random", "Endpoints of <code>?service=NAME</code>, or one of them"),
    ("GET", "/v1/discovery/stream", "Endpoints of a service, now and after every change, as server-sent events"),
    ("GET", "/v1/services/list", "Names of services"),
    ("POST", "/v1/services/register /v1/services/heartbeat", "Endpoints that an application keeps alive itself"),
    ("PATCH PUT DELETE", "/v1/services/endpoint /v1/services", "Change and forget them"),
    ("GET HEAD PUT DELETE", "/kv/NAMESPACE/KEY", "A value of the key-value store, as it is"),
    ("POST", "/kv/NAMESPACE/KEY?add=1 ?lock=acquire|renew|release", "Numbers and locks"),
    ("GET POST DELETE", "/kv /kv/NAMESPACE", "Entries by prefix and range; <code>?watch ?batch ?txn</code>"),
    ("POST", "/apis/plum.dev/v1/transactions", "Several writes, all or none: <code>{compare, then, else}</code>"),
    ("GET PUT DELETE POST", "/v1/kv /v1/kv/NAMESPACE /v1/kv/NAMESPACE/KEY", "Entries with values as texts"),
    ("GET POST DELETE", "/v1/tasks /v1/task-defs /v1/workflows /v1/workflow-runs /v1/dag", "Tasks and workflows, as before"),
    ("GET", "/v1/stream /v1/tasks/stream", "That something changed, as server-sent events"),
    ("GET", "/version", "Versions, as Kubernetes' clients ask for them"),
    ("GET", "/healthz /livez /readyz", "ok, or why not"),
    ("GET", "/metrics", "Figures for Prometheus"),
    ("GET", "/api /apis /openapi/v3", "What is served, for clients"),
)
"""Routes that FastAPI does not know: method, path, meaning."""


class Build(BaseModel):
    """What runs."""

    version: str = Field(description="Version of Plum.")
    kubernetes: str = Field(description="The Kubernetes release whose API is followed.")
    python: str
    platform: str


class StoreReport(BaseModel):
    """The store as it is now."""

    engine: str
    revision: int = Field(description="Last revision.")
    compacted: int = Field(description="History at or before it is gone.")
    objects: dict[str, int] = Field(description="Number of objects by resource.")
    bytes: int = Field(description="Size of the files on disk; 0 for a store in memory.")


class CompactRequest(BaseModel):
    """How much history to forget."""

    revision: int | None = Field(default=None, ge=1, description="Forget history at or before it; default: all but the present.")


class CompactReport(BaseModel):
    compacted: int
    removed: int = Field(description="Entries that are gone.")


class Check(BaseModel):
    """One thing that was looked at."""

    name: str
    ok: bool
    message: str = Field(description="What was found, and what to do when it is not well.")


class Doctor(BaseModel):
    ok: bool
    checks: list[Check]


def build(api: Api) -> FastAPI:
    """The application; its routes speak about `api`."""
    application = FastAPI(title="Plum", version=plum_version(), docs_url=None, redoc_url=None, openapi_url="/docs/openapi.json")
    _add_pages(application, api)
    _add_store(application, api)
    _add_doctor(application, api)

    return application


def _add_pages(application: FastAPI, api: Api) -> None:
    @application.get("/docs", include_in_schema=False)
    @application.get("/docs/", include_in_schema=False)
    async def page() -> HTMLResponse:
        headers = {name.decode(): value.decode() for name, value in ((b"content-security-policy", POLICY), *SAFETY)}
        return HTMLResponse(_page(application, api), headers=headers)

    @application.get("/docs/docs.css", include_in_schema=False)
    async def style() -> Response:
        text = (Path(__file__).parent / "pages" / "docs.css").read_bytes()
        return Response(text, media_type="text/css", headers={name.decode(): value.decode() for name, value in SAFETY})

    @application.get("/docs/build", tags=["system"], summary="What runs")
    async def build_info() -> Build:
        return Build(
            version=plum_version(), kubernetes=KUBERNETES_VERSION, python=platform.python_version(), platform=platform.platform()
        )


def _add_store(application: FastAPI, api: Api) -> None:
    store = api.store

    @application.get("/docs/store", tags=["store"], summary="Size, revision and history of the store")
    async def report() -> StoreReport:
        resources = sorted({kind.info.resource for kind in api.service.registry.all()})
        counts = {name: api.service.cache.count(name) for name in resources}
        return StoreReport(
            engine=type(store).__name__.removesuffix("Store").lower(),
            revision=store.revision,
            compacted=store.compacted,
            objects={name: count for name, count in counts.items() if count},
            bytes=_size(api),
        )

    @application.post("/docs/store/compact", tags=["store"], summary="Forget old history")
    async def compact(request: CompactRequest) -> CompactReport:
        upto = store.revision if request.revision is None else min(request.revision, store.revision)
        removed = await store.compact(upto)
        return CompactReport(compacted=store.compacted, removed=removed)


def _add_doctor(application: FastAPI, api: Api) -> None:
    @application.get("/docs/doctor", tags=["system"], summary="What a check-up looks at")
    async def doctor() -> Doctor:
        checks = [_check_store(api), _check_disk(api), _check_files(), _check_memory(), _check_agents(api)]
        return Doctor(ok=all(check.ok for check in checks), checks=checks)


def _check_store(api: Api) -> Check:
    lag = api.store.revision - api.service.cache.revision
    return Check(name="store", ok=lag == 0, message=f"revision {api.store.revision}, history since {api.store.compacted + 1}")


def _check_disk(api: Api) -> Check:
    folder = Path(api.settings.data_dir)
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    return Check(
        name="disk", ok=free > 256 << 20, message=f"{free >> 20} MiB free for the store; below 256 MiB it is time to make room"
    )


def _check_files() -> Check:
    used, limit = sum(1 for _ in Path("/proc/self/fd").iterdir()), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Check(name="open files", ok=used < limit * 0.8, message=f"{used} of {limit}; each watch and each agent takes one")


def _check_memory() -> Check:
    return Check(
        name="memory", ok=True, message=f"{resident_bytes() >> 20} MiB resident, up {int(time.process_time())} s of CPU time"
    )


def _check_agents(api: Api) -> Check:
    nodes = {key.name for key in api.service.cache.keys("nodes.plum.dev")}
    away = sorted(nodes - set(api.tunnels.nodes()))
    if away:
        return Check(
            name="agents",
            ok=False,
            message=f"not connected: {', '.join(away[:10])}; start `plum agent` there, or delete the nodes",
        )
    return Check(name="agents", ok=True, message=f"{len(nodes)} of {len(nodes)} connected")


def _size(api: Api) -> int:
    path = getattr(api.store, "path", None)
    if path is None:
        return 0
    return sum(file.stat().st_size for file in Path(path).parent.glob(f"{Path(path).name}*") if file.is_file())


def _page(application: FastAPI, api: Api) -> str:
    """The documentation as one page without scripts."""
    routes = []
    for path, operations in application.openapi()["paths"].items():
        for method, operation in operations.items():
            routes.append(
                f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td><td>{escape(operation['summary'])}</td></tr>"
            )
    routes += [f"<tr><td>{method}</td><td><code>{path}</code></td><td>{text}</td></tr>" for method, path, text in BY_HAND]
    kinds = []
    for kind in api.service.registry.all():
        info = kind.info
        base = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
        path = f"{base}/namespaces/NAMESPACE/{info.plural}" if info.namespaced else f"{base}/{info.plural}"
        link = path.replace("NAMESPACE", "default")
        text = str(kind.openapi.get("description", "")).split("\n")[0]
        kinds.append(
            f"<tr><td>{escape(info.kind)}</td><td><a href='{escape(link)}'><code>{escape(path)}</code></a></td>"
            f"<td>{escape(', '.join(info.short_names))}</td><td>{escape(text)}</td></tr>"
        )
    documents = sorted(
        {f"apis/{k.info.group}/{k.info.version}" if k.info.group else "api/v1" for k in api.service.registry.all()}
    )
    links = " ".join(f"<a href='/openapi/v3/{escape(name)}'>{escape(name)}</a>" for name in documents)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        "<title>Plum API</title><link rel='stylesheet' href='/docs/docs.css'></head><body><header><h1>Plum API</h1>"
        "<nav><a href='/'>UI</a> <a href='/docs/openapi.json'>openapi.json</a></nav></header><main>"
        "<section><h2>Objects</h2><p>The Kubernetes API: GET, POST, PUT, PATCH, DELETE, <code>?watch=true</code>; "
        "<code>?at=REVISION|TIME</code> reads the past, <code>/history</code> lists versions, <code>/status</code> and "
        f"<code>/scale</code> are parts. Schemas (OpenAPI v3): {links}</p>"
        f"<table><thead><tr><th>Kind</th><th>Path</th><th>Short</th><th>Meaning</th></tr></thead><tbody>{''.join(kinds)}</tbody></table></section>"
        "<section><h2>System</h2><table><thead><tr><th>Method</th><th>Path</th><th>Meaning</th></tr></thead>"
        f"<tbody>{''.join(routes)}</tbody></table></section></main></body></html>"
    )
