"""The driver of a plug that speaks HTTP: GET /status says what it does, POST /relay switches it."""

import json
import os
from typing import Annotated
from urllib.request import Request, urlopen

from plum_worker import Device, DeviceError, Value

PLUG = os.environ["PLUG_URL"]
device = Device(os.environ.get("RESOURCE_ID", "plug-1"), type="Plug", heartbeat=5)


def ask(method: str, path: str, body: dict | None = None) -> dict:
    data = json.dumps(body).encode() if body is not None else None
    request = Request(PLUG + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 -- its own device
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.load(answer)
    except OSError as error:
        raise DeviceError(f"the plug does not answer: {error}") from error


@device.property(every=1.0)
def power() -> Annotated[float, Value(unit="W", min=0)]:
    return ask("GET", "/status")["power"]


@device.property(every=1.0)
def on() -> bool:
    return ask("GET", "/status")["on"]


@on.setter
def switch(value: bool) -> None:
    ask("POST", "/relay", {"on": value})


@device.operation
def cycle(seconds: Annotated[float, Value(min=0.1, max=60)] = 1.0) -> dict:
    """Off and on again."""
    switch(False)
    import time

    time.sleep(seconds)
    switch(True)
    return ask("GET", "/status")


if __name__ == "__main__":
    device.run()
