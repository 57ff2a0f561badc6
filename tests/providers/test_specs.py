"""Models as users write them: what they resolve to, what they cost, and what is told when they cannot be used."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.errors import InputError
from smart_llm.ledger import request_key
from smart_llm.providers.making import key, make_providers, placed
from smart_llm.providers.specs import ENDPOINTS, read_book, resolve
from smart_llm.types import LongPrices, Model, Rate, Request, Usage

URL = "http://127.0.0.1:8000/v1"


def test_an_address_with_prices() -> None:
    """An endpoint of the user's own: name without prices, rate from the query, key from the variable it names."""
    model = resolve(f"openai:qwen@{URL}?in=0.15&out=0.60&cached=0.05&key_env=MY_KEY")
    assert model == Model(f"openai:qwen@{URL}", "openai", "qwen", Rate(0.15, 0.6, 0.05), URL, "MY_KEY")
    assert key(model, {"MY_KEY": "mine", "OPENAI_API_KEY": "other"}) == "mine"
    assert key(resolve(f"openai:qwen@{URL}?in=0&out=0"), {"OPENAI_API_KEY": "other"}) is None


@pytest.mark.parametrize("provider", [name for name, endpoint in ENDPOINTS.items() if not endpoint.url_env])
def test_known_providers_have_address_and_key(provider: str) -> None:
    """A known provider's key goes over TLS to that provider's address."""
    model = resolve(f"{provider}:some/model-1:free?in=1&out=2")
    assert model.model == "some/model-1:free"
    assert model.url is not None
    assert model.url.startswith("https://")
    assert key(model, {ENDPOINTS[provider].key_env: " k "}) == "k"
    with pytest.raises(InputError, match=ENDPOINTS[provider].key_env):
        key(model, {})


def test_list_prices_are_found_with_their_source() -> None:
    """Known models need no price from the user; where it comes from is kept with it."""
    rate = resolve("openai:gpt-4o-mini").rate
    assert (rate.input, rate.output, rate.cached) == (0.15, 0.6, 0.075)
    assert rate.source.startswith("genai-prices 0.")
    assert resolve("gemini:gemini-2.5-pro").rate.input == 1.25  # tiered: the first tier


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    """Query, then book, then list prices."""
    (tmp_path / "models.toml").write_text('["openai:gpt-4o-mini"]\nin = 3\nout = 4\n')
    book = read_book(tmp_path / "models.toml")
    assert resolve("openai:gpt-4o-mini").rate.input == 0.15
    assert resolve("openai:gpt-4o-mini", book=book).rate.input == 3
    assert resolve("openai:gpt-4o-mini?in=5&out=6", book=book).rate.input == 5


def test_short_names_stand_for_the_whole_spec(tmp_path: Path) -> None:
    """A short name resolves to the full one, so that the ledger never confuses two models that had the same."""
    text = f'[small]\nmodel = "openai:qwen"\nurl = "{URL}"\nin = 0.1\nout = 0.2\nkey_env = "MY_API_KEY"\n'
    (tmp_path / "models.toml").write_text(text)
    model = resolve("small", book=read_book(tmp_path / "models.toml"))
    assert model == Model(f"openai:qwen@{URL}", "openai", "qwen", Rate(0.1, 0.2), URL, "MY_API_KEY")


