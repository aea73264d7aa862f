"""The gate: what a request wants to do, and whether its user may.

    ApiRequest --attributes_of--> Attributes --Gate.check--> nothing, or 401 or 403 with Kubernetes' sentence
    Impersonate-* headers --Gate.identity--> the identity that the request is judged as

Every request passes here once, before anything is looked up, so that a refusal does not tell what exists. Members of
`system:masters`, among them the local user of a loopback listener, pass by one look at an attribute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from plum_schemas.workflowrun import RunCommand

from plum_controller.api.identity import (
    ACCOUNT_PREFIX,
    ACCOUNTS,
    ANONYMOUS,
    AUTHENTICATED,
    BOOTSTRAPPERS,
    UNAUTHENTICATED,
    Identity,
)
from plum_controller.api.kv.paths import place_of, rights_of
from plum_controller.api.node_access import NodeAccess
from plum_controller.api.orchestrator.rights import is_orchestrator
from plum_controller.api.orchestrator.rights import rights_of as orchestrator_rights
from plum_controller.api.requests import ApiRequest, flag
from plum_controller.api.roles import RoleIndex
from plum_controller.domain.access import Attributes
from plum_controller.domain.worker_names import worker_name
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, bad_request

logger = logging.getLogger(__name__)

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMESPACE_PARTS = frozenset({"status", "finalize", "history"})
"""What may follow `/api/v1/namespaces/NAME` and is a part of the namespace, not a plural."""

STREAMED = frozenset({"exec", "attach", "portforward"})
"""Subresources through which something is done, whatever the method."""

TRANSACTIONS = ["apis", "plum.dev", "v1", "transactions"]
"""Path of transactions over objects."""

HOOKS = "hooks"
"""Paths below it are webhooks."""
PLAIN_HOOKS = "webhook"
"""Where the orchestrator surface has them: paths of the namespace `default` that begin so need no more before them."""
FIRING = frozenset({"backfill", "fire"})
"""What may be asked of a Trigger, as the last part of its path."""

CA_PATH, JOIN_PATH = "/agent/v1/ca", "/agent/v1/join"
"""Who is no node yet reads the authority, which is no secret, and joins."""

USER, GROUP, UID, EXTRA = b"impersonate-user", b"impersonate-group", b"impersonate-uid", b"impersonate-extra-"


def attributes_of(request: ApiRequest) -> Attributes | None:
    """What a request wants, by its method and path alone; None where its parts want something, each for itself. Paths that
    name no objects are taken as paths."""
    path, method = request.path, request.method
    first = path[0]
    if is_orchestrator(path):
        return orchestrator_rights(method, path, request.query.get("namespace") or "default")
    if first == "kv":
        return rights_of(method, place_of(request.raw_path, request.query), request.query)
    if path == TRANSACTIONS or (first == "v1" and len(path) > 1 and path[1] in ("kv", "stream")):
        return None
    if first == "v1" and len(path) > 2 and path[1] == "artifacts":
        return _artifact_attributes(method, path)
    if first == "artifacts" or (first == "v1" and len(path) > 1 and path[1] == "apps"):
        return _app_attributes(request)
    if first == "v1" and len(path) > 1 and path[1] == "deployments":
        return _deployment_attributes(request)
    if first == "v1" and len(path) > 1 and path[1] in ("services", "discovery"):
        return _service_attributes(request)
    if first == "v1" and len(path) > 1 and path[1] in ("workers", "embedded-workers"):
        return _worker_attributes(request)
    if first == "devices" and len(path) > 2:
        return Attributes("update", "plum.dev", "resources", "device", path[1], path[2])
    if first == "v1" and len(path) > 1 and path[1] in ("tasks", "task-defs", "workflows", "workflow-runs", "dag"):
        return _task_attributes(request)
    if first not in ("api", "apis") or len(path) <= (2 if first == "api" else 3):
        return Attributes(method.lower() if method != "HEAD" else "get", path="/" + "/".join(path))
    group, rest = ("", path[2:]) if first == "api" else (path[1], path[3:])
    watching = rest[0] == "watch"
    if watching:
        rest = rest[1:]
        if not rest:
            return Attributes(method.lower(), path="/" + "/".join(path))
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and (group or rest[2] not in NAMESPACE_PARTS or len(rest) > 3):
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = "/".join(rest[2:])
    if method in ("GET", "HEAD", "OPTIONS"):
        verb = "get" if name and not watching else "watch" if watching or flag(request.query, "watch") else "list"
        if subresource in STREAMED:
            verb = "create"  # a WebSocket begins as a GET, and is no reading
        if not name:
            name = _single(request.query.get("fieldSelector", ""))
    else:
        verb = _VERBS.get(method, method.lower())
        if verb == "delete" and not name:
            verb = "deletecollection"
    return Attributes(verb, group, resource, subresource, namespace, name)


def _artifact_attributes(method: str, path: Sequence[str]) -> Attributes:
    """Uploading is creating an Artifact, whatever the steps; reading its bytes is reading it."""
    if method in ("GET", "HEAD") and len(path) > 3 and path[3] != "uploads":
        return Attributes("get", "plum.dev", "artifacts", "", path[2], path[3])
    return Attributes("create", "plum.dev", "artifacts", "", path[2])


def _deployment_attributes(request: ApiRequest) -> Attributes:
    """Starting and stopping a Deployment is changing it."""
    named = len(request.path) > 2
    verb = _VERBS.get(request.method, "get" if named else "list")
    if named and verb == "create":
        verb = "patch"
    return Attributes(verb, "plum.dev", "deployments", "", request.query.get("namespace") or "default")


def _app_attributes(request: ApiRequest) -> Attributes:
    """Applications are Artifacts: listing them, reading a file, uploading one, deleting one."""
    verb = _VERBS.get(request.method, "get" if request.path[0] == "artifacts" and len(request.path) > 1 else "list")
    return Attributes(verb, "plum.dev", "artifacts", "", request.query.get("namespace") or "default")


def _service_attributes(request: ApiRequest) -> Attributes:
    """Registering is creating Endpoints, a heartbeat is changing them, finding a service is listing them."""
    namespace = request.query.get("namespace") or "default"
    verb = _VERBS.get(request.method, "list")
    if verb == "create" and request.path[-1] == "heartbeat":
        verb = "update"
    return Attributes(verb, "plum.dev", "endpoints", "", namespace)


def _worker_attributes(request: ApiRequest) -> Attributes:
    """Registering is creating a Worker, a heartbeat is changing it."""
    namespace, path = request.query.get("namespace") or "default", request.path
    name = worker_name(path[2]) if len(path) > 2 and path[2] not in ("register", "heartbeat") else ""
    verb = _VERBS.get(request.method, "get" if name else "list")
    if verb == "create" and path[-1] == "heartbeat":
        verb = "update"
    return Attributes(verb, "plum.dev", "workers", "", namespace, name)


def _task_attributes(request: ApiRequest) -> Attributes:
    """Making and repeating a task, running a definition or a workflow is creating a run; starting and cancelling changes it."""
    namespace, path = request.query.get("namespace") or "default", list(request.path[1:])
    kinds = {"tasks": "taskruns", "task-defs": "taskdefinitions", "workflow-runs": "workflowruns", "workflows": "workflows"}
    if path[0] == "dag":
        path = path[1:] if len(path) > 1 and path[1] == "workflows" else ["workflow-runs", *path[2:]]
    resource, named = kinds.get(path[0], "workflows"), len(path) > 1
    verb = _VERBS.get(request.method, "get" if named else "list")
    if request.method == "POST" and named:
        action = path[1] if len(path) > 2 else request.query.get("action")
        if resource == "taskruns":
            verb = "create" if action == "rerun" else "patch"
        else:
            resource = "taskruns" if resource == "taskdefinitions" else "workflowruns"
    elif path[-1] == "runs" and named:
        resource, verb = "workflowruns", "list"
    return Attributes(verb, "plum.dev", resource, "", namespace)


def _single(fields: str) -> str:
    """The name that a list asks for with `metadata.name=NAME`: whoever may see one object may watch it."""
    for part in fields.split(","):
        field, equals, value = part.partition("=")
        if equals and field.strip() == "metadata.name":
            return value.removeprefix("=").strip()
    return ""


class Gate:
    """Judges requests by the roles as they are now."""

    def __init__(self, roles: RoleIndex, nodes: NodeAccess) -> None:
        self.roles = roles
        self.refused_command: Callable[[str, RunCommand, Sequence[str]], str | None] = lambda uid, command, groups: None
        """Why a command to the run with this uid would be refused now; the engine says so, while there is one."""
        self._nodes = nodes

    def check(self, request: ApiRequest) -> None:
        """Raises `ApiStatusError` 401 for a stranger, 403 for everybody else who may not."""
        identity = request.identity
        if identity.may_all or request.path[0] in (HOOKS, PLAIN_HOOKS):  # each webhook says who may call it
            return
        wanted = attributes_of(request)
        if wanted is None and not identity.is_anonymous:
            return  # each part of it is judged by itself
        if wanted is None:
            wanted = Attributes(request.method.lower(), path="/" + "/".join(request.path))
        if not self.allows(identity, wanted, request.query.get("fieldSelector", "")):
            if wanted.subresource in STREAMED:
                key = f"{wanted.namespace}/{wanted.name}"
                logger.warning("stream refused", extra=fields(key=key, user=identity.name, what=wanted.subresource))
            raise refusal(identity, wanted)

    def allows(self, identity: Identity, wanted: Attributes, fields: str = "") -> bool:
        """Whether somebody may do something. `fields` is the field selector of a list."""
        if identity.may_all or self.roles.allows(identity, wanted):
            return True
        if wanted.path == CA_PATH or (wanted.path == JOIN_PATH and BOOTSTRAPPERS in identity.groups):
            return True
        return bool(identity.node) and self._nodes.allows(identity.node, wanted, fields)

    # ---- impersonation

    def impersonated(self, real: Identity, headers: Mapping[bytes, bytes], groups: list[str]) -> Identity:
        """Who the request is judged as. `groups` are the values of all Impersonate-Group headers. Raises `ApiStatusError`."""
        name = headers.get(USER, b"").decode("utf-8", "replace")
        uid = headers.get(UID, b"").decode("utf-8", "replace")
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            if header.startswith(EXTRA):
                key = unquote(header[len(EXTRA) :].decode("latin-1"))
                extra[key] = (value.decode("utf-8", "replace"),)
        if not name:
            raise bad_request("requested to impersonate a group, a uid or more, and no user: Impersonate-User is missing")
        self._check_impersonation(real, name, groups, uid, extra)
        if name == ANONYMOUS.name:
            return ANONYMOUS
        if not groups and name.startswith(ACCOUNT_PREFIX):
            namespace = name.removeprefix(ACCOUNT_PREFIX).partition(":")[0]
            groups = [ACCOUNTS, f"{ACCOUNTS}:{namespace}"]
        if AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
            groups = [*groups, AUTHENTICATED]
        return Identity(name, tuple(groups), uid, extra, real.credential, real.expires)

    def _check_impersonation(
        self, real: Identity, name: str, groups: list[str], uid: str, extra: Mapping[str, tuple[str, ...]]
    ) -> None:
        if real.may_all:
            return
        if name.startswith(ACCOUNT_PREFIX):
            namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
            wanted = [Attributes("impersonate", "", "serviceaccounts", "", namespace, account)]
        else:
            wanted = [Attributes("impersonate", "", "users", name=name)]
        wanted += [Attributes("impersonate", "", "groups", name=group) for group in groups]
        identity = "authentication.k8s.io"
        if uid:
            wanted.append(Attributes("impersonate", identity, "uids", name=uid))
        for key, values in extra.items():
            wanted += [Attributes("impersonate", identity, "userextras", key, name=value) for value in values]
        for one in wanted:
            if not self.allows(real, one):
                raise refusal(real, one)


def refusal(identity: Identity, wanted: Attributes) -> ApiStatusError:
    """401 for a stranger, 403 with Kubernetes' sentence for everybody else."""
    if identity.is_anonymous:
        return unauthorized("say who you are: a token (Authorization: Bearer ...) or a client certificate is needed")
    return forbidden(identity, wanted)


def forbidden(identity: Identity, wanted: Attributes, reason: str = "") -> ApiStatusError:
    """403 in Kubernetes' words."""
    user = f'User "{identity.name}" cannot {wanted.verb}'
    more = f": {reason}" if reason else ""
    if wanted.path:
        return ApiStatusError(403, "Forbidden", f'forbidden: {user} path "{wanted.path}"{more}', {})
    full = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    subject = f'{full} "{wanted.name}"' if wanted.name else full
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    text = f'{subject} is forbidden: {user} resource "{wanted.combined}" in API group "{wanted.group}" {where}{more}'
    details = {"name": wanted.name, "group": wanted.group, "kind": wanted.resource}
    return ApiStatusError(403, "Forbidden", text, {name: value for name, value in details.items() if value})


def unauthorized(message: str) -> ApiStatusError:
    """401: who asks is not known."""
    return ApiStatusError(401, "Unauthorized", f"Unauthorized: {message}")
