"""The ledger: what was written is read back, whatever the moment of a crash, and corruption is seen."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_agent.errors import LedgerCorruptError
from plum_agent.ledger import FILE, Ledger, Record, RunRecord, read_record, write_record
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.template import Template

KEY = ObjectKey("default", "web")


def make_record(**fields: object) -> Record:
    spec = InstanceSpec(template=Template(command=["x"]))
    instance = Instance(metadata=ObjectMeta(name="web", namespace="default", uid="u"), spec=spec)
    return msgspec.structs.replace(Record(instance=instance), **fields)


async def test_records_are_read_back_by_another_agent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "node")
    run = RunRecord(number=3, marker="m", boot_id="b", launch="l", ports={"http": 80}, stop_reason="Wanted")
    record = make_record(run=run, runs=3, failures=2, environment={"A": "secret"})

    await ledger.record(KEY, record)
    other = Ledger(tmp_path / "node")

    assert other.load() == {KEY: record}
    assert other.agent_id == ledger.agent_id
    assert (tmp_path / "node" / "default_web" / FILE).stat().st_mode & 0o077 == 0


async def test_a_forgotten_instance_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "node")
    await ledger.record(KEY, make_record())
    ledger.make_run_folder(KEY, 1)

    for _ in range(2):
        await ledger.forget(KEY)

    assert ledger.load() == {}
    assert not ledger.folder(KEY).exists()


async def test_only_the_previous_run_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "node")
    for number in range(1, 5):
        (ledger.make_run_folder(KEY, number) / "shim").touch()
    ledger.make_run_folder(KEY, 5)

    assert sorted(folder.name for folder in (ledger.folder(KEY) / "runs").iterdir()) == ["4", "5"]
    assert ledger.last_run_number(KEY) == 4


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / FILE
        write_record(path, msgspec.json.encode(make_record()))
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= flip
        path.write_bytes(content)

        try:
            assert read_record(path) == make_record()  # a checksum in other letters is still the same number
        except LedgerCorruptError:
            return


@given(st.integers(0, 2000))
def test_a_cut_file_is_noticed(length: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / FILE
        write_record(path, msgspec.json.encode(make_record()))
        whole = path.read_bytes()
        path.write_bytes(whole[: min(length, len(whole) - 1)])

        with pytest.raises(LedgerCorruptError):
            read_record(path)


async def test_a_corrupt_record_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "node")
    other = ObjectKey("default", "other")
    await ledger.record(KEY, make_record())
    await ledger.record(other, make_record())
    (ledger.folder(KEY) / FILE).write_bytes(b"\0" * 100)

    assert list(ledger.load()) == [other]
    assert len(list(ledger.folder(KEY).glob("ledger.corrupt-*"))) == 1
    assert list(ledger.load()) == [other]


async def test_a_half_written_new_file_changes_nothing(tmp_path: Path) -> None:
    """The crash between writing and renaming."""
    ledger = Ledger(tmp_path / "node")
    await ledger.record(KEY, make_record(runs=1))
    (ledger.folder(KEY) / f"{FILE}.new").write_bytes(b"half")

    assert ledger.load()[KEY].runs == 1


async def test_without_a_directory_nothing_is_kept_on_disk() -> None:
    ledger = Ledger(None)

    await ledger.record(KEY, make_record())

    assert ledger.load() == {}
