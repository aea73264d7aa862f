"""Leads a database file to the newest schema with Alembic: `python -m plum_controller.store.migrate PATH`.

A process of its own, because the imports would cost every start a second and the controller 56 MB for good. The caller
holds the store's lock and has no connection open.
"""

from __future__ import annotations

import sys

from alembic import command
from alembic.config import Config

from plum_controller.store.schema import APPLICATION_ID, MIGRATIONS


def upgrade(path: str, target: str = "head") -> None:
    """Run the migrations that the file lacks, each in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["path"] = path
    config.attributes["application_id"] = APPLICATION_ID
    command.upgrade(config, target)


if __name__ == "__main__":
    upgrade(sys.argv[1])
