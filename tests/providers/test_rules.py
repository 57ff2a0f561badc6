"""Functions and regular expressions as users write them."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.providers.specs import read_book, resolve

FILE = """
WORDS = ["broken"]
class Odd: ...
def classify(text):
    return "yes" if any(word in text for word in WORDS) else "no"
"""


def said(spec: str, text: str, **book: Any) -> Any:
    """What the candidate of a spec says of a text."""
    function = resolve(spec, **book).function
    assert function is not None
    return function({"text": text, "other": "here"})


@pytest.mark.parametrize(
    ("spec", "text", "answer"),
    [
        ("regex:refund|money back=complaint;(?i)great=praise", "my money back", "complaint"),
        ("regex:refund|money back=complaint;(?i)great=praise", "GREAT", "praise"),
        ("regex:refund|money back=complaint;(?i)great=praise", "so so", None),
        ("regex:refund=complaint;=other", "so so", "other"),
        (r"regex:a\;b=semi\;colon", "a;b", "semi;colon"),
        (r"regex:x(?=y)=before y", "xy", "before y"),
        (r"regex:k\=v=pair", "k=v", "pair"),
        (r"regex:#(\d+)", "order #12 of #13", "12"),
        ("regex:(?P<yes>good)|(?P<no>bad)", "a bad day", "no"),
        (r"regex:\d+", "all 77", "77"),
        ("regex:^here$=no", "text", None),
        ("regex:(?m)^here$=yes", "text", "yes"),
        ("regex:colou?r=paint", "color", "paint"),
    ],
)
def test_a_regular_expression_says(spec: str, text: str, answer: str | None) -> None:
    """The first that is found decides; alone it says its group."""
    assert said(spec, text) == answer


def test_a_column_may_be_called_as_one_likes() -> None:
    """Regular expressions are given the whole row, whatever its columns are called."""
    function = resolve("regex:refund=complaint").function
    assert function is not None
    assert function({"row": "refund please", "self": "x"}) == "complaint"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("regex:", "no regular expression"),
        ("regex:a;b=c", "'a' has no answer"),
        ("regex:(a=b", "is not a regular expression"),
        ("regex:(a+)+$=b", "may take for ever"),
        (r"regex:(.*)(.*)\1\2x=b", "may take for ever"),
        (r"regex:(?P<a>.*)(?P=a)x=b", "may take for ever"),
        ("function:rules.py", "write function:FILE.py:NAME"),
        ("function:nowhere.py:f", "nowhere.py: no such file"),
        ("function:{here}/rules.py:clasify", "no function clasify. Did you mean classify?"),
        ("function:{here}/rules.py:Odd", "no function Odd"),
        ("function:{here}/rules.py:classify?in=1", "unknown option 'in'"),
        ("function:{here}/rules.py:classify?call=x", "call=x is not a price"),
        ("function:{here}/broken.py:f", "broken.py cannot be run: ZeroDivisionError"),
        ("function:{here}/spoilt.py:f", "spoilt.py cannot be run: SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path: Path, spec: str, message: str) -> None:
    """With what to write instead."""
    (tmp_path / "rules.py").write_text(FILE)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "spoilt.py").write_text("def f(:")
    with pytest.raises(InputError) as told:
        resolve(spec.replace("{here}", str(tmp_path)))
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_function_of_a_file_is_known_by_what_it_does(tmp_path: Path) -> None:
    """By its name in any folder; by its hash while it does the same."""
    for folder, text in (("a", FILE), ("b", FILE), ("c", FILE.replace('"broken"', '"odd"'))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rules.py").write_text(text)
    a, b, c = (resolve(f"function:{tmp_path}/{folder}/rules.py:classify?call=0.5") for folder in "abc")
    assert a.name == c.name == "function:rules.py:classify"
    assert a.at == b.at != c.at
    assert a.rate.call == 0.5
    assert said(f"function:{tmp_path}/a/rules.py:classify", "broken") == "yes"


def test_a_file_of_models_may_name_expressions_and_runs_no_file(tmp_path: Path) -> None:
    """Its names are theirs; whoever wrote it does not run code here."""
    book = tmp_path / "models.toml"
    book.write_text("[shop-words]\nmodel = 'regex:colou?r=paint;=other'\n")
    model = resolve("shop-words", book=read_book(book))
    assert model.name == "regex:shop-words"
    assert said("shop-words", "color", book=read_book(book)) == "paint"
    book.write_text("[a]\nmodel = 'regex:a=b'\nin = 1\n")
    with pytest.raises(InputError, match="have no in"):
        read_book(book)
    book.write_text("[a]\nmodel = 'function:rules.py:classify'\n")
    with pytest.raises(InputError, match="would run a file of Python"):
        read_book(book)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (3, {}, "a regular expression, not int"),
        (dict, {}, "dict is a class"),
        ({}, {}, "the dict of regular expressions is empty"),
        ({"a": 1}, {}, "what each of them says"),
        (re.compile(b"a"), {}, "is for bytes"),
        (len, {"pack": 3}, "pack= says how a model is asked"),
        (len, {"price": -1}, "price=-1 is not a price"),
        (len, {"name": "a?b"}, "letters, digits"),
        ("openai:gpt-4.1", {"price": 1}, "price= is for functions"),
    ],
)
def test_a_candidate_that_makes_no_sense_is_refused(given: Any, options: dict[str, Any], message: str) -> None:
    """When it is made."""
    with pytest.raises(InputError, match=re.escape(message)):
        smart.Candidate(given, **options)


@pytest.mark.parametrize("pattern", ["refund.*now", "(?s)a.*b", r"x\s*\w+\s*y", "(spam|eggs).*please"])
@pytest.mark.parametrize("text", ["refund ", "a", "x ", "spam eggs "])
def test_a_rule_takes_no_time_on_long_texts(pattern: str, text: str) -> None:
    """A repetition after a sign that comes again and again: where Python's engine would go through all ways to share
    out a long text, the rule looks at its beginning."""
    rules = resolve(f"regex:{pattern}=yes").function
    assert rules is not None
    start = time.process_time()
    for length in (1_000, 10_000, 1_000_000):
        assert rules({"text": text * (length // len(text))}) is None
    assert time.process_time() - start < 5.0


def test_ordinary_rules_are_tried() -> None:
    """Many alternatives, each with a repetition, are no repetitions side by side; one that ends a rule finds its place
    anywhere."""
    rule = "regex:refund.*soon|money.*back|charge.*dispute|cancel.*order|r[eé]clam.*=complaint"
    assert said(rule, "x" * 30_000 + " I want my money, all of it, back") == "complaint"
    assert said(r"regex:#(\d+)", "x" * 200_000 + " order #12") == "12"
