"""Values that people write for properties and arguments: `range=1500`, `mode=scan`, read as the device's model says.

words, model --parse_values--> {name: value}, or a sentence that says what is allowed
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from plum_cli.errors import INVALID, CliError

Model = Mapping[str, Any]
TRUE, FALSE = frozenset({"true", "on", "yes"}), frozenset({"false", "off", "no"})
SPARKS = "▁▂▃▄▅▆▇█"


def parse_values(words: Sequence[str], models: Sequence[Model], what: str) -> dict[str, Any]:
    """`what` is how one of them is called: property or argument. Raises `CliError`."""
    known = {str(model["name"]): model for model in models}
    values: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name:
            raise CliError(f"{word!r} is no {what.upper()}=VALUE", INVALID)
        if known and name not in known:
            raise CliError(f"there is no {what} {name!r}\n{shown_models(models, what)}", INVALID)
        values[name] = parse_value(text, known.get(name), f"{what} {name}")
    return values


def parse_value(text: str, model: Model | None, where: str) -> Any:
    """One value as its model says; without a model JSON, and what is no JSON a text. Raises `CliError`."""
    if model is None:
        return _json(text, text)
    kind, value = str(model.get("type")), _read(text, model)
    choices = model.get("enum") or []
    wrong = value is None or (choices and value not in choices)
    if not wrong and kind in ("integer", "double"):
        low, high = model.get("min"), model.get("max")
        wrong = (low is not None and value < low) or (high is not None and value > high)
    if wrong:
        raise CliError(f"{where} is {text!r}; use {allowed(model)}", INVALID)
    return value


def _read(text: str, model: Model) -> Any:
    kind = model.get("type")
    if kind == "boolean":
        word = text.lower()
        return True if word in TRUE else False if word in FALSE else None
    if kind in ("integer", "double"):
        try:
            return int(text) if kind == "integer" else float(text) if text.lower() not in ("nan", "inf", "-inf") else None
        except ValueError:
            return None
    if kind == "enum":
        return next((choice for choice in model.get("enum") or [] if text in (choice, json.dumps(choice))), None)
    if kind in ("object", "array"):
        value = _json(text, None)
        return value if isinstance(value, dict if kind == "object" else list) else None
    return text


def _json(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def allowed(model: Model) -> str:
    """What a value may be, in words."""
    kind, unit = str(model.get("type")), f" {model['unit']}" if model.get("unit") else ""
    if model.get("enum"):
        return "one of " + ", ".join(str(choice) for choice in model["enum"])
    if kind == "boolean":
        return "true or false"
    words = {"integer": "a whole number", "double": "a number", "string": "a text"}
    text = words.get(kind, f"JSON: {'an' if kind[:1] in 'aeiou' else 'a'} {kind}")
    low, high = model.get("min"), model.get("max")
    if low is not None and high is not None:
        return f"{text} from {low:g} to {high:g}{unit}"
    if low is not None:
        return f"{text} of at least {low:g}{unit}"
    return f"{text} of at most {high:g}{unit}" if high is not None else text + (f" ({unit.strip()})" if unit else "")


def shown_models(models: Sequence[Model], what: str) -> str:
    """A line for each, for messages."""
    if not models:
        return f"  it has no {what}s"
    return "\n".join(f"  {model['name']}: {allowed(model)}" for model in models)


def signature(operation: Model) -> str:
    """`scan sector=<a whole number from 1 to 8> [sweeps=<a whole number>]`."""
    parts = [str(operation["name"])]
    for argument in operation.get("arguments") or ():
        text = f"{argument['name']}=<{allowed(argument)}>"
        parts.append(text if argument.get("required") else f"[{text}]")
    return " ".join(parts)


def sparkline(numbers: Sequence[float | None]) -> str:
    """A line of bars; None leaves a gap."""
    known = [number for number in numbers if number is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(SPARKS) - 1
    bars = (" " if number is None else SPARKS[round((number - low) / span * top) if span else top // 2] for number in numbers)
    return "".join(bars)


def text_of(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else json.dumps(value, ensure_ascii=False)
