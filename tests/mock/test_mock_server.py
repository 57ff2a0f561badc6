"""The mock says the same to the same prompt, fails as told, keeps to its limits, and counts what it did."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from later import openai

from smart_llm.errors import InputError
from smart_llm.mock import Faults, Limits, MockServer
from smart_llm.mock.answers import BROKEN, Recorded, Said, by_rule
from smart_llm.mock.http import Call
from smart_llm.mock.limits import Bucket


def chat(server: MockServer, prompt: str = "p", model: str = "m", **fields: Any) -> tuple[int, dict[str, str], Any]:
    """One call without a socket: status, headers, body."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}], **fields}).encode()
    data = server.handle(Call("POST", "/v1/chat/completions", b"POST / HTTP/1.1", body)).data
    head, _, content = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(content)


def said(server: MockServer, prompt: str, model: str = "m") -> str:
    """What the model says."""
    text: str = chat(server, prompt, model)[2]["choices"][0]["message"]["content"]
    return text


async def started(server: MockServer) -> MockServer:
    """A server whose clock runs."""
    await server.start()
    await server.stop()
    return server


async def test_the_official_client_is_served() -> None:
    """The openai package gets its answers, usage, log-probabilities and models from it."""
    async with MockServer(errors={"m": 0.0}, key="k") as url, openai.AsyncOpenAI(base_url=url, api_key="k") as sdk:
        messages: Any = [{"role": "user", "content": "good film"}]
        reply = await sdk.chat.completions.create(model="m", messages=messages, logprobs=True)
        models = [model.id async for model in sdk.models.list()]
    choice = reply.choices[0]
    assert choice.message.content in ("positive", "negative")
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert models == ["m"]


async def test_one_prompt_one_answer() -> None:
    """Answers follow from seed, model and prompt: not from order, server or what else was asked."""
    one, other = (
        await started(MockServer(seed=3, errors={"m": 0.5})),
        await started(MockServer(seed=3, errors={"m": 0.5})),
    )
    prompts = [f"row {i}" for i in range(50)]
    assert [said(one, p) for p in prompts] == [said(other, p) for p in reversed(prompts)][::-1]
    assert {said(one, p) for p in prompts} == {"positive", "negative"}


async def test_draws_differ_at_a_temperature_only() -> None:
    """In either dialect what a model doubts comes out now one way, now the other, at a temperature alone."""
    server = await started(MockServer(lambda model, prompt: Said("yes", math.log(0.5), "no")))
    head = b"POST / HTTP/1.1\r\nanthropic-version: 2023-06-01"

    def message(temperature: float) -> str:
        turn = [{"role": "user", "content": "p"}]
        body = {"model": "m", "max_tokens": 9, "messages": turn, "temperature": temperature}
        data = server.handle(Call("POST", "/v1/messages", head, json.dumps(body).encode())).data
        return str(json.loads(data.partition(b"\r\n\r\n")[2])["content"][0]["text"])

    def choice(temperature: float) -> str:
        return str(chat(server, temperature=temperature)[2]["choices"][0]["message"]["content"])

    for ask in (message, choice):
        assert {ask(0.0) for _ in range(20)} == {"yes"}
        assert {ask(1.0) for _ in range(20)} == {"yes", "no"}


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_a_model_strays_at_its_rate(rate: float) -> None:
    """A model named with an error rate disagrees on that share of prompts; where it strays it is less sure."""
    answer = by_rule("label:a,b,c", {"weak": rate})
    pairs = [(answer("strong", str(i)), answer("weak", str(i))) for i in range(4000)]
    differ = [one.text != other.text for one, other in pairs if isinstance(one, Said) and isinstance(other, Said)]
    assert abs(sum(differ) / 4000 - rate) <= 0.03


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("label:a,b", lambda text: text in "ab"),
        ("number:3,5", lambda text: text in "345"),
        ("echo", lambda text: text == "last line"),
    ],
)
def test_rules(rule: str, check: Callable[[str], bool]) -> None:
    """Each rule says what it says it does."""
    answer = by_rule(rule, {})
    for number in range(20):
        spoken = answer("m", f"{number}\nlast line")
        assert isinstance(spoken, Said)
        assert check(spoken.text)


@pytest.mark.parametrize("rule", ["", "label:one", "number:1", "number:a,b", "poem:x"])
def test_a_rule_that_cannot_be_read_is_told(rule: str) -> None:
    """Bad rules are bad input."""
    with pytest.raises(InputError, match="rule"):
        by_rule(rule, {})


