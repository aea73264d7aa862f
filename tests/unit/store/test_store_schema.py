"""A new file, a migrated one and the declared tables agree; files that are not ours are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from plum_controller.store import generate_schema, migrate, schema, tables
from plum_controller.store.connection import check_library, open_writer
from plum_controller.store.errors import StoreCorruptError, StoreInUseError, StoreVersionError
from plum_controller.store.sqlite import SqliteStore
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from tests.support.store import opened, put, transaction


def described(path: Path) -> dict[str, object]:
    """Tables with their columns, keys and options, and what the header says."""
    connection = sqlite3.connect(path)
    try:
        found: dict[str, object] = {
            name: (connection.execute(f"PRAGMA table_xinfo({name})").fetchall(), without_rowid, strict)
            for _, name, kind, _, without_rowid, strict in connection.execute("PRAGMA table_list").fetchall()
            if kind == "table" and not name.startswith("sqlite_")
        }
        found["version"] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        for pragma in ("application_id", "auto_vacuum"):
            found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()
        found["indexes"] = connection.execute(
            "SELECT tbl_name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name"
        ).fetchall()
        return found
    finally:
        connection.close()


def make_new(path: Path) -> None:
    connection = open_writer(path)
    schema.create(connection)
    connection.close()


def test_the_script_and_the_migrations_make_the_same_file(tmp_path: Path) -> None:
    make_new(tmp_path / "new.db")
    migrate.upgrade(str(tmp_path / "migrated.db"))

    assert described(tmp_path / "new.db") == described(tmp_path / "migrated.db")


def test_the_migrations_make_the_declared_tables(tmp_path: Path) -> None:
    migrate.upgrade(str(tmp_path / "migrated.db"))
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")

    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    engine.dispose()

    assert difference == []
    assert set(SQLModel.metadata.tables) >= {table.__tablename__ for table in (tables.Log, tables.Objects, tables.Meta)}


def test_the_script_is_generated_from_the_tables() -> None:
    assert schema.SCRIPT.read_text() == generate_schema.render()


def test_the_program_knows_every_migration_and_the_newest() -> None:
    directory = ScriptDirectory(str(schema.MIGRATIONS))

    assert directory.get_current_head() == schema.HEAD
    assert {script.revision for script in directory.walk_revisions()} | {""} == set(schema.KNOWN)


@pytest.mark.slow
async def test_an_older_file_is_migrated_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    connection = open_writer(path)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}; CREATE TABLE alembic_version (version_num VARCHAR(32))")
    connection.close()

    async with opened(SqliteStore(path)) as store:
        assert await store.commit(transaction(put("a"))) == 1
    assert described(path)["version"] == [(schema.HEAD,)]


async def test_a_file_of_a_newer_plum_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    async with opened(SqliteStore(path)) as store:
        await store.commit(transaction(put("a")))
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    with pytest.raises(StoreVersionError, match="newer Plum"):
        await SqliteStore(path).open()

    assert described(path)["version"] == [("9999",)]


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(StoreVersionError, match="another program"):
        await SqliteStore(path).open()


@pytest.mark.parametrize("content", [b"not a database, but long enough to have a header" * 100, b"\0" * 8192])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plum.db"
    path.write_bytes(content)

    with pytest.raises(StoreCorruptError, match="backup"):
        await SqliteStore(path).open()

    assert path.read_bytes() == content


async def test_a_store_that_could_not_be_opened_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    path.write_bytes(b"not a database, but long enough to have a header" * 100)
    for _ in range(2):
        with pytest.raises(StoreCorruptError):
            await SqliteStore(path).open()
    path.unlink()

    async with opened(SqliteStore(path)) as store:
        assert store.revision == 0


@pytest.mark.parametrize(
    ("version", "safe"), [("3.40.1", False), ("3.51.2", False), ("3.51.3", True), ("3.52.0", True), ("4.0.0", True)]
)
def test_a_library_with_the_wal_reset_bug_is_refused(version: str, safe: bool) -> None:
    if safe:
        check_library(version)
    else:
        with pytest.raises(StoreVersionError, match=r"3\.51\.3"):
            check_library(version)


async def test_another_process_that_holds_the_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plum.db"
    code = (
        "import asyncio, sys\n"
        "from plum_controller.store.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1]); await store.open(); print('open', flush=True); sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"

        with pytest.raises(StoreInUseError, match=f"process {process.pid} holds"):
            await SqliteStore(path).open()

        process.kill()
        process.wait()
    async with opened(SqliteStore(path)) as store:
        assert store.revision == 0


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "plum.db"
    async with opened(SqliteStore(path)) as store:
        await store.commit(transaction(put("a")))
        await store.backup(str(tmp_path / "backup.db"))

        for file in [*path.parent.iterdir(), tmp_path / "backup.db"]:
            assert file.stat().st_mode & 0o077 == 0, file


def test_a_running_store_imports_neither_sqlmodel_nor_alembic() -> None:
    code = "import sys, plum_controller.store.sqlite, plum_controller.store.cache; print([m for m in sys.modules if m in %r])"
    heavy = ("sqlmodel", "sqlalchemy", "alembic", "pydantic")

    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
