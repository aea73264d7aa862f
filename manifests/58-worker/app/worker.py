"""Counts words. The agent tells it where the controller is and who it is, so `Worker` needs no arguments."""

import logging
from dataclasses import dataclass

from plum_worker import Context, TaskError, Worker

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
worker = Worker(capacity=2)


@dataclass
class Text:
    text: str
    pause: float = 0.0


@worker.task("count-words")
def count_words(payload: Text, context: Context) -> dict[str, int]:
    if not payload.text.strip():
        raise TaskError("there is nothing to count", "Empty", permanent=True)
    counts: dict[str, int] = {}
    words = payload.text.lower().split()
    for number, word in enumerate(words):
        context.progress(number / len(words), f"at {word!r}")  # ends the task when it is cancelled
        context.cancellation.wait(payload.pause)
        counts[word] = counts.get(word, 0) + 1
    context.logger.info("%d words in attempt %d", len(words), context.attempt)
    return counts


@worker.task("shout")
async def shout(payload: Text) -> str:
    return payload.text.upper()


worker.run()
