"""Names and links of a package: what could leave the folder it is unpacked into, or land on something else there.

    entries -> check_names -> problems        links -> resolve -> where a path leads, or that it leads out

Pure; the same rules hold at the upload and on every node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from plum_client.packages.errors import Problem, shown
from plum_client.packages.zip_directory import Entry

MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
"""What file systems take."""
MAX_DEPTH = 64
MAX_TARGET_BYTES = 4096
MAX_HOPS = 40
"""Links on the way to one file; the kernel gives up there too."""
_DRIVE = re.compile(r"[A-Za-z]:")


class LinkError(Exception):
    """A path leads out of the package, or nowhere for ever."""


def check_names(entries: Sequence[Entry]) -> list[Problem]:
    """Everything wrong with the names alone."""
    problems: list[Problem] = []
    seen: dict[str, Entry] = {}
    for entry in entries:
        wrong = _wrong_name(entry.name)
        if wrong:
            problems.append(Problem(entry.name, wrong))
            continue
        if entry.form == "special":
            problems.append(
                Problem(entry.name, "is a device, pipe or socket; only files, folders and links can be packed: leave it out")
            )
        known = seen.get(entry.name)
        if known is not None and not (known.form == entry.form == "folder"):
            problems.append(
                Problem(entry.name, "is in the zip twice; delete the zip and pack it again (`zip -r` adds to a zip that exists)")
            )
        seen[entry.name] = entry
    for name in seen:
        for parent in _parents(name):
            above = seen.get(parent)
            if above is not None and above.form != "folder":
                word = "a link" if above.form == "link" else "a file"
                problems.append(
                    Problem(
                        name, f"lies below {shown(parent)}, which is {word}; pack it again from a folder that is as it should be"
                    )
                )
                break
    return problems


def _wrong_name(name: str) -> str:
    if "\0" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "its name has control characters; rename it"
    if "\\" in name:
        return r"its name has a backslash; pack with / between folders (Windows: use `tar -a -cf app.zip *` or 7-Zip)"
    if name.startswith("/"):
        return "its name is absolute; pack with names relative to the folder: cd FOLDER && zip -r ../app.zip ."
    if _DRIVE.match(name):
        return "its name has a drive letter; pack with names relative to the folder"
    parts = name.split("/")
    if ".." in parts:
        return "its name leads out of the folder (..); pack from inside the folder: cd FOLDER && zip -r ../app.zip ."
    if "" in parts or "." in parts:
        return "its name has an empty part or a dot as a part; pack it again with plain names"
    if len(parts) > MAX_DEPTH:
        return f"it lies {len(parts)} folders deep, at most {MAX_DEPTH} are allowed; use fewer folders"
    if len(_bytes(name)) > MAX_PATH_BYTES or any(len(_bytes(part)) > MAX_PART_BYTES for part in parts):
        return f"its name is too long: at most {MAX_PART_BYTES} bytes each, {MAX_PATH_BYTES} together; rename it"
    return ""


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _parents(name: str) -> Iterator[str]:
    position = name.rfind("/")
    while position > 0:
        yield name[:position]
        position = name.rfind("/", 0, position)


def check_links(links: Mapping[str, str]) -> list[Problem]:
    """Everything wrong with links: name -> target, as they are in the zip."""
    problems = []
    for name, target in links.items():
        advice = "replace the link by the file, or by a relative link to a file of the package"
        if not target or "\0" in target or len(_bytes(target)) > MAX_TARGET_BYTES:
            problems.append(Problem(name, f"is a link without a usable target; {advice}"))
        elif target.startswith("/"):
            problems.append(Problem(name, f"links to {shown(target)}, outside of the package; {advice}"))
        else:
            try:
                resolve(name, links)
            except LinkError as error:
                problems.append(Problem(name, f"links to {shown(target)}, {error}; {advice}"))
    return problems


def resolve(name: str, links: Mapping[str, str]) -> str:
    """Where a path inside the package leads once all links are followed. Raises `LinkError`."""
    done: list[str] = []
    left = name.split("/")[::-1]
    hops = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                raise LinkError("which leads out of the package")
            done.pop()
            continue
        done.append(part)
        target = links.get("/".join(done))
        if target is not None:
            hops += 1
            if hops > MAX_HOPS:
                raise LinkError("which leads in a circle")
            if target.startswith("/"):
                raise LinkError("which leads out of the package")
            done.pop()
            left.extend(target.split("/")[::-1])
    return "/".join(done)
