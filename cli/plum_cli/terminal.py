"""What the terminal can do: colours and live lines only where a person looks."""

from __future__ import annotations

import os
import sys
from typing import TextIO
from unicodedata import combining, east_asian_width

STYLES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "dim": "2", "bold": "1"}
PREFIX_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
"""For prefixes of log lines, given in turn."""
_STATES = {
    "green": {"Running", "Ready", "True", "Succeeded", "Available", "Active", "Complete"},
    "yellow": {"Pending", "Scheduled", "Preparing", "Starting", "Stopping", "Terminating", "Unknown", "Progressing", "Warning"},
    "red": {"Failed", "False", "NotReady", "Lost", "Error"},
}


def has_colour(stream: TextIO) -> bool:
    """Whether colours may be written: a terminal, and nobody asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_live(stream: TextIO) -> bool:
    """Whether lines may be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """The text in a style, or as it is where colours are not wanted."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if text and has_colour(stream) else text


def state_style(word: str) -> str:
    """The colour of a state such as `Running`; empty for words that are no state."""
    return next((style for style, words in _STATES.items() if word in words), "")


def width(text: str) -> int:
    """Columns that a text takes: two for each wide letter, such as Chinese ones, none for marks on the letter before."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def note(text: str) -> None:
    """A message for people: on stderr, so that stdout stays an answer for scripts."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A warning for people."""
    note(f"{paint('warning:', 'yellow', sys.stderr)} {text}")
