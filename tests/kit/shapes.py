"""One server that replies in the shape of each provider and server, as their documentation and public reports of bugs
show it: over real sockets, in OpenAI's and in Anthropic's dialect.

    async with Shaped({"row 3": AZURE_FILTER}) as url:   a prompt that contains "row 3" gets that reply, others "yes"
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest

from smart_llm.client import client as client_module
from smart_llm.client.client import Client
from smart_llm.ledger import Ledger
from smart_llm.mock import MockServer
from smart_llm.mock.http import Call, Reply, reply
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Request

Body: TypeAlias = dict[str, Any]
Said: TypeAlias = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None
"""Status, body (JSON, or bytes as they are), headers; None: an ordinary answer."""
Reaction: TypeAlias = Callable[[Body, str], Said] | Said


class Shaped(MockServer):
    """Answers `yes`, but for prompts that contain one of these texts. bodies: what was sent, in order; seen: how often
    each prompt came."""

    def __init__(self, reactions: Mapping[str, Reaction], text: str = "yes") -> None:
        super().__init__()
        self._reactions, self._text = dict(reactions), text
        self.bodies: list[Body] = []
        self.seen: Counter[str] = Counter()

    def text(self, body: Body) -> str:
        """An ordinary answer to this request."""
        return self._text

    def handle(self, call: Call) -> Reply:
        """One request."""
        body = json.loads(call.body)
        prompt = str(body["messages"][-1]["content"])
        self.bodies.append(body)
        self.seen[prompt] += 1
        reaction = next((each for text, each in self._reactions.items() if text in prompt), None)
        said = reaction(body, prompt) if callable(reaction) else reaction
        if said is None:
            text = self.text(body)
            said = (200, message(text) if call.path.endswith("/messages") else completion(text))
        status, data, *headers = said
        return Reply(reply(status, data if isinstance(data, bytes) else json.dumps(data).encode(), *headers))


class Enforcing(Shaped):
    """A server with a model that chats instead of giving a label, unless the server is told to keep it to some, in its
    own way: it passes over what others know. It says the first of them then, as the kind of server writes it."""

    WAYS: Mapping[str, Callable[[Body], str | None]] = {
        "vLLM": lambda body: _first(body.get("structured_outputs", {}).get("choice")),
        "vLLM before 0.12": lambda body: _first(body.get("guided_choice")),
        "SGLang": lambda body: _matching(body.get("regex")),
        "schema": lambda body: _by_schema(body, "response_format"),
        "Anthropic": lambda body: _by_schema(body, "output_config"),
    }

    def __init__(self, kind: str, reactions: Mapping[str, Reaction] | None = None) -> None:
        super().__init__(reactions or {}, text="That is hard to say, as so often.")
        self._way = self.WAYS[kind]

    def text(self, body: Body) -> str:
        """What the model says."""
        return self._way(body) or self._text


def _first(choice: list[str] | None) -> str | None:
    return choice[0] if choice else None


def _matching(regex: str | None) -> str | None:
    """The first alternative of a regular expression that has nothing but alternatives."""
    if regex is None:
        return None
    text = regex.removeprefix("(").removesuffix(")").split("|")[0].replace("\\", "")
    assert re.fullmatch(regex, text)
    return text


def _by_schema(body: Body, where: str) -> str | None:
    """JSON that fits a schema of one label, with letters escaped as some servers do."""
    found = body.get(where) or {}
    schema = (found.get("json_schema") or found.get("format") or {}).get("schema")
    if schema is None:
        return None
    bare = "enum" in schema
    label = (schema if bare else schema["properties"]["label"])["enum"][0]
    return json.dumps(label if bare else {"label": label})


def completion(text: str | None = "yes", *, usage: Any = ..., finish: Any = "stop", **message: Any) -> Body:
    """A completion as OpenAI writes it; usage: `...` for an ordinary one, None to leave it out."""
    said = {"role": "assistant", "content": text, **message}
    found: Body = {"id": "1", "object": "chat.completion", "model": "m-1", "choices": [{"index": 0, "message": said}]}
    found["choices"][0]["finish_reason"] = finish
    if usage is ...:
        usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    return found if usage is None else {**found, "usage": usage}


def message(text: str = "yes", **fields: Any) -> Body:
    """A message as Anthropic writes it."""
    usage = {"input_tokens": 20, "output_tokens": 2}
    content = [{"type": "text", "text": text}]
    return {"type": "message", "model": "c-1", "content": content, "stop_reason": "end_turn", "usage": usage, **fields}


def error(text: str, **fields: Any) -> Body:
    """An error as OpenAI writes it."""
    return {"error": {"message": text, **fields}}


def once(*replies: Said) -> Reaction:
    """These replies in turn, then ordinary ones."""
    left = list(replies)
    return lambda body, prompt: left.pop(0) if left else None


def while_there(name: str, *said: Any) -> Reaction:
    """This reply as long as the request has that parameter."""
    return lambda body, prompt: (said[0], said[1]) if name in body else None


# --------------------------------------------------------------------------- one row is refused

ROW: dict[str, Said] = {
    "OpenAI, a policy": (400, error("Invalid prompt: your prompt was flagged as potentially violating our usage "
        "policy.",
        code="invalid_prompt")),
    "OpenAI, words nobody knows": (400, error("We could not process this one.", code="unprocessable")),
    "OpenAI, limits of a minute": (429, error(
        "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 41022. The "
        "input or output tokens must be reduced in order to run successfully.", type="tokens",
        code="rate_limit_exceeded")),
    "Azure, the prompt": (400, {"error": {"message": "The response was filtered due to the prompt triggering Azure "
        "OpenAI's content management policy.", "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "Azure, inside a 200": (200, {"error": {"message": "The response was filtered.", "param": "prompt", "status": 400,
        "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "OpenRouter, inside a 200": (200, {"error": {"code": 400, "message": "Provider returned error",
        "metadata": {"raw": "{\"error\": {\"message\": \"Row is odd\"}}", "provider_name": "X"}}}),
    "OpenRouter, moderation": (403, {"error": {"code": 403, "message": "Your input was flagged",
        "metadata": {"reasons": ["violence"], "provider_name": "X"}}}),
    "OpenRouter, in the choice": (200, {"choices": [{"error": {"code": 400, "message": "Row is odd"},
        "message": {"role": "assistant", "content": ""}, "finish_reason": "error"}]}),
    "DashScope, inspection": (400, error("Input data may contain inappropriate content.",
        code="data_inspection_failed")),
    "Mistral, its validation": (422, {"object": "error", "message": {"detail": [{"type": "value_error",
        "loc": ["body", "messages", 0], "msg": "Row is odd"}]}, "type": "invalid_request_error"}),
    "Groq, too large": (413, error("Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9001",
        type="tokens", code="rate_limit_exceeded")),
    "vLLM, too long": (400, {"object": "error", "message": "This model's maximum context length is 2048 tokens. "
        "However, "
        "you requested 3000 tokens in the messages, Please reduce the length of the messages.", "code": 400}),
    "vLLM, max_tokens": (400, {"object": "error", "message": "'max_tokens' or 'max_completion_tokens' is too "
        "large: 20. "
        "This model's maximum context length is 2048 tokens and your request has 2040 input tokens.", "param": None,
        "type": "BadRequestError", "code": 400}),
    "SGLang, too long": (400, {"object": "error", "message": "The input (3000 tokens) is longer than the model's "
        "context "
        "length (2048 tokens).", "type": "BadRequestError", "code": 400}),
    "llama.cpp, too long": (400, {"error": {"code": 400, "message": "the request exceeds the available context "
        "size, try "
        "increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 3000, "n_ctx": 2048}}),
    "llama.cpp, once": (500, error("input is too large to process. increase the physical batch size", code=500)),
    "TGI, too long": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. "
        "Given: "
        "3000 `inputs` tokens and 20 `max_new_tokens`", "error_type": "validation"}),
    "a gateway's own": (400, b"<html>no</html>"),
}  # fmt: skip
"""Refusals of one request, in the chat-completions dialect."""

ROW_ANTHROPIC: dict[str, Said] = {
    "an empty cell": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "messages.0: user messages must have non-empty content"}}),
    "blank text": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "messages: text content blocks must contain non-whitespace text"}}),
    "too long": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "prompt is too long: 213462 tokens > 200000 maximum"}}),
    "filtered": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "Output blocked by content filtering policy"}}),
    "inside a 200": (200, {"type": "error", "error": {"type": "invalid_request_error", "message": "Row is odd"}}),
}  # fmt: skip

# --------------------------------------------------------------------------- no text

NO_TEXT: dict[str, Said] = {
    "Azure without a message": (200, {"model": "m", "choices": [{"index": 0, "finish_reason": "content_filter",
        "content_filter_results": {"hate": {"filtered": True, "severity": "high"}}}], "usage": {"prompt_tokens": 9,
        "completion_tokens": 0}}),
    "Azure, filters alone": (200, {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"},
        "content_filter_results": {"violence": {"filtered": True}}}]}),
    "Gemini, null": (200, {"choices": [{"finish_reason": "stop", "index": 0, "message": None}], "model": "g"}),
    "Gemini, no choices": (200, {"choices": [], "model": "g", "usage": {"prompt_tokens": 9, "total_tokens": 9}}),
    "Gemini, null choices": (200, {"choices": None, "model": "g"}),
    "Gemini, its filter": (200, {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT", "index": 0,
        "message": {"role": "assistant"}}], "model": "g"}),
    "Gemini, thoughts alone": (200, {"choices": [{"finish_reason": "length", "index": 0,
        "message": {"role": "assistant"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 29}}),
    "a choice of null": (200, {"choices": [None]}),
    "a refusal": (200, completion(None, refusal="I cannot.")),
    "GLM, its filter": (200, completion("", finish="sensitive")),
}  # fmt: skip
"""Replies that hold no text: paid, and one call each."""

NO_TEXT_ANTHROPIC: dict[str, Said] = {
    "nothing": (200, message(content=[])),
    "null": (200, message(content=None)),
    "a block of null": (200, message(content=[None])),
    "null text": (200, message(content=[{"type": "text", "text": None}])),
    "a refusal": (200, message(content=[], stop_reason="refusal")),
}

# --------------------------------------------------------------------------- wait, or stop

WAIT: dict[str, Said] = {
    "OpenRouter, inside a 200": (200, {"error": {"code": 429, "message": "Provider returned error",
        "metadata": {"raw": "x is temporarily rate-limited upstream", "provider_name": "X"}}}),
    "OpenAI": (429, error("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested "
        "2000. Please try again in 10ms.", code="rate_limit_exceeded"), {"Retry-After": "0.01"}),
    "Anthropic's words": (429, error("This request would exceed your organization's rate limit of 20,000 input "
        "tokens per "
        "minute. Please reduce the prompt length or the maximum tokens requested, or try again later."),
        {"Retry-After": "0.01"}),
    "llama.cpp loads": (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    "Hugging Face loads": (503, {"error": "Model x/y is currently loading", "estimated_time": 0.02}),
    "Ollama loads": (503, error("llm server loading model")),
}  # fmt: skip
"""Everybody is to wait; a try is not used up."""

STOP: dict[str, Said] = {
    "OpenRouter, credits": (200, {"error": {"code": 402, "message": "Insufficient credits. Add more at the shop."}}),
    "OpenRouter, the key": (200, {"error": {"code": 401, "message": "No auth credentials found"}}),
    "Anthropic's type": (200, {"type": "error", "error": {"type": "authentication_error", "message": "who are you"}}),
}
"""Inside a 200: the run stops with the provider's words."""

