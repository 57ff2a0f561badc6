"""Models in this process: a GGUF file, run by llama.cpp (xllamacpp), nothing leaves the machine.

*The same request gets the same bits, whatever came before it.* llama.cpp rounds differently when a prompt is evaluated
in other portions, so reusing "whatever prefix is still there" would let an answer depend on the row before it. But
evaluating a few-shot prompt anew for every row costs several times the row itself. So each request is cut at a place
that depends on the request alone (`cut`): the part before the cut is evaluated once, in one portion, and kept; the part
after it is evaluated in one portion on top. llama.cpp keeps more than that when two rows begin alike; then the kept
state is first wound back by a one-token *wedge*. What was really reused is read from every reply, and a row that did
not start exactly at the cut is done again. Files whose chat template is not ChatML are evaluated whole.

*Labels* are forced by a grammar and one token is decoded. Of that token llama.cpp reports the probabilities before the
grammar: each label gets the mass of the tokens that begin it and no other label (whatever their case), the heaviest
label is the answer, and `Answer.logprobs` holds that one label with its log-probability *among the labels*, `listed`
the surest others. A label outside the listed tokens gets the mass of the last one listed, which can only lower the
score: the safe direction. Labels that begin with the same token are decoded in full instead.

*Cores.* A call is evaluated in one thread, and as many calls run side by side as there are cores, each on an engine of
its own. Several threads on one call wait for each other hundreds of times per token: on a machine that is busy with
anything else that was ten times slower, and for many rows it is no faster on an idle one.

*CPU-seconds* are those of the engine's own threads and of the thread that called it, as Linux counts them; where that
cannot be read, calls run one at a time and the CPU-seconds of the process are taken. Loading the file is no part of any
call. A busy machine makes the same work cost more CPU-seconds (shared caches, sibling hyperthreads).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smart_llm.errors import InputError, Refused
from smart_llm.providers.base import PLACES, surest
from smart_llm.providers.local import weights
from smart_llm.scores.own import log_sum
from smart_llm.types import Answer, Model, Request, Usage

DEFAULT_CPU_HOUR = 0.05
"""USD per CPU-hour a local call is priced at unless the user states another rate: about what a rented virtual CPU
costs. Only ratios between local models are meant to be compared; beside a paid API it is the user's figure to set."""

CONTEXT = 4096
"""Tokens a prompt and its answer may have together; a longer row becomes that row's error."""

LISTED = 60
"""How many of the most probable first tokens are read when labels are scored."""

WEDGE, PROBE = "\x01", "\x02"
"""Two characters no row begins with: what follows the cut while nothing of a row shall be kept."""

SLOWNESS = (0.010, 55e-12)
"""CPU-seconds a token costs, and for each byte of the model file: a first guess for `expect`, measured on one machine.
Only for planning before the first call; what is paid is measured."""

TASKS = Path("/proc/self/task")
"""Where Linux tells the threads of this process and their CPU time. Elsewhere calls run one at a time."""

CORES = (os.cpu_count() or 1) if TASKS.exists() else 1
_workers = ThreadPoolExecutor(CORES, thread_name_prefix="smart-local")
_starting = threading.Lock()

_FIRST_ITEM = re.compile(r"^<item(?:-\d+)? 1>\n", re.M)  # as packs have it
_OPENING = re.compile(r"\w{1,20}:")

Reply = Mapping[str, Any]
Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """A prompt, cut: `stable` is kept between calls, `own` is the row's part."""

    stable: str
    own: str


@dataclass(slots=True)
class Held:
    """What the model's memory holds: `stable` in its first `tokens` tokens, then something that begins with `own`."""

    stable: str
    tokens: int
    own: str


