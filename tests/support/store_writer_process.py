"""A process that writes to a store until it is killed, and says on its standard output what was acknowledged.

    python -m tests.support.store_writer_process PATH    ->    one line per acknowledged commit: REVISION WRITER NUMBER

Each of its writers counts up in an object of its own, with the revision it last saw as precondition.
"""

from __future__ import annotations

import asyncio
import os
import sys

from plum_controller.store.sqlite import SqliteStore

from tests.support.store import put, transaction

WRITERS = 8


async def write(store: SqliteStore, writer: int, number: int, revision: int) -> None:
    while True:
        number += 1
        content = [writer, number, "x" * (number % 50 * 40)]
        revision = await store.commit(transaction(put(f"w{writer}", content, expect=revision), put(f"x{writer}", content)))
        os.write(1, f"{revision} {writer} {number}\n".encode())


async def compact(store: SqliteStore) -> None:
    while True:
        await asyncio.sleep(0.005)
        await store.compact(store.revision - 300)


async def main() -> None:
    store = SqliteStore(sys.argv[1])
    await store.open()
    numbers: dict[int, tuple[int, int]] = {}
    for writer in range(WRITERS):
        for entry in await store.read_at(store.revision, "things.plum.dev", "default", f"w{writer}"):
            numbers[writer] = (int(entry.value.split(b'"data": [')[1].split(b",")[1]), entry.revision)
    await asyncio.gather(compact(store), *(write(store, writer, *numbers.get(writer, (0, 0))) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main())
