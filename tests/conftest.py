"""Settings that every test shares, and the collector of the table of Kubernetes clients."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.client_table import PROPERTY, ClientTable, marks_of

# A shared machine is sometimes slow; pytest-timeout ends what hangs.
settings.register_profile("plum", deadline=None)
settings.load_profile("plum")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--client-table", metavar="FILE", help="write what the tests marked `client` found to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--client-table")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ClientTable(Path(path)), "client-table")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties.extend((PROPERTY, mark) for mark in marks_of(item))
