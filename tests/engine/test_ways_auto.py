"""`--ways auto`: the ways that are sensible for a table, and what they save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import smart_llm as smart
from smart_llm.engine.spelled import MOST, spelled_out
from smart_llm.errors import InputError
from smart_llm.mock.answers import Said, by_rule
from smart_llm.mock.server import MockServer
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.tables import open_table
from smart_llm.types import Answer, Request

LONG = "Say whether the remark is meant as praise or as blame, by these rules. " + "Mind the tone of it. " * 75


def ways(prompt: str, text: str, *candidates: str, answer: str | None = None) -> list[str]:
    """What is spelled out, without the models' own names."""
    specs = ["openai:big@http://h/v1?in=9&out=9", *(candidates or ("openai:small@http://h/v1?in=1&out=1",))]
    models = [resolve(spec) for spec in specs]
    task = smart.Task(prompt, answer=answer) if answer else smart.Task(prompt, labels=["yes", "no"])
    names = [model.name for model in spelled_out(models, task, open_table([{"text": text}] * 50))]
    assert names[0] == models[0].name
    for name, spec in zip(names[1:], names[1:], strict=True):
        provider, _, how = spec.partition("?")
        assert resolve(f"{provider}?in=1&out=1&{how}").name == name  # it can be written by hand as well
    return [name.partition("?")[2] for name in names[1:]]


def test_packs_where_instructions_are_long_beside_the_rows() -> None:
    """Long instructions and short rows: packs of 8 and 32; short instructions: none."""
    assert ways(LONG + "{text}", "short") == ["", "pack=8", "pack=32"]
    assert ways("Praise? {text}", "a text of some length " * 20) == [""]


def test_the_beginning_of_long_texts() -> None:
    """Texts of thousands of characters: also their first 2,000."""
    assert ways("Praise? {text}", "word " * 2000) == ["", "head=2000"]


def test_long_answers_and_servers_without_schemas_are_not_packed_much() -> None:
    """Where an answer may take a thousand tokens no pack is large; a server without schemas gets small ones."""
    assert ways(LONG + "{text}", "short", answer="text") == [""]
    assert ways(LONG + "{text}", "short", "fake:small?in=1&out=1") == ["", "pack=8"]


def test_what_the_user_wrote_stays_and_there_are_never_too_many() -> None:
    """A way of the user's own is taken as it is; thirty ways at most."""
    url = "@http://h/v1?in=1&out=1"
    assert ways(LONG + "{text}", "short", f"openai:s{url}&pack=20") == ["pack=20"]
    many = ways(LONG + "{text}", "short", *(f"openai:s{k}{url}" for k in range(20)))
    assert len(many) == MOST


class Served:
    """A provider under the name of a model that has no port in it: orders, packs and costs follow from names."""

    def __init__(self, url: str, model: str) -> None:
        [(self._name, self._inner)] = make_providers([resolve(f"openai:{model}@{url}?in=1&out=1")]).items()

    async def complete(self, request: Request) -> Answer:
        """The mock's answer."""
        return await self._inner.complete(replace(request, model=self._name))

    async def close(self) -> None:
        """Hang up."""
        await self._inner.close()


@pytest.mark.parametrize(("rows", "errs", "at_most"), [(2000, 0.0, 0.45), (4000, 0.02, 0.6)])
async def test_the_ways_pay_and_the_promise_is_kept(tmp_path: Path, rows: int, errs: float, at_most: float) -> None:
    """5,000 rows of 30 tokens under 400 tokens of instructions, an agreement of .90, a candidate at a twentieth of the
    price: at most .45 of the cost without ways. Where it errs on 2 % of the rows it is .41 in the mean of eight orders,
    single ones up to .66 (RESULTS.md): most of what is left is evidence, which both pay alike."""
    table = [{"text": f"remark {i}: " + "such words as people write " * 4} for i in range(rows)]
    task = smart.Task(LONG + "\n\n{text}", labels=["yes", "no"])
    big, small = (f"openai:{name}@http://mock/v1" for name in ("big", "small"))
    cost, truth = {}, by_rule("label:yes,no", {})
    async with MockServer(rule="label:yes,no", errors={"small": errs}) as url:
        for ways in ("given", "auto"):
            done = await smart.arun(
                table,
                task,
                reference=f"{big}?in=20&out=20",
                candidates=[f"{small}?in=1&out=1"],
                agreement="0.9",
                ways=ways,
                seed=2,
                ledger=tmp_path / f"{ways}.db",
                progress=False,
                providers={big: Served(url, "big"), small: Served(url, "small")},
            )
            cost[ways] = done.cost
            said = [truth("big", f"{LONG}\n\n{row['text']}") for row in table]
            misses = sum(
                not isinstance(each, Said) or each.text != row["answer"]
                for row, each in zip(done.table, said, strict=True)
            )
            assert misses <= 0.1 * rows
    assert cost["auto"] <= at_most * cost["given"], cost


def test_another_word_than_auto_and_given() -> None:
    """An option that nobody knows is refused."""
    with pytest.raises(InputError, match="auto or given"):
        smart.run([{"text": "a"}], smart.Task("{text}", answer="text"), reference="a:b", candidates=["a:c"], ways="all")
