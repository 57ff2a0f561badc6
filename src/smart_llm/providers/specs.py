"""Models as the user writes them: `provider:model[@URL][?in=…&out=…&effort=…&enforce=…&key_env=…]`, resolved once into
a `Model`.

Where a price comes from, first that there is: the query, the book (`--models F.toml`), the bundled
genai-prices data. It is frozen into the `Model`, so that nothing about money changes during a run.

Keys: a provider's key belongs to that provider's host. An `@URL` endpoint gets the key of the variable it names in
`key_env`, which must not be a known provider's, else none; which ones a file of models may name is in `lent_keys`. Keys
are read from the environment when a provider is made; a `Model` holds the variable's name only, so it can be printed,
recorded and hashed.

Thinking: a model that thinks spends output tokens before it says a word, so it is given room for that on top of what
the answer needs (`thinking=TOKENS`, by name and `effort` unless given). `effort` is part of the model's name: the same
model told to think less is another model, and often a good candidate. So it is with `thinking` where it is given, which
cuts thoughts off, with `enforce`, by which its server keeps it to the labels, and with `draws`: a candidate asked
several times over costs more, and shows how sure it is where it has no log-probabilities; and with the ways of asking
in `candidate`: rows in packs, a prompt of its own, a part of each row. Settings that no name shows
(room given by default, an address from the environment) are in the ledger's keys and in the plan (`Model.settings`), so
that no answer under one setting passes for one under another.

Several servers: `also=URL,URL` are further addresses where the very same model answers, one per node say. They are no
part of the name, so a node may come or go between two sessions of a run.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from smart_llm.errors import InputError, meant
from smart_llm.files import small_text, unreadable
from smart_llm.providers import candidate, rules, settings
from smart_llm.providers.endpoints import DIALECTS, ENDPOINTS, IN_PROCESS
from smart_llm.providers.endpoints import Endpoint as Endpoint
from smart_llm.providers.enforced import TOLD
from smart_llm.providers.lent_keys import refusal
from smart_llm.types import Model, Rate

LEARNED = "learned"
"""The candidate that is taught in the run, and has no provider."""
EMBEDDING = ("embed", "in", "key_env")
"""Its options."""
_SPEC = re.compile(r"(?P<provider>[^:@?\s]+):(?P<model>[^?\s]+?)(?:@(?P<url>https?://[^?\s]+))?")
_AT_ADDRESS = re.compile(r"[^@]@https?://")
_ADDRESS_ALONE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)|(?:localhost|\[[0-9a-fA-F:]+\]|\d{1,3}(?:\.\d{1,3}){3})(?::\d|/|$)"
    r"|[\w.-]+:\d{2,5}/"
)
"""Where the name of a model is to stand."""
_VERSION = re.compile(r"[0-9]{4,}|latest|default")
"""After the @ in the name of a model of Google's."""
_PRICES = {
    "in": "input",
    "out": "output",
    "cached": "cached",
    "written": "written",
    "batch_in": "batch_input",
    "batch_out": "batch_output",
    "batch_cached": "batch_cached",
    "batch_written": "batch_written",
    "cpu_hour": "cpu_hour",
}
_OPTIONS = (*_PRICES, "key_env", "effort", "thinking", "also", "draws", "enforce", *candidate.OPTIONS)


