"""A key goes to its provider's host and nowhere else, redirects included."""

from __future__ import annotations

import pytest
from making import make_provider

from smart_llm.errors import InputError, Refused
from smart_llm.mock.scripted import Scripted
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import ENDPOINTS, Endpoint, resolve
from smart_llm.types import Request

KEYS = {name: f"the-key-of-{name}" for name in ENDPOINTS}
ENVIRON = {endpoint.key_env: KEYS[name] for name, endpoint in ENDPOINTS.items()}
REPLIES = {
    "openai": {"choices": [{"message": {"content": "yes"}}]},
    "anthropic": {"content": [{"type": "text", "text": "yes"}], "usage": {"input_tokens": 1, "output_tokens": 1}},
}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


def at(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    """Let a provider known by name live at this address."""
    known = ENDPOINTS[name]
    moved = Endpoint(url, known.key_env, known.prices, known.dialect, known.key_header)
    monkeypatch.setitem(ENDPOINTS, name, moved)


def sent(server: Scripted) -> str:
    """Everything a server was sent, keys included."""
    return "\n".join(call.headers.decode() + call.body.decode() for call in server.calls)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["openai", "anthropic", "azure", "gemini"])
async def test_redirects_are_not_followed(name: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the redirect, the second server never hears of the call, and nobody is told the key."""
    dialect = ENDPOINTS[name].dialect
    thief = Scripted((200, REPLIES[dialect]))
    async with thief as elsewhere:
        moved = {"Location": elsewhere.removesuffix("/v1") + PATHS[dialect]}
        async with (server := Scripted((status, b"", moved))) as url:
            at(monkeypatch, name, url)
            model = resolve(f"{name}:m?in=1&out=1")
            provider = make_provider(model, environ=ENVIRON)
            with pytest.raises(Refused, match="redirects to another address") as caught:
                await provider.complete(Request(model.name, "hello", 7))
            await provider.close()
    assert KEYS[name] in sent(server)
    assert thief.calls == []
    assert KEYS[name] not in str(caught.value)


async def test_two_providers_never_see_each_others_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every key in the environment, each host gets its own, in its own header, once per call."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # neither proxies nor netrc of the environment are used
    one, two = Scripted((200, REPLIES["openai"])), Scripted((200, REPLIES["anthropic"]))
    async with one as first, two as second:
        at(monkeypatch, "openai", first)
        at(monkeypatch, "anthropic", second)
        models = [resolve(f"{name}:m?in=1&out=1") for name in ("openai", "anthropic")]
        providers = make_providers(models, environ=ENVIRON)
        for model in models:
            await providers[model.name].complete(Request(model.name, "hello", 7))
            await providers[model.name].close()
    for server, name in ((one, "openai"), (two, "anthropic")):
        assert sent(server).count(KEYS[name]) == 1
        assert not any(key in sent(server) for other, key in KEYS.items() if other != name)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_an_address_of_the_users_own_gets_no_known_key(name: str) -> None:
    """With every key in the environment, an `@URL` endpoint gets none but the one it names."""
    async with (server := Scripted((200, REPLIES[name]))) as url:
        for query in ("", "&key_env=MY_KEY"):
            model = resolve(f"{name}:m@{url}?in=1&out=1{query}")
            provider = make_provider(model, environ={**ENVIRON, "MY_KEY": "mine"})
            await provider.complete(Request(model.name, "hello", 7))
            await provider.close()
    keys = [call.header("authorization") or call.header("x-api-key") for call in server.calls]
    assert keys[0] is None
    assert str(keys[1]).removeprefix("Bearer ") == "mine"
    assert not any(key in sent(server) for key in KEYS.values())


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "openai"])
def test_a_known_key_cannot_be_sent_elsewhere(name: str) -> None:
    """Naming a provider's variable for another address is refused before anything is asked."""
    with pytest.raises(InputError, match=r"goes to .* only"):
        resolve(f"openai:m@http://127.0.0.1:1/v1?in=1&out=1&key_env={ENDPOINTS[name].key_env}")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.services.ai.azure.com/openai/v1/", "https://mine.services.ai.azure.com/openai/v1"),
        ("", None),
        ("http://mine.openai.azure.com", None),
        ("https://me:secret@mine.openai.azure.com", None),
    ],
)
def test_azure_is_where_its_variable_says(host: str, url: str | None) -> None:
    """The resource's address comes from the environment, over TLS, with or without the path of the v1 API."""
    from smart_llm.providers.making import address

    model = resolve("azure:my-deployment?in=1&out=1")
    environ = {**ENVIRON, "AZURE_OPENAI_ENDPOINT": host}
    if url is None:
        with pytest.raises(InputError, match="set AZURE_OPENAI_ENDPOINT") as caught:
            make_provider(model, environ=environ)
        assert "secret" not in str(caught.value)
    else:
        assert address(model, environ) == url


async def test_azure_reads_its_key_from_its_own_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's key goes as `api-key`, and the model asked for is the deployment's name."""
    async with (server := Scripted((200, REPLIES["openai"]))) as url:
        at(monkeypatch, "azure", url)
        model = resolve("azure:my-deployment?in=1&out=1")
        provider = make_provider(model, environ=ENVIRON)
        await provider.complete(Request(model.name, "hello", 7))
        await provider.close()
    assert server.calls[0].header("api-key") == KEYS["azure"]
    assert server.calls[0].header("authorization") is None
    assert server.bodies[0]["model"] == "my-deployment"
