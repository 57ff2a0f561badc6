"""Tasks: templates, contracts as the user gives them, and the description that goes into the plan."""

import copy
import functools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.errors import InputError
from smart_llm.tasks import Task, format_value

cell = st.text(max_size=30)
PLACED = ("{x}|{y}|{z}", "what {x}|{z} end", "{x}{y}|{z}", "{x}|{x}", "{y}")


def ask(prompt: str) -> Task:
    """A text task with this prompt."""
    return Task(prompt, answer="text")


@given(cell, cell)
def test_cells_are_put_in_as_they_are(a: str, b: str) -> None:
    """A cell's text is never looked at: braces, percent signs and column names in it stay text."""
    row = {"a": "{b}%s{0}" + a, "b": b + "{a}"}
    assert ask("1 {a} 100 % %s {b} {a}").render(row) == "1 " + row["a"] + " 100 % %s " + row["b"] + " " + row["a"]


@pytest.mark.parametrize(
    "name", ["text", "Review text", "a.b", "a-b", "größe", "文", "0", "a}b", "a{b", "%s", "a[0]", "x:>9", ""]
)
def test_any_name_of_a_column_works(name: str) -> None:
    """A column is used by its exact name, whatever it is made of."""
    assert ask(f"<{{{name}}}>").render({name: "cell", "other": "x"}) == "<cell>"


@pytest.mark.parametrize(
    "literal",
    [
        '{"a": {"b": 1}}',
        "{}",
        "{{}}",
        "{ }",
        '{"text": "x"}',
        "{1}",
        "{a b}",
        "{a.b}",
        "{a!r}",
        "{a:>10}",
        "} {",
        "{{{",
        "{'k'}",
    ],
)
def test_other_braces_are_literal(literal: str) -> None:
    """JSON examples and whatever else stands in braces stay as they are."""
    assert ask(literal + " {text}").render({"text": "cell"}) == literal + " cell"


def test_a_json_example_may_hold_a_column() -> None:
    """Braces around a column's braces are literal."""
    assert ask('{"in": {{text}}, "x": {}}').render({"text": "cell"}) == '{"in": {cell}, "x": {}}'


def test_a_word_in_doubled_braces_is_that_word_in_braces() -> None:
    """The way to write a single word in braces that is no column."""
    assert ask("\\boxed{{answer}} {text}").render({"text": "cell"}) == "\\boxed{answer} cell"


@pytest.mark.parametrize("prompt", ["{txt}", "{text} {label}", "{Text}", "{ text }", "{text} {Review}"])
def test_an_unknown_column_is_named_with_those_there_are(prompt: str) -> None:
    """A word in braces that is no column, or a column in other capitals, is refused before anything is spent."""
    with pytest.raises(InputError, match=r"no such column; columns: text, review") as error:
        ask(prompt).columns(["text", "review"])
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize("prompt", ["", "  \n", "no column", '{"a": 1}'])
def test_a_prompt_without_a_column_is_refused(prompt: str) -> None:
    """A prompt that is the same for every row is a mistake."""
    with pytest.raises(InputError):
        ask(prompt).columns(["text"])


