"""Who may ask, how much may be sent, and what is never written down."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateways import REVIEWS, Served, mocking, serving

Command = Callable[..., tuple[int, str, str]]
TOKEN, OTHER = "token-of-reviews-0001", "token-of-films-000002"
SECRET = "A most private film"
CLOSED = """
max_body = 20000
store_text = false
[route.films]
labels = ["positive", "negative"]
reference = "openai:big@{url}?in=10&out=10"
candidates = ["openai:small@{url}?in=1&out=1"]
tokens_env = "FILMS_TOKENS"
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with a route for two tokens."""
    folder = tmp_path_factory.mktemp("gateway")
    env = {"REVIEWS_TOKENS": TOKEN, "FILMS_TOKENS": f"{OTHER}, {OTHER}-more"}
    config = CLOSED + REVIEWS + 'tokens_env = "REVIEWS_TOKENS"\n'
    with mocking() as mock, serving(folder, config.format(url=mock.url), env=env) as served:
        yield served


def asked(served: Served, route: str, text: str = SECRET, **headers: str) -> tuple[int, str]:
    """Status, and what is said."""
    body = {"model": f"smart/{route}", "messages": [{"role": "user", "content": text}]}
    reply = served.post("/v1/chat/completions", body, **headers)
    return reply.status, reply.body.decode()


def test_tokens(closed: Served) -> None:
    """A route is asked with one of its own tokens, in either SDK's header; with another, or none, nothing is told."""
    for header in ({"Authorization": f"Bearer {OTHER}"}, {"x_api_key": f"{OTHER}-more"}):
        assert asked(closed, "films", **header)[0] == 200
        status, said = asked(closed, "reviews", **header)
        assert (status, OTHER in said) == (401, False)
    for route in ("films", "reviews", "no-such-route"):
        assert asked(closed, route)[0] == asked(closed, route, Authorization="Bearer wrong")[0] == 401
    assert closed.get("/v1/models").status == 401
    listed = closed.get("/v1/models", Authorization=f"Bearer {TOKEN}").json["data"]
    assert [each["id"] for each in listed] == ["smart/reviews"]


def test_without_tokens_only_this_machine(tmp_path: Path) -> None:
    """Without tokens a route answers to this machine: to no page of elsewhere, no other name of this host, and nobody
    for whom a proxy speaks; nor are page and metrics shown to them."""
    elsewhere: list[dict[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"X_Forwarded_For": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
    ]
    with mocking() as mock, serving(tmp_path, REVIEWS.format(url=mock.url)) as served:
        for headers in elsewhere:
            assert asked(served, "reviews", **headers)[0] == 403, headers
            assert served.get("/", **headers).status == served.get("/metrics", **headers).status == 403
        assert asked(served, "reviews", Origin="http://localhost:3000")[0] == 200
        assert mock.server.stats()["requests"] <= 2


def test_the_page_asks_nobody(closed: Served) -> None:
    """The live page allows itself to ask nobody but the gateway, and needs nothing else."""
    page = closed.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    text = page.body.decode()
    assert "smart/films" in text
    assert not any(sign in text for sign in ('src="', "url(", "@import", 'href="http'))


HOSTILE: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"[]", "not a JSON object"),
    (b'{"a":' * 3000, "nested too deeply"),
    (b'{"messages":' + b"[" * 80 + b"]" * 80 + b',"model":"smart/films"}', "more than 64"),
    (b"\xff\xfe{}", "not JSON"),
    (b'{"model": 5, "messages": []}', "model: name a route"),
    (b'{"model": "smart/films", "messages": []}', "at least one"),
    (b'{"model": "smart/films", "messages": "x"}', "at least one"),
    (b'{"model": "smart/films", "messages": [5]}', "its role must be"),
    (b'{"model": "smart/films", "messages": [{"role": "tool", "content": "x"}]}', "its role must be"),
    (b'{"model": "smart/films", "messages": [{"role": "user", "content": "  "}]}', "say something"),
    (b'{"model": "smart/films", "messages": [{"role": "user", "content": null}]}', "write a text"),
    (b'{"model": "smart/films", "messages": [{"role": "user", "content": "\\ud800"}]}', "not"),
]
FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1e300}, "max_tokens"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 1e308}, "temperature"),
    ({"stream": "yes"}, "stream"),
    ({"n": 2}, "n: it is not supported"),
    ({"n": True}, "n: it is not supported"),
    ({"logit_bias": {"50256": -100}}, "logit_bias"),
    ({"extra_body": {"api_base": "http://evil"}}, "there is no such field"),
    ({"response_format": {"type": "json_object"}}, "answers with labels"),
    ({"response_format": {"type": "json_schema"}}, "json_schema with a schema"),
]


