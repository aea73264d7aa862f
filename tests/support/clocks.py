"""Wall clocks that a test moves while the programs run: by a small library that is loaded before the C library.

clock = ShiftedClock(tmp_path)          compiled on the spot; None where the machine has no C compiler
box.controller(env=clock.environment)
clock.shift(3600)                       from now on the program's wall clock is an hour ahead; monotonic clocks are left alone
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shift.c")


class ShiftedClock:
    """The wall clock of the programs that are started with its environment."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "PLUM_TEST_CLOCK": str(file)}
        file.write_bytes(struct.pack("q", 0))

    def shift(self, seconds: int) -> None:
        """Jump to so many seconds from the true time."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def make_clock(folder: Path, name: str) -> ShiftedClock:
    """Compile the library if that was not done yet, and make a clock at the true time."""
    library = folder / "clock_shift.so"
    if not library.exists():
        subprocess.run([str(compiler()), "-shared", "-fPIC", "-O2", str(SOURCE), "-o", str(library)], check=True)
    return ShiftedClock(library, folder / f"clock-{name}")
