"""What only real processes have: environment, working folder, users, limits, escaped children, fences, shims that die."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from plum_agent.drivers import cgroups
from plum_agent.drivers.base import Exit, Handle, Launch, Run
from plum_agent.drivers.launching import find_user
from plum_agent.drivers.process import ProcessDriver
from plum_agent.drivers.procfs import is_alive, read_stat, uptime_centiseconds
from plum_agent.errors import RefusedError, StartError
from plum_schemas.template import EnvVar, Template


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[ProcessDriver]:
    made = ProcessDriver(tmp_path)
    yield made
    await made.close()


def make_launch(folder: Path, *command: str, **options: object) -> Launch:
    folder = folder / f"run-{time.monotonic_ns()}"
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"], **options.pop("environment", {})}  # type: ignore[dict-item]
    run = Run(f"unit{os.getpid()}.{folder.name}.1", folder)
    return Launch(run, command, environment, Path(str(options.pop("work", folder))), **options)  # type: ignore[arg-type]


async def output(driver: ProcessDriver, launch: Launch) -> tuple[Exit, str]:
    started = await driver.start(launch)
    ended = await driver.wait(launch.run, started.handle)
    await driver.kill(launch.run, started.handle)
    await driver.release(launch.run)
    return ended, (launch.run.directory / "stdout.log").read_text()


async def wait_until(condition, seconds: float = 5.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def test_a_run_gets_its_environment_and_nothing_else(driver: ProcessDriver, tmp_path: Path) -> None:
    values = {"QUOTED": 'it\'s "so" $HOME `x` \\', "LINES": "a\nb", "EMPTY": ""}
    launch = make_launch(tmp_path, sys.executable, "-c", "import os; print(repr(dict(os.environ)))", environment=values)

    _, text = await output(driver, launch)

    got = eval(text)
    got.pop("LC_CTYPE", None)  # Python's own
    assert got == {**launch.environment, "PLUM_RUN": launch.run.marker}


async def test_values_of_the_environment_are_in_no_command_line(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sleep", "100", environment={"TOKEN": "secret-value-4711"})
    handle = (await driver.start(launch)).handle

    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (handle.pid, handle.shim_pid)]

    assert not any(b"secret-value" in line for line in lines)
    assert (launch.run.directory / "env.sh").stat().st_mode & 0o077 == 0
    await driver.kill(launch.run, handle)


async def test_a_run_has_default_signals_and_a_session_of_its_own(driver: ProcessDriver, tmp_path: Path) -> None:
    script = (
        "import os, signal; print([signal.getsignal(n) == signal.SIG_IGN for n in (1, 2, 3, 15)], os.getsid(0) == os.getpid())"
    )

    _, text = await output(driver, make_launch(tmp_path, sys.executable, "-c", script))

    assert text.strip() in ("[False, False, False, False] True",)


@pytest.mark.parametrize(("script", "code", "name"), [
    ("exit 137", 137, ""), ("kill -KILL $$", 137, "SIGKILL"), ("kill -SEGV $$", 139, "SIGSEGV"), ("exit 255", 255, ""),
])  # fmt: skip
async def test_an_exit_code_is_told_from_a_signal(
    driver: ProcessDriver, tmp_path: Path, script: str, code: int, name: str
) -> None:
    ended, _ = await output(driver, make_launch(tmp_path, "sh", "-c", script))

    assert (ended.code, ended.signal) == (code, name)


async def test_a_program_that_does_not_exist_ends_with_127_and_says_why(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "/no/such/program")

    ended, _ = await output(driver, launch)

    assert ended.code == 127
    assert "No such file" in (launch.run.directory / "stderr.log").read_text()


async def test_a_missing_working_folder_fails_the_start_with_the_reason(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "true", work=tmp_path / "missing")

    with pytest.raises(StartError, match="missing"):
        await driver.start(launch)


async def test_children_that_leave_group_and_session_are_killed_too(driver: ProcessDriver, tmp_path: Path) -> None:
    script = "setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & exec env -i /bin/sleep 1000"
    launch = make_launch(tmp_path, "sh", "-c", script)
    handle = (await driver.start(launch)).handle

    async def family() -> set[int]:
        return {stat.pid for stat in await driver._survivors(launch.run, handle)}

    while len(await family()) < 3:
        await asyncio.sleep(0.01)
    pids = await family()
    await driver.kill(launch.run, handle)

    assert not any(stat.alive for pid in pids if (stat := read_stat(pid)) is not None)
    await driver.wait(launch.run, handle)


async def test_what_a_dead_leader_left_behind_is_killed(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sh", "-c", "(setsid sleep 1000 &) ; sleep 1000 & exit 3")
    handle = (await driver.start(launch)).handle
    assert (await driver.wait(launch.run, handle)).code == 3

    await driver.kill(launch.run, handle)

    assert await driver._survivors(launch.run, handle) == []


async def test_a_number_that_now_names_another_process_is_not_signalled(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sleep", "100")
    handle = (await driver.start(launch)).handle
    other = Handle(boot_id=handle.boot_id, pid=handle.pid, start_ticks=handle.start_ticks + 1)
    rebooted = Handle(boot_id="another", pid=handle.pid, start_ticks=handle.start_ticks)

    for wrong in (other, rebooted):
        await driver.signal(launch.run, wrong, signal.SIGKILL)
        await driver.kill(Run("unit.other.1", tmp_path), wrong)

    assert is_alive(handle.pid, handle.start_ticks)
    await driver.kill(launch.run, handle)


async def test_the_exit_of_a_run_whose_shim_was_killed_is_still_seen(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sleep", "100")
    handle = (await driver.start(launch)).handle
    waiting = asyncio.create_task(driver.wait(launch.run, handle))
    await asyncio.sleep(0.05)
    os.kill(handle.shim_pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert not waiting.done()

    os.kill(handle.pid, signal.SIGINT)
    ended = await asyncio.wait_for(waiting, 5)

    assert ended.code in (130, None)  # None on kernels that do not tell
    assert is_alive(handle.pid, handle.start_ticks) is False


async def test_an_overdue_fence_kills_without_any_agent(driver: ProcessDriver, tmp_path: Path) -> None:
    fence = tmp_path / "fence"
    fence.write_text(f"{uptime_centiseconds() + 50}\n")
    launch = make_launch(tmp_path, "sh", "-c", "trap '' TERM INT; setsid sleep 1000 & sleep 1000", fence=fence)
    handle = (await driver.start(launch)).handle
    await asyncio.sleep(0.3)
    fence.write_text(f"{uptime_centiseconds() + 70}\n")
    began = time.monotonic()

    ended = await asyncio.wait_for(driver.wait(launch.run, handle), 5)

    assert 0.5 < time.monotonic() - began < 1.5
    assert ended.fenced
    assert ended.signal == "SIGKILL"
    deadline = time.monotonic() + 3
    while await driver._survivors(launch.run, handle):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await driver.release(launch.run)


async def test_a_renewed_fence_lets_the_run_go_on(driver: ProcessDriver, tmp_path: Path) -> None:
    fence = tmp_path / "fence"
    fence.write_text(f"{uptime_centiseconds() + 30}\n")
    launch = make_launch(tmp_path, "sleep", "1000", fence=fence)
    handle = (await driver.start(launch)).handle

    for _ in range(8):
        temporary = tmp_path / "fence.new"
        temporary.write_text(f"{uptime_centiseconds() + 30}\n")
        temporary.rename(fence)
        await asyncio.sleep(0.1)

    assert is_alive(handle.pid, handle.start_ticks)
    await driver.kill(launch.run, handle)
    await driver.release(launch.run)


async def test_a_memory_limit_is_enforced_and_its_kill_recognised(driver: ProcessDriver, tmp_path: Path) -> None:
    if "memory" not in cgroups.find_hierarchies().parents:
        pytest.skip("this machine has no writable memory cgroup")
    launch = make_launch(tmp_path, sys.executable, "-c", "x = bytearray(300 << 20); print(len(x))", memory_bytes=64 << 20)
    started = await driver.start(launch)

    ended = await driver.wait(launch.run, started.handle)
    groups = [Path(line).parent for line in (launch.run.directory / "cgroups").read_text().split()]
    await driver.release(launch.run)

    assert started.unenforced == ()
    assert ended.out_of_memory
    assert ended.signal == "SIGKILL"
    assert not any(group.exists() for group in groups)


async def test_a_cpu_limit_is_written_for_the_kernel(driver: ProcessDriver, tmp_path: Path) -> None:
    if "cpu" not in cgroups.find_hierarchies().parents:
        pytest.skip("this machine has no writable cpu cgroup")
    launch = make_launch(tmp_path, "sleep", "100", cpu_millis=250)
    handle = (await driver.start(launch)).handle
    group = Path((launch.run.directory / "cgroups").read_text().split()[0]).parent

    files = [group / "cpu.cfs_quota_us", group / "cpu.max"]
    quota = next(file.read_text().split()[0] for file in files if file.exists())

    assert quota == "25000"
    assert str(handle.pid) in (group / "cgroup.procs").read_text().split()
    await driver.kill(launch.run, handle)
    await driver.release(launch.run)


async def test_limits_that_cannot_be_enforced_are_said_and_stop_nothing(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path, cgroups.Hierarchies(False, {}))
    launch = make_launch(tmp_path, "sleep", "100", cpu_millis=100, memory_bytes=1 << 20)

    started = await driver.start(launch)

    assert len(started.unenforced) == 2
    assert all("not enforced" in sentence for sentence in started.unenforced)
    await driver.kill(launch.run, started.handle)
    await driver.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change users")
async def test_a_run_of_another_user_has_its_ids(driver: ProcessDriver, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    script = "import os; print(os.getuid(), os.getgid(), os.geteuid())"

    _, text = await output(driver, make_launch(tmp_path, "/usr/bin/python3", "-c", script, user="nobody", work="/"))

    assert text.split() == [str(nobody.pw_uid), str(nobody.pw_gid), str(nobody.pw_uid)]


async def test_a_run_keeps_the_usual_limit_of_open_files(driver: ProcessDriver, tmp_path: Path) -> None:
    _, text = await output(driver, make_launch(tmp_path, "sh", "-c", "ulimit -S -n"))

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(text) == driver._workload_files <= soft


async def test_being_out_of_files_never_looks_like_the_end_of_a_run(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sleep", "1000")
    handle = (await driver.start(launch)).handle
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await driver.find(launch.run)
        with pytest.raises(OSError, match="Too many open files"):
            await driver.wait(launch.run, handle)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert isinstance(await driver.find(launch.run), Handle)
    await driver.kill(launch.run, handle)


def test_users_are_found_by_name_and_by_number() -> None:
    assert find_user("root") == (0, 0)
    assert find_user("4711:4712") == (4711, 4712)
    with pytest.raises(RefusedError, match="does not exist"):
        find_user("no-such-user")


@pytest.mark.parametrize(("template", "reason"), [
    (Template(), "CommandMissing"),
    (Template(command=["x"], env=[EnvVar(name="a.b", value="1")]), "InvalidEnvironment"),
    (Template(command=["x"], user="no-such-user"), "UserUnknown"),
])  # fmt: skip
async def test_what_a_node_cannot_do_is_refused_with_a_reason(driver: ProcessDriver, template: Template, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        driver.check(template)

    assert caught.value.reason == reason


async def test_a_probe_program_sees_the_environment_and_dies_with_its_timeout(driver: ProcessDriver, tmp_path: Path) -> None:
    launch = make_launch(tmp_path, "sleep", "100", environment={"ANSWER": "42"})
    handle = (await driver.start(launch)).handle

    assert await driver.execute(launch, ("sh", "-c", 'exit "$ANSWER"'), 5) == 42
    with pytest.raises(TimeoutError):
        await driver.execute(launch, ("sh", "-c", "setsid sleep 1000 & sleep 1000"), 0.2)
    await driver.kill(launch.run, handle)

    assert await driver._survivors(launch.run, handle) == []


async def test_a_run_ignores_no_signal_that_python_ignores(driver: ProcessDriver, tmp_path: Path) -> None:
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)
    assert all(signal.getsignal(number) is signal.SIG_IGN for number in ignored)

    _, text = await output(driver, make_launch(tmp_path, "grep", "SigIgn", "/proc/self/status"))

    assert not any(int(text.split()[1], 16) & 1 << (number - 1) for number in ignored)


def test_groups_are_made_where_the_service_manager_wants_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts, own, root = tmp_path / "mounts", tmp_path / "own", tmp_path / "hierarchy"
    for folder in (root, root / "system.slice/plum-agent.service"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.procs").write_text("1\n2\n")
        (folder / "cgroup.subtree_control").touch()
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    own.write_text("0::/system.slice/plum-agent.service\n")

    beside = cgroups.find_hierarchies(str(mounts), str(own))
    monkeypatch.setenv(cgroups.BASE_VARIABLE, "/")
    above = cgroups.find_hierarchies(str(mounts), str(own))

    assert set(beside.parents.values()) == {root / "system.slice/plum-agent.service/plum"}
    assert set(above.parents.values()) == {root / "plum"}
