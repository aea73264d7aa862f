"""The first schema: the log, the head of each key's history, and a few named values."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "log",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("time", sa.REAL(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("operation", sa.Integer(), nullable=False),
        sa.Column("earlier", NUMBER, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "objects",
        sa.Column("resource", sa.Text(), primary_key=True, nullable=False),
        sa.Column("namespace", sa.Text(), primary_key=True, nullable=False),
        sa.Column("name", sa.Text(), primary_key=True, nullable=False),
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), primary_key=True, nullable=False),
        sa.Column("value", sa.REAL(), nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