@pytest.mark.parametrize("text", ["in = 1", "[a]\nin = 1\nout = 1", "not toml", '["fake:a"]\nprice = 1'])
def test_a_bad_book_is_told(tmp_path: Path, text: str) -> None:
    """A file of models that cannot be used is bad input."""
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(InputError):
        resolve("fake:a", book=read_book(tmp_path / "models.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        read_book(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gpt-4o", "provider:model"),
        ("openai:", "provider:model"),
        ("", "provider:model"),
        ("openai:a b", "provider:model"),
        ("acme:x", "unknown provider 'acme'; there are openai, anthropic, gemini"),
        ("openai:no-such-model-at-all", r"\?in=0.15&out=0.60"),
        (f"openai:qwen@{URL}", r"\?in=0.15&out=0.60"),
        ("fake:x", r"\?in=0.15&out=0.60"),
        ("fake:x?in=1", "both directions"),
        ("fake:x?in=-1&out=1", "in=-1 is not a price"),
        ("fake:x?in=nan&out=1", "in=nan is not a price"),
        ("fake:x?in=inf&out=1", "in=inf is not a price"),
        ("fake:x?in=one&out=1", "in=one is not a price"),
        ("fake:x?price=1", "unknown option 'price'"),
        ("fake:x?inn=1&out=1", r"pack_template. Did you mean in\?"),
        ("regx:a=b", r"function, regex. Did you mean regex\?"),
        ("openai:x?in=1&out=1&batch_in=1", "a batch price needs both directions"),
        ("openai:x?in=1&out=1&effort=hard", "effort=hard is not known; write one of none, minimal, low"),
        ("fake:x?in=1&out=1&effort=low", "leave effort out"),
        ("fake:x?in=1&out=1&draws=21", "draws=21 is not a number of answers; write 0 to 20"),
        ("fake:x?in=1&out=1&draws=two", "draws=two is not a number of answers"),
        ("local:smollm2-135m?draws=2", "leave draws out"),
        ("openai:x?in=1&out=1&thinking=-1", "thinking=-1 is not a number of tokens"),
        (f"groq:x@{URL}?in=1&out=1", "goes with openai:"),
        ("openai:x@http://host:99999/v1?in=1&out=1", "not an address"),
        ("openai:x@http://:80?in=1&out=1", "not an address"),
        ("openai:x@http://me:secret@host/v1?in=1&out=1", "no password"),
        (f"openai:x@{URL}?in=1&out=1&key_env=OPENAI_API_KEY", "goes to api.openai.com only"),
        ("groq:x?in=1&out=1&key_env=OPENAI_API_KEY", "goes to api.openai.com only"),
    ],
)
def test_what_cannot_be_used_is_told(spec: str, says: str) -> None:
    """Every slip in a model's spec is one line that says what to write, without a password in it."""
    with pytest.raises(InputError, match=says) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_draws_make_another_model() -> None:
    """Draws are part of the name, beside effort; none are nothing, and the name resolves to itself."""
    told = resolve("openai:gpt-5.2?draws=4&effort=low&in=1&out=2")
    assert (told.name, told.draws, told.effort) == ("openai:gpt-5.2?effort=low&draws=4", 4, "low")
    assert (resolve(told.name).name, resolve(told.name).draws) == (told.name, 4)
    assert resolve("openai:gpt-5.2?draws=0").name == "openai:gpt-5.2"


def test_effort_makes_another_model() -> None:
    """How much a model is told to think decides its answers, so it is part of the name, which resolves to itself."""
    plain, told = resolve("openai:gpt-5.2"), resolve("openai:gpt-5.2?effort=high&in=1&out=2")
    assert (plain.name, plain.effort, plain.thinking) == ("openai:gpt-5.2", None, 0)
    assert (told.name, told.effort, told.thinking) == ("openai:gpt-5.2?effort=high", "high", 16384)
    again = resolve(told.name)
    assert (again.name, again.effort, again.thinking) == (told.name, told.effort, told.thinking)
    assert resolve("openai:gpt-5.2?effort=high&thinking=500").thinking == 500


@pytest.mark.parametrize(
    ("spec", "thinking"),
    [
        ("openai:gpt-4.1-mini", 0),
        ("openai:gpt-5", 8192),
        ("openai:gpt-5.2", 0),
        ("openai:gpt-5-chat-latest", 0),
        ("openai:gpt-6.1-terra", 8192),
        ("openai:o3-mini", 8192),
        ("anthropic:claude-haiku-4-5", 0),
        ("anthropic:claude-opus-4-6", 0),
        ("anthropic:claude-sonnet-5-5", 8192),
        ("anthropic:claude-sonnet-5-5?effort=none", 0),
        ("gemini:gemini-2.5-flash", 8192),
        ("gemini:gemini-2.5-flash-lite", 0),
        ("gemini:gemini-3.8-flash", 8192),
        ("openrouter:openai/gpt-5", 8192),
        ("groq:openai/gpt-oss-20b", 8192),
        (f"openai:qwen3-4b@{URL}", 0),
    ],
)
def test_thinking_models_have_room_to_think(spec: str, thinking: int) -> None:
    """Hosted models that think unless told otherwise get room on top of the answer's tokens; own servers do not."""
    assert resolve(f"{spec}{'&' if '?' in spec else '?'}in=1&out=1").thinking == thinking


