"""Alembic's entry: connects to the file that `migrate.upgrade` names and runs what it lacks, in one transaction."""

from __future__ import annotations

from alembic import context
from plum_controller.store import tables
from sqlalchemy import create_engine, event
from sqlmodel import SQLModel

assert tables.Log.metadata is SQLModel.metadata  # noqa: S101 - the import above is what fills the metadata

path = context.config.attributes["path"]
engine = create_engine(f"sqlite:///{path}")


@event.listens_for(engine, "connect")
def _prepare(connection, _record):  # type: ignore[no-untyped-def]
    # The driver opens no transaction before DDL by itself: a migration cut short would leave half of its tables.
    connection.isolation_level = None
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute(f"PRAGMA application_id = {context.config.attributes['application_id']}")
    connection.execute("PRAGMA synchronous = FULL")


@event.listens_for(engine, "begin")
def _begin(connection):  # type: ignore[no-untyped-def]
    connection.exec_driver_sql("BEGIN IMMEDIATE")


with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