def resolve(spec: str, *, book: Mapping[str, str] | None = None) -> Model:
    """The model behind what the user wrote. book: `read_book`.

    Raises `InputError` for a spec that cannot be read, an unknown provider, or a model without a price.
    """
    if spec.strip().partition("?")[0] == LEARNED:
        return _learned(spec.partition("?")[2])
    booked = (book or {}).get(spec.strip(), "")
    if own := rules.resolve(booked, spec.strip()) or rules.resolve(spec.strip()):
        return own
    name, options = _expand(spec, book or {})
    _check_at(name)
    match = _SPEC.fullmatch(name)
    if match is None:
        raise InputError(
            f"Model {_shown(name)!r} is not understood: write provider:model, or openai:NAME@http://HOST/v1."
        )
    provider, model, url = match["provider"], match["model"], match["url"]
    _check_provider(name, provider, url)
    rate = _given_rate(name, options) or _default_rate(name, provider, model, url)
    endpoint = ENDPOINTS.get(provider) if not url else None
    key_env = options.get("key_env") or (endpoint.key_env if endpoint else None)
    _check_key_env(name, key_env, endpoint.key_env if endpoint else None)
    effort, draws = settings.effort(name, provider, options), settings.draws(name, provider, options)
    thinking = settings.thinking(name, provider, model, url, effort, options)
    enforce = settings.enforce(name, provider, options)
    told = [f"effort={effort}"] * bool(effort) + [f"thinking={thinking}"] * ("thinking" in options)
    told += [f"draws={draws}"] * bool(draws) + [f"enforce={enforce}"] * (enforce in TOLD)
    way, how = candidate.way(name, options)
    told += how
    address = url or (endpoint.url if endpoint and not endpoint.url_env else None)
    return Model(
        f"{name}?{'&'.join(told)}" if told else name,
        provider,
        model,
        rate,
        address.rstrip("/") if address else None,
        key_env,
        effort,
        thinking,
        _also(name, provider, url, options),
        draws,
        enforce=enforce,
        way=way,
    )


def _learned(query: str) -> Model:
    """The candidate that is taught in the run; `InputError` for options it does not have, or what cannot embed."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    if odd := next((name for name in options if name not in EMBEDDING), None):
        raise InputError(f"Model {LEARNED}: unknown option {odd!r}; there are {', '.join(EMBEDDING)}.")
    if find_spec("sklearn") is None:
        raise InputError(f"Model {LEARNED} needs scikit-learn: pip install 'smart-llm[learned]'.")
    if "embed" not in options:
        if options:
            raise InputError(f"Model {LEARNED}: {next(iter(options))}= goes with embed=; leave it out.")
        return Model(LEARNED, LEARNED, LEARNED, Rate(source="taught in the run"))
    embed = _embedding(options)
    return Model(LEARNED, LEARNED, LEARNED, embed.rate, at=f"embed {embed.name}", embed=embed)


def _embedding(options: Mapping[str, str]) -> Model:
    """What embeds texts for `learned`; `InputError` where it has no price, or cannot."""
    name = options["embed"]
    provider, _, rest = name.partition(":")
    if provider in ("static", "local") and (rest or provider == "static"):
        if len(options) > 1:
            raise InputError(f"Model {LEARNED}: embed={name} needs neither price nor key; leave them out.")
        embeddings = import_module("smart_llm.providers.embeddings")
        told = f"{name} {embeddings.known(name)}"
        if provider == "static":
            return Model(told, provider, rest or embeddings.STATIC, Rate(source="static vectors on this machine"))
        return Model(told, provider, rest, _default_rate(name, provider, rest, None))
    own = "@" in name
    if (provider not in DIALECTS and provider not in ENDPOINTS) or provider == "anthropic":
        raise InputError(
            f"Model {LEARNED}: embed={_shown(name)}: write openai:text-embedding-3-small, static, local:FILE.gguf, or "
            "any other server with /v1/embeddings, openai:NAME@http://HOST/v1."
        )
    priced = import_module("smart_llm.providers.prices").of_embeddings
    rate = None if "in" in options or own else priced(ENDPOINTS[provider].prices, rest)
    if "in" not in options and rate is None:
        raise InputError(
            f"Model {LEARNED}: no price known of {_shown(name)}, which embeds; give one in USD per million tokens: "
            f"'{LEARNED}?embed={_shown(name)}&in=0.02'."
        )
    query = {"in": options.get("in", "0"), "out": "0"} | {k: options[k] for k in ("key_env",) if k in options}
    model = resolve(f"{name}?{urlencode(query)}")
    return replace(model, rate=rate or Rate(model.rate.input))


def read_book(path: str | os.PathLike[str]) -> dict[str, str]:
    """A TOML file of models as full specs by name: `[NAME]` with in, out, effort and the other options, url, model.

    NAME is a spec itself, or a short name, which then says which `model` (a spec) it stands for.
    """
    try:
        tables = tomllib.loads(small_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file of models {path} cannot be read: {unreadable(error)}.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The file of models {path} cannot be read: {error}.") from None
    except RecursionError:
        raise InputError(f"The file of models {path} cannot be read: it is nested too deeply.") from None
    return {name: _book_spec(str(path), name, table) for name, table in tables.items()}


def _expand(spec: str, book: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Name and options; what the user wrote overrides what the book says."""
    name, _, query = spec.strip().partition("?")
    options = _options(name, query)
    if name in book:
        asked, (name, _, query) = name, book[name].partition("?")
        booked = _options(name, query)
        _check_book(asked, name, {**booked, "key_env": ""} if "key_env" in options else booked)
        options = {**booked, **options}
    return name, options