def test_batch_and_cache_prices_can_be_given(tmp_path: Path) -> None:
    """In the query or in a book; what the user gives is the whole of the rate."""
    spec = "openai:gpt-4o-mini?in=2&out=4&cached=0.2&written=2.5&batch_in=1&batch_out=2&batch_cached=0.1"
    rate = resolve(spec).rate
    assert rate == Rate(2, 4, 0.2, written=2.5, batch_input=1, batch_output=2, batch_cached=0.1)
    batch = rate.by_batch()
    assert batch is not None
    assert (batch.input, batch.output, batch.cached) == (1, 2, 0.1)
    (tmp_path / "models.toml").write_text('["openai:gpt-4o-mini"]\nin = 3\nout = 4\nbatch_in = 1\nbatch_out = 2\n')
    assert resolve("openai:gpt-4o-mini", book=read_book(tmp_path / "models.toml")).rate.batch_input == 1


def test_models_at_one_address_share_connections() -> None:
    """One provider per address and key; a missing key is told before anything is asked."""
    specs = [f"openai:{n}@{URL}?in=1&out=1" for n in "ab"] + ["openai:gpt-4o?in=1&out=1", "fake:f?in=1&out=1"]
    providers = make_providers(map(resolve, specs), environ={"OPENAI_API_KEY": "k"})
    a, b, paid, fake = (providers[spec.split("?")[0]] for spec in specs)
    assert a is b
    assert len({id(a), id(paid), id(fake)}) == 3
    with pytest.raises(InputError, match="Set the environment variable OPENAI_API_KEY"):
        make_providers(map(resolve, specs), environ={})


def test_cost_by_rate() -> None:
    """Cached tokens at their own price, where there is one."""
    usage = Usage(1000, 100, 400)
    assert Rate(1, 2, 0.5).cost(usage) == pytest.approx((600 + 200 + 200) / 1e6)
    assert Rate(1, 2).cost(usage) == pytest.approx((1000 + 200) / 1e6)


@given(
    st.builds(Usage, *[st.integers(0, 10**6)] * 2),
    st.fractions(0, 1),
    st.fractions(0, 1),
    st.builds(
        Rate,
        *[st.floats(0, 100)] * 2,
        st.none() | st.floats(0, 100),
        written=st.none() | st.floats(0, 200),
        long=st.lists(
            st.builds(
                LongPrices, st.integers(0, 10**6), *[st.floats(0, 100)] * 2, *[st.none() | st.floats(0, 200)] * 2
            ),
            max_size=3,
        ).map(lambda found: tuple(sorted(found, key=lambda each: each.start))),
    ),
)
def test_no_call_costs_more_than_its_bound(usage: Usage, cached: Fraction, written: Fraction, rate: Rate) -> None:
    """Whatever part of the input was read from a cache or written to it, and however long it is."""
    read = int(usage.input_tokens * cached)
    wrote = int((usage.input_tokens - read) * written)
    usage = replace(usage, cached_tokens=read, written_tokens=wrote)
    assert rate.cost(usage) <= rate.bound(usage.input_tokens, usage.output_tokens) * (1 + 1e-12) + 1e-15


