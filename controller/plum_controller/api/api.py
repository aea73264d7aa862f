"""The whole API without HTTP: every path, dispatched to what answers it.

    ApiRequest --Api.answer--> objects | discovery | OpenAPI | reviews | version, health, metrics

`Api` is built once by `main` and shared by the ASGI app and by `LocalTransport`, so both answer alike.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from plum_controller.api import agent_statuses, reviews, settings_report, transactions
from plum_controller.api.access import FIRING, HOOKS, PLAIN_HOOKS, Gate
from plum_controller.api.artifacts import ArtifactsApi
from plum_controller.api.audit import Audit
from plum_controller.api.authentication import Authenticator
from plum_controller.api.bodies import read_object
from plum_controller.api.certified import CertifiedConnections
from plum_controller.api.classic.apps import ClassicApps
from plum_controller.api.classic.deployments import ClassicDeployments
from plum_controller.api.classic.kv import ClassicKv
from plum_controller.api.classic.services import ClassicServices
from plum_controller.api.classic.workers import ClassicWorkers
from plum_controller.api.devices import AGENT_PATH as DEVICES_OF_AGENT
from plum_controller.api.devices import FIRST as DEVICES
from plum_controller.api.devices import DevicesApi
from plum_controller.api.discovery import Discovery
from plum_controller.api.explanations import PART as WHY
from plum_controller.api.explanations import Explanations
from plum_controller.api.joining import Joining
from plum_controller.api.kv.routes import KvApi
from plum_controller.api.measures import Measures
from plum_controller.api.metrics import Metrics, Sample
from plum_controller.api.node_access import NodeAccess
from plum_controller.api.objects import ObjectsApi
from plum_controller.api.openapi import OpenApi
from plum_controller.api.openapi_v2 import OpenApiV2
from plum_controller.api.orchestrator import metrics as orchestrator_metrics
from plum_controller.api.orchestrator.rights import is_orchestrator
from plum_controller.api.reported_history import ReportedHistoryApi
from plum_controller.api.requests import TEXT, Answer, ApiRequest, WatchAnswer
from plum_controller.api.roles import RoleIndex
from plum_controller.api.service_directory import ServiceDirectory
from plum_controller.api.syncs import SyncsApi
from plum_controller.api.tunnel import TunnelHub
from plum_controller.api.ui.files import FOLDER, UiFiles
from plum_controller.api.ui.sessions import Sessions
from plum_controller.api.watch import WatchHub
from plum_controller.api.workflow_runs import PARTS, WorkflowRuns
from plum_controller.audit.log import AuditLog
from plum_controller.resources.errors import ApiStatusError, no_such_resource
from plum_controller.resources.service import ResourceService
from plum_controller.settings import Settings
from plum_controller.store.base import Store
from plum_controller.store.blobs import BlobStore

if TYPE_CHECKING:
    from plum_client.manager import Manager
    from plum_client.outgoing import OutgoingClient

    from plum_controller.api.classic.resources import ClassicResources
    from plum_controller.api.classic.tasks import ClassicTasks
    from plum_controller.api.classic.workflows import ClassicWorkflows
    from plum_controller.api.orchestrator.routes import Orchestrator
    from plum_controller.api.plan import Planner
    from plum_controller.api.triggers import TriggersApi

CLASSIC_TASKS = frozenset({"tasks", "task-defs", "workflows", "workflow-runs", "dag"})
"""What follows `/v1/` on the routes of tasks and workflows."""
AddControllers = Callable[["Manager"], None]

KUBERNETES_VERSION = "v1.32.0+plum"
"""What clients take us for: the release whose behaviour is followed. It must read as a semantic version."""


def plum_version() -> str:
    """The version of this program."""
    try:
        return version("plum-controller")
    except PackageNotFoundError:
        return "0.0.0"


class Api:
    """Answers every request that is not a WebSocket, below `/docs`, or about the files of the UI."""

    def __init__(
        self, service: ResourceService, store: Store, settings: Settings, add_controllers: AddControllers | None = None
    ) -> None:
        """`add_controllers` registers the controllers that `/plan` tries out; without them there is no `/plan`."""
        self.service = service
        self.store = store
        self.settings = settings
        self.metrics = Metrics()
        self.hub = WatchHub(
            service,
            self.metrics,
            default_seconds=settings.watch_seconds,
            bookmark_seconds=settings.bookmark_seconds,
            buffer_bytes=settings.watch_buffer_bytes,
        )
        self.tunnels = TunnelHub()
        self.measures = Measures(service, self.tunnels)
        self.authenticator = Authenticator()
        self.roles = RoleIndex()
        self.gate = Gate(self.roles, NodeAccess(service.cache))
        self.joining = Joining(service, settings.node_certificate_days)
        self.certified = CertifiedConnections()
        self.authenticator.on_revoked = self._revoke
        self.on_revoked: Callable[[str], None] = lambda credential: None
        """Told the name of a Token that is not worth anything any more; for connections that are not made here."""
        self.roles.follow(service.cache)
        self.authenticator.follow(service.cache)
        self.objects = ObjectsApi(service, self.hub, self.gate)
        self.transactions = transactions.Transactions(service, self.gate)
        self.kv = KvApi(service, self.gate, self.transactions)
        self.workflow_runs = WorkflowRuns(service, store, self.gate)
        self.explanations = Explanations(service, self.workflow_runs.rows_of)
        self.reported_history = ReportedHistoryApi(service, store)
        self.artifacts = ArtifactsApi(service, BlobStore(Path(settings.data_dir) / "artifacts"), settings.artifact_limit_bytes)
        self.directory = ServiceDirectory(service.cache)
        self.classic_apps = ClassicApps(service, self.artifacts, settings.engine)
        self.classic_deployments = ClassicDeployments(service, self.classic_apps)
        self.classic_services = ClassicServices(service, self.directory, self.gate, settings.service_ttl_seconds)
        self.classic_kv = ClassicKv(service, self.kv.index, self.gate)
        self.classic_workers = ClassicWorkers(service, self.gate)
        self.device_calls: OutgoingClient | None = None
        """What calls the urls of devices; set while the controllers run."""
        self.syncs = SyncsApi()
        self.devices = DevicesApi()
        self.ui_files = UiFiles(Path(settings.ui_dir) if settings.ui_dir else FOLDER)
        self.sessions = Sessions(service, self.authenticator, self.gate, settings.session_seconds)
        self.audit = Audit(
            AuditLog(Path(settings.data_dir) / "audit", settings.audit_bytes),
            settings.audit_level,
            service.registry.require("events"),
        )
        self.discovery = Discovery(service.registry)
        self.openapi = OpenApi(service.registry, plum_version())
        self.openapi_v2 = OpenApiV2(self.openapi.documents, plum_version())
        self._classic: tuple[ClassicTasks, ClassicWorkflows] | None = None
        self.ready = True
        """False while stopping: load balancers and waiters should look elsewhere."""
        self._planner = None if add_controllers is None else self._make_planner(add_controllers)
        self._add_gauges()
        orchestrator_metrics.register(self.metrics, service)

    async def answer(self, request: ApiRequest) -> Answer | WatchAnswer:
        """Raises `ApiStatusError`."""
        path = request.path
        first = path[0]
        if first == PLAIN_HOOKS:
            path = request.path = [HOOKS, request.query.get("namespace") or "default", *path]
            first = HOOKS
        if (first == HOOKS or path[-1] == "plan") and (synced := await self.syncs.answer(request)) is not None:
            return synced
        if is_orchestrator(path):
            return await self.orchestrator.answer(request)
        if (first == HOOKS or path[-1] in FIRING) and (fired := await self.triggers.answer(request)) is not None:
            return fired
        if first in ("apis", "api"):
            if len(path) <= (3 if first == "apis" else 2):
                return self._document(self.discovery.answer(request), request)
            if first == "apis" and (review := reviews.answer(request, self.gate, self.authenticator)) is not None:
                return review
            if path[2:4] == ["v1", "audit"] and (noted := await self.audit.answer(request)) is not None:
                return noted
            if path == settings_report.PATH:
                return settings_report.answer(request, self.settings)
            if first == "apis" and (measured := await self.measures.answer(request)) is not None:
                return measured
            if path[-1] in PARTS and (found := await self.workflow_runs.answer(request)) is not None:
                return found
            if path[-1] == "history" and (reported := await self.reported_history.answer(request)) is not None:
                return reported
            if path[-1] == WHY and (why := await self.explanations.answer(request, self.objects.router.find(path))) is not None:
                return why
            if path == transactions.PATH:
                return await self.transactions.answer(request)
            return await self.objects.answer(request)
        if first == "kv":
            return await self.kv.answer(request)
        if path == ["openapi", "v2"]:
            return self._document(await self.openapi_v2.answer(request), request)
        if first == "openapi":
            return self._document(self.openapi.answer(request), request)
        if first == "v1" and (classic := await self.classic_services.answer(request)) is not None:
            return classic
        if first == "v1" and (classic := await self.classic_kv.answer(request)) is not None:
            return classic
        if first == "v1" and (classic := await self.classic_workers.answer(request)) is not None:
            return classic
        if path[:2] == ["v1", "resources"] and (classic := await self.classic_resources.answer(request)) is not None:
            return classic
        if first == "v1" and path[1:2] and path[1] in CLASSIC_TASKS:
            return await self._classic_tasks(request)
        if first == "v1" and (classic := await self.classic_apps.answer(request)) is not None:
            return classic
        if first == "v1" and (classic := await self.classic_deployments.answer(request)) is not None:
            return classic
        if first == DEVICES or path == DEVICES_OF_AGENT:
            return await self.devices.answer(request)
        if path == agent_statuses.PATH:
            return await agent_statuses.answer(request, self.objects, self.gate)
        if first == "agent" and (joined := await self.joining.answer(request)) is not None:
            return joined
        if path == ["plan"] and self._planner is not None:
            return await self._plan(request, self._planner())
        return self._document(self._system(request), request)

    @staticmethod
    async def _plan(request: ApiRequest, planner: Planner) -> Answer:
        if request.method != "POST":
            raise ApiStatusError(405, "MethodNotAllowed", 'a plan is asked for with POST and {"manifests": [...]}')
        body, _ = read_object(request)
        namespace, manager = body.get("namespace") or "default", body.get("fieldManager") or "plum"
        return Answer(msgspec.json.encode(await planner.plan(body.get("manifests"), str(namespace), str(manager))))

    @cached_property
    def orchestrator(self) -> Orchestrator:
        """Answers the orchestrator surface; loaded with the first request for it."""
        from plum_controller.api.orchestrator.routes import Orchestrator

        return Orchestrator(self)

    async def _classic_tasks(self, request: ApiRequest) -> Answer:
        """Tasks and workflows in the words of the system before; loaded with the first request for them."""
        if self._classic is None:
            from plum_controller.api.classic.tasks import ClassicTasks
            from plum_controller.api.classic.workflows import ClassicWorkflows

            self._classic = (ClassicTasks(self.service), ClassicWorkflows(self.service, self.workflow_runs, self.gate))
        for routes in self._classic:
            if (answer := await routes.answer(request)) is not None:
                return answer
        raise no_such_resource()

    @cached_property
    def classic_resources(self) -> ClassicResources:
        """Answers the routes of the system before for devices; loaded with the first request for them."""
        from plum_controller.api.classic.resources import ClassicResources

        return ClassicResources(self.service, self.store, self.gate, self.devices, lambda: self.device_calls)

    @cached_property
    def triggers(self) -> TriggersApi:
        """Fires triggers on request; loaded with the first one."""
        from plum_controller.api.triggers import TriggersApi

        return TriggersApi(self, self.service.clock)

    def close(self) -> None:
        """End all watches and logs cleanly, and say so to whoever asks."""
        self.ready = False
        self.hub.close()
        self.tunnels.close()
        self.authenticator.close()
        self.kv.close()
        self.audit.log.close()
        self.roles.close()

    def _revoke(self, credential: str) -> None:
        """A token is not worth anything any more: end what goes on with it."""
        self.hub.revoke(credential)
        self.tunnels.revoke(credential)
        self.certified.close(self.authenticator.certificate_of(credential))
        self.on_revoked(credential)

    def _make_planner(self, add_controllers: AddControllers) -> Callable[[], Planner]:
        """The planner, loaded with the first plan."""

        @cache
        def planner() -> Planner:
            from plum_controller.api.plan import Planner

            return Planner(self.service, self.settings, add_controllers)

        return planner

    @staticmethod
    def _document(answer: Answer | None, request: ApiRequest) -> Answer:
        if answer is None:
            raise no_such_resource()
        if request.method not in ("GET", "HEAD"):
            message = "the server does not allow this method on the requested resource"
            raise ApiStatusError(405, "MethodNotAllowed", message)
        return answer

    def _system(self, request: ApiRequest) -> Answer | None:
        path = request.path
        if path[0] in ("healthz", "livez", "readyz"):
            return self._health(path[0], "verbose" in request.query)
        if len(path) > 1:
            return None
        if path[0] == "version":
            return Answer(_version())
        if path[0] == "metrics":
            return Answer(self.metrics.render(), content_type=b"text/plain; version=0.0.4; charset=utf-8")
        return None

    def _health(self, name: str, verbose: bool) -> Answer:
        if name == "readyz" and not self.ready:
            return Answer(b"[-]shutdown failed: the server is stopping\nreadyz check failed\n", status=503, content_type=TEXT)
        if verbose:
            return Answer(f"[+]ping ok\n[+]store ok\n{name} check passed\n".encode(), content_type=TEXT)
        return Answer(b"ok", content_type=TEXT)

    def _add_gauges(self) -> None:
        store, gauge = self.store, self.metrics.gauge

        def build() -> Iterable[Sample]:
            return [("", {"version": plum_version(), "python": platform.python_version()}, 1)]

        def objects() -> Iterable[Sample]:
            count = self.service.cache.count
            resources = sorted({kind.info.resource for kind in self.service.registry.all()})
            return [("", {"resource": resource}, count(resource)) for resource in resources]

        gauge("plum_build_info", "gauge", "Always 1; the labels say what runs.", build)
        gauge("plum_store_revision", "gauge", "Last revision of the store.", lambda: [("", {}, store.revision)])
        gauge(
            "plum_store_compacted_revision", "gauge", "History at or before it may be gone.", lambda: [("", {}, store.compacted)]
        )
        gauge("plum_objects", "gauge", "Objects stored, by resource.", objects)
        gauge("plum_agents_connected", "gauge", "Agents with an open tunnel.", lambda: [("", {}, len(self.tunnels.nodes()))])


def _version() -> bytes:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return msgspec.json.encode(
        {
            "major": "1",
            "minor": "32",
            "gitVersion": KUBERNETES_VERSION,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": f"cpython {platform.python_version()}",
            "platform": f"{platform.system().lower()}/{machine}",
            "plumVersion": plum_version(),
        }
    )