def _check_book(asked: str, name: str, booked: Mapping[str, str]) -> None:
    """What a file of models may not do without being told so on the command line; another host than a name says is
    told at once."""
    urls = [url for url in (name.partition("@")[2], *booked.get("also", "").split(",")) if url]
    provider = name.partition(":")[0]
    if variable := booked.get("key_env"):
        own = ENDPOINTS[provider] if provider in ENDPOINTS and not urls else None
        for url in urls or [own.url if own else ""]:
            reason = None if own and variable == own.key_env else refusal(variable, _host(url))
            if reason:
                raise InputError(f"Model {asked}: key_env = {variable!r}: {reason}. Say so: {asked}?key_env={variable}")
    if urls and "@" not in asked and asked.partition(":")[0] in ENDPOINTS:
        hosts = ", ".join(dict.fromkeys(map(_host, urls)))
        warnings.warn(f"{asked} is asked at {hosts}, as the file of models says, not at its own address.", stacklevel=5)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _check_at(name: str) -> None:
    """What follows an @ is an address: a model at an address that is not understood must not be asked elsewhere."""
    provider, _, rest = name.partition(":")
    rest = rest.replace("\uff20", "@")
    if "@" not in rest and provider != "fake" and (found := _ADDRESS_ALONE.match(rest)):
        meant = rest if found["scheme"] else f"http://{rest}"
        raise InputError(f"Model {_shown(name)}: no name before the address; write {provider}:NAME@{_shown(meant)}.")
    if "@" not in rest or _AT_ADDRESS.search(rest) or provider == "fake":
        return
    model, _, after = rest.partition("@")
    if provider == "anyllm" and _VERSION.fullmatch(after):
        return
    if not model and _AT_ADDRESS.search(f"x@{after}"):
        raise InputError(f"Model {_shown(name)}: no name before the @; write {provider}:NAME@{after}.")
    meant = re.sub(r"^[A-Za-z]*:?/*(?=[^/])", "", after) if "//" in after else after
    raise InputError(
        f"Model {_shown(name)}: {_shown(f'@{after}')[1:] or 'nothing'} after the @ is not an address; write "
        f"{provider}:{model}@http://{meant.rpartition('@')[2] or 'HOST:PORT/v1'} (or https://, in small letters)."
    )


def _options(name: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    for option, _ in pairs:
        if option not in _OPTIONS:
            raise InputError(
                f"Model {_shown(name)}: unknown option {option!r}; there are {', '.join(_OPTIONS)}."
                f"{meant(option, _OPTIONS)}"
            )
    if twice := [option for option, many in Counter(option for option, _ in pairs).items() if many > 1]:
        raise InputError(f"Model {_shown(name)}: {twice[0]}= is given twice; give it once.")
    return dict(pairs)


def _shown(name: str) -> str:
    """A name safe to print: a password someone put into a URL is left out."""
    return re.sub(r"(//|@)[^/@]*@", r"\1…@", name)


def _check_provider(name: str, provider: str, url: str | None) -> None:
    known = (*ENDPOINTS, *IN_PROCESS)
    if provider not in known:
        raise InputError(
            f"Model {_shown(name)}: unknown provider {provider!r}; there are {', '.join((*known, 'regex'))}."
            f"{meant(provider, (*known, 'regex'))}"
        )
    if url and provider not in DIALECTS:
        raise InputError(
            f"Model {_shown(name)}: an address of your own goes with openai: or anthropic: (openai:NAME@{_shown(url)})."
        )
    if url:
        _check_url(name, url)


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise InputError(f"Model {_shown(name)}: {_shown(url)} is not an address; write http://HOST:PORT/v1.")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"Model {_shown(name)}: no password in an address; name a variable: ?key_env=MY_KEY.")


