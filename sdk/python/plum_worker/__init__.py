"""What applications use: task workers, devices and the key-value store. gRPC is loaded when a worker connects, not on import."""

from plum_worker.context import CancellationToken, Context, TaskCanceledError, TaskError
from plum_worker.device import Device, OperationCall
from plum_worker.device_errors import DeviceError, DeviceRefusedError, DeviceUnavailableError
from plum_worker.device_model import Value
from plum_worker.environment import WorkerConfigError
from plum_worker.kv import KV
from plum_worker.kv_async import AsyncKV
from plum_worker.kv_errors import KvConflictError, KvError, KvRefusedError, KvUnavailableError, LockLostError, QueueFullError
from plum_worker.worker import Worker

__all__ = [
    "KV",
    "AsyncKV",
    "CancellationToken",
    "Context",
    "Device",
    "DeviceError",
    "DeviceRefusedError",
    "DeviceUnavailableError",
    "KvConflictError",
    "KvError",
    "KvRefusedError",
    "KvUnavailableError",
    "LockLostError",
    "OperationCall",
    "QueueFullError",
    "TaskCanceledError",
    "TaskError",
    "Value",
    "Worker",
    "WorkerConfigError",
]
