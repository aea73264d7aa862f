"""The driver of a scale on a serial line: it answers a line with a line, `S` with its weight, `T` sets it to zero."""

import os
import select
import termios
import tty
from typing import Annotated

from plum_worker import Device, DeviceError, Value

TIMEOUT = 2.0
device = Device(os.environ.get("RESOURCE_ID", "scale-1"), type="Scale", heartbeat=5)
line = os.open(os.environ.get("SERIAL", "/dev/ttyUSB0"), os.O_RDWR | os.O_NOCTTY)
tty.setraw(line)
speed = termios.tcgetattr(line)
speed[4] = speed[5] = termios.B9600
termios.tcsetattr(line, termios.TCSANOW, speed)


def ask(command: str) -> str:
    """Plain functions of a driver run one at a time, so no other command comes in between."""
    os.write(line, f"{command}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\n"):
        if not select.select([line], [], [], TIMEOUT)[0]:
            raise DeviceError(f"the scale did not answer {command!r} within {TIMEOUT:g} s")
        answer += os.read(line, 100)
    return answer.decode("ascii", "replace").strip()


@device.property(every=0.5)
def weight() -> Annotated[float, Value(unit="kg")]:
    return float(ask("S").removesuffix("kg"))


@device.operation
def tare() -> float:
    """Set the present weight to zero."""
    if (answer := ask("T")) != "OK":
        raise DeviceError(f"the scale refused: {answer}")
    return weight()


if __name__ == "__main__":
    device.run()