def test_columns_and_prefix() -> None:
    """Columns come in order of first use; the prefix is what every row's prompt starts with."""
    task = ask("Say 5 %: {b} {a} {b}")
    assert task.columns(["a", "b", "c"]) == ("b", "a")
    assert task.prefix(["a", "b", "c"]) == "Say 5 %: "
    assert task.render({"b": "1", "a": "2"}) == "Say 5 %: 1 2 1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "what an answer is"),
        ({"labels": ["a", "b"], "answer": "text"}, "one output contract"),
        ({"labels": ["a", "b"], "schema": {"type": "object"}}, "one output contract"),
        ({"answer": "number", "schema": {"type": "object"}}, "drop one"),
        ({"answer": "boolean"}, "unknown answer kind"),
        ({"labels": []}, "at least 2"),
        ({"labels": ["a"]}, "at least 2"),
        ({"labels": "positive,negative"}, "list"),
        ({"labels": ["a", " "]}, "no letters"),
        ({"labels": ["a", ":"]}, "no letters"),
        ({"labels": ["Not spam", "not_spam"]}, "same answer"),
        ({"labels": ["yes", "Yes."]}, "same answer"),
        ({"answer": "text", "equivalence": "fuzzy"}, "unknown equivalence"),
        ({"answer": "text", "equivalence": "number"}, "no equivalence"),
        ({"labels": ["a", "b"], "equivalence": "json"}, "no equivalence"),
        ({"answer": "text", "equivalence": 3}, "must be a function"),
        ({"answer": "text", "parse": "json"}, "must be a function"),
        ({"answer": "text", "tolerance": 0.1}, "tolerance"),
        ({"answer": "number", "tolerance": -1}, "tolerance"),
        ({"answer": "number", "tolerance": float("nan")}, "tolerance"),
        ({"answer": "number", "equivalence": lambda a, b: True, "tolerance": 0.1}, "tolerance"),
        ({"answer": "text", "max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_task_that_cannot_be_used_is_refused(options: dict[str, Any], said: str) -> None:
    """Each mistake is an input error of one or two lines that says what to do."""
    with pytest.raises(InputError, match=said) as error:
        Task("{text}", **options)
    assert len(str(error.value).splitlines()) <= 2


def test_tokens_by_contract() -> None:
    """The room for an answer follows the contract, and covers the longest label even at a token per byte."""
    assert Task("{t}", labels=["a", "ж" * 100]).max_tokens >= 200
    assert Task("{t}", answer="number").max_tokens == 64
    assert Task("{t}", answer="text").max_tokens == 1024
    assert Task("{t}", answer="json", max_tokens=7).max_tokens == 7


def test_the_provider_is_told_what_it_may_enforce() -> None:
    """Labels and schema are there for structured output; the schema keeps the user's order of fields."""
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    assert Task("{t}", labels=("x", "y")).contract.labels == ("x", "y")
    assert Task("{t}", schema=schema).contract.schema == json.dumps(schema, separators=(",", ":"))
    assert Task("{t}", answer="number").contract.labels is None


def test_own_parser_is_still_held_to_the_contract() -> None:
    """What a user's `parse` returns must satisfy the contract; an exception or None breaks it."""
    task = Task("{t}", labels=["yes", "no"], parse=lambda text: text.split("|")[1])
    assert task.parse("x|Yes") == "yes"
    assert task.parse("x|maybe") is None
    assert task.parse("x") is None
    assert Task("{t}", answer="number", parse=lambda text: 0.5).parse("x") == Decimal("0.5")
    assert Task("{t}", answer="number", parse=lambda text: float("nan")).parse("x") is None
    assert Task("{t}", answer="text", parse=lambda text: 3).parse("x") is None
    assert Task("{t}", schema={"type": "integer"}, parse=int).parse("12") == 12
    assert Task("{t}", schema={"type": "integer"}, parse=str).parse("12") is None


def test_own_parser_may_stand_alone() -> None:
    """A parser without a contract accepts what it returns; the equivalence is then exact."""
    task = Task("{t}", parse=lambda text: text.split())
    assert task.parse("a b") == ["a", "b"]
    assert task.equivalent(["a", "b"], ["a", "b"])
    assert not task.equivalent(["a"], ["A"])


def test_own_equivalence_that_fails_is_seen() -> None:
    """A failing equivalence would look like disagreement and cost money: it is an error that names it."""

    def broken(a: Any, b: Any) -> bool:
        raise KeyError("x")

    with pytest.raises(InputError, match="broken failed"):
        Task("{t}", answer="text", equivalence=broken).equivalent("a", "b")


def threshold(limit: float) -> Callable[[Any, Any], bool]:
    """An equivalence with a captured value."""
    return lambda a, b: abs(a - b) < limit


def test_the_description_changes_with_whatever_changes_answers() -> None:
    """Equal tasks are described equally; every option, and a function's captured values, change the description."""

    def make(**options: Any) -> str:
        return json.dumps(Task(**{"prompt": "{t}", "answer": "number", **options}).to_json(), sort_keys=True)

    described = [
        make(),
        make(prompt="{t}!"),
        make(answer="text"),
        make(equivalence="exact"),
        make(tolerance=0.1),
        make(system="s"),
        make(max_tokens=9),
        make(parse=int),
        make(parse=float),
        make(parse=lambda text: 1),
        make(equivalence=threshold(1)),
        make(equivalence=threshold(2)),
        make(equivalence=functools.partial(threshold, 2)),
    ]
    assert len(set(described)) == len(described)
    assert make(equivalence=threshold(1)) == make(equivalence=threshold(1))


def test_functions_without_source_are_told_apart_by_their_code() -> None:
    """A function typed into a session is described by its bytecode."""

    def typed(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(source, names)
        return Task("{t}", parse=names["f"]).to_json()["parse"]["hash"]

    assert typed("def f(x): return x + 'a'") == typed("def f(x): return x + 'a'")
    assert typed("def f(x): return x + 'a'") != typed("def f(x): return x + 'b'")


def test_a_task_is_a_value() -> None:
    """Tasks compare by what they do and cannot be changed."""
    assert Task("{t}", answer="text") == Task("{t}", answer="text")
    assert len({Task("{t}", answer="text"), Task("{t}", answer="text"), Task("{t}", answer="json")}) == 2
    with pytest.raises(AttributeError):
        Task("{t}", answer="text").prompt = "other"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("x", "x"),
        (Decimal("1234.50"), "1234.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("6.02E+23"), "6.02E+23"),
        (Decimal("100"), "100"),
        (Decimal("0"), "0"),
        (True, "true"),
        (3, "3"),
        ({"a": ["ü", 1.5]}, '{"a": ["ü", 1.5]}'),
    ],
)
def test_how_answers_are_written(value: Any, text: str) -> None:
    """Texts as they are, numbers plainly, the rest as JSON."""
    assert format_value(value) == text


@given(st.lists(st.text("ab {}\n", max_size=6), min_size=3, max_size=3), st.sampled_from(PLACED))
def test_cells_can_be_told_from_a_prompt(cells: list[str], prompt: str) -> None:
    """What is told makes the same prompt again; where cells hold nothing of the text between them, it is the cells."""
    template = Task(prompt, answer="text").template(("x", "y", "z"))
    row = dict(zip("xyz", cells, strict=True))
    told = template.cells(template.render(row))
    assert told is not None
    assert [name for name, _ in told] == list(template.fields)
    parts = [part for pair in zip(template.literals, [text for _, text in told], strict=False) for part in pair]
    assert "".join([*parts, template.literals[-1]]) == template.render(row)
    if "}{" not in prompt:  # cells here never hold the text between two places
        assert told == [(name, row[name]) for name in template.fields]


def test_cells_of_another_prompt_are_none() -> None:
    """A text that is not of the template tells nothing."""
    template = Task("A {x} and {y}.", answer="text").template(("x", "y"))
    assert [template.cells(text) for text in ("", "A .", "B 1 and 2.", "A 1 or 2.", "A 1 and 2")] == [None] * 5


@pytest.mark.parametrize(
    "kind",
    [
        {"labels": ["yes", "no"]},
        {"answer": "text"},
        {"answer": "number", "tolerance": 0.5},
        {"answer": "json", "schema": {"type": "object"}},
    ],
)
def test_a_task_travels(kind: dict[str, Any]) -> None:
    """Made anew of its parts, in another process say, it is the same task and reads and compares alike."""
    task = Task("Is {text} good?", system="Be brief.", max_tokens=9, **kind)
    there = copy.deepcopy(task)
    assert there == task
    assert (there.to_json(), there.max_tokens, there.system) == (task.to_json(), 9, "Be brief.")
    for reply in ("yes", "3.2", '{"a": 1}'):
        value = task.parse(reply)
        assert there.parse(reply) == value
        assert there.equivalent(value, value) == task.equivalent(value, value)
    with pytest.raises(AttributeError, match="cannot be changed"):
        there.prompt = "another"


def test_doubled_braces_alone_are_a_place_of_another_language() -> None:
    """A prompt that has its columns in doubled braces only is refused, with what to write."""
    for prompt in ("Good? {{text}}", "{{text}} or {{review}}?"):
        with pytest.raises(InputError, match=r"write \{text\}, in single braces"):
            ask(prompt).columns(["text", "review"])


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ('{"in": {{text}}, "x": {}}', "the cell alone is meant, write {text}"),
        ("Good? ${text}", "a dollar sign is sent before every cell"),
        ("Good? {} {text}", "a column goes by its name, {text}"),
        ("{0}: {text}", "a column goes by its name, {text}"),
        ("{text} {text!r}", "the cell of a column is {text}, no more"),
        ("{text} {text:.20}", "the cell of a column is {text}, no more"),
        ("{text} {text.strip()}", "the cell of a column is {text}, no more"),
    ],
)
def test_what_may_be_meant_otherwise_is_said(prompt: str, said: str) -> None:
    """Braces and dollars that are sent as they stand are said, for they may be meant as places."""
    [doubt] = ask(prompt).doubts(["text", "review"])
    assert said in doubt


