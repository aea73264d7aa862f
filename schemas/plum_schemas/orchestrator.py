"""Definitions of the orchestrator surface (`version: "1.0"`, steps, triggers) as Workflows and Triggers, and back.

    {version, variables, steps, triggers} --to_workflow_spec--> WorkflowSpec (as JSON)     --to_definition--> {version, variables,
    steps} --to_trigger_spec---> TriggerSpec (as JSON)      --to_trigger----> {type, name, config}

What runs are given as `input` is one parameter of that name; `{{input.x}}` becomes `{{params.input.x}}`. Only syntax is changed:
what a step means is said by its node. Steps inside of `parallel` become nodes after it, and who depends on it waits for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from plum_schemas.durations import format_duration, parse_duration

VERSION = "1.0"
STEP_TYPES = ("http", "agent", "script", "database", "email", "webhook", "condition", "loop", "parallel", "llm", "mcp")
TRIGGER_TYPES = ("schedule", "event", "webhook", "condition", "manual")
STEP_FIELDS = frozenset({
    "id", "name", "type", "description", "depends_on", "config", "input_mapping", "retry_policy", "timeout", "condition",
    "continue_on_error",
})  # fmt: skip
DEFINITION_FIELDS = frozenset({"version", "name", "description", "variables", "steps", "triggers", "tags", "owner_id"})
RETRY_LIMIT, RETRY_SECONDS, RETRY_FACTOR, RETRY_MAX = 3, 30.0, 2.0, 300.0
"""Of a retry policy where it says nothing else."""
INPUT = "input"
SURFACE = "plum.dev/surface"
"""Label of what was made through the surface."""
DISPLAY_NAME = "plum.dev/display-name"
"""Annotation: the name as it was given, which may be any text."""
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.S)
_INPUT = re.compile(r"(?<![\w.])input(?=\s*[.\[])")
_BACK = re.compile(r"(?<![\w.])params\.input(?=\s*[.\[])")
_OWN_FIELDS = {
    "condition": ("expression", "then", "else"),
    "loop": ("count", "while", "until", "items", "steps", "variable", "max_iterations"),
    "parallel": ("steps", "wait_for"),
}

Json = dict[str, Any]


class DefinitionError(ValueError):
    """A definition that cannot be taken over. `path` names the field: `steps[2].type`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


def is_definition(data: Any) -> bool:
    """Whether a document is one: no object of ours, and it has a version and steps."""
    return isinstance(data, dict) and "steps" in data and "version" in data and "kind" not in data and "apiVersion" not in data


