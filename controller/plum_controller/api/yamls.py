"""YAML bodies and answers. PyYAML is loaded with the first of them: the start and the JSON routes do without.

Reading refuses aliases: a few lines of them can stand for gigabytes. Times stay text, as in JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from plum_controller.api.negotiation import YAML_TYPE
from plum_controller.api.requests import Answer
from plum_controller.resources.errors import bad_request

if TYPE_CHECKING:
    import yaml


def as_yaml(answer: Answer) -> Answer:
    """The same answer, written as YAML."""
    answer.body = dump(msgspec.json.decode(answer.body))
    answer.content_type = YAML_TYPE
    return answer


def dump(value: Any) -> bytes:
    """A JSON value as YAML."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return bytes(yaml.dump(value, Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, encoding="utf-8"))


def load(body: bytes) -> Any:
    """One YAML document as a JSON value. Raises `ApiStatusError` 400."""
    import yaml

    try:
        value = yaml.load(body, Loader=_loader())  # noqa: S506 - built on the safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise bad_request(f"error decoding YAML: {text[:500]}") from error
    return value


_LOADER: type[yaml.SafeLoader] | None = None


def _loader() -> type[yaml.SafeLoader]:
    global _LOADER
    if _LOADER is not None:
        return _LOADER
    import yaml

    class Loader(yaml.SafeLoader):
        """JSON's values only, text keys only, no aliases, no key twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not supported")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=deep)
                if not isinstance(key, (str, int, float, bool)) and key is not None:
                    raise yaml.YAMLError("only scalars can be keys")
                name = key if isinstance(key, str) else str(key_node.value)
                if name in mapping:
                    raise yaml.YAMLError(f"key {name!r} is there twice")
                mapping[name] = self.construct_object(value_node, deep=deep)
            return mapping

    resolvers = {
        first: [
            (tag, pattern) for tag, pattern in listed if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
        ]
        for first, listed in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = resolvers
    for tag in ("binary", "timestamp", "omap", "pairs", "set"):
        Loader.add_constructor(f"tag:yaml.org,2002:{tag}", _refuse)
    _LOADER = Loader
    return Loader


def _refuse(loader: Any, node: Any) -> Any:
    import yaml

    raise yaml.YAMLError(f"{node.tag} is not supported")
