"""Step `mcp`: a tool, resource or prompt of an MCP server, over its streamable HTTP transport.

    {url, tool, arguments | resource | prompt, arguments | list, headers, timeout}
        initialize -> session -> notifications/initialized -> tools/call ... -> DELETE of the session
        -> {content, structured, text}

Answers come as JSON or as a stream of events; both end with the answer to our request.
"""

from __future__ import annotations

from typing import Any

import msgspec
from plum_client.outgoing import OutgoingAnswer

from plum_flow.calls import TaskFailedError
from plum_flow.http_call import FAILED_FROM
from plum_flow.steps.config import Config, wrong
from plum_flow.steps.http_step import call, refused
from plum_flow.steps.step import Reach, Step

FIELDS = ("url", "tool", "resource", "prompt", "list", "arguments", "headers", "timeout")
PROTOCOL_VERSION = "2025-06-18"
LISTS = ("tools", "resources", "prompts")
DEFAULT_SECONDS = 60.0


async def run(step: Step, reach: Reach) -> Any:
    """One session for one request."""
    config = Config(step.config, FIELDS)
    method, params = _request(config, step)
    session = _Session(reach, config.text("url"), config.texts("headers"), config.seconds("timeout", DEFAULT_SECONDS))
    await session.open()
    try:
        result = await session.ask(method, params)
    finally:
        await session.close()
    return _output(result)


def _request(config: Config, step: Step) -> tuple[str, dict[str, Any]]:
    wanted = [name for name in ("tool", "resource", "prompt", "list") if name in config]
    if len(wanted) != 1:
        raise wrong("tool", config.any("tool"), "name one of tool, resource, prompt, list")
    arguments = config.mapping("arguments") or dict(step.payload)
    if wanted == ["tool"]:
        return "tools/call", {"name": config.text("tool"), "arguments": arguments}
    if wanted == ["resource"]:
        return "resources/read", {"uri": config.text("resource")}
    if wanted == ["prompt"]:
        return "prompts/get", {"name": config.text("prompt"), "arguments": {key: str(value) for key, value in arguments.items()}}
    return f"{config.choice('list', LISTS)}/list", {}


class _Session:
    def __init__(self, reach: Reach, url: str, headers: dict[str, str], seconds: float) -> None:
        self._reach = reach
        self._url = url
        self._headers = {"Accept": "application/json, text/event-stream", **headers}
        self._seconds = seconds
        self._number = 0
        self._has_session = False

    async def open(self) -> None:
        client = {"name": "plum", "version": "1"}
        params = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        answer, result = await self._send("initialize", params)
        version = result.get("protocolVersion")
        self._headers["MCP-Protocol-Version"] = version if isinstance(version, str) else PROTOCOL_VERSION
        session = answer.headers.get("mcp-session-id")
        if session:
            self._headers["Mcp-Session-Id"] = session
            self._has_session = True
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        answer = await call(self._reach, "POST", self._url, self._headers, told, self._seconds)
        if answer.status >= FAILED_FROM:
            raise refused("POST", self._url, answer)

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return (await self._send(method, params))[1]

    async def close(self) -> None:
        """Tell the server that the session is over. It may not care."""
        if self._has_session:
            try:
                await call(self._reach, "DELETE", self._url, self._headers, None, min(self._seconds, 5.0))
            except TaskFailedError:
                return

    async def _send(self, method: str, params: dict[str, Any]) -> tuple[OutgoingAnswer, dict[str, Any]]:
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        answer = await call(self._reach, "POST", self._url, self._headers, request, self._seconds)
        if answer.status >= FAILED_FROM:
            raise refused("POST", self._url, answer)
        return answer, _result(answer, self._number, method)


def _result(answer: OutgoingAnswer, number: int, method: str) -> dict[str, Any]:
    """The result of our request among what came. Raises `TaskFailedError` for an error."""
    for message in _messages(answer):
        if not isinstance(message, dict) or message.get("id") != number or "method" in message:
            continue  # notifications, and requests that we do not answer
        if "error" in message:
            error = message["error"] if isinstance(message["error"], dict) else {"message": message["error"]}
            text = f"the MCP server refused {method}: {error.get('message')}"
            raise TaskFailedError(text, "McpError", str(error.get("code", "")))
        if isinstance(message.get("result"), dict):
            found: dict[str, Any] = message["result"]
            return found
    raise TaskFailedError(f"the MCP server did not answer {method}", "BadAnswer")


def _messages(answer: OutgoingAnswer) -> list[Any]:
    text = answer.body.decode(errors="replace")
    try:
        if "text/event-stream" not in answer.headers.get("content-type", ""):
            found = msgspec.json.decode(text)
            return found if isinstance(found, list) else [found]
        return [msgspec.json.decode(data) for data in _events(text)]
    except msgspec.DecodeError as error:
        raise TaskFailedError(f"the MCP server's answer is no JSON: {error}", "BadAnswer") from error


def _events(text: str) -> list[str]:
    """The data of each event of a stream."""
    found: list[str] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if data:
            found.append("\n".join(data))
    return found


def _output(result: dict[str, Any]) -> dict[str, Any]:
    content = result.get("content") or result.get("contents") or result.get("messages") or []
    text = "\n".join(item["text"] for item in content if isinstance(item, dict) and isinstance(item.get("text"), str))
    if result.get("isError"):
        raise TaskFailedError(f"the tool failed: {text[:1000]}", "ToolFailed")
    output = {name: value for name, value in result.items() if name not in ("_meta", "isError", "structuredContent")}
    return {**output, "text": text, "structured": result.get("structuredContent")}
