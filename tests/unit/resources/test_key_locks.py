from __future__ import annotations

import asyncio

from plum_controller.resources.context import KeyLocks
from plum_controller.store.base import Key

KEY = Key("deployments.plum.dev", "default", "web")


async def test_one_holder_at_a_time_in_the_order_they_came() -> None:
    locks, order, inside = KeyLocks(), list[int](), 0

    async def work(number: int) -> None:
        nonlocal inside
        await locks.acquire(KEY)
        try:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            order.append(number)
            inside -= 1
        finally:
            locks.release(KEY)

    await asyncio.gather(*(work(number) for number in range(20)))

    assert order == list(range(20))
    assert not locks._held


async def test_other_keys_do_not_wait() -> None:
    locks = KeyLocks()
    await locks.acquire(KEY)

    await asyncio.wait_for(locks.acquire(KEY._replace(name="other")), 1)


async def test_a_waiter_that_gives_up_does_not_keep_the_lock() -> None:
    locks = KeyLocks()
    await locks.acquire(KEY)
    waiting = [asyncio.create_task(locks.acquire(KEY)) for _ in range(3)]
    await asyncio.sleep(0)

    waiting[0].cancel()
    locks.release(KEY)
    waiting[1].cancel()  # its turn has just come
    await asyncio.gather(waiting[0], waiting[1], return_exceptions=True)

    await asyncio.wait_for(waiting[2], 1)
    locks.release(KEY)
    assert not locks._held
