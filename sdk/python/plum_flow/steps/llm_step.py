"""Step `llm`: a question to a language model behind an endpoint that speaks OpenAI's chat completions.

    {url, apiKey, model, prompt | messages, system, temperature, maxTokens, json, options, timeout}
        --POST URL/chat/completions-->  {text, json, model, finishReason, usage}

The address is `url` or the controller's setting PLUM_LLM_URL, such as `http://127.0.0.1:11434/v1`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plum_flow.calls import TaskFailedError
from plum_flow.http_call import FAILED_FROM, value_of
from plum_flow.steps.config import Config, wrong
from plum_flow.steps.http_step import call, refused
from plum_flow.steps.step import Reach, Step

FIELDS = (
    "url", "apiKey", "model", "prompt", "messages", "system", "temperature", "maxTokens", "json", "options", "headers", "timeout",
)  # fmt: skip
DEFAULT_SECONDS = 120.0


async def run(step: Step, reach: Reach) -> Any:
    """Ask once."""
    config = Config(step.config, FIELDS)
    url = config.text("url", reach.llm_url).rstrip("/")
    if not url:
        raise wrong("url", "", "name the address of a model, or have the controller's setting PLUM_LLM_URL name one")
    request: dict[str, Any] = {**config.mapping("options"), "model": config.text("model"), "messages": _messages(config, step)}
    if "temperature" in config:
        request["temperature"] = config.any("temperature")
    if "maxTokens" in config:
        request["max_tokens"] = config.number("maxTokens", 0, 1, 10_000_000)
    wants_json = config.flag("json")
    if wants_json:
        request["response_format"] = {"type": "json_object"}
    headers = config.texts("headers")
    if "apiKey" in config:
        headers["Authorization"] = f"Bearer {config.text('apiKey')}"
    target = f"{url}/chat/completions"
    answer = await call(reach, "POST", target, headers, request, config.seconds("timeout", DEFAULT_SECONDS))
    if answer.status >= FAILED_FROM:
        raise refused("POST", target, answer)
    return _output(value_of(answer.body), wants_json)


def _messages(config: Config, step: Step) -> list[Any]:
    messages = config.any("messages", [])
    if not isinstance(messages, list):
        raise wrong("messages", messages, "use a list of {role, content}")
    messages = list(messages)
    if "system" in config:
        messages.insert(0, {"role": "system", "content": config.text("system")})
    if "prompt" in config:
        messages.append({"role": "user", "content": config.text("prompt")})
    elif step.payload:
        messages.append({"role": "user", "content": msgspec.json.encode(dict(step.payload)).decode()})
    if not messages:
        raise TaskFailedError("config.prompt is missing", "InvalidConfig", retryable=False)
    return messages


def _output(answer: Any, wants_json: bool) -> dict[str, Any]:
    try:
        choice = answer["choices"][0]
        text = choice["message"].get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise TaskFailedError("the answer is no chat completion", "BadAnswer") from None
    output = {
        "text": text,
        "message": choice["message"],
        "model": answer.get("model", ""),
        "finishReason": choice.get("finish_reason", ""),
        "usage": answer.get("usage") or {},
    }
    if wants_json:
        try:
            output["json"] = msgspec.json.decode(text)
        except (msgspec.DecodeError, TypeError):
            raise TaskFailedError(f"the model's answer is no JSON: {str(text)[:200]}", "BadAnswer") from None
    return output
