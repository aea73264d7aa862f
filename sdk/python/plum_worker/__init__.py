"""What applications use: task workers and the key-value store. gRPC is loaded when a worker connects, not on import."""

from plum_worker.context import CancellationToken, Context, TaskCanceledError, TaskError
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
    "KvConflictError",
    "KvError",
    "KvRefusedError",
    "KvUnavailableError",
    "LockLostError",
    "QueueFullError",
    "TaskCanceledError",
    "TaskError",
    "Worker",
    "WorkerConfigError",
]
