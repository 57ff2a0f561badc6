"""The local provider without a model: what is asked, how replies are read, and that history leaves no trace."""

import asyncio
import math
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.engine.ways import Way
from smart_llm.errors import InputError, Refused
from smart_llm.providers.local import provider as local
from smart_llm.providers.local import weights
from smart_llm.providers.specs import resolve
from smart_llm.tables import open_table
from smart_llm.tasks import Task, packs
from smart_llm.tasks.template import split
from smart_llm.types import Model, Rate, Request

LABELS = ("positive", "negative")
LONGEST = 200


class FakeServer:
    """llama.cpp's memory in small: tokens are words and signs, and every token remembers the portion it was evaluated
    in. A reply's one log-probability stands for the portions of the whole prompt: equal only for equal bits."""

    def __init__(self) -> None:
        self.memory: list[tuple[str, tuple[int, int]]] = []
        self.evaluated = 0

    def handle_completions(self, request: dict[str, Any]) -> dict[str, Any]:
        """Evaluate what is not kept, as one portion."""
        tokens = re.findall(r"\n+| ?\w+|.", request["prompt"])
        if len(tokens) > LONGEST:
            return {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": len(tokens), "n_ctx": LONGEST}}
        kept = 0
        while request["cache_prompt"] and kept < min(len(self.memory), len(tokens) - 1):
            if self.memory[kept][0] != tokens[kept]:
                break
            kept += 1
        self.memory = self.memory[:kept] + [(token, (kept, len(tokens))) for token in tokens[kept:]]
        self.evaluated += len(tokens) - kept
        bits = -1 - (hash(tuple(self.memory)) % 10**6) / 10**7
        first = {"token": "pos", "logprob": bits, "top_logprobs": [{"token": "pos", "logprob": bits}]}
        first["top_logprobs"].append({"token": "neg", "logprob": -3.0})
        return {
            "choices": [{"text": "pos", "finish_reason": "length", "logprobs": {"content": [first]}}],
            "usage": {"prompt_tokens": len(tokens), "completion_tokens": 1},
            "timings": {"cache_n": kept},
        }


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> local.LocalProvider:
    """A provider of a known model whose server is the fake one."""
    return make(monkeypatch, tmp_path)


def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str = "smollm2-135m") -> local.LocalProvider:
    """The same for any name, by way of what the engine calls."""
    monkeypatch.setenv("SMART_HOME", str(tmp_path))
    file = tmp_path / "models" / f"{name}.gguf"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(local, "library", lambda: None)
    monkeypatch.setattr(local, "_load", lambda path, context: FakeServer())
    return local.make(Model(f"local:{name}", "local", name, Rate(cpu_hour=local.DEFAULT_CPU_HOUR)))


def ask(provider: local.LocalProvider, prompt: str, system: str | None = None) -> Any:
    """The answer to a labels request, without a thread."""
    return provider._complete(Request("m", prompt, 4, system=system, labels=LABELS, logprobs=True))


ROWS = st.text(alphabet="ab \n:.", max_size=12)
PROMPTS = st.builds("{}{}{}".format, st.sampled_from(["Do.\n\nReview: ", "Do.\n\n", "Say: ", ""]), ROWS, ROWS)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(PROMPTS, st.sampled_from([None, "S"])), min_size=1, max_size=12), st.randoms())
def test_history_leaves_no_trace(requests: list[tuple[str, str | None]], random: Any) -> None:
    """Whatever was asked before, in whatever order, the same request gets the same bits."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        provider = make(patch, Path(folder))
        seen = {request: ask(provider, *request).logprobs for request in requests}
        random.shuffle(requests)
        assert all(ask(provider, *request).logprobs == seen[request] for request in requests)
        fresh = make(patch, Path(folder))
        assert ask(fresh, *requests[0]).logprobs == seen[requests[0]]


def test_stable_part_is_evaluated_once(provider: local.LocalProvider) -> None:
    """Rows after the first cost about their own tokens, not those of the instructions."""
    prompt = "Read. " * 15 + "\n\nReview: {}\nAnswer:"
    ask(provider, prompt.format("a b c"))
    before = provider._idle[0].server.evaluated
    for row in ("a c b", "b c a", "c a b", "c b a"):
        ask(provider, prompt.format(row))
    assert (provider._idle[0].server.evaluated - before) / 4 < 25


def test_too_long_a_row_is_refused_alone(provider: local.LocalProvider) -> None:
    """A prompt beyond the context is that row's error; the next row is answered as ever."""
    good = ask(provider, "Do.\n\nReview: a").logprobs
    with pytest.raises(Refused, match=str(LONGEST)) as caught:
        ask(provider, "Do.\n\nReview: " + "a " * LONGEST)
    assert caught.value.row_only
    assert ask(provider, "Do.\n\nReview: a").logprobs == good


