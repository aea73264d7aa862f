"""The simulator as a program: `python -m plum_worker.simulator KIND [NAME]`, and what `plum device simulate` runs.

Without an address it finds the agent or the controller as every driver does: PLUM_DEVICES, CONTROLLER_BASE.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Sequence

from plum_worker.device_errors import DeviceError
from plum_worker.simulator.devices import SimulatedDevice
from plum_worker.simulator.models import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that both programs have."""
    parser.add_argument("kind", choices=sorted(MODELS), help="what to simulate")
    parser.add_argument("name", nargs="?", default="", help="name of the device (default: KIND-1)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="simulate N of them: NAME-1 to NAME-N")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="NUMBER", help="the same seed gives the same behaviour (default 0)"
    )
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two reports (default 1)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="FACTOR", help="how much faster its time runs (default 1)")
    parser.add_argument(
        "--heartbeat", type=float, default=5.0, metavar="SECONDS", help="how often it reports at least (default 5)"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND=VALUE", help="drop=0.2, slow=2s or offline=30s; may be repeated"
    )


def simulate(
    flags: argparse.Namespace, *, address: str = "", namespace: str = "", token: str = "", tls: ssl.SSLContext | None = None
) -> list[SimulatedDevice]:
    """The devices that the flags ask for. Raises `DeviceError`."""
    for name, value in (
        ("count", flags.count),
        ("interval", flags.interval),
        ("speed", flags.speed),
        ("heartbeat", flags.heartbeat),
    ):
        if not value > 0:
            raise DeviceError(f"--{name} is {value}; use a number above 0")
    base = flags.name or flags.kind
    names = (
        [flags.name or f"{flags.kind}-1"] if flags.count == 1 else [f"{base}-{number}" for number in range(1, flags.count + 1)]
    )
    devices = [
        SimulatedDevice(
            flags.kind,
            name,
            seed=flags.seed,
            interval=flags.interval,
            speed=flags.speed,
            heartbeat=flags.heartbeat,
            address=address,
            namespace=namespace,
            token=token,
            tls=tls,
        )
        for name in names
    ]
    for fault in flags.fault:
        for one in devices:
            try:
                one.faults.set(fault)
            except ValueError as error:
                raise DeviceError(f"--fault {error}") from None
    return devices


async def serve(devices: Sequence[SimulatedDevice]) -> None:
    """Until SIGTERM or SIGINT. Raises `DeviceRefusedError` when one of them is not taken."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for one in devices:
            one.device.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
            loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(one.serve()) for one in devices]
    try:
        await asyncio.gather(*tasks)
    finally:
        stop()
        await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped, 1 not taken, 2 arguments that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m plum_worker.simulator", description="Simulates devices.")
    add_arguments(parser)
    parser.add_argument("--address", default="", help="agent or controller (default: PLUM_DEVICES, CONTROLLER_BASE)")
    parser.add_argument("--namespace", default="", help="namespace of the devices (default: PLUM_NAMESPACE, then default)")
    flags = parser.parse_args(arguments)
    try:
        devices = simulate(flags, address=flags.address, namespace=flags.namespace)
    except DeviceError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    try:
        asyncio.run(serve(devices))
    except DeviceError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 1
    return 0
