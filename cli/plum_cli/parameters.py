"""Parameters on the command line: `zone=7` as a number where a number is wanted, as a text where a text is.

["name=5"], {"name": "string"} --parameters--> {"name": "5"}        without a declared type what is JSON is JSON
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plum_cli.errors import UsageError

if TYPE_CHECKING:
    from plum_cli.session import Session


def parameters(texts: Sequence[str], types: Mapping[str, str] | None = None, option: str = "--param ") -> dict[str, Any]:
    """`KEY=VALUE` arguments by name. `types` are the declared ones. Raises `UsageError`."""
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"{option}{text!r} is no KEY=VALUE")
        found[key] = value if (types or {}).get(key) == "string" and not _is_quoted(value) else _value(value)
    return found


def types_of_workflow(workflow: Mapping[str, Any] | None) -> dict[str, str]:
    """Declared types of the parameters of a Workflow."""
    declared = ((workflow or {}).get("spec") or {}).get("params")
    if isinstance(declared, Mapping):  # the short form, in a file
        return {name: "string" for name, default in declared.items() if isinstance(default, str)}
    return {param["name"]: param.get("type", "string") for param in declared or () if isinstance(param, Mapping)}


def types_of_task(definition: Mapping[str, Any] | None) -> dict[str, str]:
    """Types that the schema of a TaskDefinition's payload gives its fields."""
    schema = ((definition or {}).get("spec") or {}).get("payloadSchema") or {}
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    known = fields.items() if isinstance(fields, Mapping) else ()
    return {name: field["type"] for name, field in known if isinstance(field, Mapping) and isinstance(field.get("type"), str)}


async def workflow_types(session: Session, name: str) -> dict[str, str]:
    """Declared types of the parameters of a workflow of the server; nothing when there is none of this name."""
    return types_of_workflow(await session.find(await session.kind("workflows.plum.dev"), name, session.namespace))


def _is_quoted(text: str) -> bool:
    """A text that was written as JSON, as one must where no type is declared."""
    return len(text) > 1 and text[0] == text[-1] == '"' and isinstance(_value(text), str) and _value(text) != text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