class LocalProvider:
    """One model file; `complete` answers as many requests at a time as there are cores, `close` frees the memory.

    name: as in `smart models list`. context: tokens a prompt and its answer may have together.
    """

    def __init__(self, name: str, *, context: int = CONTEXT) -> None:
        self.name = name
        self._context = context
        self._path = weights.locate(name)
        self._known = weights.KNOWN.get(name)
        self._idle: list[Engine] = []
        library()

    def expect(self, request: Request) -> Usage:
        """A guess at one call's usage, for planning: only the row's own part of the prompt is evaluated."""
        own = cut(request, "").own if self._known else request.prompt
        tokens, base = len(own.encode()) // 4 + 8, SLOWNESS[0]
        decoded = 1 if request.labels else min(request.max_tokens, 64)
        seconds = (tokens + decoded) * (base + SLOWNESS[1] * self._path.stat().st_size)
        return Usage(len(request.prompt.encode()) // 4 + 8, decoded, cpu_seconds=seconds)

    async def complete(self, request: Request) -> Answer:
        """The model's answer. Errors: `Refused` (only this row, if its prompt is too long), `InputError`."""
        return await asyncio.get_running_loop().run_in_executor(_workers, self._complete, request)

    async def close(self) -> None:
        """Free the model's memory. A later call would load it again."""
        self._idle.clear()

    def _complete(self, request: Request) -> Answer:
        """In a worker thread: borrow an engine, or make one."""
        engine = self._idle.pop() if self._idle else start(self._path, self._context)
        try:
            before = engine.cpu_seconds()
            replies = list(self._replies(engine, request))
            answer = _answer(request, replies, engine.cpu_seconds() - before)
        finally:
            self._idle.append(engine)
        return replace(answer, snapshot=self._known.sha256 if self._known else "")

    def _replies(self, engine: Engine, request: Request) -> Iterable[Reply]:
        """One reply; a second, decoded in full, where the first token does not tell the labels apart."""
        first = self._ask(engine, request, options(request))
        yield first
        if request.labels and _fitting(_content(first)[0]["token"], request.labels) is None:
            yield self._ask(engine, request, options(request) | {"n_predict": 64, "max_tokens": 64})

    def _ask(self, engine: Engine, request: Request, how: Options) -> Reply:
        if self._known is None:
            return _checked(engine.server.handle_chat_completions(chat(request) | how | {"cache_prompt": False}))
        return engine.ask(cut(request, self._known.system), how)


@dataclass(slots=True)
class Engine:
    """One llama.cpp server, which evaluates in one thread, and what its memory holds. threads: those born with it."""

    server: Any
    threads: tuple[Path, ...] = ()
    held: Held | None = None

    def cpu_seconds(self) -> float:
        """CPU-seconds of the engine's threads and of the calling one so far; elsewhere than on Linux, the process's."""
        if not self.threads:
            return time.process_time()
        nanoseconds = sum(int((thread / "schedstat").read_text().split()[0]) for thread in self.threads)
        return nanoseconds / 1e9 + time.thread_time()

    def ask(self, parts: Parts, how: Options) -> Reply:
        """Evaluate a prompt from its cut on, or whole where the text cannot be cut there between two tokens."""
        return self._from_cut(parts, how) or self._whole(parts, how)

    def _from_cut(self, parts: Parts, how: Options) -> Reply | None:
        held = self.held
        if held is None or held.stable != parts.stable:
            held = self._hold(parts.stable)
        elif parts.own[:3] == held.own[:3]:
            self._wind_back(held)
        reply = self._raw(parts.stable + parts.own, how)
        if _reused(reply) > held.tokens:
            self._wind_back(held)
            reply = self._raw(parts.stable + parts.own, how)
        held.own = parts.own
        return reply if _reused(reply) == held.tokens else None

    def _hold(self, stable: str) -> Held:
        """Evaluate `stable` afresh and count its tokens: what two different continuations of it share."""
        self.held = None
        self._raw(stable + WEDGE, {"n_predict": 0}, keep=False)
        probe = self._raw(stable + PROBE, {"n_predict": 0})
        self.held = Held(stable, _reused(probe), PROBE)
        return self.held

    def _wind_back(self, held: Held) -> None:
        self._raw(held.stable + WEDGE, {"n_predict": 0})

    def _whole(self, parts: Parts, how: Options) -> Reply:
        self.held = None
        return self._raw(parts.stable + parts.own, how, keep=False)

    def _raw(self, prompt: str, how: Options, keep: bool = True) -> Reply:
        request = {"prompt": prompt, "temperature": 0.0, "cache_prompt": keep, **how}
        try:
            return _checked(self.server.handle_completions(request))
        except Refused:
            self.held = None
            raise


def make(model: Model) -> LocalProvider:
    """The provider of `local:…`. Errors: `InputError` where the file or the library is not here."""
    return LocalProvider(model.model)


# --------------------------------------------------------------------------- the request


def options(request: Request) -> Options:
    """llama.cpp's options for the form of the answer and the sampling."""
    how: Options = {"temperature": request.temperature, "seed": request.draw, "n_predict": request.max_tokens}
    how["max_tokens"] = request.max_tokens
    if request.labels:
        how |= {"grammar": grammar(request.labels), "n_predict": 1, "max_tokens": 1}
    elif request.schema:
        how["json_schema"] = json.loads(request.schema)
    if request.labels or request.logprobs:
        how |= {"n_probs": LISTED if request.labels else 1, "logprobs": True}
        how["top_logprobs"] = how["n_probs"]
    return how


def grammar(labels: Sequence[str]) -> str:
    """GBNF that admits exactly these labels."""
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def chat(request: Request) -> Options:
    """The request as chat messages."""
    return {"messages": [{"role": role, "content": text} for role, text in request.turns if text or role != "system"]}


def cut(request: Request, system: str) -> Parts:
    """The request in ChatML, cut where rows usually begin to differ: before the text of the first item of a pack, else
    in the last paragraph of the prompt, after an opening `Word:`. Any place would be correct, a poor one only costs
    time.

    system: the model's own system message, used where the request has none. Control tokens inside the texts are
    broken up, so that a row cannot end its own turn.
    """
    start = request.prompt.rfind("\n\n") + 2 if "\n\n" in request.prompt else 0
    if found := _FIRST_ITEM.search(request.prompt) or _OPENING.match(request.prompt, start):
        start = found.end()
    said = [("system", request.system or system), *request.before]
    opening = "".join(f"<|im_start|>{role}\n{_plain(text)}<|im_end|>\n" for role, text in said) + "<|im_start|>user\n"
    ending = "<|im_end|>\n<|im_start|>assistant\n"
    return Parts(opening + _plain(request.prompt[:start]), _plain(request.prompt[start:]) + ending)


def _plain(text: str) -> str:
    return text.replace("<|", "< |")


# --------------------------------------------------------------------------- the reply


def _answer(request: Request, replies: Sequence[Reply], cpu_seconds: float) -> Answer:
    last = replies[-1]
    choice = last["choices"][0]
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    places, finish = list(map(_place, _content(last))), str(choice["finish_reason"])
    if request.labels and len(replies) == 1:
        text, finish = label_of(_content(last)[0], request.labels), "stop"
        shares = label_logprobs(_content(last)[0], request.labels)
        places = [(next(pair for pair in shares if pair[0] == text), surest(shares, text))]
    return Answer(
        text,
        _usage(replies, cpu_seconds),
        logprobs=tuple([pair for pair, _ in places]),
        finish=finish,
        listed=tuple([others for _, others in places[:PLACES]]) if request.labels else (),
    )


def _place(token: Reply) -> tuple[tuple[str, float], tuple[tuple[str, float], ...]]:
    """A token of the answer, and what else was probable in its place."""
    others = [(str(t["token"]), float(t["logprob"])) for t in token.get("top_logprobs", ())]
    return (str(token["token"]), float(token["logprob"])), surest(others, str(token["token"]))


def label_of(first: Reply, labels: Sequence[str]) -> str:
    """The label with the most mass among the first tokens; between equals, the one the grammar let through."""
    forced = _fitting(first["token"], labels)
    return max(label_logprobs(first, labels), key=lambda pair: (pair[1], pair[0] == forced))[0]


def label_logprobs(first: Reply, labels: Sequence[str]) -> list[tuple[str, float]]:
    """Each label's natural-log probability among the labels, from the listed first tokens."""
    listed = [(str(t["token"]), float(t["logprob"])) for t in first["top_logprobs"]]
    least = min((p for _, p in listed), default=float(first["logprob"]))
    given = dict([*listed, (str(first["token"]), float(first["logprob"]))])
    masses = [log_sum([p for token, p in given.items() if _fitting(token, labels) == label]) for label in labels]
    masses = [least if m == -math.inf else m for m in masses]
    total = log_sum(masses)
    return [(label, mass - total) for label, mass in zip(labels, masses, strict=True)]


def _fitting(token: str, labels: Sequence[str]) -> str | None:
    """The only label this token begins, or None."""
    begun = token.strip().casefold()
    fits = [label for label in labels if begun and label.casefold().startswith(begun)]
    return fits[0] if len(fits) == 1 else None


def _content(reply: Reply) -> list[Reply]:
    return list((reply["choices"][0].get("logprobs") or {}).get("content") or [])


def _reused(reply: Reply) -> int:
    return int(reply["timings"]["cache_n"])


def _usage(replies: Sequence[Reply], cpu_seconds: float) -> Usage:
    counts = [reply["usage"] for reply in replies]
    return Usage(
        input_tokens=sum(int(c["prompt_tokens"]) for c in counts),
        output_tokens=sum(int(c["completion_tokens"]) for c in counts),
        cached_tokens=sum(_reused(reply) for reply in replies),
        cpu_seconds=cpu_seconds,
    )


def _checked(reply: Reply) -> Reply:
    error = reply.get("error")
    if error is None:
        return reply
    if error.get("type") == "exceed_context_size_error":
        raise Refused(
            f"the prompt has {error.get('n_prompt_tokens')} tokens, the model was given room for {error.get('n_ctx')}: "
            "shorten the row",
            row_only=True,
        )
    raise Refused(f"the local model refused the request: {error.get('message')}")


# --------------------------------------------------------------------------- the library


def library() -> Any:
    """xllamacpp, imported with waiting threads asleep: spinning ones collapse on a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return importlib.import_module("xllamacpp")
    except ModuleNotFoundError:
        raise InputError("local models need xllamacpp: pip install 'smart-llm[local]'") from None
    except ImportError as error:
        hint = "install the system library libgomp1 (apt-get install libgomp1)" if "gomp" in str(error) else str(error)
        raise InputError(f"xllamacpp cannot be loaded: {hint}") from None


def start(path: os.PathLike[str], context: int, *, adapt: Callable[[Any], None] | None = None) -> Engine:
    """Load a model file into an engine of its own; the file's pages are shared between engines. adapt: is given the
    library's parameters, for another use of the file than answering."""
    with _starting:
        before = set(TASKS.glob("*"))
        server = _load(path, context) if adapt is None else _load(path, context, adapt)
        return Engine(server, tuple(sorted(set(TASKS.glob("*")) - before)))


def _load(path: os.PathLike[str], context: int, adapt: Callable[[Any], None] = lambda params: None) -> Any:
    params = library().CommonParams()
    params.model.path = os.fspath(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.cache_ram_mib = context, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.no_extra_bufts = True  # no repacked copy: pages of the file are shared, at the same speed
    params.warmup, params.fit_params, params.verbosity = False, False, 0
    adapt(params)
    try:
        return library().Server(params)
    except Exception as error:
        raise InputError(f"{path} cannot be loaded as a model: {error}") from None