def _also(name: str, provider: str, url: str | None, options: Mapping[str, str]) -> tuple[str, ...]:
    """Further addresses of the same model, each once."""
    if "also" not in options:
        return ()
    if url is None:
        raise InputError(f"Model {name}: also= goes with an address of your own ({provider}:NAME@http://HOST/v1).")
    further = [each.strip().rstrip("/") for each in options["also"].split(",") if each.strip()]
    for each in further:
        _check_url(name, each)
    return tuple(each for each in dict.fromkeys(further) if each != url.rstrip("/"))


def _check_key_env(name: str, key_env: str | None, own: str | None) -> None:
    """A provider's key goes to that provider's host only."""
    owners = {
        endpoint.key_env: urlsplit(endpoint.url).hostname or f"the host in {endpoint.url_env}"
        for endpoint in ENDPOINTS.values()
    }
    if key_env in owners and key_env != own:
        raise InputError(
            f"Model {name}: the key in {key_env} goes to {owners[key_env]} only; name another variable in key_env."
        )


def _given_rate(name: str, options: Mapping[str, str]) -> Rate | None:
    """The rate the options state, if they state one."""
    prices: dict[str, Any] = {
        field: _price(name, option, options[option]) for option, field in _PRICES.items() if option in options
    }
    if not prices:
        return None
    if "cpu_hour" not in prices and not {"input", "output"} <= prices.keys():
        raise InputError(f"Model {name}: a price needs both directions, ?in=…&out=… (USD per million tokens).")
    if ("batch_input" in prices) != ("batch_output" in prices):
        raise InputError(f"Model {name}: a batch price needs both directions, &batch_in=…&batch_out=….")
    return Rate(**prices)


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
        return Rate(cpu_hour=import_module("smart_llm.providers.local.provider").DEFAULT_CPU_HOUR, source="assumed")
    if (url is None and provider in ENDPOINTS) or provider == "anyllm":
        prices = import_module("smart_llm.providers.prices")
        listed = prices.of_any_llm(model) if provider == "anyllm" else (ENDPOINTS[provider].prices, model)
        rate: Rate | None = prices.lookup(*listed)
        if rate is not None:
            return rate
        near = meant(listed[1], prices.models(listed[0]))
    else:
        near = ""
    raise InputError(
        f"Model {name}: no price known.{near} Give one in USD per million tokens: '{name}?in=0.15&out=0.60'."
    )


def _book_spec(path: str, name: str, table: object) -> str:
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} is not a table; write [{name}] and under it in = …, out = …")
    if listed := next((field for field, value in table.items() if isinstance(value, list) and field != "also"), None):
        raise InputError(f"{path}: [{name}]: {listed} is a list; write one value.")
    fields = {
        field: ",".join(map(str, value)) if isinstance(value, list) else str(value) for field, value in table.items()
    }
    model, url = fields.pop("model", name), fields.pop("url", None)
    if ":" not in model:
        raise InputError(f'{path}: [{name}] does not say which model it is; add model = "provider:model".')
    if model.startswith(rules.FUNCTION):
        raise InputError(f"{path}: [{name}] would run a file of Python; name it yourself: --candidate {model}.")
    if model.startswith(rules.REGEX):
        if url or fields:
            raise InputError(f"{path}: [{name}]: regular expressions have no {[*fields, 'url'][0]}; leave it out.")
        return model
    return f"{model}{'' if url is None else f'@{url}'}?{urlencode(fields)}"
