"""What the tokens of an answer tell: never surer than they say, NaN where they say nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smart_llm.tasks.tokens import answer_log_probability, label_logprobs, label_margin, log_odds, log_sum, own_score
from smart_llm.types import Answer

YES_NO = ("yes", "no")


def test_a_label_of_several_tokens_has_the_probability_of_all_of_them() -> None:
    """The log-probabilities of the tokens that spell the label add up; blanks and end marks around it do not count."""
    tokens = [(" pos", -0.5), ("it", -0.25), ("ive", -0.125), ("\n", -3.0)]
    assert answer_log_probability(tokens, "positive") == -0.875


def test_a_label_that_is_the_beginning_of_another_ends_where_it_is_spelled() -> None:
    """`1` in `10` is another answer: the tokens decide."""
    assert answer_log_probability([("1", -0.1), ("0", -0.2)], "10") == pytest.approx(-0.3)
    assert answer_log_probability([("10", -0.1)], "1") != answer_log_probability([("10", -0.1)], "10")


@pytest.mark.parametrize(
    "tokens", [[], [("neg", -0.1)], [("pos", -0.1)], [("pos", float("nan")), ("itive", 0.0)], [("positive", 0.7)]]
)
def test_tokens_that_do_not_spell_the_label_say_nothing(tokens: list[tuple[str, float]]) -> None:
    """Another word, half a word or a broken number gives NaN: the row is deferred."""
    assert math.isnan(answer_log_probability(tokens, "positive"))


def test_the_margin_is_over_the_surest_other_label() -> None:
    """Whatever the order, and below 0 where another label is surer; one alone or an impossible one says nothing."""
    assert label_margin({"a": -2.0, "b": -0.5, "c": -3.0}, "b") == 1.5
    assert label_margin({"a": -2.0, "b": -0.5, "c": -3.0}, "a") == -1.5
    assert math.isnan(label_margin({"a": -0.5}, "a"))
    assert math.isnan(label_margin({"a": -0.5, "b": -1.0}, "c"))
    assert math.isnan(label_margin({"a": -0.5, "b": -math.inf}, "a"))
    assert label_margin({"a": -0.5, "b": -1.0, "c": float("nan")}, "a") == 0.5


def test_log_odds_order_as_the_probability_does() -> None:
    """Monotone in the log-probability, exact where a probability is near one; certainty is the surest, not unknown."""
    logps = [-5.0, -1.0, -1e-3, -1e-9, 0.0]
    odds = [log_odds(logp) for logp in logps]
    assert odds == sorted(set(odds))
    assert odds[3] == pytest.approx(9 * math.log(10))
    assert math.isnan(log_odds(0.5))
    assert math.isnan(log_odds(float("nan")))
    assert math.isnan(log_odds(-math.inf))


# --------------------------------------------------------------------------- labels among labels


def listing(
    label: str, shares: dict[str, float], cuts: dict[str, list[int]]
) -> tuple[list[tuple[str, float]], list[list[tuple[str, float]]]]:
    """What a model tells that says a label with these probabilities, and tokenises it at these places: the tokens of
    the answer, and in each place all others."""
    pieces = {}
    for each, places in cuts.items():
        ends = sorted({*places, len(each)})
        pieces[each] = [each[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    tokens, listed, spelled = [], [], ""
    for depth, piece in enumerate(pieces[label]):
        here = [each for each in shares if "".join(pieces[each][:depth]) == spelled and len(pieces[each]) > depth]
        total, by_token = sum(shares[each] for each in here), dict[str, float]()
        for each in here:
            by_token[pieces[each][depth]] = by_token.get(pieces[each][depth], 0.0) + shares[each] / total
        tokens.append((piece, math.log(by_token.pop(piece))))
        listed.append([(token, math.log(share)) for token, share in by_token.items()])
        spelled += piece
    return tokens, listed


@st.composite
def models(draw: st.DrawFn) -> tuple[list[str], dict[str, float], dict[str, list[int]]]:
    """Labels that share beginnings, none of them the beginning of another; how probable each is; where it is cut."""
    labels = draw(st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=4, unique=True))
    assume(not any(a != b and b.startswith(a) for a in labels for b in labels))
    weights = draw(st.lists(st.floats(0.01, 1), min_size=len(labels), max_size=len(labels)))
    shares = {each: weight / sum(weights) for each, weight in zip(labels, weights, strict=True)}
    cuts = {each: draw(st.lists(st.integers(1, len(each)), max_size=2)) for each in labels}
    return labels, shares, cuts


@given(models())
def test_a_label_is_never_surer_than_the_model_is(
    model: tuple[list[str], dict[str, float], dict[str, list[int]]],
) -> None:
    """However labels are cut into tokens and whatever they share, the margin is at most the true one; and it is the
    true one where each label is one token."""
    labels, shares, cuts = model
    for label in labels:
        others = max(share for each, share in shares.items() if each != label)
        true = math.log(shares[label]) - math.log(others)
        tokens, listed = listing(label, shares, cuts)
        margin = label_margin(label_logprobs(tokens, listed, labels, label), label)
        assert math.isnan(margin) or margin <= true + 1e-9
        whole = label_logprobs(*listing(label, shares, {each: [] for each in labels}), labels, label)
        assert label_margin(whole, label) == pytest.approx(true)
        assert {each: math.exp(logp) for each, logp in whole.items()} == pytest.approx(shares)


def test_every_way_to_write_a_label_counts_for_it() -> None:
    """Case, blanks and wrapping do not make another label; what is no label counts for none."""
    tokens = [("**", -0.01), ("Yes", math.log(0.5)), ("**", -0.2)]
    second = [("yes", math.log(0.1)), (" no", math.log(0.2)), ("Maybe", math.log(0.1))]
    listed = [[("The", -5.0)], second, [(".", -3.0)]]
    found = label_logprobs(tokens, listed, YES_NO, "yes")
    assert found == pytest.approx({"yes": math.log(0.6 / 0.8), "no": math.log(0.2 / 0.8)})


def test_a_label_is_found_behind_other_words() -> None:
    """The margin is taken where the label stands; where it stands nowhere, there is none."""
    tokens = [("Label", -0.3), (":", -0.1), (" no", -0.05)]
    listed = [[("No", -1.5)], [("!", -3.0)], [(" yes", -3.1)]]
    assert label_margin(label_logprobs(tokens, listed, YES_NO, "no"), "no") == pytest.approx(3.05)
    assert label_logprobs(tokens, listed, YES_NO, "yes") == {}


def test_a_label_that_is_not_listed_is_not_taken_for_impossible() -> None:
    """It is given as much as the least probable token that is listed: never too little."""
    found = label_logprobs([("yes", -0.1)], [[("Yes", -3.0), ("Well", -6.0)]], (*YES_NO, "unclear"), "yes")
    assert found["no"] == found["unclear"]
    assert found["yes"] - found["no"] == pytest.approx(log_sum([-0.1, -3.0]) + 6.0)


@pytest.mark.parametrize(
    ("tokens", "listed"),
    [
        ([("1", -0.1)], [[("2", -3.0)]]),
        ([("1", -0.1), ("0", -0.2)], [[("2", -3.0)], []]),
        ([("1", -0.1), ("0", -0.2)], [[("2", -3.0)], [("1", float("nan"))]]),
        ([("1", -0.1), ("0", -0.2)], [[("2", 0.5)], [("1", -1.0)]]),
        ([("1", -0.1), ("0", -0.2)], []),
        ([], []),
    ],
)  # fmt: skip
def test_where_a_label_is_not_decided_nothing_is_said(
    tokens: list[tuple[str, float]], listed: list[list[tuple[str, float]]]
) -> None:
    """An answer that could have gone on to a longer label, a place without alternatives, numbers that are none."""
    labels = ("1", "10", "11", "2")
    assert label_logprobs(tokens, listed, labels, "".join(text for text, _ in tokens) or "1") == {}


def test_what_a_model_tells_of_its_own_answer() -> None:
    """A label: its margin, where others are listed, else its log-odds; a text: its log-probability; else nothing."""
    said, lean = (("Yes", math.log(0.9)),), ((("No", math.log(0.1)),),)
    listed = own_score(Answer("Yes", logprobs=said, listed=lean), "yes", YES_NO)
    assert listed == pytest.approx(math.log(9), abs=1e-4)
    assert own_score(Answer("Yes", logprobs=said), "yes", YES_NO) == pytest.approx(listed, abs=1e-4)
    assert own_score(Answer("Yes sir", logprobs=(*said, (" sir", -0.5))), "Yes sir", None) == math.log(0.9) - 0.5
    assert math.isnan(own_score(Answer("Yes"), "yes", YES_NO))
    assert math.isnan(own_score(Answer(None, logprobs=said), None, YES_NO))
