"""Models as the user writes them: `provider:model[@URL][?in=…&out=…&cached=…&key_env=…]`, resolved once into a `Model`.

Where a price comes from, first that there is: the query, the book (`--models F.toml`), `overrides`, the bundled
genai-prices data. It is frozen into the `Model`, so that nothing about money changes during a run.

Keys: a provider's key belongs to that provider's host. An `@URL` endpoint gets the key of the variable it names in
`key_env`, which must not be a known provider's, else none. Keys are read from the environment when a provider is made;
a `Model` holds the variable's name only, so it can be printed, recorded and hashed.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from smart_llm.errors import InputError
from smart_llm.providers.base import Provider
from smart_llm.types import Model, Rate


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider that speaks the OpenAI protocol. prices: its name in the genai-prices data."""

    url: str
    key_env: str
    prices: str


ENDPOINTS = {
    "openai": Endpoint("https://api.openai.com/v1", "OPENAI_API_KEY", "openai"),
    "gemini": Endpoint("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "google"),
    "groq": Endpoint("https://api.groq.com/openai/v1", "GROQ_API_KEY", "groq"),
    "mistral": Endpoint("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "mistral"),
    "together": Endpoint("https://api.together.xyz/v1", "TOGETHER_API_KEY", "together"),
    "deepseek": Endpoint("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek"),
    "openrouter": Endpoint("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openrouter"),
}
IN_PROCESS = {"local": "smart_llm.providers.local:LocalProvider", "fake": "smart_llm.providers.fake:stand_in"}
"""Providers without an address: what makes one from a model's own name."""

_SPEC = re.compile(r"(?P<provider>[^:@?\s]+):(?P<model>[^?\s]+?)(?:@(?P<url>https?://[^?\s]+))?")
_PRICES = {"in": "input", "out": "output", "cached": "cached", "cpu_hour": "cpu_hour"}
_OPTIONS = (*_PRICES, "key_env")


def resolve(spec: str, *, overrides: Mapping[str, Rate] | None = None, book: Mapping[str, str] | None = None) -> Model:
    """The model behind what the user wrote. overrides: rates by name (the spec without its query); book: `read_book`.

    Raises `InputError` for a spec that cannot be read, an unknown provider, or a model without a price.
    """
    name, options = _expand(spec, book or {})
    match = _SPEC.fullmatch(name)
    if match is None:
        raise InputError(
            f"Model {_shown(name)!r} is not understood: write provider:model, or openai:NAME@http://HOST/v1."
        )
    provider, model, url = match["provider"], match["model"], match["url"]
    _check_provider(name, provider, url)
    rate = _given_rate(name, options) or (overrides or {}).get(name) or _default_rate(name, provider, model, url)
    endpoint = ENDPOINTS.get(provider)
    key_env = options.get("key_env") or (endpoint.key_env if endpoint and not url else None)
    _check_key_env(name, key_env, endpoint.key_env if endpoint and not url else None)
    return Model(name, provider, model, rate, (url or (endpoint and endpoint.url) or "").rstrip("/") or None, key_env)


def read_book(path: Path | str) -> dict[str, str]:
    """A TOML file of models as full specs by name: `[NAME]` with in, out, cached, cpu_hour, key_env, url, model.

    NAME is a spec itself, or a short name, which then says which `model` (a spec) it stands for.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The file of models {path} cannot be read: {error}.") from error
    return {name: _book_spec(str(path), name, table) for name, table in tables.items()}


def key(model: Model, environ: Mapping[str, str] | None = None) -> str | None:
    """The key to send to the model's host, from the environment only; None where it needs none."""
    if model.key_env is None:
        return None
    value = (os.environ if environ is None else environ).get(model.key_env, "").strip()
    if not value:
        raise InputError(f"Model {model.name}: no key. Set the environment variable {model.key_env}.")
    return value


def make_provider(model: Model, *, environ: Mapping[str, str] | None = None) -> Provider:
    """The provider that serves one model. `InputError` when its key is missing."""
    return make_providers([model], environ=environ)[model.name]


def make_providers(models: Iterable[Model], *, environ: Mapping[str, str] | None = None) -> dict[str, Provider]:
    """Providers by model name; models at the same address with the same key share one, and so its connections."""
    hosts: dict[tuple[str, str | None], list[Model]] = {}
    made: dict[str, Provider] = {}
    for model in models:
        if model.url is None:
            module, make = IN_PROCESS[model.provider].split(":")
            made[model.name] = getattr(import_module(module), make)(model.model)
        else:
            hosts.setdefault((model.url, key(model, environ)), []).append(model)
    for (url, secret), served in hosts.items():
        provider = import_module("smart_llm.providers.openai").OpenAIProvider(url, served, key=secret)
        made |= {model.name: provider for model in served}
    return made


def _expand(spec: str, book: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Name and options; what the user wrote overrides what the book says."""
    name, _, query = spec.strip().partition("?")
    options = _options(name, query)
    if name in book:
        name, _, query = book[name].partition("?")
        options = {**_options(name, query), **options}
    return name, options


def _options(name: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    for option, _ in pairs:
        if option not in _OPTIONS:
            raise InputError(f"Model {_shown(name)}: unknown option {option!r}; there are {', '.join(_OPTIONS)}.")
    return dict(pairs)


def _shown(name: str) -> str:
    """A name safe to print: a password someone put into a URL is left out."""
    return re.sub(r"//[^/@]*@", "//…@", name)


def _check_provider(name: str, provider: str, url: str | None) -> None:
    known = (*ENDPOINTS, *IN_PROCESS)
    if provider not in known:
        raise InputError(f"Model {_shown(name)}: unknown provider {provider!r}; there are {', '.join(known)}.")
    if url and provider != "openai":
        raise InputError(f"Model {_shown(name)}: an address of your own goes with openai: (openai:NAME@{_shown(url)}).")
    if url:
        try:
            parts = urlsplit(url)
            good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            raise InputError(f"Model {_shown(name)}: {_shown(url)} is not an address; write http://HOST:PORT/v1.")
        if parts.username is not None or parts.password is not None:
            raise InputError(f"Model {_shown(name)}: no password in an address; name a variable: ?key_env=MY_KEY.")


def _check_key_env(name: str, key_env: str | None, own: str | None) -> None:
    """A provider's key goes to that provider's host only."""
    owners = {endpoint.key_env: urlsplit(endpoint.url).hostname for endpoint in ENDPOINTS.values()}
    if key_env in owners and key_env != own:
        raise InputError(
            f"Model {name}: the key in {key_env} goes to {owners[key_env]} only; name another variable in key_env."
        )


def _given_rate(name: str, options: Mapping[str, str]) -> Rate | None:
    """The rate the options state, if they state one."""
    prices = {field: _price(name, option, options[option]) for option, field in _PRICES.items() if option in options}
    if not prices:
        return None
    if "cpu_hour" not in prices and not {"input", "output"} <= prices.keys():
        raise InputError(f"Model {name}: a price needs both directions, ?in=…&out=… (USD per million tokens).")
    of = prices.get
    return Rate(of("input", 0.0), of("output", 0.0), of("cached"), of("cpu_hour", 0.0))


def _price(name: str, option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"Model {name}: {option}={text} is not a price; write USD per million tokens, 0 or more.")
    return value


def _default_rate(name: str, provider: str, model: str, url: str | None) -> Rate:
    if provider == "local":
        return Rate(cpu_hour=import_module("smart_llm.providers.local").DEFAULT_CPU_HOUR, source="assumed")
    if url is None and provider in ENDPOINTS:
        rate: Rate | None = import_module("smart_llm.providers.prices").lookup(ENDPOINTS[provider].prices, model)
        if rate is not None:
            return rate
    raise InputError(f"Model {name}: no price known. Give one in USD per million tokens: '{name}?in=0.15&out=0.60'.")


def _book_spec(path: str, name: str, table: object) -> str:
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} is not a table; write [{name}] and under it in = …, out = …")
    fields = {field: str(value) for field, value in table.items()}
    model, url = fields.pop("model", name), fields.pop("url", None)
    if ":" not in model:
        raise InputError(f'{path}: [{name}] does not say which model it is; add model = "provider:model".')
    return f"{model}{f'@{url}' if url else ''}?{urlencode(fields)}"
