"""As process 1, `plum dev` waits for processes whose parents are gone, and for nobody else's."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, ctypes, json, subprocess, sys
from plum_cli import orphans

PR_SET_CHILD_SUBREAPER = 36
orphans.PAUSE_SECONDS = 0.2

async def main():
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    orphans.take_up(asyncio.get_running_loop())
    # A shell that leaves a child behind: the child becomes ours when the shell ends.
    shell = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.3 & echo $!", stdout=subprocess.PIPE)
    out, _ = await shell.communicate()
    orphan = int(out)
    ended = [3, await (await asyncio.create_subprocess_exec("sh", "-c", "exit 3")).wait()]
    seen_as_child = False
    async with asyncio.timeout(20):
        while True:
            try:
                parent = int(open(f"/proc/{orphan}/stat").read().rpartition(")")[2].split()[1])
            except FileNotFoundError:
                break
            seen_as_child = seen_as_child or parent == __import__("os").getpid()
            await asyncio.sleep(0.02)
    print(json.dumps([shell.returncode, ended, seen_as_child, orphans.ended_children()]))

asyncio.run(main())
"""


def test_orphans_do_not_stay_as_zombies_and_own_children_keep_their_exit_codes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=40, check=False)

    assert done.stdout == "[0, [3, 3], true, []]\n", done.stderr