def slug(name: str) -> str:
    """A name for an object from any text; empty when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:200].strip("-")


def manifests(data: Json, name: str) -> list[Json]:
    """Workflow and Triggers of a document. Raises `DefinitionError`."""
    unknown = sorted(data.keys() - DEFINITION_FIELDS)
    if unknown:
        raise DefinitionError(unknown[0], f"is not known; a definition has {', '.join(sorted(DEFINITION_FIELDS))}")
    shown = str(data.get("name") or name)
    workflow = slug(shown)
    if not workflow:
        raise DefinitionError("name", "is missing; give the definition a name of letters and digits")
    spec = to_workflow_spec(data) | {"state": "Active"}
    for source, target in (("description", "description"), ("tags", "tags"), ("owner_id", "owner")):
        if data.get(source):
            spec[target] = data[source]
    found = [_object("Workflow", workflow, shown, spec)]
    triggers = data.get("triggers") or []
    if not isinstance(triggers, list):
        raise DefinitionError("triggers", "must be a list")
    for index, trigger in enumerate(triggers):
        where = f"triggers[{index}]"
        if not isinstance(trigger, dict):
            raise DefinitionError(where, "must be an object")
        title = str(trigger.get("name") or f"trigger-{index + 1}")
        found.append(_object("Trigger", trigger_name(workflow, title), title, to_trigger_spec(trigger, workflow, where)))
    return found


def trigger_name(workflow: str, title: str) -> str:
    """Name of the Trigger object."""
    return f"{workflow[:150]}-{slug(title) or 'trigger'}"


def _object(kind: str, name: str, shown: str, spec: Json) -> Json:
    metadata: Json = {"name": name, "labels": {SURFACE: "orchestrator"}}
    if shown != name:
        metadata["annotations"] = {DISPLAY_NAME: shown}
    return {"apiVersion": "plum.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


# ---- workflows


def to_workflow_spec(definition: Any, path: str = "") -> Json:
    """The part of a WorkflowSpec that a definition says. Raises `DefinitionError`."""
    if not isinstance(definition, dict):
        raise DefinitionError(path, "must be an object with version and steps")
    version = str(definition.get("version", VERSION))
    if version != VERSION:
        raise DefinitionError(_join(path, "version"), f"is {version}; {VERSION} is understood")
    variables = definition.get("variables") or {}
    if not isinstance(variables, dict):
        raise DefinitionError(_join(path, "variables"), "must be a map")
    nodes = _nodes(definition.get("steps"), _join(path, "steps"))
    spec: Json = {"nodes": nodes, "variables": variables}
    if "params.input" in repr(nodes):
        spec["params"] = [{"name": INPUT, "type": "object", "default": {}}]
    return spec


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _nodes(steps: Any, path: str) -> list[Json]:
    if not isinstance(steps, list):
        raise DefinitionError(path, "must be a list of steps")
    nodes: list[Json] = []
    inside: dict[str, list[str]] = {}
    outcomes: dict[tuple[str, str], str] = {}
    for index, step in enumerate(steps):
        where = f"{path}[{index}]"
        if not isinstance(step, dict):
            raise DefinitionError(where, "must be an object")
        node = _node(step, where)
        nodes.append(node)
        config = step.get("config") or {}
        if node["type"] == "parallel":
            children = _nodes(config.get("steps") or [], f"{where}.config.steps")
            own = {child["name"] for child in children}
            for child in children:
                child["dependsOn"] = child.get("dependsOn") or [{"node": node["name"]}]
                child["_parent"] = node["name"]
            waited = {edge["node"] for child in children for edge in child["dependsOn"]}
            inside[node["name"]] = [name for name in (child["name"] for child in children) if name not in waited & own]
            nodes += children
        if node["type"] == "condition":
            for name, outcome in (("then", "true"), ("else", "false")):
                for target in _texts(config.get(name), f"{where}.config.{name}"):
                    outcomes[target, node["name"]] = outcome
    for node in nodes:
        edges: list[Json] = []
        for edge in node.get("dependsOn") or []:
            children_of = inside.get(edge["node"], [])
            # The steps inside of the parallel one keep their edge to it; others wait for those inside.
            stays = not children_of or node.get("_parent") == edge["node"]
            edges += [edge] if stays else [{"node": child} for child in children_of]
        for (target, source), outcome in outcomes.items():
            if target == node["name"]:
                edges = [edge for edge in edges if edge["node"] != source] + [{"node": source, "on": outcome}]
        if edges:
            node["dependsOn"] = edges
        node.pop("_parent", None)
    return nodes


def _node(step: Json, where: str) -> Json:
    unknown = sorted(step.keys() - STEP_FIELDS)
    if unknown:
        raise DefinitionError(f"{where}.{unknown[0]}", f"is not known; a step has {', '.join(sorted(STEP_FIELDS))}")
    identity = step.get("id") or step.get("name")
    if not isinstance(identity, str):
        raise DefinitionError(f"{where}.id", "is missing")
    kind, config = step.get("type"), step.get("config") or {}
    if kind not in STEP_TYPES:
        raise DefinitionError(f"{where}.type", f"is {kind}; there are {', '.join(STEP_TYPES)}")
    if not isinstance(config, dict):
        raise DefinitionError(f"{where}.config", "must be a map")
    node: Json = {"name": identity, "type": kind}
    if step.get("name") and step["name"] != identity:
        node["displayName"] = step["name"]
    if step.get("description"):
        node["description"] = step["description"]
    edges = [{"node": name} for name in _texts(step.get("depends_on"), f"{where}.depends_on")]
    if edges:
        node["dependsOn"] = edges
    if step.get("input_mapping"):
        node["payload"] = _inward(step["input_mapping"])
    if step.get("condition"):
        node["when"] = _bare(_inward(step["condition"]))
    if step.get("continue_on_error"):
        node["continueOnFailure"] = True
    if step.get("timeout"):
        node["timeout"] = _duration(step["timeout"], f"{where}.timeout")
    if step.get("retry_policy") is not None:
        node["retry"] = _retry(step["retry_policy"], f"{where}.retry_policy")
    _own(node, kind, config, where)
    return node


def _own(node: Json, kind: str, config: Json, where: str) -> None:
    """What only steps of this type have."""
    extra = sorted(config.keys() - set(_OWN_FIELDS.get(kind, ()))) if kind in _OWN_FIELDS else []
    if extra:
        raise DefinitionError(f"{where}.config.{extra[0]}", f"is not known; {kind} takes {', '.join(_OWN_FIELDS[kind])}")
    if kind == "condition":
        if not isinstance(config.get("expression"), str):
            raise DefinitionError(f"{where}.config.expression", "is missing")
        node["condition"] = _bare(_inward(config["expression"]))
    elif kind == "parallel":
        node["waitPolicy"] = "any" if config.get("wait_for") == "any" else "all"
    elif kind == "loop":
        body = {"nodes": _nodes(config.get("steps") or [], f"{where}.config.steps")}
        node["body"] = body
        if "items" in config:
            node |= {"type": "map", "items": _inward(config["items"])}
        for name in ("count", "while", "until"):
            if name in config:
                node[name] = _bare(_inward(config[name])) if isinstance(config[name], str) else config[name]
        if config.get("variable"):
            node["variable"] = config["variable"]
        if config.get("max_iterations"):
            node["maxIterations"] = config["max_iterations"]
    elif config:
        node["config"] = _inward(config)


def _texts(value: Any, where: str) -> list[str]:
    value = [value] if isinstance(value, str) else value or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DefinitionError(where, "must be a list of ids")
    return value


def _duration(value: Any, where: str) -> str:
    """A duration, or a number of seconds, as a duration."""
    try:
        return format_duration(float(value)) if isinstance(value, int | float) else format_duration(parse_duration(str(value)))
    except ValueError as error:
        raise DefinitionError(where, str(error)) from None


def _retry(policy: Any, where: str) -> Json:
    if not isinstance(policy, dict):
        raise DefinitionError(where, "must be a map")
    names = {"max_attempts", "max_retries", "delay", "interval", "factor", "backoff", "max_delay", "max_interval"}
    unknown = sorted(policy.keys() - names)
    if unknown:
        raise DefinitionError(f"{where}.{unknown[0]}", f"is not known; there are {', '.join(sorted(names))}")
    limit = policy.get("max_retries", RETRY_LIMIT)
    if "max_attempts" in policy:
        limit = policy["max_attempts"] - 1 if isinstance(policy["max_attempts"], int) else policy["max_attempts"]
    if not isinstance(limit, int) or limit < 0:
        raise DefinitionError(where, "max_retries is 0 or more, max_attempts 1 or more")
    factor = policy.get("factor", policy.get("backoff", RETRY_FACTOR))
    if not isinstance(factor, int | float):
        raise DefinitionError(f"{where}.factor", "must be a number")
    return {
        "limit": limit,
        "initial": _duration(policy.get("delay", policy.get("interval", RETRY_SECONDS)), f"{where}.delay"),
        "factor": float(factor),
        "max": _duration(policy.get("max_delay", policy.get("max_interval", RETRY_MAX)), f"{where}.max_delay"),
    }


def _inward(value: Any) -> Any:
    """A value with `{{input.x}}` as Plum says it."""
    return _mapped(value, _INPUT, "params.input")


def _outward(value: Any) -> Any:
    return _mapped(value, _BACK, "input")


def _mapped(value: Any, pattern: re.Pattern[str], text: str) -> Any:
    if isinstance(value, str):
        if "{{" not in value:
            return value
        return _EXPRESSION.sub(lambda match: pattern.sub(text, match[0]), value)
    if isinstance(value, list):
        return [_mapped(item, pattern, text) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, pattern, text) for key, item in value.items()}
    return value


def _bare(condition: Any) -> Any:
    """A condition without braces around parts of it: `{{steps.a.output.n}} > 3` is `steps.a.output.n > 3`."""
    if not isinstance(condition, str):
        return condition
    plain = _EXPRESSION.sub(lambda match: match[0][2:-2].strip(), condition)
    return plain if "{{" in condition else _INPUT.sub("params.input", plain)


def to_definition(spec: Mapping[str, Any]) -> Json:
    """A definition that means the same, of any workflow. Nodes that the surface has no type for keep their own."""
    return {"version": VERSION, "variables": spec.get("variables") or {}, "steps": list(_steps(spec.get("nodes") or []))}


def _steps(nodes: list[Json]) -> Iterator[Json]:
    branches: dict[str, dict[str, list[str]]] = {}
    for node in nodes:
        for edge in node.get("dependsOn") or []:
            if edge.get("on") in ("true", "false"):
                key = "then" if edge["on"] == "true" else "else"
                branches.setdefault(edge["node"], {}).setdefault(key, []).append(node["name"])
    for node in nodes:
        kind = node.get("type", "task")
        step: Json = {
            "id": node["name"],
            "name": node.get("displayName") or node["name"],
            "type": "loop" if kind == "map" else kind,
            "depends_on": [edge["node"] for edge in node.get("dependsOn") or []],
            "config": _config(node, kind, branches.get(node["name"], {})),
            "input_mapping": _outward(node.get("payload") or {}),
        }
        retry = node.get("retry")
        if retry:
            step["retry_policy"] = {
                "max_retries": retry.get("limit", 0), "delay": retry.get("initial", "1s"), "factor": retry.get("factor", 2.0),
                "max_delay": retry.get("max", "5m"),
            }  # fmt: skip
        for source, target in (("timeout", "timeout"), ("when", "condition"), ("description", "description")):
            if node.get(source):
                step[target] = node[source]
        if node.get("continueOnFailure"):
            step["continue_on_error"] = True
        yield step


def _config(node: Json, kind: str, branches: Json) -> Json:
    if kind == "condition":
        return {"expression": node.get("condition") or "", **branches}
    if kind == "parallel":
        return {"wait_for": node.get("waitPolicy", "all")}
    if kind in ("loop", "map"):
        names = {"count": "count", "while": "while", "until": "until", "items": "items", "variable": "variable"}
        found = {target: _outward(node[source]) for source, target in names.items() if node.get(source) not in (None, "")}
        if node.get("maxIterations"):
            found["max_iterations"] = node["maxIterations"]
        return found | {"steps": list(_steps((node.get("body") or {}).get("nodes") or []))}
    if kind in STEP_TYPES:
        return dict(_outward(node.get("config") or {}))
    own = ("taskRef", "workflowRef", "params", "wait", "compare", "cases", "defaultCase", "condition")
    return {name: node[name] for name in own if node.get(name) not in (None, "", [], {})}


# ---- triggers


def to_trigger_spec(trigger: Json, workflow: str, path: str = "") -> Json:
    """The TriggerSpec of a trigger of the surface. Raises `DefinitionError`."""
    kind, config = trigger.get("type"), trigger.get("config") or {}
    if kind not in TRIGGER_TYPES:
        raise DefinitionError(_join(path, "type"), f"is {kind}; there are {', '.join(TRIGGER_TYPES)}")
    if not isinstance(config, dict):
        raise DefinitionError(_join(path, "config"), "must be a map")
    where = _join(path, "config")
    spec: Json = {"workflowRef": workflow, "enabled": trigger.get("is_enabled", True) is not False}
    config = {_camel(name): value for name, value in config.items()}
    if isinstance(config.get("input"), dict):
        spec["params"] = {INPUT: config.pop("input")}
    if kind == "schedule":
        _needs(config, "cron", where)
        spec["cron"] = {"schedule": config.pop("cron"), **config}
    elif kind == "webhook":
        _needs(config, "path", where)
        spec["webhook"] = config
    elif kind == "condition":
        _needs(config, "expression", where)
        spec["condition"] = config
    elif kind == "event":
        event = dict(config)
        if "event" in event:
            event["type"] = event.pop("event")
        if "eventType" in event:
            event["type"] = event.pop("eventType")
        if "filter" in event:
            event["when"] = event.pop("filter")
        spec["event"] = event
    elif config:
        raise DefinitionError(f"{where}.{sorted(config)[0]}", "a manual trigger takes only input")
    return spec


def _needs(config: Json, name: str, where: str) -> None:
    if not isinstance(config.get(name), str) or not config[name]:
        raise DefinitionError(f"{where}.{name}", "is missing")


def to_trigger(spec: Mapping[str, Any]) -> Json:
    """Type and configuration as the surface has them."""
    found: Json
    if spec.get("cron"):
        cron = dict(spec["cron"])
        found = {"type": "schedule", "config": {"cron": cron.pop("schedule", ""), **cron}}
    elif spec.get("webhook"):
        found = {"type": "webhook", "config": dict(spec["webhook"])}
    elif spec.get("condition"):
        found = {"type": "condition", "config": dict(spec["condition"])}
    elif spec.get("event"):
        found = {"type": "event", "config": dict(spec["event"])}
    elif spec.get("run"):
        found = {
            "type": "event",
            "config": {"workflow": spec["run"].get("workflowRef"), "phases": spec["run"].get("phases") or []},
        }
    else:
        found = {"type": "manual", "config": {}}
    given = (spec.get("params") or {}).get(INPUT)
    if given:
        found["config"]["input"] = given
    found["config"] = {_snake(name): value for name, value in found["config"].items()}
    return found


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", name)