@pytest.mark.parametrize("prompt", ["{text}", '{"a": {}} {text}', "{text} costs $5", '{"text": "x"} {text}', "{}"])
def test_what_can_only_be_meant_as_it_stands_is_not_said(prompt: str) -> None:
    """JSON examples and prices are no doubt."""
    assert prompt == "{}" or not ask(prompt).doubts(["text", "review"])


@pytest.mark.parametrize("prompt", ["{}", "a {} b", "{0} {1}"])
def test_braces_that_name_nothing(prompt: str) -> None:
    """They are told from a place, with the columns there are."""
    with pytest.raises(InputError, match="a column goes by its name"):
        ask(prompt).columns(["text"])


def test_spaces_around_the_name_of_a_column() -> None:
    """A column is found without the spaces its header has, unless there are two of that name."""
    assert ask("<{text}> {n}").render({"text ": "x", " n": "1"}) == "<x> 1"
    assert ask("<{text}>").render({"text ": "x", "text": "y"}) == "<y>"
    with pytest.raises(InputError, match="no such column"):
        ask("{text}").columns(["text ", " text"])


def test_a_misspelt_column_gets_the_nearest() -> None:
    """The message names the column that was probably meant."""
    with pytest.raises(InputError, match="Did you mean review"):
        ask("{reveiw}").columns(["text", "review"])
