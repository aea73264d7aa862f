"""`POST .../workflows/TEMPLATE/instantiate {name, params, labels}`: a workflow made from a template.

    template (spec.template: true), values --parameters checked--> Workflow with these values as defaults, not a template any more

The new workflow says in annotations what it was made from. It is its own from then on: a later change of the template changes it
as little as it changes runs.
"""

from __future__ import annotations

from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.workflow import Workflow

from plum_controller.api.access import Gate, refusal
from plum_controller.api.bodies import read_object
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.access import Attributes
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError, Cause, bad_request, invalid, method_not_allowed
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService

PART = "instantiate"
TEMPLATE, TEMPLATE_REVISION = "plum.dev/template", "plum.dev/template-revision"
"""Annotations: name of the template, and number of its Revision, where that was known."""


class WorkflowTemplates:
    """Makes workflows from templates."""

    def __init__(self, service: ResourceService, gate: Gate) -> None:
        self._service = service
        self._gate = gate

    async def instantiate(self, request: ApiRequest, key: ObjectKey) -> Answer:
        """Raises `ApiStatusError`: 422 names the parameter."""
        if request.method != "POST":
            raise method_not_allowed(Workflow.info, request.method.lower(), key.name)
        wanted = Attributes("create", "plum.dev", "workflows", "", key.namespace)
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)
        body, _ = read_object(request)
        name, given = body.get("name"), body.get("params") or {}
        if not isinstance(name, str) or not name:
            raise bad_request("name is missing: what the new workflow is called")
        if not isinstance(given, dict):
            raise bad_request(f"params is {given!r:.80}; use an object of values by parameter")
        kind = self._service.registry.require(Workflow.info.resource)
        stored: Json = msgspec.json.decode(self._service.get(kind, key))
        template = msgspec.convert(stored, Workflow)
        if not template.spec.template:
            text = f"workflow {key.name} is no template: set spec.template, or copy it"
            raise ApiStatusError(409, "Conflict", text, {"name": key.name, "group": "plum.dev", "kind": "workflows"})
        values = self._values(template, given, name)
        made = {
            "apiVersion": Workflow.info.api_version,
            "kind": Workflow.info.kind,
            "metadata": self._metadata(template, name, body),
            "spec": _filled(stored["spec"], values),
        }
        options = WriteOptions(field_manager=request.query.get("fieldManager") or "plum-template", user=request.user)
        outcome = await self._service.create(kind, key.namespace, made, options)
        return Answer(outcome.value, status=201, revision=outcome.revision)

    @staticmethod
    def _values(template: Workflow, given: Json, name: str) -> Json:
        from plum_flow.workflow.params import resolve  # expressions are loaded with the first workflow

        values, errors = resolve(template.spec.params, given, "params")
        if errors:
            raise invalid(Workflow.info, name, [Cause(error.reason, error.message, error.field) for error in errors])
        return {param: value for param, value in values.items() if param in given}

    @staticmethod
    def _metadata(template: Workflow, name: str, body: Json) -> Json:
        metadata = template.metadata
        annotations = {TEMPLATE: metadata.name}
        if template.status.revision:
            annotations[TEMPLATE_REVISION] = str(template.status.revision)
        labels: dict[str, Any] = {**metadata.labels, **(body.get("labels") or {})}
        return {"name": name, "namespace": metadata.namespace, "labels": labels, "annotations": annotations}


def _filled(spec: Json, values: Json) -> Json:
    """The template's definition with these values as the defaults of its parameters."""
    params = [
        {**param, "default": values[param["name"]], "required": False} if param["name"] in values else param
        for param in spec.get("params") or ()
    ]
    return {**spec, "params": params, "template": False, "state": "Active"}
