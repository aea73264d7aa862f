"""Names, label keys and label values: Kubernetes' rules with Kubernetes' sentences, in one place.

`is_...` answers, `check_...` raises ValueError with the sentence that users see after the value.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_SUBDOMAIN_LENGTH = 253
MAX_LABEL_LENGTH = 63
"""Bytes; also the limit of a label value and of the name part of a key."""
MAX_ANNOTATIONS_BYTES = 256 * 1024
"""Keys and values of all annotations of an object together."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"

_label = re.compile(_LABEL, re.ASCII).fullmatch
_subdomain = re.compile(_SUBDOMAIN, re.ASCII).fullmatch
_qualified = re.compile(_QUALIFIED, re.ASCII).fullmatch
_value = re.compile(_VALUE, re.ASCII).fullmatch

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    f"with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    f"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_NAME_PART_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    f"an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
)


def is_subdomain(text: str) -> bool:
    """Valid as the name of an object."""
    return len(text) <= MAX_SUBDOMAIN_LENGTH and _subdomain(text) is not None


@lru_cache(maxsize=1024)
def is_label(text: str) -> bool:
    """Valid as the name of a namespace, a port, a node of a workflow."""
    return len(text) <= MAX_LABEL_LENGTH and _label(text) is not None


@lru_cache(maxsize=4096)
def is_label_key(text: str) -> bool:
    """Valid as the key of a label, an annotation or a taint."""
    prefix, slash, name = text.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return len(name) <= MAX_LABEL_LENGTH and _qualified(name) is not None


@lru_cache(maxsize=4096)
def is_label_value(text: str) -> bool:
    return len(text) <= MAX_LABEL_LENGTH and _value(text) is not None


def check_subdomain(text: str) -> None:
    """Raise ValueError unless `text` may name an object."""
    if not is_subdomain(text):
        raise ValueError(_too_long(text, MAX_SUBDOMAIN_LENGTH) or SUBDOMAIN_RULE)


def check_label(text: str) -> None:
    """Raise ValueError unless `text` may name a namespace."""
    if not is_label(text):
        raise ValueError(_too_long(text, MAX_LABEL_LENGTH) or LABEL_RULE)


def check_label_key(text: str) -> None:
    """Raise ValueError unless `text` may be the key of a label or an annotation."""
    if is_label_key(text):
        return
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        raise ValueError(
            f"a qualified name {_NAME_PART_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
    if slash and not prefix:
        raise ValueError("prefix part must be non-empty")
    if slash and not is_subdomain(prefix):
        raise ValueError(f"prefix part {_too_long(prefix, MAX_SUBDOMAIN_LENGTH) or SUBDOMAIN_RULE}")
    if not name:
        raise ValueError("name part must be non-empty")
    raise ValueError(f"name part {_too_long(name, MAX_LABEL_LENGTH) or _NAME_PART_RULE}")


def check_label_value(text: str) -> None:
    """Raise ValueError unless `text` may be the value of a label."""
    if not is_label_value(text):
        raise ValueError(_too_long(text, MAX_LABEL_LENGTH) or VALUE_RULE)


def _too_long(text: str, limit: int) -> str:
    return f"must be no more than {limit} bytes" if len(text.encode()) > limit else ""
