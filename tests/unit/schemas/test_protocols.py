"""The worker protocols: numbers on the wire, and code that can be imported."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from plum_proto.generated.plum.task import task_service_pb2 as classic
from plum_proto.generated.plum.task import task_service_pb2_grpc as classic_grpc
from plum_proto.generated.plum.worker.v1 import worker_pb2 as worker
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc as worker_grpc

FIELDS = {
    "WorkerRegister": ["worker_id", "node_id", "instance_id", "app_name", "app_version", "tasks", "labels"],
    "TaskAck": ["register", "result", "heartbeat"],
    "Heartbeat": ["worker_id"],
    "TaskRequest": ["task_id", "name", "payload"],
    "TaskResponse": ["task_id", "result", "error"],
    "HealthRequest": ["worker_id"],
    "HealthResponse": ["healthy", "message"],
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_classic_protocol_is_what_existing_workers_speak(name: str) -> None:
    message = classic.DESCRIPTOR.message_types_by_name[name]

    assert [field.name for field in sorted(message.fields, key=lambda field: field.number)] == FIELDS[name]
    assert [field.number for field in sorted(message.fields, key=lambda field: field.number)] == list(
        range(1, len(FIELDS[name]) + 1)
    )


def test_the_classic_service_has_its_three_methods() -> None:
    service = classic.DESCRIPTOR.services_by_name["TaskService"]

    methods = {method.name: (method.input_type.name, method.output_type.name) for method in service.methods}
    assert service.full_name == "plum.task.TaskService"
    assert methods == {
        "ExecuteTask": ("TaskRequest", "TaskResponse"),
        "HealthCheck": ("HealthRequest", "HealthResponse"),
        "TaskStream": ("TaskAck", "TaskRequest"),
    }
    assert classic_grpc.TaskServiceStub is not None


def test_a_classic_result_is_encoded_as_it_always_was() -> None:
    ack = classic.TaskAck(result=classic.TaskResponse(task_id="t", result="{}"))

    assert ack.SerializeToString() == b"\x12\x07\x0a\x01t\x12\x02{}"


def test_the_worker_protocol_carries_what_the_classic_one_lacks() -> None:
    assignment = {field.name for field in worker.Assignment.DESCRIPTOR.fields}
    register = {field.name for field in worker.Register.DESCRIPTOR.fields}
    from_worker = {field.name for field in worker.WorkerMessage.DESCRIPTOR.fields}
    from_controller = {field.name for field in worker.ControllerMessage.DESCRIPTOR.fields}

    assert {"lease", "attempt", "idempotency_key", "timeout"} <= assignment
    assert {"token", "capacity", "labels", "held", "session_id"} <= register
    assert {"acknowledge", "heartbeat", "progress", "result"} <= from_worker
    assert {"registered", "renewed", "cancel", "recorded"} <= from_controller
    assert worker_grpc.WorkerServiceStub is not None


def test_every_message_about_work_names_the_lease() -> None:
    for name in ("Assignment", "Acknowledge", "Release", "Progress", "Result", "Recorded", "Cancel"):
        assert worker.DESCRIPTOR.message_types_by_name[name].fields_by_name["lease"].message_type.name == "LeaseKey"


@pytest.mark.slow
def test_the_check_fails_when_a_generated_file_differs(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    copied = tmp_path / "proto"
    shutil.copytree(root / "proto", copied)
    (tmp_path / ".venv").symlink_to(root / ".venv")
    run = ["bash", str(copied / "generate.sh"), "--check"]
    assert subprocess.run(run, check=False).returncode == 0

    generated = copied / "plum_proto/generated/plum/task/task_service_pb2.py"
    generated.write_text(generated.read_text() + "# edited\n")

    assert subprocess.run(run, check=False, capture_output=True).returncode == 1