async def test_answer_usage_and_closing(provider: local.LocalProvider) -> None:
    """An answer carries the label, its log-probability among the labels, tokens, CPU-seconds and the file's sha256;
    closing twice does no harm."""
    request = Request("m", "Do.\n\nReview: a", 4, labels=LABELS, logprobs=True)
    first, second = await asyncio.gather(provider.complete(request), provider.complete(request))
    assert first.text == second.text == "positive"
    ((label, logp),) = first.logprobs
    assert label == "positive"
    assert math.log(0.5) < logp < 0
    assert first.usage.input_tokens > first.usage.cached_tokens > 0
    assert first.usage.output_tokens == 1
    assert first.usage.cpu_seconds > 0
    assert first.snapshot == weights.KNOWN["smollm2-135m"].sha256
    await provider.close()
    await provider.close()


def test_expectation_grows_with_row_and_not_with_instructions(provider: local.LocalProvider) -> None:
    """What planning expects of a call follows the part that is evaluated for each row."""

    def seconds(prompt: str) -> float:
        return provider.expect(Request("m", prompt, 4, labels=LABELS)).cpu_seconds

    short = seconds("Do.\n\nReview: a")
    assert seconds("Do. " * 500 + "\n\nReview: a") == short
    assert seconds("Do.\n\nReview: " + "a " * 500) > 5 * short


@given(st.text(max_size=60), st.text(max_size=20))
def test_cut_loses_nothing_and_keeps_rows_in_their_turn(prompt: str, system: str) -> None:
    """Both parts together are the ChatML conversation, and no text inside can open or end a turn."""
    parts = local.cut(Request("m", prompt, 1, system=system or None), "own")
    whole = parts.stable + parts.own
    assert len(re.findall(re.escape("<|im_"), whole)) == 5
    inside = f"{(system or 'own')}<|im_end|>\n<|im_start|>user\n{prompt}".replace("<|", "< |")
    assert whole.replace("<|", "< |") == f"< |im_start|>system\n{inside}< |im_end|>\n< |im_start|>assistant\n"


def test_cut_stands_before_the_row() -> None:
    """After the last blank line and an opening word with a colon."""
    parts = local.cut(Request("m", "Do.\n\nReview: A: b\nAnswer:", 1), "s")
    assert parts.stable.endswith("Do.\n\nReview:")
    assert parts.own.startswith(" A: b\nAnswer:")


def test_cut_stands_before_the_first_item_of_a_pack() -> None:
    """The instructions of a pack are evaluated once, although more text stands behind its items."""
    table = open_table([{"text": f"a film {n}\n\nNote: none"} for n in range(8)])
    small = resolve("local:smollm2-135m?pack=4")
    way = Way(table, Task("Do it.\n\nReview: {text}\nAnswer:", labels=LABELS), small)
    one, other = (local.cut(way.pack(number).whole, "s") for number in range(2))
    assert one.stable == other.stable
    assert one.own.startswith("a film ")
    assert one.own.count("</item ") == 4
    spoofed = packs.prompt(split("Do it.\n\nReview: {text}", ["text"]), None, [{"text": "</item 1>"}] * 2)
    assert local.cut(Request("m", spoofed, 1), "s").own.startswith("</item 1>\n</item-2 1>")


def first_token(*listed: tuple[str, float]) -> dict[str, Any]:
    """A reply's first token as llama.cpp lists it; the first listed is the one the grammar let through."""
    top = [{"token": token, "logprob": math.log(p)} for token, p in listed]
    return {**top[0], "top_logprobs": top}


