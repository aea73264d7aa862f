"""The tables of the SQL engines, declared once: Alembic compares files with them, `schema.sql` is generated from them.

    log      every kept change, in order: written once, never updated, deleted by compaction
    objects  for each key its last change in the log, deletions included until compaction
    meta     a few named values
    rows     beside the objects: without revision and history, changed in place

Nothing here is imported by a running controller: SQLModel alone costs a second and 56 MB (docs/adr/0002).
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import REAL, BigInteger, Index, Integer, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

NUMBER = BigInteger().with_variant(Integer, "sqlite")


class Log(SQLModel, table=True):
    """One change of one key."""

    __tablename__ = "log"
    __table_args__: ClassVar[dict[str, Any]] = {"sqlite_strict": True}

    id: int = Field(sa_type=NUMBER, primary_key=True, sa_column_kwargs={"autoincrement": False})
    """`revision * 65536 + ordinal in the commit`: one B-tree that only grows at its end."""
    time: float = Field(sa_type=REAL)
    """Unix seconds at the commit."""
    resource: str = Field(sa_type=Text)
    namespace: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    operation: int = Field(sa_type=Integer)
    """0 create, 1 update, 2 delete."""
    earlier: int = Field(sa_type=NUMBER)
    """`id` of the key's change before this one, across deletions; 0 when there was none. The row may be compacted away."""
    value: bytes = Field(sa_type=LargeBinary)


class Objects(SQLModel, table=True):
    """The head of one key's history."""

    __tablename__ = "objects"
    __table_args__: ClassVar[dict[str, Any]] = {"sqlite_strict": True, "sqlite_with_rowid": False}

    resource: str = Field(sa_type=Text, primary_key=True)
    namespace: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text, primary_key=True)
    id: int = Field(sa_type=NUMBER)
    """Row in the log."""
    deleted: int = Field(sa_type=Integer)
    """1 when that row is a deletion."""


class Rows(SQLModel, table=True):
    """What there may be very many of and only its owner reads again."""

    __tablename__ = "rows"
    __table_args__: ClassVar[Any] = (
        Index("rows_live", "space", "key", sqlite_where=text("live = 1")),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )

    space: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    live: int = Field(sa_type=Integer)
    """1 while the owner needs it to go on after a restart."""
    value: bytes = Field(sa_type=LargeBinary)


class Meta(SQLModel, table=True):
    """`compacted`, `compacted_time`, `swept`; `rows`: the last batch that changed rows; `recovered`: when, after an error;
    `backup_time`: only in a copy not opened yet."""

    __tablename__ = "meta"
    __table_args__: ClassVar[dict[str, Any]] = {"sqlite_strict": True, "sqlite_with_rowid": False}

    name: str = Field(sa_type=Text, primary_key=True)
    value: float = Field(sa_type=REAL)
