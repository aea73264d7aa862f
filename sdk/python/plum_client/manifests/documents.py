"""Documents of one text as objects, with the line marks of the parser kept.

    text --load_text--> Loaded(manifests, problems, warnings)

A refusal of the server about `spec.template.command` can so be shown as `web.yaml:7`. Values are exactly what JSON can
say: a date stays the text that was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import yaml
from plum_schemas import orchestrator
from plum_schemas.orchestrator import is_definition

from plum_client.manifests.yaml_values import TAG, Builder, find_line

SUFFIXES = (".yaml", ".yml", ".json")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+")
"""Escapes of characters that JSON writes as a pair and YAML does not know."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    where: str
    """`web.yaml:7`."""
    message: str
    """Names the field, the value and what was expected."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(slots=True)
class Manifest:
    """One object as it was written, and where each part of it stands."""

    source: str
    """File name, or `stdin`."""
    data: dict[str, Any]
    node: yaml.Node
    path: str = ""
    """Where the object begins below `node`: `items[0]` for a member of a List."""
    places: Sequence[tuple[str, str]] = ()
    """For an object that was written in another form: beginnings of its paths, and what they were."""

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def api_version(self) -> str:
        return str(self.data.get("apiVersion", ""))

    @property
    def metadata(self) -> dict[str, Any]:
        found = self.data.setdefault("metadata", {})
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or self.metadata.get("generateName") or "")

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    def where(self, field_path: str = "") -> str:
        """`FILE:LINE` of a field, or of the nearest part that is written when the field itself is not."""
        field_path = field_path.lstrip(".")
        for ours, theirs in self.places:
            if field_path.startswith(ours):
                field_path = theirs + field_path[len(ours) :]
                break
        path = ".".join(part for part in (self.path, field_path) if part)
        return f"{self.source}:{find_line(self.node, path.replace('.[', '['))}"

    def problem(self, field_path: str, message: str) -> Problem:
        """A problem at a field of this manifest."""
        return Problem(self.where(field_path), f"{self.kind} {self.name}: {message}" if self.name else message)


class RewriteError(Exception):
    """What a rewrite could not do, each with its line."""

    def __init__(self, failures: Sequence[tuple[int, str]]) -> None:
        super().__init__("; ".join(message for _, message in failures))
        self.failures = tuple(failures)


@dataclass(slots=True)
class Loaded:
    """What was found in all sources together."""

    manifests: list[Manifest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def load_text(source: str, text: str, loaded: Loaded, rewrite: Callable[[yaml.Node], None] | None = None) -> None:
    """Parse all documents of one text into `loaded`. `rewrite` may change the scalars of a document before they are read; it
    raises `RewriteError`."""
    if rewrite is None and (json_value := json_object(source, text)):
        for manifest in members(Manifest(source, json_value, json_node(source, text, loaded)), loaded):
            check_shape(manifest, loaded)
            loaded.manifests.append(manifest)
        return
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == TAG + "null"):
                continue
            if rewrite is not None:
                rewrite(node)
            builder = Builder(loader)
            data = builder.build(node, "")
            loaded.warnings += [Problem(f"{source}:{line}", message) for line, message in builder.warnings]
            loaded.problems += [Problem(f"{source}:{line}", message) for line, message in builder.failures]
            if builder.failures:
                continue
            for manifest in members(Manifest(source, data, node), loaded):
                check_shape(manifest, loaded)
                loaded.manifests.append(manifest)
    except RewriteError as error:
        loaded.problems += [Problem(f"{source}:{line}", message) for line, message in error.failures]
    except yaml.MarkedYAMLError as error:
        loaded.problems.append(syntax_problem(source, text, error))
    except yaml.YAMLError as error:
        loaded.problems.append(Problem(f"{source}:1", str(error).splitlines()[0]))
    finally:
        loader.dispose()


def json_object(source: str, text: str) -> dict[str, Any] | None:
    """The object of a JSON text; None when it is none. JSON is almost YAML: tabs, `1e5` and some escapes are read differently."""
    if not source.endswith(".json") and text.lstrip()[:1] != "{":
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def json_node(source: str, text: str, loaded: Loaded) -> yaml.Node:
    """The lines of a JSON text, read as YAML after what YAML would stumble over was replaced; duplicate keys are noted."""
    readable = _SURROGATES.sub(
        lambda match: match[1] + match[0][len(match[1]) :].replace("\\", ""), text.replace("\t", " ").replace("\x7f", " ")
    )
    loader = yaml.CSafeLoader(readable)
    start = yaml.Mark(source, 0, 0, 0, "", 0)
    nowhere: yaml.Node = yaml.MappingNode(TAG + "map", [], start, start)
    try:
        node = loader.get_single_node() or nowhere
        builder = Builder(loader)
        builder.build(node, "")
        twice = [(line, message) for line, message in builder.failures if " is there twice" in message]
        loaded.problems += [Problem(f"{source}:{line}", message) for line, message in twice]
        return node
    except yaml.YAMLError:
        return nowhere
    finally:
        loader.dispose()


def syntax_problem(source: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """What the YAML parser could not read, as a sentence."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    lines = text.splitlines()
    content = lines[line] if line < len(lines) else ""
    column = mark.column if mark else 0
    if "\t" in content[: column + 1] and not content[: column + 1].replace("\t", "").strip(" "):
        return Problem(f"{source}:{line + 1}", "a tab in the indentation; YAML is indented with blanks")
    detail = error.problem or str(error)
    if error.context and error.context_mark and error.context_mark.line != line:
        detail += f" ({error.context} that began in line {error.context_mark.line + 1})"
    elif error.context:
        detail += f" ({error.context})"
    shown = f": {content.strip()[:80]}" if content.strip() else ""
    return Problem(f"{source}:{line + 1}", f"is not YAML: {detail}{shown}")


