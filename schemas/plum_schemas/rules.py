"""Rules and short forms that several kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plum_schemas.durations import parse_duration
from plum_schemas.names import check_label_key, check_label_value
from plum_schemas.quantities import parse_quantity
from plum_schemas.retry import RetryPolicy
from plum_schemas.template import ConfigFile, EnvFrom, EnvVar, Resources
from plum_schemas.validation import FieldError, checked, exactly_one, forbidden, invalid


def map_to_list(owner: dict[str, Any], name: str, key: str, value: str) -> None:
    """Replace `{A: 1}` by `[{name: A, value: "1"}]`, in place. Numbers and booleans become the text YAML had."""
    given = owner.get(name)
    if isinstance(given, dict):
        owner[name] = [{key: item, value: _text(content)} for item, content in given.items()]


def texts(owner: Any, name: str) -> None:
    """Write floats as text in a map of quantities, in place: YAML reads `0.5` as a number, quantities are text or integers."""
    amounts = owner.get(name) if isinstance(owner, dict) else None
    if isinstance(amounts, dict):
        for key, amount in amounts.items():
            if isinstance(amount, float):
                amounts[key] = repr(amount)


def check_labels(labels: Mapping[str, str], path: str) -> Iterator[FieldError]:
    for key, value in labels.items():
        yield from checked(path, key, check_label_key)
        yield from checked(path, value, check_label_value)


def check_env(variables: Iterable[EnvVar], path: str) -> Iterator[FieldError]:
    for index, variable in enumerate(variables):
        source = variable.value_from
        if source is None:
            continue
        where = f"{path}[{index}].valueFrom"
        if variable.value:
            yield forbidden(where, "may not be set together with value")
        choices = {
            "secretKeyRef": source.secret_key_ref,
            "configMapKeyRef": source.config_map_key_ref,
            "kvKeyRef": source.kv_key_ref,
            "fieldRef": source.field_ref,
        }
        yield from exactly_one(where, choices)


def check_env_from(sources: Iterable[EnvFrom], path: str) -> Iterator[FieldError]:
    for index, source in enumerate(sources):
        yield from exactly_one(f"{path}[{index}]", {"secretRef": source.secret_ref, "configMapRef": source.config_map_ref})


def check_files(files: Iterable[ConfigFile], path: str) -> Iterator[FieldError]:
    """Each has one content, and a place inside the folder of the instance."""
    for index, file in enumerate(files):
        where = f"{path}[{index}]"
        parts = file.path.split("/")
        if file.path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in file.path:
            yield invalid(f"{where}.path", file.path, "must be a path below the working folder, without . and ..")
        contents = {
            "value": file.value,
            "valueFrom": file.value_from,
            "secretRef": file.secret_ref,
            "configMapRef": file.config_map_ref,
        }
        yield from exactly_one(where, contents)
        source = file.value_from
        if source is not None:
            keys = {
                "secretKeyRef": source.secret_key_ref,
                "configMapKeyRef": source.config_map_key_ref,
                "kvKeyRef": source.kv_key_ref,
            }
            yield from exactly_one(f"{where}.valueFrom", keys)


def check_resources(resources: Resources, path: str) -> Iterator[FieldError]:
    """Every amount is a quantity of 0 or more, and no request is above its limit."""
    for part, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        for name, amount in amounts.items():
            where = f"{path}.{part}[{name}]"
            try:
                negative = parse_quantity(amount) < 0
            except ValueError as error:
                yield invalid(where, amount, str(error))
                continue
            if negative:
                yield invalid(where, amount, "must be greater than or equal to 0")
            limit = resources.limits.get(name)
            if part == "requests" and limit is not None and _above(amount, limit):
                yield invalid(where, amount, f"must be less than or equal to {name} limit of {limit}")


def check_retry(retry: RetryPolicy, path: str) -> Iterator[FieldError]:
    if parse_duration(retry.max) < parse_duration(retry.initial):
        yield invalid(f"{path}.max", retry.max, f"must not be shorter than initial, which is {retry.initial}")


def _above(amount: str | int, limit: str | int) -> bool:
    try:
        return parse_quantity(amount) > parse_quantity(limit)
    except ValueError:
        return False


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value
