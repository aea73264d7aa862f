"""Overlays: a `kustomization.yaml` that takes objects from elsewhere and changes them.

    resources, generators -> patches -> images, replicas -> labels, annotations -> namespace -> names and references

The well-defined core of what kustomize does. A field that is not supported is refused by name, never passed over.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from plum_client.manifests.documents import Loaded, Manifest, Problem, load_text
from plum_client.manifests.yaml_values import TAG, Builder
from plum_schemas.selectors import parse_label_selector

from plum_controller.domain.sync.identity import group_of
from plum_controller.manifests import names
from plum_controller.manifests.document import Document, Found, with_encoded_secret
from plum_controller.manifests.generators import GeneratorError, generate, suffix
from plum_controller.manifests.loading import Reading, overlay_in
from plum_controller.manifests.patches import PatchError, apply_json, deletes_object, merge
from plum_controller.manifests.tree import TreeError, join

Json = dict[str, Any]

FIELDS: Mapping[str, type] = {
    "apiVersion": str, "kind": str, "metadata": dict, "resources": list, "bases": list, "components": list, "patches": list,
    "patchesStrategicMerge": list, "patchesJson6902": list, "images": list, "replicas": list, "namePrefix": str,
    "nameSuffix": str, "namespace": str, "commonLabels": dict, "labels": list, "commonAnnotations": dict,
    "configMapGenerator": list, "secretGenerator": list, "generatorOptions": dict,
}  # fmt: skip
"""What is understood, and of which type it is."""
TYPES: Mapping[type, str] = {list: "a list", dict: "an object", str: "a text"}
MAX_DEPTH = 20
"""Overlays over overlays."""


class OverlayError(Exception):
    """Something in an overlay that cannot be used, and the field where it stands."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Overlays:
    """Builds the overlays of one revision."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._open: list[str] = []

    def build(self, folder: str) -> Found:
        """The objects of the overlay in a folder."""
        found = Found()
        path = overlay_in(self._reading.tree, folder)
        if path in self._open or len(self._open) >= MAX_DEPTH:
            circle = " -> ".join([*self._open, path])
            found.problems.append(Problem(f"{path}:1", f"overlays refer to each other in a circle: {circle}"))
            return found
        manifest = self._read(path, found)
        if manifest is None:
            return found
        self._open.append(path)
        try:
            _Build(self, self._reading, folder, manifest, found).run()
        finally:
            self._open.pop()
        return found

    def _read(self, path: str, found: Found) -> Manifest | None:
        """The overlay file. It has no metadata and may have no apiVersion, so it is not read as an object is."""
        try:
            text = self._reading.tree.read_text(path)
        except TreeError as error:
            found.problems.append(Problem(f"{path}:1", str(error)))
            return None
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
            start = yaml.Mark(path, 0, 0, 0, "", 0)
            node = node if node is not None else yaml.MappingNode(TAG + "map", [], start, start)
            builder = Builder(loader)
            data = builder.build(node, "")
        except yaml.YAMLError:
            loaded = Loaded()
            load_text(path, text, loaded)
            found.problems += loaded.problems or [Problem(f"{path}:1", "is not one YAML document")]
            return None
        finally:
            loader.dispose()
        found.problems += [Problem(f"{path}:{line}", message) for line, message in builder.failures]
        if not isinstance(data, dict):
            found.problems.append(Problem(f"{path}:1", "an object was expected"))
            return None
        manifest = Manifest(path, data, node)
        for name, value in data.items():
            wanted = FIELDS.get(name)
            if wanted is None:
                text = f"{name} is not supported in overlays; known are {', '.join(FIELDS)}"
                found.problems.append(Problem(manifest.where(name), text))
            elif not isinstance(value, wanted) and value is not None:
                kind = TYPES[wanted]
                found.problems.append(Problem(manifest.where(name), f"{name}: {kind} was expected"))
        return None if builder.failures or found.problems else manifest


class _Build:
    """One overlay being built."""

    def __init__(self, overlays: Overlays, reading: Reading, folder: str, manifest: Manifest, found: Found) -> None:
        self._overlays = overlays
        self._reading = reading
        self._folder = folder
        self._manifest = manifest
        self._data = manifest.data
        self._found = found
        self._documents: list[Document] = []
        self._suffixes: dict[tuple[str, str], str] = {}

    def run(self) -> None:
        """All steps in order. What is wrong is noted with its line, and the rest is still looked at."""
        for field in ("resources", "bases", "components"):
            self._each(field, self._resource)
        for field, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
            self._each(field, lambda entry, kind=kind: self._generate(kind, entry))  # type: ignore[misc]
        self._each("patchesStrategicMerge", lambda entry: self._patch({"patch" if "\n" in str(entry) else "path": entry}))
        self._each("patchesJson6902", self._patch)
        self._each("patches", self._patch)
        self._each("images", self._image)
        self._each("replicas", self._replicas)
        self._labels()
        if namespace := self._data.get("namespace"):
            self._change(lambda obj: names.with_namespace(obj, namespace))
        self._rename()
        self._found.documents += self._documents

    def _each(self, field: str, step: Callable[[Any], None]) -> None:
        for number, entry in enumerate(self._data.get(field) or ()):
            where = f"{field}[{number}]"
            try:
                step(entry)
            except OverlayError as error:
                self._fail(f"{where}.{error.field}" if error.field else where, error.message)
            except (TreeError, PatchError, GeneratorError) as error:
                self._fail(where, str(error))

    def _fail(self, field: str, message: str) -> None:
        self._found.problems.append(Problem(self._manifest.where(field), f"{field}: {message}"))

    # ---- where objects come from

    def _resource(self, entry: Any) -> None:
        if not isinstance(entry, str):
            raise OverlayError("", "a path was expected")
        if "://" in entry or entry.startswith("git@"):
            raise OverlayError("", f"{entry} is elsewhere; an overlay takes what is in the same source")
        path, tree = join(self._folder, entry), self._reading.tree
        if path in tree.files:
            found = self._reading.file(path)
        elif overlay_in(tree, path):
            found = self._overlays.build(path)
        elif tree.is_folder(path):
            raise OverlayError("", f"{entry} is a folder without a kustomization.yaml; name its files")
        else:
            raise OverlayError("", f"{entry} does not exist")
        self._documents += found.documents
        self._found.problems += found.problems
        self._found.warnings += found.warnings

    def _generate(self, kind: str, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise OverlayError("", "an object was expected")
        tree = self._reading.tree

        def read(path: str) -> bytes:
            where = join(self._folder, path)
            if where not in tree.files:
                raise GeneratorError(f"the file {path} does not exist")
            return tree.read(where)

        behavior = entry.get("behavior", "create")
        obj, hashed = generate(kind, entry, read, self._data.get("generatorOptions") or {})
        name = obj["metadata"]["name"]
        existing = next((d for d in self._documents if (d.kind, d.name) == (kind, name)), None)
        if behavior == "create":
            if existing is not None:
                raise GeneratorError(f"{kind} {name} exists already; behavior: merge or replace changes it")
        elif behavior not in ("merge", "replace"):
            raise GeneratorError(f"behavior is {behavior!r}; create, merge or replace is expected")
        elif existing is None:
            raise GeneratorError(f"behavior is {behavior}, and there is no {kind} {name}")
        else:
            obj = merge(existing.data, obj) if behavior == "merge" else {**obj, "metadata": existing.data["metadata"]}
            self._documents.remove(existing)
        self._documents.append(Document(self._manifest, obj))
        if hashed:
            self._suffixes[kind, name] = suffix(obj)

    # ---- what is done to them

    def _change(self, change: Callable[[Json], Json]) -> None:
        self._documents = [Document(one.manifest, change(one.data)) for one in self._documents]

    def _patch(self, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise OverlayError("", "an object with patch or path was expected")
        unknown = set(entry) - {"patch", "path", "target", "options"}
        if unknown:
            raise OverlayError(sorted(unknown)[0], "is not supported")
        if ("patch" in entry) == ("path" in entry):
            raise OverlayError("", "needs exactly one of patch and path")
        text = entry.get("patch") if "patch" in entry else self._reading.tree.read_text(join(self._folder, str(entry["path"])))
        try:
            patches = list(yaml.load_all(str(text), Loader=_PlainLoader))
        except yaml.YAMLError as error:
            raise PatchError(f"the patch is not YAML: {str(error).splitlines()[0]}") from error
        for patch in patches:
            if patch is not None:
                self._apply(patch, entry.get("target"))

    def _apply(self, patch: Any, target: Any) -> None:
        if isinstance(patch, list):
            if not isinstance(target, dict):
                raise PatchError("a JSON patch needs a target")
            chosen = self._chosen(target)
            self._replace(chosen, lambda obj: apply_json(obj, patch))
            return
        if not isinstance(patch, dict):
            raise PatchError("a patch is an object (strategic merge) or a list (JSON patch)")
        metadata = patch.get("metadata") or {}
        if isinstance(target, dict):
            chosen = self._chosen(target)
        else:
            same = (group_of(str(patch.get("apiVersion") or "")), patch.get("kind"), metadata.get("name"))
            chosen = [
                d for d in self._documents
                if (group_of(d.api_version), d.kind, d.name) == same and metadata.get("namespace") in (None, d.namespace)
            ]  # fmt: skip
            if not chosen:
                raise PatchError(f"there is no {patch.get('kind')} {metadata.get('name')} to patch")
        if deletes_object(patch):
            self._documents = [one for one in self._documents if one not in chosen]
            return
        body = {name: value for name, value in patch.items() if name not in ("apiVersion", "kind")}
        if isinstance(body.get("metadata"), dict):
            body["metadata"] = {name: value for name, value in body["metadata"].items() if name not in ("name", "namespace")}
        self._replace(chosen, lambda obj: dict(merge(obj, body)))

    def _chosen(self, target: Mapping[str, Any]) -> list[Document]:
        unknown = set(target) - {"group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector"}
        if unknown:
            raise OverlayError(f"target.{sorted(unknown)[0]}", "is not supported")
        chosen = [one for one in self._documents if _matches(one, target)]
        if not chosen:
            raise PatchError("no object matches the target")
        return chosen

    def _replace(self, chosen: list[Document], change: Callable[[Json], Json]) -> None:
        marked = {id(one) for one in chosen}
        self._documents = [
            Document(one.manifest, with_encoded_secret(change(one.data))) if id(one) in marked else one for one in self._documents
        ]

    def _image(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise OverlayError("", "an object with name was expected")
        new, tag, digest = (str(entry.get(field) or "") for field in ("newName", "newTag", "digest"))
        self._change(lambda obj: names.with_image(obj, entry["name"], new, tag, digest))

    def _replicas(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not isinstance(entry.get("count"), int):
            raise OverlayError("", "an object with name and count was expected")
        chosen = [one for one in self._documents if one.name == entry["name"] and "replicas" in (one.data.get("spec") or {})]
        if not chosen:
            raise OverlayError("name", f"no object {entry['name']} has spec.replicas")
        self._replace(chosen, lambda obj: {**obj, "spec": {**obj["spec"], "replicas": entry["count"]}})

    def _labels(self) -> None:
        if common := self._data.get("commonLabels"):
            self._change(lambda obj: names.with_labels(obj, common, selectors=True, templates=True))
        self._each("labels", self._label)
        if annotations := self._data.get("commonAnnotations"):
            self._change(lambda obj: names.with_annotations(obj, annotations))

    def _label(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("pairs"), dict):
            raise OverlayError("", "an object with pairs was expected")
        selectors, templates = entry.get("includeSelectors") is True, entry.get("includeTemplates") is True
        self._change(lambda obj: names.with_labels(obj, entry["pairs"], selectors=selectors, templates=templates))

    def _rename(self) -> None:
        prefix, ending = self._data.get("namePrefix") or "", self._data.get("nameSuffix") or ""
        new = {
            (one.kind, one.name): f"{prefix}{one.name}{ending}" if one.kind not in names.UNNAMED else one.name
            for one in self._documents
        }
        for key, digest in self._suffixes.items():
            new[key] = f"{new.get(key, key[1])}-{digest}"
        if any(old != name for (_, old), name in new.items()):
            renamed = names.renamed([one.data for one in self._documents], new)
            self._documents = [Document(one.manifest, data) for one, data in zip(self._documents, renamed, strict=True)]


def _matches(document: Document, target: Mapping[str, Any]) -> bool:
    group, _, version = document.api_version.rpartition("/")
    for field, value in (("group", group), ("version", version), ("kind", document.kind)):
        if field in target and target[field] != value:
            return False
    for field, value in (("name", document.name), ("namespace", document.namespace)):
        if field in target:
            try:
                if not re.fullmatch(str(target[field]), value):
                    return False
            except re.error as error:
                raise OverlayError(f"target.{field}", f"is no regular expression: {error}") from error
    metadata = document.data.get("metadata") or {}
    for field, part in (("labelSelector", "labels"), ("annotationSelector", "annotations")):
        if field in target:
            try:
                selector = parse_label_selector(str(target[field]))
            except ValueError as error:
                raise OverlayError(f"target.{field}", str(error)) from error
            if not selector.matches(metadata.get(part) or {}):
                return False
    return True


class _PlainLoader(yaml.CSafeLoader):
    """Values as JSON has them: a date stays a text."""


_PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != TAG + "timestamp"]
    for letter, resolvers in copy.copy(yaml.CSafeLoader.yaml_implicit_resolvers).items()
}