def members(manifest: Manifest, loaded: Loaded) -> Iterable[Manifest]:
    """The objects of a document: itself, the members of a List, or what a definition of the orchestrator surface stands for."""
    if not is_definition(manifest.data):
        return expand(manifest)
    name = PurePath(manifest.source).name.partition(".")[0]
    try:
        found = orchestrator.manifests(manifest.data, "" if manifest.source == "stdin" else name)
    except orchestrator.DefinitionError as error:
        loaded.problems.append(Problem(manifest.where(error.path), str(error)))
        return ()
    workflow, *triggers = (Manifest(manifest.source, data, manifest.node) for data in found)
    workflow.places = (("spec.nodes", "steps"), ("spec.", ""))
    for index, trigger in enumerate(triggers):
        trigger.places = (("spec.", f"triggers[{index}].config."),)
    return workflow, *triggers


def expand(manifest: Manifest) -> Iterable[Manifest]:
    """The members of a List, or the manifest itself."""
    data = manifest.data
    if isinstance(data, dict) and str(data.get("kind", "")).endswith("List") and isinstance(data.get("items"), list):
        for index, item in enumerate(data["items"]):
            member = Manifest(manifest.source, item, manifest.node, f"items[{index}]")
            if isinstance(item, dict) and "kind" not in item and data["kind"] != "List":
                item["kind"] = str(data["kind"])[:-4]
                item.setdefault("apiVersion", data.get("apiVersion"))
            yield member
    else:
        yield manifest


def check_shape(manifest: Manifest, loaded: Loaded) -> None:
    """Note what no object can do without."""
    data: Any = manifest.data
    if not isinstance(data, dict):
        loaded.problems.append(Problem(manifest.where(), f"an object was expected, found {describe_type(data)}"))
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(data.get(name), str) or not data[name]:
            found = "is missing" if name not in data else f"is {json.dumps(data[name])}; a text was expected"
            example = "plum.dev/v1" if name == "apiVersion" else "Deployment"
            loaded.problems.append(Problem(manifest.where(name), f"{name} {found}; write for example `{name}: {example}`"))
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        found = "is missing" if metadata is None else f"is {describe_type(metadata)}"
        loaded.problems.append(
            Problem(manifest.where("metadata"), f"metadata {found}; write for example `metadata: {{name: web}}`")
        )
    elif not metadata.get("name") and not metadata.get("generateName"):
        loaded.problems.append(Problem(manifest.where("metadata"), "metadata.name is missing"))
    elif not isinstance(metadata.get("name", ""), str):
        found = json.dumps(metadata["name"])
        loaded.problems.append(
            Problem(manifest.where("metadata.name"), f'metadata.name is {found}; a text was expected: "{found}" in quotes')
        )


def describe_type(value: Any) -> str:
    """`a text`, `a list`..."""
    names = {str: "a text", list: "a list", dict: "an object", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")
