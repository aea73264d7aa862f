"""An executor for Plum: `executor: plugin` with `plugin: {name: shout, config: {mark: "!"}}` says the payload's text loudly."""

from __future__ import annotations

import asyncio
from typing import Any


class Shout:
    """One object executes every attempt; nothing of one may be kept for another."""

    async def execute(self, call: Any) -> Any:
        """`call` has the payload, the config, the name of the run, the attempt's number and the idempotency key."""
        text = call.payload.get("text")
        if not isinstance(text, str):
            raise ValueError(f"payload.text is {text!r}; give a text")
        words = text.split()
        for number, _ in enumerate(words, 1):
            await call.progress(number / len(words), f"word {number} of {len(words)}")
            await asyncio.sleep(0)
        return {"text": text.upper() + str(call.config.get("mark", "!"))}


def make_executor() -> Shout:
    """The entry point: called once, with the first task that needs it."""
    return Shout()
