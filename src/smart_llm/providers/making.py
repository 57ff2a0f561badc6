"""What serves a model: its address, its key, and the provider made of them.

Keys are read from the environment when a provider is made, and go to their own host only (`specs`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from smart_llm.errors import InputError
from smart_llm.providers.base import Provider
from smart_llm.providers.endpoints import DIALECTS, ENDPOINTS, IN_PROCESS, WHOLE
from smart_llm.providers.enforced import AUTO
from smart_llm.providers.replicas import Spread
from smart_llm.types import Model

Place: TypeAlias = tuple[str, str, str | None, bool]
"""Provider, address, key, whether it is one of several that serve a model: the limits it states are then not all."""


def key(model: Model, environ: Mapping[str, str] | None = None) -> str | None:
    """The key to send to the model's host, from the environment only; None where it needs none."""
    if model.key_env is None:
        return None
    value = (os.environ if environ is None else environ).get(model.key_env, "").strip()
    if not value:
        raise InputError(f"Model {model.name}: no key. Set the environment variable {model.key_env}.")
    if not (value.isascii() and value.isprintable()):
        raise InputError(
            f"Model {model.name}: the key in {model.key_env} has a line break or another letter no key has."
        )
    return value


def address(model: Model, environ: Mapping[str, str] | None = None) -> str | None:
    """Where a model is asked; None where that is not an address of ours. `InputError`: its variable names no host."""
    endpoint = ENDPOINTS.get(model.provider)
    if model.url is not None or endpoint is None or endpoint.url_env is None:
        return model.url
    host = (os.environ if environ is None else environ).get(endpoint.url_env, "").strip().rstrip("/")
    parts = urlsplit(host)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise InputError(f"Model {model.name}: set {endpoint.url_env} to your resource, https://NAME.openai.azure.com.")
    return host if host.endswith(endpoint.url) else f"{host}{endpoint.url}"


def placed(model: Model) -> Model:
    """The model with its address, where that comes from the environment and is there: another address is another
    model."""
    endpoint = ENDPOINTS.get(model.provider)
    if model.url is not None or endpoint is None or endpoint.url_env is None or not os.environ.get(endpoint.url_env):
        return model
    return replace(model, at=address(model))


def asking(model: Model) -> Model:
    """The model; where nothing is said of `enforce` and it is at an address of the user's own, in OpenAI's dialect (so
    llama.cpp, vLLM, SGLang, Ollama and others), its server is to be asked whether it can keep it to labels."""
    known = {urlsplit(endpoint.url).hostname for endpoint in ENDPOINTS.values()}
    own = model.provider == "openai" and "@" in model.name and model.url and urlsplit(model.url).hostname not in known
    return replace(model, enforce=AUTO) if own and not model.enforce else model


def make_providers(
    models: Iterable[Model], *, environ: Mapping[str, str] | None = None, prefix: str = ""
) -> dict[str, Provider]:
    """Providers by model name; models at the same address with the same key share one, and so its connections; ways of
    one model in this process share it.

    prefix: what the prompt of every row begins with, so that providers can be told what to cache.
    """
    hosts: dict[Place, list[Model]] = {}
    made: dict[str, Provider] = {}
    asked: dict[str, list[Place]] = {}
    inside: dict[tuple[str, str], Provider] = {}
    for model in models:
        url = address(model, environ)
        if url is None:
            known = (model.provider, model.name if model.provider in WHOLE else model.model)
            made[model.name] = inside[known] = inside.get(known) or _in_process(model)
            continue
        secret = key(model, environ)
        asked[model.name] = [(model.provider, each, secret, bool(model.also)) for each in (url, *model.also)]
        for place in asked[model.name]:
            hosts.setdefault(place, []).append(model)
    served = {place: _at(place, there, prefix) for place, there in hosts.items()}
    for name, places in asked.items():
        made[name] = Spread([served[place] for place in places]) if len(places) > 1 else served[places[0]]
    return made


def _in_process(model: Model) -> Provider:
    """The provider of a model that is asked without an address of ours."""
    provider: Provider = _load(IN_PROCESS[model.provider])(model if model.provider in WHOLE else model.model)
    return provider


def _at(place: Place, models: list[Model], prefix: str) -> Provider:
    """The provider that serves these models at one address."""
    name, url, secret, _ = place
    endpoint = ENDPOINTS[name]
    options = {"key_header": endpoint.key_header} if endpoint.key_header else {}
    provider: Provider = _load(DIALECTS[endpoint.dialect])(url, models, key=secret, prefix=prefix, **options)
    return provider


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)
