"""What the tokens of an answer tell: never surer than they say, NaN where they say nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smart_llm.scores.own import answer_log_probability, label_log_odds, log_odds, log_sum, own_score
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


def test_log_odds_order_as_the_probability_does() -> None:
    """Monotone in the log-probability, exact where a probability is near one; certainty is the surest, not unknown."""
    logps = [-5.0, -1.0, -1e-3, -1e-9, 0.0]
    odds = [log_odds(logp) for logp in logps]
    assert odds == sorted(set(odds))
    assert odds[3] == pytest.approx(9 * math.log(10))
    assert math.isnan(log_odds(0.5))
    assert math.isnan(log_odds(float("nan")))
    assert math.isnan(log_odds(-math.inf))


# --------------------------------------------------------------------------- a label against all else


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
    """However labels are cut into tokens and whatever they share, the odds are at most the true ones; and they are the
    true ones where each label is one token."""
    labels, shares, cuts = model
    for label in labels:
        true = math.log(shares[label]) - math.log(sum(share for each, share in shares.items() if each != label))
        odds = label_log_odds(*listing(label, shares, cuts), labels, label)
        assert math.isnan(odds) or odds <= true + 1e-9
        whole = listing(label, shares, {each: [] for each in labels})
        assert label_log_odds(*whole, labels, label) == pytest.approx(true)


def test_every_way_to_write_a_label_counts_for_it() -> None:
    """Case, blanks and wrapping do not make another label; all that is no label counts against it."""
    tokens = [("**", -0.01), ("Yes", math.log(0.5)), ("**", -0.2)]
    second = [("yes", math.log(0.1)), (" no", math.log(0.2)), ("Maybe", math.log(0.1))]
    odds = label_log_odds(tokens, [[("The", -5.0)], second, [(".", -3.0)]], YES_NO, "yes")
    assert odds == pytest.approx(math.log(0.6 * math.exp(-0.01)) - math.log(0.3 * math.exp(-0.01) + math.exp(-5)))


def test_a_label_is_found_behind_other_words() -> None:
    """The odds are taken where the label stands; where it stands nowhere, there are none."""
    tokens = [("Label", -0.3), (":", -0.1), (" no", -0.05)]
    listed = [[("No", -1.5)], [("!", -3.0)], [(" yes", -3.1)]]
    assert label_log_odds(tokens[2:], listed[2:], YES_NO, "no") == pytest.approx(3.05)
    assert 0 < label_log_odds(tokens, listed, YES_NO, "no") < 3.05
    assert math.isnan(label_log_odds(tokens, listed, YES_NO, "yes"))


def test_what_begins_two_labels_counts_against_either() -> None:
    """A token that may become another label is no reason to be sure; one that is another label is none either."""
    labels = ("1", "10", "2")
    alone = label_log_odds([("10", -0.5)], [[("2", -1.5)]], labels, "10")
    assert alone == pytest.approx(1.0)
    assert label_log_odds([("10", -0.5)], [[("2", -1.5), ("1", -2.0)]], labels, "10") < alone
    whole = label_log_odds([("1", -0.5), ("0", -0.1)], [[("2", -1.5)], [("!", -2.5)]], labels, "10")
    assert whole == pytest.approx(-0.6 - log_sum([-1.5, -3.0]))
    assert label_log_odds([("1", -0.5)], [[("2", -1.5)]], labels, "1") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("tokens", "listed"),
    [
        ([("1", -0.1), ("0", -0.2)], [[("2", -3.0)], []]),
        ([("1", -0.1), ("0", -0.2)], [[("2", -3.0)], [("1", float("nan"))]]),
        ([("1", -0.1), ("0", -0.2)], [[("2", 0.5)], [("1", -1.0)]]),
        ([("1", -0.1), ("0", -0.2)], [[("2", -3.0)]]),
        ([("1", -0.1), ("0", -0.2)], []),
    ],
)  # fmt: skip
def test_where_not_all_is_listed_nothing_is_said(
    tokens: list[tuple[str, float]], listed: list[list[tuple[str, float]]]
) -> None:
    """A place without alternatives before the label is decided, or numbers that are none, give NaN."""
    assert math.isnan(label_log_odds(tokens, listed, ("1", "10", "11", "2"), "10"))


def test_what_a_model_tells_of_its_own_answer() -> None:
    """A label: its odds against what is listed, else the log-odds of its tokens; a text: its log-probability."""
    said, lean = (("Yes", math.log(0.9)),), ((("No", math.log(0.1)),),)
    listed = own_score(Answer("Yes", logprobs=said, listed=lean), "yes", YES_NO)
    assert listed == pytest.approx(math.log(9))
    assert own_score(Answer("Yes", logprobs=said), "yes", YES_NO) == pytest.approx(listed)
    assert own_score(Answer("Yes sir", logprobs=(*said, (" sir", -0.5))), "Yes sir", None) == math.log(0.9) - 0.5
    assert math.isnan(own_score(Answer("Yes"), "yes", YES_NO))
    assert math.isnan(own_score(Answer(None, logprobs=said), None, YES_NO))
