"""What applications use: task workers. gRPC is loaded when a worker connects, not when this is imported."""

from plum_worker.context import CancellationToken, Context, TaskCanceledError, TaskError
from plum_worker.environment import WorkerConfigError
from plum_worker.worker import Worker

__all__ = ["CancellationToken", "Context", "TaskCanceledError", "TaskError", "Worker", "WorkerConfigError"]