# --------------------------------------------------------------------------- parameters

SCHEMA_REFUSED: dict[str, Said] = {
    "vLLM": (400, {"object": "error", "message": "The provided JSON schema contains features not supported by "
        "xgrammar.",
        "type": "BadRequestError", "code": 400}),
    "vLLM, outlines": (400, {"object": "error", "message": "Grammar error: Unsupported regex", "code": 400}),
    "llama.cpp": (400, {"error": {"code": 400, "message": "JSON schema conversion failed:\nUnrecognized schema: {}",
        "type": "invalid_request_error"}}),
    "llama.cpp, grammar": (400, {"error": {"code": 400, "message": "Failed to parse grammar",
        "type": "invalid_request_error"}}),
    "Gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Invalid JSON payload received. "
        "Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field."}}]),
    "Gemini, states": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The specified schema "
        "produces a constraint that has too many states for serving."}}]),
    "Groq": (400, error("This model does not support response format `json_schema`.", type="invalid_request_error")),
    "OpenAI": (400, error("Invalid schema for response_format 'answer': In context=(), 'required' is required.",
        param="response_format", code="invalid_json_schema")),
}  # fmt: skip

SPOILT: dict[str, Said] = {
    "Groq": (400, error("Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
        code="json_validate_failed", failed_generation="{")),
    "Groq, validation": (400, error("Failed to validate JSON. Please adjust your prompt.",
        type="invalid_request_error", code="json_validate_failed")),
    "Groq, its schema": (400, error("Generated JSON does not match the expected schema. Please adjust your prompt.",
        type="invalid_request_error", code="json_validate_failed")),
    "OpenRouter to Groq": (200, {"error": {"code": 400, "message": "Provider returned error", "metadata": {
        "raw": "{\"error\": {\"message\": \"Failed to generate JSON.\", \"code\": \"json_validate_failed\"}}"}}}),
}  # fmt: skip
"""The model did not keep to the schema in this one row."""

