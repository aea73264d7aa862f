"""The objects of a source: all its manifest files, or what its overlays make of them.

start folder --has a kustomization.yaml?--yes--> Overlays.build
                                        --no---> its files, and below it each folder by the same question
"""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from plum_client.manifests.documents import SUFFIXES, Loaded, Problem, load_text

from plum_controller.manifests.decryption import SUFFIX as AGE
from plum_controller.manifests.decryption import DecryptionError, Decryptor, is_encrypted, open_values
from plum_controller.manifests.document import Document, Found, with_encoded_secret
from plum_controller.manifests.tree import Tree, TreeError, hash_bytes

OVERLAYS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
PARSED_FILES = 20_000
"""Files whose objects are kept from one revision to the next."""


@dataclass(frozen=True)
class Options:
    """How to read a source."""

    start: str = ""
    """Folder to begin in, from the root of the source."""
    recurse: bool = True
    ignore: Sequence[str] = ()
    variables: Mapping[str, str] | None = None
    """None: nothing is substituted."""
    identities: str = ""
    """Text of an age key file."""

    @property
    def fingerprint(self) -> str:
        """Equal for options that read one file alike."""
        values = "" if self.variables is None else repr(sorted(self.variables.items()))
        return hash_bytes(f"{self.variables is None}\0{values}\0{self.identities}".encode())


@dataclass
class Loader:
    """Reads revisions of one source. Files that did not change are not parsed again."""

    _parsed: OrderedDict[tuple[str, str, str], Found] = field(default_factory=OrderedDict)

    def load(self, tree: Tree, options: Options) -> Found:
        """All objects and all problems of a revision."""
        reading = Reading(self, tree, options)
        found = Found()
        start = options.start.strip("/")
        if start not in ("", ".") and not tree.is_folder(start):
            found.problems.append(Problem(start, "there is no such folder in the source"))
            return found
        _collect(reading, "" if start == "." else start, found)
        return found

    def parsed(self, key: tuple[str, str, str], parse: Callable[[], Found]) -> Found:
        """The objects of a file, parsed now or before."""
        found = self._parsed.get(key)
        if found is None:
            found = self._parsed[key] = parse()
            if len(self._parsed) > PARSED_FILES:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(key)
        return found


class Reading:
    """One revision being read with its options."""

    def __init__(self, loader: Loader, tree: Tree, options: Options) -> None:
        self.tree = tree
        self.options = options
        self._loader = loader
        self._fingerprint = options.fingerprint
        self._decryptor: Decryptor | None = None

    def ignored(self, path: str) -> bool:
        """Whether a file is to be left alone: hidden, or named in `spec.ignore`."""
        parts = path.split("/")
        if any(part.startswith(".") for part in parts):
            return True
        return any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(parts[-1], pattern) for pattern in self.options.ignore)

    def file(self, path: str) -> Found:
        """The objects of one file."""
        key = (path, self.tree.hash_of(path), self._fingerprint)
        return self._loader.parsed(key, lambda: self._parse(path))

    def _parse(self, path: str) -> Found:
        found = Found()
        content = self.tree.read(path)
        if not content:
            text = "is empty, as a file is that was only half written; delete it to have its objects deleted"
            found.problems.append(Problem(f"{path}:1", text))
            return found
        loaded = Loaded()
        try:
            decryptor = self._open()
            if path.endswith(AGE) or is_encrypted(content):
                content = decryptor.decrypt(content)
            text = content.decode("utf-8-sig")
            load_text(path, text, loaded, self._rewrite())
        except UnicodeDecodeError as error:
            found.problems.append(
                Problem(f"{path}:1", f"is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}")
            )
            return found
        except DecryptionError as error:
            found.problems.append(Problem(f"{path}:1", str(error)))
            return found
        found.problems += loaded.problems
        found.warnings += loaded.warnings
        for manifest in loaded.manifests:
            try:
                opened = open_values(manifest.data, decryptor) if isinstance(manifest.data, dict) else manifest.data
            except DecryptionError as error:
                found.problems.append(manifest.problem("stringData", str(error)))
                continue
            if isinstance(opened, dict) and not (loaded.problems and not opened.get("metadata")):
                if isinstance(opened.get("metadata"), dict) and not opened["metadata"].get("name"):
                    text = "metadata.generateName makes a new object each time; a Sync needs metadata.name"
                    found.problems.append(manifest.problem("metadata", text))
                found.documents.append(Document(manifest, with_encoded_secret(opened)))
        return found

    def _open(self) -> Decryptor:
        if self._decryptor is None:
            self._decryptor = Decryptor(self.options.identities)
        return self._decryptor

    def _rewrite(self) -> Callable[[yaml.Node], None] | None:
        if self.options.variables is None:
            return None
        from plum_controller.manifests.substitution import rewriter

        return rewriter(self.options.variables)


def is_manifest(path: str) -> bool:
    """Whether a file holds manifests, by its name."""
    return path.removesuffix(AGE).endswith(SUFFIXES)


def overlay_in(tree: Tree, folder: str) -> str:
    """The path of a folder's overlay file; empty if there is none."""
    prefix = f"{folder}/" if folder else ""
    return next((prefix + name for name in OVERLAYS if prefix + name in tree.files), "")


def _collect(reading: Reading, folder: str, found: Found) -> None:
    """The objects below a folder."""
    tree = reading.tree
    if overlay_in(tree, folder):
        from plum_controller.manifests.overlays import Overlays

        _add(found, Overlays(reading).build(folder))
        return
    prefix = f"{folder}/" if folder else ""
    folders: dict[str, None] = {}
    for path in tree.below(folder):
        name, separator, _ = path[len(prefix) :].partition("/")
        if separator:
            if reading.options.recurse and not reading.ignored(prefix + name):
                folders[prefix + name] = None
        elif is_manifest(path) and not reading.ignored(path):
            try:
                _add(found, reading.file(path))
            except TreeError as error:
                found.problems.append(Problem(path, str(error)))
    for below in folders:
        _collect(reading, below, found)


def _add(found: Found, more: Found) -> None:
    found.documents += more.documents
    found.problems += more.problems
    found.warnings += more.warnings
