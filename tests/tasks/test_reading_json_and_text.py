"""JSON values and texts out of what models really reply."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.errors import InputError
from smart_llm.tasks import Task, format_value

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON = Task("{text}", schema=SCHEMA)
ANY = Task("{text}", answer="json")
ANNA = {"name": "Anna", "age": 3}

CASES = [
    ('{"name": "Anna", "age": 3}', ANNA),
    ('\n {"age": 3, "name": "Anna"} \n', ANNA),
    ('```json\n{"name": "Anna", "age": 3}\n```', ANNA),
    ('```\n{"name": "Anna", "age": 3}\n```', ANNA),
    ('Here it is:\n```json\n{"name": "Anna", "age": 3}\n```\nAnything else?', ANNA),
    ('Sure! {"name": "Anna", "age": 3} is the answer.', ANNA),
    ('The set {a, b} gives {"name": "Anna", "age": 3}', ANNA),
    ('<think>{"name": "Bob", "age": 1}</think>{"name": "Anna", "age": 3}', ANNA),
    ('{"name": "Anna", "age": 3} {"name": "Anna", "age": 3}', ANNA),
    ('For {"name": 1} the answer is {"name": "Anna", "age": 3}', ANNA),
    ('{"name": "Anna", "age": 3} or {"name": "Anna", "age": 4}', None),
    ('{"name": "Anna"}', None),
    ('{"name": "Anna", "age": "3"}', None),
    ('{"name": "Anna", "age": 3, "x": 1}', None),
    ('{"name": "Anna", "age": 3', None),
    ('{"name": "Anna", "age": 3, "age": 4}', None),
    ('{"name": "\\ud800", "age": 3}', None),
    ("{'name': 'Anna', 'age': 3}", None),
    ('[{"name": "Anna", "age": 3}]', None),
    ("null", None),
    ("", None),
]


@pytest.mark.parametrize(("reply", "value"), CASES)
def test_a_reply_means_the_one_object_that_fits_the_schema(reply: str, value: object) -> None:
    """The value is found in fences and prose, must satisfy the schema, and must be the only one that does."""
    assert PERSON.parse(reply) == value


@pytest.mark.parametrize(
    "text", ["NaN", "[NaN]", '{"a": Infinity}', "[-Infinity]", "[1e999]", "[" * 5000, "[" * 400 + "]" * 400]
)
def test_what_is_not_json_or_has_no_end_breaks_the_contract(text: str) -> None:
    """NaN, infinities, numbers beyond a float and bottomless nesting are refused."""
    assert ANY.parse(text) is None


json_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_a_json_value_survives_writing_and_reading(value: object) -> None:
    """What `format_value` writes for an object or array is read back as the same value."""
    value = [value]
    assert ANY.parse(format_value(value)) == value
    assert json.loads(format_value(value)) == value


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "JSON object"),
        ({"type": "nothing"}, "not valid"),
        ({"properties": {"a": {"type": 3}}}, "not valid"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}, "not in it"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "not in it"),
        ({"const": {1, 2}}, "not JSON"),
        ([1], "JSON object"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: object, said: str) -> None:
    """An invalid schema, or one that points outside itself, is an input error and nothing is fetched."""
    with pytest.raises(InputError, match=said):
        Task("{text}", schema=schema)  # type: ignore[arg-type]


def test_a_schema_may_refer_to_its_own_parts() -> None:
    """References inside the schema work."""
    task = Task("{text}", schema={"$defs": {"n": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/n"}})
    assert task.parse("[1, 2]") == [1, 2]
    assert task.parse('["x"]') is None


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (" Paris.\n", "Paris."),
        ("<think>Rome?</think> Paris", "Paris"),
        ("<thinking>x</thinking>\n\nParis", "Paris"),
        ("", None),
        (" \n", None),
        ("<think>Rome?", None),
        ("\ud800", None),
    ],
)
def test_a_text_is_the_reply_without_thoughts(reply: str, text: str | None) -> None:
    """Texts are stripped; an empty reply, or one cut off while thinking, is none."""
    assert Task("{text}", answer="text").parse(reply) == text