def test_hostile_bodies_are_told_what_is_wrong(closed: Served) -> None:
    """Whatever is sent, the answer is a 400 in the dialect's own form, in a sentence that quotes no text; a body that
    is too large is a 413, however its length is told."""
    header = {"Authorization": f"Bearer {OTHER}"}
    message = {"model": "smart/films", "messages": [{"role": "user", "content": SECRET}]}
    bodies = [*HOSTILE, *((json.dumps(message | fields).encode(), said) for fields, said in FIELDS)]
    for body, said in bodies:
        reply = closed.post("/v1/chat/completions", body, **header)
        assert reply.status == 400, (body[:80], reply.body)
        error = reply.json["error"]
        assert said in error["message"]
        assert SECRET not in error["message"]
        assert error["type"] == "invalid_request_error"
        anthropic = closed.post("/v1/messages", body, **header)
        assert anthropic.status == 400, (body[:80], anthropic.body)
        assert anthropic.json["type"] == "error"
    assert asked(closed, "films", "x" * 30_000, **header)[0] == 413
    assert raw(closed, f"content-length: 3\r\ncontent-encoding: gzip\r\nauthorization: Bearer {OTHER}", b"abc") == 415
    chunks = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    assert raw(closed, f"transfer-encoding: chunked\r\nauthorization: Bearer {OTHER}", chunks * 3) == 413
    endless = f"content-length: 99999999999999999999\r\nauthorization: Bearer {OTHER}"
    assert raw(closed, endless, b"") in (400, 413)
    assert raw(closed, "content-length: 99999", b"") == 401  # before a byte of it is read


def raw(served: Served, headers: str, body: bytes) -> int:
    """The status of a request in bytes."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n".encode() + body)
        return int(wire.recv(100).split()[1])


def test_nothing_private_is_written(tmp_path: Path) -> None:
    """With store_text = false no text of a request stands in the ledger, its log or the gateway's output, also where
    the provider quotes it in an error; and no token or key stands anywhere."""
    env = {"TOKENS": TOKEN, "KEY": "provider-key-0000001"}
    config = "store_text = false\ntimeout = 4\n" + REVIEWS.replace("?in=", "?key_env=KEY&in=") + 'tokens_env = "TOKENS"'
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with mocking(key="provider-key-0000001") as mock:
        with serving(tmp_path, config.format(url=mock.url), env=env) as served:
            for i in range(5):
                assert asked(served, "reviews", f"{SECRET} {i}", **headers)[0] == 200
            shown = served.get("/").body + served.get("/metrics").body
            assert served.stop() == 0
        with serving(tmp_path, config.format(url=mock.url), env=env | {"KEY": "another-key-00000001"}) as refused:
            status, said = asked(refused, "reviews", SECRET + " again", **headers)
            assert status == 502
            assert refused.stop() == 0
    written = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    everything = written + shown + said.encode() + "".join(served.log + refused.log).encode()
    for private in (SECRET, TOKEN, "provider-key-0000001", "another-key-00000001"):
        assert private.encode() not in everything
    with sqlite3.connect(tmp_path / "gateway.db") as db:
        assert db.execute("SELECT COUNT(*), COUNT(request) FROM answers").fetchone()[1] == 0
    db.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("window", "windo"), "there is no key 'windo'. Did you mean window?"),
        (("[route.reviews]", "[rout.reviews]"), "there is no key 'rout'. Did you mean route?"),
        (("window = 60", "window = 0"), "window = 0"),
        (("window = 60", "window = 60.5"), "window = 60.5"),
        (("window = 60", "window = 60\naudit = 'behid'"), "Did you mean behind?"),
        (("window = 60", "window = 60\nagreement = 1.5"), "must lie between 0 and 1"),
        (("window = 60", "window = 60\nbudget_per_day = -1"), "write a number above 0"),
        (("window = 60", "window = 60\ntokens_env = 'NO_SUCH_VARIABLE'"), "NO_SUCH_VARIABLE has no tokens"),
        (("window = 60", "window = 60\nschema = 'none.json'"), "none.json cannot be read"),
        (('candidates = ["', 'candidates = ["fake:a?pack=20&in=1&out=1", "'), "as they come"),
        (('labels = ["positive", "negative"]', 'answer = "json"\nschema = "none.json"'), "none.json cannot be read"),
        (("[route.reviews]", 'listen = "nowhere"\n[route.reviews]'), "write HOST:PORT"),
        (("reference", "refrence"), "Did you mean reference?"),
        (("[route.reviews]", "[route.reviews"), "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, command: Command, change: tuple[str, str], said: str
) -> None:
    """One line that says where and what, and exit code 2; no ledger is made."""
    config = (REVIEWS + "window = 60\n").format(url="http://127.0.0.1:9/v1")
    assert change[0] in config
    (tmp_path / "gateway.toml").write_text(config.replace(*change, 1))
    code, out, err = command("serve", tmp_path / "gateway.toml")
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("gateway.db*"))