def test_label_takes_all_tokens_that_begin_it() -> None:
    """Case and leading blanks do not matter; foreign tokens count for nobody; probabilities sum to one."""
    first = first_token(("negative", 0.2), ("Pos", 0.25), (" positive", 0.05), ("The", 0.4), ("", 0.05))
    pairs = dict(local.label_logprobs(first, LABELS))
    assert local.label_of(first, LABELS) == "positive"
    assert pairs["positive"] == pytest.approx(math.log(0.3 / 0.5))
    assert sum(map(math.exp, pairs.values())) == pytest.approx(1)


def test_unlisted_label_lowers_the_score() -> None:
    """A label outside the listed tokens is given the least listed probability: too much, never too little."""
    pairs = dict(local.label_logprobs(first_token(("positive", 0.6), ("x", 0.1)), LABELS))
    assert pairs["positive"] == pytest.approx(math.log(0.6 / 0.7))


def test_nothing_listed_leaves_the_forced_label() -> None:
    """Where labels are equal, the grammar's choice stands."""
    assert local.label_of(first_token(("neg", 0.1), ("x", 0.1)), LABELS) == "negative"


def test_labels_with_a_common_start_are_told_apart_by_decoding(
    provider: local.LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first token that fits two labels is no answer: the label is decoded in full."""
    labels, asked = ("pos one", "pos two"), []

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["n_predict"])
        answer = FakeServer().handle_completions(request)
        if request["n_predict"] > 1:
            answer["choices"][0] |= {"text": "pos two", "finish_reason": "stop"}
        return answer

    provider._idle.append(local.Engine(SimpleNamespace(handle_completions=reply)))
    answer = provider._complete(Request("m", "a", 4, labels=labels, logprobs=True))
    assert answer.text == "pos two"
    assert asked[-1] > 1


def test_grammar_escapes_labels() -> None:
    """Quotes, backslashes and newlines in a label cannot break out of its string."""
    assert local.grammar(['a"b', "c\\d", "e\nf", "é"]) == 'root ::= "a\\"b" | "c\\\\d" | "e\\nf" | "é"'


def test_options_follow_the_contract() -> None:
    """Text is decoded as long as asked, a schema is passed on, labels need one token."""
    assert local.options(Request("m", "p", 9))["n_predict"] == 9
    assert local.options(Request("m", "p", 9, schema='{"type":"object"}'))["json_schema"] == {"type": "object"}
    assert local.options(Request("m", "p", 9, labels=LABELS))["n_predict"] == 1
    assert local.options(Request("m", "p", 9, draw=3, temperature=0.7))["seed"] == 3


def test_users_file_keeps_its_own_template(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file whose template we do not know is asked by messages, evaluated whole every time."""
    provider, seen = make(monkeypatch, tmp_path, "mine"), []

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        answer = FakeServer().handle_completions({"prompt": "p", **request})
        answer["choices"][0]["message"] = {"content": answer["choices"][0].pop("text")}
        return answer

    provider._idle.append(local.Engine(SimpleNamespace(handle_chat_completions=reply)))
    answer = provider._complete(Request("m", "hello", 4, system="be kind"))
    assert answer.text == "pos"
    assert [m["content"] for m in seen[0]["messages"]] == ["be kind", "hello"]
    assert seen[0]["cache_prompt"] is False


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'xllamacpp'"), r"pip install 'smart-llm\[local\]'"),
        (ImportError("libgomp.so.1: cannot open shared object file"), "libgomp1"),
        (ImportError("something else"), "something else"),
    ],
)
def test_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch, error: ImportError, said: str) -> None:
    """Without xllamacpp, or without what it needs, the user is told what to install."""

    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(InputError, match=said):
        local.library()


def test_missing_file_is_known_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Making a provider for a model that is not here fails at once."""
    monkeypatch.setenv("SMART_HOME", str(tmp_path))
    with pytest.raises(InputError, match="smart models pull"):
        local.LocalProvider("qwen2.5-coder-1.5b")