# --------------------------------------------------------------------------- further shapes of the same

ROW |= {
    "Azure, jailbreak": (400, {"error": {"message": "The prompt was rejected.", "type": None, "param": "prompt",
        "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
        "jailbreak": {"detected": True, "filtered": True}}}}}),
    "Azure, API Management": (413, {"statusCode": 413, "message": "Request body exceeds the limit"}),
    "Mistral, too long": (400, {"object": "error", "message": "Prompt contains 140000 tokens and 0 draft tokens, too "
        "large for model with 131072 maximum context length", "type": "invalid_request_error", "code": "3051"}),
    "OpenRouter, the provider's 413": (200, {"error": {"code": 413, "message": "Provider returned error",
        "metadata": {"raw": "prompt too big", "provider_name": "X"}}}),
    "OpenRouter, context": (400, {"error": {"code": 400, "message": "This endpoint's maximum context length is 8192 "
        "tokens. However, you requested about 9000 tokens."}, "user_id": "u"}),
    "vLLM, new style": (400, {"error": {"message": "You passed 3001 input tokens and requested 20 output tokens. "
        "However, the model's context length is only 2048 tokens", "type": "BadRequestError", "param": "input_tokens",
        "code": 400}}),
    "vLLM, bad text": (400, {"error": {"message": "Invalid unicode in prompt", "type": "BadRequestError",
        "code": 400}}),
    "llama.cpp, its template": (400, {"error": {"code": 400, "type": "invalid_request_error",
        "message": "Unable to render the chat template: unexpected end of input"}}),
    "llama.cpp, its tokens": (500, {"error": {"code": 500, "message": "context size exceeded",
        "type": "server_error"}}),
    "Ollama, in words": (400, {"error": "the input length exceeds the context length"}),
    "Ollama, once": (500, {"error": "input length exceeds maximum context length"}),
    "Gemini, its tokens": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token "
        "count (1200000) exceeds the maximum number of tokens allowed (1048576)."}}]),
    "Gemini, argument": (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "Request contains an invalid argument."}}),
    "Groq, the content": (400, error("'messages.0' : for 'role:user' the following must be satisfied[('messages.0."
        "content' : value must not be empty)]", type="invalid_request_error")),
    "Together, its input": (422, {"id": "x", "error": {"message": "Input validation error: `inputs` must have less "
        "than 8192 tokens. Given: 9001", "type": "invalid_request_error", "param": None, "code": None}}),
    "Together, moderated": (400, error("Input was flagged by the safety model", type="invalid_request_error")),
    "a Bedrock gateway, validation": (400, {"__type": "ValidationException", "message": "The model returned the "
        "following errors: Input is too long for requested model."}),
    "a Bedrock gateway, Message": (400, {"Message": "Malformed input request, please reformat your input"}),
    "a Bedrock gateway, guardrail": (400, {"detail": "ValidationException: blocked by guardrail"}),
    "LiteLLM, content policy": (400, {"error": {"message": "litellm.ContentPolicyViolationError: blocked",
        "type": None, "param": None, "code": "400"}}),
    "DeepSeek, content": (400, error("Content Exists Risk", type="invalid_request_error",
        code="invalid_request_error")),
    "Cohere, FastAPI": (422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "ensure this value has at "
        "least 1 characters", "type": "value_error.any_str.min_length"}]}),
    "Cloudflare, a wall": (403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"),
    "a firewall": (403, b"<html><head><title>403 Forbidden</title></head></html>"),
    "a proxy, the size": (413, b"<html><h1>413 Request Entity Too Large</h1></html>"),
    "a list of strings": (400, ["bad row"]),
    "null": (400, b"null"),
    "nothing": (422, b""),
}  # fmt: skip
ROW_ANTHROPIC |= {
    "too large": (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the "
        "maximum size"}, "request_id": "r"}),
    "invalid text": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "The request body "
        "is not valid JSON: no low surrogate in string"}}),
    "a Bedrock gateway": (400, {"message": "Input is too long for requested model."}),
}  # fmt: skip
WAIT |= {
    "Mistral": (429, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited",
        "code": "1300"}, {"Retry-After": "0"}),
    "Mistral, capacity": (429, {"object": "error", "message": "Service tier capacity exceeded for this model.",
        "code": "3505"}, {"Retry-After": "0"}),
    "Together": (429, error("Request was rejected due to request rate limiting. You have exceeded your rate limit.",
        code="rate_limit", type="request_rate_limited"), {"Retry-After": "0.01"}),
    "a Bedrock gateway": (429, {"__type": "ThrottlingException", "message": "Too many tokens, please wait before "
        "trying again."}, {"Retry-After": "0.01"}),
    "Together, overloaded": (503, error("The server is overloaded or not ready yet.", type="service_unavailable"),
        {"Retry-After": "0.01"}),
    "Gemini": (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded per minute",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.01s"}]}}]),
    "Anthropic behind a gateway": (529, {"type": "error", "error": {"type": "overloaded_error",
        "message": "Overloaded"}}, {"Retry-After": "0.01"}),
}  # fmt: skip


async def ask(
    server: Shaped, ledger: Ledger, *prompts: str, dialect: str = "openai", tries: int = 8, **fields: Any
) -> list[Answer]:
    """The answers to these prompts by a client at this server, one after another."""
    async with server as url:
        model = resolve(f"{dialect}:m@{url}?in=1&out=1")
        client = Client(ledger, [model], make_providers([model]), patience=5, timeout=5, tries=tries, run="r")
        try:
            return [await client.ask(Request(model.name, prompt, 20, **fields)) for prompt in prompts]
        finally:
            await client.settle()
            await client.close()


def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds."""
    for name, seconds in (("FIRST_DELAY", 0.001), ("LONGEST_DELAY", 0.002), ("LATER_DELAY", 0.002)):
        monkeypatch.setattr(client_module, name, seconds)
