"""What a step of type `script` runs, as the spec of a TaskRun.

    {script | command | code, interpreter, args, env, workingDir, user, node, nodeSelector, input, timeout} + payload

`script` names a file on the node, run by what its ending says (.py, .sh, .js); `code` is a program of its own, given to the
interpreter. A JSON object on the standard output becomes the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from plum_schemas.durations import format_duration
from plum_schemas.taskdefinition import ProcessCall, TaskDefinitionSpec
from plum_schemas.taskrun import TaskRunSpec
from plum_schemas.template import EnvVar

from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config, wrong

FIELDS = (
    "script", "command", "code", "interpreter", "args", "env", "workingDir", "user", "node", "nodeSelector", "input", "timeout",
)  # fmt: skip
INTERPRETERS = {".py": "python3", ".sh": "sh", ".bash": "bash", ".js": "node", ".rb": "ruby", ".pl": "perl"}
CODE_FLAGS = {"node": "-e", "ruby": "-e", "perl": "-e"}


def script_spec(settings: Mapping[str, Any], payload: Mapping[str, Any]) -> TaskRunSpec:
    """Raises `TaskFailedError` for settings that can never work."""
    config = Config(settings, FIELDS)
    process = ProcessCall(
        command=_command(config),
        env=[EnvVar(name=name, value=value) for name, value in config.texts("env").items()],
        working_dir=config.text("workingDir", ""),
        user=config.text("user", ""),
        input=config.text("input", ""),
    )
    seconds = config.seconds("timeout", 0.0)
    return TaskRunSpec(
        task=TaskDefinitionSpec(executor="os_process", process=process),
        payload=dict(payload),
        timeout=format_duration(seconds) if seconds else None,
        node_name=config.text("node", ""),
        node_selector=config.texts("nodeSelector"),
    )


def _command(config: Config) -> list[str]:
    wanted = [name for name in ("script", "command", "code") if name in config]
    if len(wanted) != 1:
        raise TaskFailedError("name one of config.script, config.command, config.code", "InvalidConfig", retryable=False)
    arguments = config.names("args")
    if wanted == ["command"]:
        return [*config.names("command"), *arguments]
    if wanted == ["script"]:
        script = config.text("script")
        interpreter = config.text("interpreter", INTERPRETERS.get(PurePosixPath(script).suffix, ""))
        return [*([interpreter] if interpreter else []), script, *arguments]
    interpreter = config.text("interpreter", "python3")
    if not interpreter.strip():
        raise wrong("interpreter", interpreter, "name a program")
    return [interpreter, CODE_FLAGS.get(PurePosixPath(interpreter).name, "-c"), config.text("code"), *arguments]