def test_settings_that_decide_answers_are_in_the_name_or_in_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user gave is in the name, in one order; room given by default, and an address from the environment, are
    in the keys of requests and in the plan."""
    told = resolve(f"openai:m@{URL}?in=1&out=1&thinking=64&effort=low&draws=2")
    assert told.name == f"openai:m@{URL}?effort=low&thinking=64&draws=2"
    assert told.settings == {"thinking": 64}
    assert resolve("openai:gpt-5?in=1&out=1").settings == {"thinking": 8192}
    assert resolve("openai:gpt-4.1?in=1&out=1").settings == {}
    deployed = resolve("azure:my-deployment?in=1&out=1")
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    assert placed(deployed) == deployed
    found = []
    for host in ("https://one.openai.azure.com", "https://two.openai.azure.com"):
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", host)
        found.append(request_key(Request(deployed.name, "p", 9, **placed(deployed).settings)))
        assert placed(deployed).settings == {"at": f"{host}/openai/v1"}
    keys = {request_key(Request("m", "p", 9, thinking=thinking)) for thinking in (0, 1, 2)}
    assert len({*found, *keys}) == 5


@pytest.mark.parametrize(
    "at",
    ["localhost:8000/v1", "HTTP://localhost:8000/v1", "file:///etc/passwd", "ftp://h/v1", "//h:1/v1", "127.0.0.1", "",
     "h", "http:/h/v1", "http:h", "Https://h", "me:secret@h/v1", "[::1]:8000/v1", "v1@h"],
)  # fmt: skip
@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "azure", "anyllm"])
def test_an_at_that_is_no_address_is_an_error(provider: str, at: str, tmp_path: Path) -> None:
    """A model at an address that is not understood is never asked at its provider's own, however it is written."""
    (tmp_path / "models.toml").write_text(f'[m]\nmodel = "{provider}:qwen"\nurl = "{at}"\nin = 1\nout = 1\n')
    for spec, book in ((f"{provider}:qwen@{at}?in=1&out=1", {}), ("m", read_book(tmp_path / "models.toml"))):
        with pytest.raises(InputError, match=r"after the @ is not an address|not understood") as caught:
            resolve(spec, book=book)
        assert "secret" not in str(caught.value)


def test_the_message_says_what_was_probably_meant() -> None:
    """A forgotten scheme is written out."""
    with pytest.raises(InputError, match="openai:qwen@http://localhost:8000/v1 "):
        resolve("openai:qwen@localhost:8000/v1?in=1&out=1")


@pytest.mark.parametrize(
    ("variable", "host", "allowed"),
    [
        ("MY_API_KEY", "example.com", True),
        ("GATEWAY_TOKEN", "example.com", True),
        ("FIREWORKS_API_KEY", "api.fireworks.ai", True),
        ("FIREWORKS_API_KEY", "example.com", False),
        ("AWS_SECRET_ACCESS_KEY", "example.com", False),
        ("AWS_SESSION_TOKEN", "example.com", False),
        ("GITHUB_TOKEN", "example.com", False),
        ("GITHUB_TOKEN", "github.example.com", False),
        ("OPENAI_API_KEY", "openai.example.com", False),
        ("DATABASE_URL", "example.com", False),
        ("PATH", "example.com", False),
    ],
)
def test_a_file_of_models_may_name_few_variables(tmp_path: Path, variable: str, host: str, allowed: bool) -> None:
    """A file of models cannot send away what was not made for it; the user can, on the command line."""
    text = f'[m]\nmodel = "openai:x"\nurl = "https://{host}/v1"\nin = 1\nout = 1\nkey_env = "{variable}"\n'
    (tmp_path / "models.toml").write_text(text)
    book = read_book(tmp_path / "models.toml")
    if allowed:
        assert resolve("m", book=book).key_env == variable
    else:
        with pytest.raises(InputError, match=variable):
            resolve("m", book=book)
    if variable != "OPENAI_API_KEY":
        assert resolve(f"m?key_env={variable}", book=book).key_env == variable


def test_another_host_than_the_name_says_is_told(tmp_path: Path) -> None:
    """A file that moves a known provider's model to another host is allowed to, and that is said."""
    (tmp_path / "models.toml").write_text('["openai:gpt-4o"]\nurl = "https://elsewhere.example/v1"\nin = 1\nout = 1\n')
    with pytest.warns(UserWarning, match=r"openai:gpt-4o is asked at elsewhere\.example"):
        resolve("openai:gpt-4o", book=read_book(tmp_path / "models.toml"))


@pytest.mark.parametrize("secret", ["sk-a\nX-Evil: 1", "sk-a\r\n\r\n", "sk-ü", "sk\x00a", "sk-a\tb\x7f"])
def test_a_key_that_no_header_can_hold_is_told(secret: str) -> None:
    """A key with a line break in it is bad input, in a line that does not show it."""
    model = resolve("openai:gpt-4o")
    if secret.strip().isprintable() and secret.isascii():
        assert key(model, {"OPENAI_API_KEY": secret}) == secret.strip()
        return
    with pytest.raises(InputError, match="the key in OPENAI_API_KEY") as caught:
        key(model, {"OPENAI_API_KEY": secret})
    assert "sk" not in str(caught.value)
