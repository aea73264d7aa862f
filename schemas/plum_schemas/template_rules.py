"""Short forms of a template, and its rules between fields. Deployment and Instance ask the same questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plum_schemas.affinity import Affinity, NodeTerm
from plum_schemas.command import split_command
from plum_schemas.durations import parse_duration
from plum_schemas.names import check_label_key, check_label_value
from plum_schemas.probes import HttpAction, Probe
from plum_schemas.quantities import parse_bytes
from plum_schemas.rules import check_env, check_env_from, check_files, check_labels, check_resources, map_to_list, texts
from plum_schemas.selectors import LabelSelector, SelectorError
from plum_schemas.template import Template, Toleration
from plum_schemas.validation import FieldError, checked, duplicate, exactly_one, forbidden, invalid, required


def normalize_template(template: Any) -> None:
    """Short forms: commands as one string, variables as a map, `artifact: NAME:VERSION` or an address, fractions of a cpu."""
    if not isinstance(template, dict):
        return
    split_command(template, "command")
    map_to_list(template, "env", "name", "value")
    map_to_list(template, "files", "path", "value")
    artifact = template.get("artifact")
    if isinstance(artifact, str):
        template["artifact"] = _artifact(artifact)
    for part in ("requests", "limits"):
        texts(template.get("resources"), part)
    for owner, names in (("probes", ("startup", "readiness", "liveness")), ("lifecycle", ("preStop",))):
        for name in names:
            action = _at(template, owner, name, "exec")
            if isinstance(action, dict):
                split_command(action, "command")


def _artifact(text: str) -> dict[str, str]:
    if "://" in text:
        return {"url": text}
    name, _, version = text.partition(":")
    return {"name": name, "version": version}


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def check_template(template: Template, path: str) -> Iterator[FieldError]:
    """Everything that is wrong with a template, as far as it can be known without a node."""
    yield from check_labels(template.metadata.labels, f"{path}.metadata.labels")
    yield from _check_program(template, path)
    yield from check_env(template.env, f"{path}.env")
    yield from check_env_from(template.env_from, f"{path}.envFrom")
    yield from check_files(template.files, f"{path}.files")
    yield from _check_ports(template, path)
    yield from check_resources(template.resources, f"{path}.resources")
    yield from _check_probes(template, path)
    yield from _check_restarts(template, path)
    yield from _check_placement(template, path)
    yield from checked(f"{path}.logs.maxSize", template.logs.max_size, parse_bytes)


def _check_program(template: Template, path: str) -> Iterator[FieldError]:
    if template.runtime == "container" and not template.image and template.artifact is None:
        yield required(f"{path}.image", "runtime container needs an image or an artifact")
    if template.runtime == "process" and not template.command and template.artifact is None:
        yield required(f"{path}.command", "runtime process needs a command or an artifact")
    if template.command and not template.command[0]:
        yield invalid(f"{path}.command[0]", "", "must name a program")
    source = template.artifact
    if source is None:
        return
    where = f"{path}.artifact"
    yield from exactly_one(where, {"name": source.name or None, "url": source.url or None})
    if source.name and not source.version:
        yield required(f"{where}.version", "an artifact is chosen by name and version")
    if source.url.startswith("image://"):
        yield invalid(f"{where}.url", source.url, "is no address; name the artifact of the image: {name, version}")
    elif source.url and not source.sha256:
        yield required(f"{where}.sha256", "every node checks what it fetched")


def _check_ports(template: Template, path: str) -> Iterator[FieldError]:
    seen = set()
    for index, port in enumerate(template.ports):
        use = (port.port, port.protocol == "udp")
        if port.port and use in seen:
            yield duplicate(f"{path}.ports[{index}].port", port.port)
        seen.add(use)
    for index, service in enumerate(template.services):
        yield from _check_port_ref(template, service.port, f"{path}.services[{index}].port")
        yield from check_labels(service.labels, f"{path}.services[{index}].labels")


def _check_port_ref(template: Template, port: int | str, path: str) -> Iterator[FieldError]:
    if isinstance(port, str):
        names = [known.name for known in template.ports]
        if port not in names:
            known = ", ".join(names) or "none"
            yield invalid(path, port, f"must be a number or the name of one of the ports, which are: {known}")
    elif not 1 <= port <= 65535:
        yield invalid(path, port, "must be between 1 and 65535")


def _check_probes(template: Template, path: str) -> Iterator[FieldError]:
    probes = {"startup": template.probes.startup, "readiness": template.probes.readiness, "liveness": template.probes.liveness}
    for name, probe in probes.items():
        if probe is not None:
            yield from _check_probe(template, probe, f"{path}.probes.{name}")
    liveness = template.probes.liveness
    if liveness is not None and liveness.success_threshold != 1:
        yield invalid(f"{path}.probes.liveness.successThreshold", liveness.success_threshold, "must be 1")
    hook = template.lifecycle.pre_stop
    if hook is not None:
        where = f"{path}.lifecycle.preStop"
        yield from exactly_one(where, {"exec": hook.exec, "http": hook.http, "sleep": hook.sleep})
        if hook.http is not None:
            yield from _check_http(template, hook.http, f"{where}.http")


def _check_probe(template: Template, probe: Probe, path: str) -> Iterator[FieldError]:
    yield from exactly_one(path, {"http": probe.http, "tcp": probe.tcp, "exec": probe.exec, "grpc": probe.grpc})
    if probe.http is not None:
        yield from _check_http(template, probe.http, f"{path}.http")
    for name, action in (("tcp", probe.tcp), ("grpc", probe.grpc)):
        if action is not None:
            yield from _check_port_ref(template, action.port, f"{path}.{name}.port")
    for name, span in (("period", probe.period), ("timeout", probe.timeout)):
        if parse_duration(span) <= 0:
            yield invalid(f"{path}.{name}", span, "must be longer than 0")


def _check_http(template: Template, action: HttpAction, path: str) -> Iterator[FieldError]:
    yield from _check_port_ref(template, action.port, f"{path}.port")
    if not action.path.startswith("/"):
        yield invalid(f"{path}.path", action.path, "must begin with /")


def _check_restarts(template: Template, path: str) -> Iterator[FieldError]:
    backoff = template.backoff
    if parse_duration(backoff.max) < parse_duration(backoff.initial):
        yield invalid(f"{path}.backoff.max", backoff.max, f"must not be shorter than initial, which is {backoff.initial}")
    for index, rule in enumerate(template.exit_code_rules):
        where = f"{path}.exitCodeRules[{index}].codes"
        if not rule.codes:
            yield required(where, "name at least one exit code")
        for code in rule.codes:
            if not 0 <= code <= 255:
                yield invalid(where, code, "must be between 0 and 255")


def _check_placement(template: Template, path: str) -> Iterator[FieldError]:
    yield from check_labels(template.node_selector, f"{path}.nodeSelector")
    for index, toleration in enumerate(template.tolerations):
        yield from _check_toleration(toleration, f"{path}.tolerations[{index}]")
    for index, spread in enumerate(template.topology_spread):
        where = f"{path}.topologySpread[{index}]"
        yield from checked(f"{where}.topologyKey", spread.topology_key, check_label_key)
        yield from _check_selector(spread.label_selector, f"{where}.labelSelector")
    if template.affinity is not None:
        yield from _check_affinity(template.affinity, f"{path}.affinity")


def _check_toleration(toleration: Toleration, path: str) -> Iterator[FieldError]:
    if toleration.key:
        yield from checked(f"{path}.key", toleration.key, check_label_key)
    elif toleration.operator != "Exists":
        yield invalid(f"{path}.operator", toleration.operator, "operator must be Exists when `key` is empty, which means "
                      '"match all values and all keys"')  # fmt: skip
    if toleration.operator == "Exists" and toleration.value:
        yield invalid(f"{path}.operator", toleration.value, "value must be empty when `operator` is 'Exists'")
    yield from checked(f"{path}.value", toleration.value, check_label_value)
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        yield invalid(f"{path}.effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")


def _check_affinity(affinity: Affinity, path: str) -> Iterator[FieldError]:
    nodes = affinity.node_affinity
    if nodes is not None:
        for index, term in enumerate(nodes.required):
            yield from _check_node_term(term, f"{path}.nodeAffinity.required[{index}]")
        for index, preferred in enumerate(nodes.preferred):
            yield from _check_node_term(preferred.preference, f"{path}.nodeAffinity.preferred[{index}].preference")
    for name, instances in (
        ("instanceAffinity", affinity.instance_affinity),
        ("instanceAntiAffinity", affinity.instance_anti_affinity),
    ):
        if instances is None:
            continue
        terms = [(f"required[{index}]", term) for index, term in enumerate(instances.required)]
        terms += [(f"preferred[{index}].term", preferred.term) for index, preferred in enumerate(instances.preferred)]
        for where, neighbour in terms:
            yield from checked(f"{path}.{name}.{where}.topologyKey", neighbour.topology_key, check_label_key)
            yield from _check_selector(neighbour.label_selector, f"{path}.{name}.{where}.labelSelector")


def _check_node_term(term: NodeTerm, path: str) -> Iterator[FieldError]:
    for index, requirement in enumerate(term.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        yield from checked(f"{where}.key", requirement.key, check_label_key)
        count = len(requirement.values)
        match requirement.operator:
            case "In" | "NotIn" if not count:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            case "Exists" | "DoesNotExist" if count:
                yield forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            case "Gt" | "Lt" if count != 1 or not requirement.values[0].lstrip("-").isdecimal():
                yield required(f"{where}.values", "must be one integer when `operator` is 'Lt' or 'Gt'")
    for index, requirement in enumerate(term.match_fields):
        where = f"{path}.matchFields[{index}]"
        if requirement.key != "metadata.name":
            yield invalid(f"{where}.key", requirement.key, "not a valid field selector key; only metadata.name is")
        if requirement.operator not in ("In", "NotIn") or not requirement.values:
            yield invalid(f"{where}.operator", requirement.operator, "must be In or NotIn, with values")


def _check_selector(selector: Any, path: str) -> Iterator[FieldError]:
    if selector is None:
        return
    expressions = [{"key": one.key, "operator": one.operator, "values": one.values} for one in selector.match_expressions]
    try:
        LabelSelector.from_object({"matchLabels": selector.match_labels, "matchExpressions": expressions})
    except SelectorError as error:
        yield invalid(path, str(selector.match_labels), str(error))
