"""The journal of devices on an agent: what it promised is there, whatever was cut off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_agent.operations import journal as journals
from plum_agent.operations.journal import Journal

entries = st.lists(st.tuples(st.sampled_from(["t/a", "t/b", "v/1"]), st.one_of(st.none(), st.integers(), st.text(max_size=8))))


def opened(folder: Path) -> tuple[Journal, dict[str, bytes]]:
    journal = Journal(folder)
    return journal, journal.load()


@settings(max_examples=20, deadline=None)
@given(entries, st.integers(0, 400))
def test_a_journal_that_is_cut_off_anywhere_holds_a_prefix(
    tmp_path_factory: pytest.TempPathFactory, what: list[tuple[str, object]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")

    async def write() -> None:
        journal, _ = opened(folder)
        for entry in what:
            await journal.put(entry)
        journal.close()

    asyncio.run(write())
    path = folder / "journal"
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])

    journal, found = opened(folder)
    journal.close()

    kept, states = {}, [{}]  # type: ignore[var-annotated]
    for key, value in what:
        kept = {one: text for one, text in kept.items() if one != key} | ({key: value} if value is not None else {})
        states.append(kept)
    decoded = {key: journals.msgspec.json.decode(value) for key, value in found.items()}
    assert decoded in states
    if not cut:
        assert decoded == states[-1]


async def test_puts_that_come_together_share_a_flush_and_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, _ = opened(tmp_path)
    flushes = []
    real = journal._append
    monkeypatch.setattr(journal, "_append", lambda text: (flushes.append(text.count(b"\n")), real(text)))

    await asyncio.gather(*(journal.put((f"t/{number}", number)) for number in range(200)))

    journal.close()
    assert sum(flushes) == 200
    assert len(flushes) < 20
    again, found = opened(tmp_path)
    again.close()
    assert len(found) == 200


async def test_what_could_not_be_written_is_not_there_and_the_next_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, _ = opened(tmp_path)
    await journal.put(("t/a", 1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journals.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            await journal.put(("t/a", 2), ("t/b", 2))
    await journal.put(("t/c", 3))

    journal.close()
    again, found = opened(tmp_path)
    again.close()
    assert found == {"t/a": b"1", "t/c": b"3"}


async def test_a_journal_of_things_that_are_over_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "COMPACT_BYTES", 10_000)
    journal, _ = opened(tmp_path)
    for number in range(300):
        await journal.put(("t/a", "x" * 100 + str(number)))
    await journal.put(("t/a", None), ("t/b", "kept"))

    assert (tmp_path / "journal").stat().st_size < 20_000
    journal.close()
    again, found = opened(tmp_path)
    again.close()
    assert found == {"t/b": b'"kept"'}
