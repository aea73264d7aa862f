"""Versions of a Deployment's template: their hash, their order, and which of them may be forgotten.

    template --hash--> name of the Revision and part of the names of its instances

The hash leaves out labels and annotations of the template, because a change of those restarts nothing. Two annotations
are the exception: setting one is how `rollout restart` asks for new instances.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence

import msgspec
from plum_schemas.revision import Revision
from plum_schemas.template import Template, TemplateMetadata

RESTART_ANNOTATIONS = ("plum.dev/restartedAt", "kubectl.kubernetes.io/restartedAt")
"""Annotations of a template whose change makes new instances."""
HASH_LENGTH = 8
"""40 bits: among a thousand revisions of one Deployment two are the same once in two million; the rest is `collision_count`."""


def template_hash(template: Template, collision_count: int | None = None) -> str:
    """Names a template by its content: eight letters and digits."""
    kept = {name: template.metadata.annotations[name] for name in RESTART_ANNOTATIONS if name in template.metadata.annotations}
    content = msgspec.structs.replace(template, metadata=TemplateMetadata(annotations=kept))
    digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic"))
    if collision_count:
        digest.update(str(collision_count).encode())
    return base64.b32encode(digest.digest()).decode().lower()[:HASH_LENGTH]


def same_template(one: Template, other: Template) -> bool:
    """Whether both make the same instances."""
    empty = TemplateMetadata()
    return msgspec.structs.replace(one, metadata=empty) == msgspec.structs.replace(other, metadata=empty)


def next_number(revisions: Sequence[Revision]) -> int:
    """Number for the template that becomes the current one."""
    return max((revision.spec.number for revision in revisions), default=0) + 1


def forgettable(revisions: Sequence[Revision], keep_hashes: Collection[str], limit: int) -> list[Revision]:
    """Revisions beyond the history limit, oldest first. Those in `keep_hashes` (in use, or the goal of a rollback) stay."""
    old = sorted((r for r in revisions if r.spec.hash not in keep_hashes), key=lambda revision: revision.spec.number)
    return old[: max(0, len(old) - limit)]