async def test_breaking_the_contract() -> None:
    """A model told to break the contract always does; the others do not."""
    server = await started(MockServer(break_contract=["bad"]))
    assert said(server, "p", "bad") == BROKEN
    assert said(server, "p", "good") in ("positive", "negative")


async def test_tokens_are_cut_off() -> None:
    """What passes max_tokens is cut, and the reply says so."""
    server = await started(MockServer(lambda model, prompt: "twelve chars"))
    choice = chat(server, max_tokens=2)[2]["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("twelve c", "length")


async def test_logprobs_only_where_asked_and_allowed() -> None:
    """Log-probabilities come when asked for; a server told to refuse them names the parameter."""
    server, refusing = await started(MockServer()), await started(MockServer(refuse_logprobs=True))
    assert chat(server)[2]["choices"][0]["logprobs"] is None
    assert chat(server, logprobs=True)[2]["choices"][0]["logprobs"]["content"][0]["logprob"] < 0
    first = chat(server, logprobs=True, top_logprobs=5)[2]["choices"][0]["logprobs"]["content"][0]
    assert sum(math.exp(each["logprob"]) for each in first["top_logprobs"]) == pytest.approx(1)
    assert {"token": first["token"], "logprob": first["logprob"]} in first["top_logprobs"]
    status, _, body = chat(refusing, logprobs=True)
    assert (status, body["error"]["param"]) == (400, "logprobs")
    assert chat(refusing)[0] == 200


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
async def test_recorded_answers(tmp_path: Path, suffix: str) -> None:
    """From a recorded table: the item whose text is in the prompt, the longest where several are; null breaks."""
    rows = [
        ("1", "ref", "yes", 0.1, -0.5, "a good film"),
        ("1", "small", None, 0.1, -0.5, None),
        ("2", "ref", "no", 0.1, -0.25, "not a good film, whatever the others may have told you"),
        ("3", "ref", "maybe", 0.1, -0.125, "ok"),
    ]
    frame = pl.DataFrame(rows, ["item_id", "model", "answer", "cost_usd", "score", "input"], orient="row")
    path = tmp_path / f"recorded.{suffix}"
    {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}[suffix](path)
    recorded = Recorded(path)
    assert recorded("ref", "Judge: a good film, and no more") == Said("yes", -0.5)
    assert recorded("small", "Judge: a good film") == Said(BROKEN, -0.5)
    assert recorded("ref", f"Judge: {rows[2][5]}.") == Said("no", -0.25)
    assert recorded("ref", "Is this ok?") == Said("maybe", -0.125)
    assert recorded("ref", "nothing known") is None
    assert chat(await started(MockServer(recorded)), "nothing known", "ref")[0] == 404
    assert recorded.models == ["ref", "small"]


def test_recorded_tables_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A missing file and a missing column are bad input."""
    (tmp_path / "x.csv").write_text("item_id,model\n1,a\n")
    with pytest.raises(InputError, match="no column answer, input"):
        Recorded(tmp_path / "x.csv")
    with pytest.raises(InputError, match="not a file"):
        Recorded(tmp_path / "missing.csv")


async def test_limits_are_kept_and_told() -> None:
    """As many requests as the bucket holds, then 429 with the time to wait; every reply tells the state."""
    server = await started(MockServer(limits=Limits(requests=60, tokens=10**6, burst=3)))
    replies = [chat(server) for _ in range(5)]
    assert [status for status, _, _ in replies] == [200, 200, 200, 429, 429]
    assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in replies] == ["2", "1", "0", "0", "0"]
    assert replies[0][1]["x-ratelimit-limit-tokens"] == "1000000"
    assert 0 < int(replies[3][1]["retry-after-ms"]) <= 1000
    assert replies[3][1]["Retry-After"] == "1"
    assert server.stats()["faults"] == {"throttle": 2}


async def test_hidden_limits_tell_nothing() -> None:
    """A server may limit without saying so beforehand."""
    server = await started(MockServer(limits=Limits(tokens=60, burst=10, headers=False)))
    replies = [chat(server) for _ in range(2)]
    assert [status for status, _, _ in replies] == [200, 429]
    assert not any(name.startswith("x-ratelimit") for _, headers, _ in replies for name in headers)


def test_buckets_refill() -> None:
    """A bucket gives what flows in, and never more than it holds at once."""
    now = [0.0]
    bucket = Bucket(60, 2, lambda: now[0])
    bucket.take(2)
    assert bucket.wait(1) == 1
    now[0] = 0.5
    assert bucket.wait(1) == 0.5
    now[0] = 100
    assert (bucket.wait(2), bucket.remaining) == (0, 2)
    assert bucket.wait(50) == 0  # more than it ever holds goes through when it is full


async def test_faults_come_at_their_rate_and_are_counted() -> None:
    """Each kind at its share; what is answered and what is not add up."""
    server = await started(MockServer(faults=Faults.all(0.05), seed=1))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "p"}]}).encode()
    for _ in range(4000):
        server.handle(Call("POST", "/v1/chat/completions", b"", body))
    stats = server.stats()
    assert all(abs(count / 4000 - 0.05) < 0.015 for count in stats["faults"].values())
    assert len(stats["faults"]) == 6
    assert stats["answered"] + sum(stats["faults"].values()) == stats["requests"] == 4000
    assert stats["models"]["m"]["distinct"] == 1


@pytest.mark.parametrize("faults", [{"error": -0.1}, {"drop": 1.1}, {"hang": 0.6, "error": 0.6}])
def test_shares_that_are_none_are_told(faults: dict[str, float]) -> None:
    """Shares of faults lie in [0, 1], alone and together."""
    with pytest.raises(InputError, match="shares of faults"):
        MockServer(faults=Faults(**faults))


async def test_latency_and_stats_over_a_socket() -> None:
    """A reply takes its time, and /stats can be read meanwhile."""

    def fetch(address: str, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(urllib.request.Request(address, data)) as reply:
            return json.load(reply)

    async with MockServer(latency=0.1) as url:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "p"}]}).encode()
        start = asyncio.get_running_loop().time()
        reply = asyncio.ensure_future(asyncio.to_thread(fetch, f"{url}/chat/completions", body))
        while (await asyncio.to_thread(fetch, url.removesuffix("/v1") + "/stats"))["requests"] == 0:
            assert not reply.done()
        assert (await reply)["choices"]
        assert asyncio.get_running_loop().time() - start >= 0.1


async def test_a_port_that_is_taken_is_told() -> None:
    """A second server on the same port is bad input, not a traceback."""
    async with MockServer() as url:
        port = int(url.split(":")[2].removesuffix("/v1"))
        with pytest.raises(InputError, match=f"Cannot listen on 127.0.0.1:{port}"):
            await MockServer(port=port).start()


def test_serve_tells_its_address_and_ends_on_interrupt() -> None:
    """What the command line runs: the address as soon as it listens, on this machine only, until interrupted."""
    code = "from smart_llm.mock import serve; serve(ready=lambda url: print(url, flush=True), rule='echo')"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as mock:
        assert mock.stdout is not None
        url = mock.stdout.readline().strip()
        with urllib.request.urlopen(url + "/models") as reply:
            assert json.load(reply)["object"] == "list"
        mock.send_signal(signal.SIGINT)
        mock.wait(10)
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("Is this review positive or negative? I liked it or not", {"positive", "negative"}),
        ("Gut, schlecht oder neutral? ja oder nein", {"Gut", "schlecht", "neutral"}),
        ("Is it spam, ham, or neither: x", {"spam", "ham", "neither"}),
        ("Spam? More or less. Now or never", {"yes", "no"}),
        ("How many euros does it cost? x", {str(n) for n in range(10)}),
        ("Rate it. How much did they like it, from 0 to 10? yes or no", {str(n) for n in range(10)}),
        ("Combien de personnes : x", {str(n) for n in range(10)}),
        ("Say how many stars. x", {str(n) for n in range(10)}),
        ("Is it about acting, plot or other? Surprised at how much we care", {"acting", "plot", "other"}),
        ("We care so much, how much! Is it about acting, plot or other?", {"acting", "plot", "other"}),
        ("Spam? It shows how many there are", {"yes", "no"}),
    ],
)
def test_the_rule_is_guessed_from_the_question(prompt: str, labels: set[str]) -> None:
    """Without a rule, what the question names is what is answered; all of it, over many rows."""
    answer = by_rule("guess", {})
    said = {answer("big", f"{prompt} {i}") for i in range(200)}
    assert {each.text for each in said if isinstance(each, Said)} == labels
