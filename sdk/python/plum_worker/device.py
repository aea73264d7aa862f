"""Drivers of devices: programs that report values, take desired ones and carry out operations.

    device = Device("oven", type="Thermostat")

    @device.property(unit="°C", every=1.0)
    def temperature() -> float: ...                # read and reported every second

    @device.desired
    def setpoint(value: Annotated[float, Value(min=5, max=300)]) -> None: ...

    @device.operation
    def self_test(level: int = 1) -> dict: ...

    device.run()

Plain functions run one at a time, on one thread: a serial line needs no lock. Coroutine functions run in the event loop of the
driver. Operations are carried out one after the other, whatever their functions are.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from plum_worker.context import CancellationToken
from plum_worker.device_errors import DeviceError
from plum_worker.device_link import DeviceLink, address_of
from plum_worker.device_model import OperationFunction, Value, hints_of, inspect_operation, value_model
from plum_worker.device_reports import Reports

if TYPE_CHECKING:
    from plum_worker.device_session import Session

F = TypeVar("F", bound=Callable[..., Any])
QUALITIES = ("good", "uncertain", "bad")


class OperationCall:
    """One operation that is carried out, for functions that have a parameter `call`."""

    def __init__(self, identity: str, method: str, attempt: int, key: str, tell: Callable[[float], None] | None = None) -> None:
        """A test makes one of its own."""
        self.id = identity
        self.method = method
        self.attempt = attempt
        """How often it was sent, from 1."""
        self.idempotency_key = key
        self.cancellation = CancellationToken()
        self._tell = tell

    @property
    def canceled(self) -> bool:
        """Whether it is to stop."""
        return self.cancellation.is_set

    def progress(self, fraction: float) -> None:
        """How far it is, 0 to 1; at most one a second is sent. Raises `TaskCanceledError` when it is to stop."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress is {fraction}; use 0 to 1")
        self.cancellation.raise_if_set()
        if self._tell is not None:
            self._tell(round(fraction, 3))


class DeviceProperty:
    """One property, and what reads and writes it."""

    def __init__(self, name: str, model: dict[str, Any], getter: Callable[[], Any] | None, every: float) -> None:
        self.name = name
        self.model = model
        self.getter = getter
        self.every = every
        """Seconds between two readings; 0: only when something asks."""
        self.write: Callable[[Any], Any] | None = None

    def __call__(self) -> Any:
        """What the getter says."""
        if self.getter is None:
            raise TypeError(f"property {self.name!r} is written, not read")
        return self.getter()

    def setter(self, function: F) -> F:
        """Decorate the function that gives the device a desired value. What it returns is reported, unless it is None."""
        self.write = function
        self.model.pop("readOnly", None)
        return function


class Device:
    """One device, and the connection that tells of it. What is left out comes from the environment:

    RESOURCE_ID, PLUM_INSTANCE_ID     name             PLUM_DEVICES, CONTROLLER_BASE   where
    PLUM_NAMESPACE                    namespace        PLUM_TOKEN, PLUM_CA_FILE        with what right
    PLUM_DEVICE_DIR                   folder of what must survive the process
    """

    def __init__(
        self,
        name: str = "",
        *,
        type: str = "",
        heartbeat: float = 15.0,
        address: str = "",
        namespace: str = "",
        token: str = "",
        ca_file: str = "",
        folder: str = "",
    ) -> None:
        env = os.environ.get
        self.name = name or env("RESOURCE_ID", "") or env("PLUM_INSTANCE_ID", "")
        if not self.name:
            raise DeviceError('a device needs a name: Device("radar-07"), or RESOURCE_ID in the environment')
        if heartbeat <= 0:
            raise DeviceError(f"heartbeat is {heartbeat}; use seconds above 0")
        self.type = type
        self.heartbeat = heartbeat
        self.namespace = namespace or env("PLUM_NAMESPACE", "") or "default"
        self.link = DeviceLink(address or address_of(), token or env("PLUM_TOKEN", ""), ca_file or env("PLUM_CA_FILE", ""))
        self.folder = folder or env("PLUM_DEVICE_DIR", "")
        self.properties: dict[str, DeviceProperty] = {}
        self.operations: dict[str, OperationFunction] = {}
        self.reports = Reports()
        self.desired_values: dict[str, Any] = {}
        """What the device should be, as far as the driver was told."""
        self.session: Session | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- what the device is

    def property(self, name: str = "", *, every: float = 0.0, **facts: Any) -> Callable[[Callable[[], Any]], DeviceProperty]:
        """Decorate the function that reads a property: every so many seconds, after a desired value was written, and after an
        operation. It may return None: nothing to report. `facts` are those of `Value`."""

        def register(function: Callable[[], Any]) -> DeviceProperty:
            wanted = name or function.__name__
            hint = hints_of(function).get("return", Any)
            found = self._add(wanted, hint, Value(**facts), function, every)
            found.model["readOnly"] = True
            return found

        return register

    @overload
    def desired(self, name: F, /) -> F: ...
    @overload
    def desired(self, name: str = "", /, **facts: Any) -> Callable[[F], F]: ...
    def desired(self, name: Any = "", /, **facts: Any) -> Any:
        """Decorate the function that gives the device a desired value. The value is reported when it returns; if it returns
        another one, that."""

        def register(function: F) -> F:
            wanted = name if isinstance(name, str) and name else function.__name__
            hints = [hint for key, hint in hints_of(function).items() if key != "return"]
            self._add(wanted, hints[0] if hints else Any, Value(**facts), None, 0.0).write = function
            return function

        return register(name) if callable(name) else register

    def declare(self, name: str, kind: Any, *, read_only: bool = True, **facts: Any) -> None:
        """A property that is only reported. `kind` is a Python type, or one of the names that models use."""
        self._add(name, kind, Value(**facts), None, 0.0).model |= {"readOnly": True} if read_only else {}

    @overload
    def operation(self, name: F, /) -> F: ...
    @overload
    def operation(self, name: str = "", /, *, description: str = "") -> Callable[[F], F]: ...
    def operation(self, name: Any = "", /, *, description: str = "") -> Any:
        """Decorate the function, plain or coroutine, that carries out an operation. What it returns is the result."""

        def register(function: F) -> F:
            wanted = name if isinstance(name, str) and name else function.__name__
            if wanted in self.operations:
                raise ValueError(f"operation {wanted!r} is there already; choose another name")
            self.operations[wanted] = inspect_operation(wanted, function, OperationCall, description)
            return function

        return register(name) if callable(name) else register

    @builtins.property
    def model(self) -> dict[str, Any]:
        """As the Resource shows it."""
        properties = [found.model for found in self.properties.values()]
        operations = [dict(found.model) for found in self.operations.values()]
        return ({"properties": properties} if properties else {}) | ({"operations": operations} if operations else {})

    def _add(self, name: str, hint: Any, facts: Value, getter: Callable[[], Any] | None, every: float) -> DeviceProperty:
        if name in self.properties:
            raise ValueError(f"property {name!r} is there already; choose another name")
        model = value_model(name, hint, facts, f"property {name!r}")
        self.properties[name] = DeviceProperty(name, model, getter, every)
        return self.properties[name]

    # ---- while it runs

    def report(
        self, values: Mapping[str, Any] | None = None, /, *, quality: str = "good", time: datetime | None = None, **named: Any
    ) -> None:
        """Tell values: now if somebody can be reached, later if not, with the time they were measured at. From any thread."""
        if quality not in QUALITIES:
            raise ValueError(f"quality is {quality!r}; use one of {', '.join(QUALITIES)}")
        given = {**(values or {}), **named}
        for name in given:
            if self.properties and name not in self.properties:
                raise ValueError(f"{self.name} has no property {name!r}; it has {', '.join(sorted(self.properties))}")
        self.reports.add(given, time or datetime.now(UTC), quality)

    @builtins.property
    def online(self) -> bool:
        """Whether somebody hears it now."""
        return self.session is not None and self.session.online

    def run(self) -> None:
        """Be the device until SIGTERM or SIGINT, or `stop`. Raises `DeviceRefusedError` when it is not taken."""
        asyncio.run(self._run_with_signals())

    async def serve(self) -> None:
        """Like `run`, in an event loop that exists. Signals are the program's own affair."""
        from plum_worker.device_session import Session

        self._loop = asyncio.get_running_loop()
        session = self.session = Session(self)
        try:
            if not self._stopping.is_set():
                await session.run()
        finally:
            self.session = None

    def start(self) -> None:
        """Be the device on a thread of its own, until `stop`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name=f"device-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End. What was reported and not told yet is told if that takes no longer than a second. From any thread."""
        self._stopping.set()
        loop, session = self._loop, self.session
        if loop is not None and session is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(session.stop)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(15)
            self._thread = None

    def __enter__(self) -> Device:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
                loop.add_signal_handler(number, self.stop)
        await self.serve()
