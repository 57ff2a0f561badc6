"""What is learned from texts: the same everywhere, honest about rows not seen, and kept without executing anything."""

import os
import subprocess
import sys

import numpy as np
import pytest

from smart_llm.errors import LedgerError
from smart_llm.learned.features import block
from smart_llm.learned.learner import Learner, Shelf
from smart_llm.learned.model import FORMAT, Fitted, decided

GOOD, BAD = ["great", "lovely", "fine", "superb", "好", "很好"], ["awful", "broken", "poor", "hate", "差", "太差"]


def texts(rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts, some of whose words tell their label."""
    rng = np.random.default_rng(seed)
    found, labels = [], []
    for number in range(rows):
        label = int(rng.integers(2))
        words = [f"w{k}" for k in rng.integers(0, 300, 10)] + list(rng.choice(GOOD if label else BAD, 2))
        found.append(" ".join(words) + f" {number}")
        labels.append(("no", "yes")[label])
    return found, labels


def taught(rows: int = 600, with_rows: int = 200) -> tuple[Learner, list[str], list[str]]:
    """A learner that was taught with the first rows of a table."""
    said, labels = texts(rows)
    learner = Learner(Shelf(rows, lambda at: [said[k] for k in at.tolist()]))
    learner.teach(np.arange(with_rows), labels[:with_rows])
    return learner, said, labels


def test_a_text_has_the_same_features_alone_and_among_others() -> None:
    """Features, and what is said of them, depend on the text alone, to the last bit."""
    learner, said, _ = taught()
    odd = [*said[:40], "", " ", "\ud800", "ÄÖ 中文 e\u0301", "x" * 9000]
    assert learner.fitted is not None
    together = learner.fitted.said(odd)
    for k, text in enumerate(odd):
        alone = learner.fitted.said([text])
        assert alone.odds[0] == together.odds[k]
        assert alone.label[0] == together.label[k]


def test_features_are_counted_as_they_stand() -> None:
    """Runs within a text only, words and neighbours; nothing crosses from one text to the next."""
    joined, apart = block(["ab"]), block(["a", "b"])
    assert joined["short"].sum() == 3
    assert apart["short"].sum() == 2
    assert block(["one two one two"])["words"].sum() == 4 + 3
    assert block([""])["words"].nnz == 0


def test_it_learns_and_is_honest_about_rows_not_seen() -> None:
    """Judged by models that had not seen them, its rows fare like rows it has never seen; odds are calibrated."""
    learner, _, labels = taught(3000, 1000)
    told = learner.teach(np.arange(1000), labels[:1000])
    assert told is not None
    assert learner.fitted is not None
    names = np.array(learner.fitted.labels)
    out, fresh = names[told.label] == labels[:1000], learner.said(np.arange(1000, 3000))
    right = names[fresh.label] == labels[1000:]
    assert right.mean() > 0.9
    assert abs(out.mean() - right.mean()) < 0.04
    believed = 1 / (1 + np.exp(-fresh.odds))
    assert abs(believed.mean() - right.mean()) < 0.04


def test_the_same_rows_make_the_same_model() -> None:
    """To the last bit."""
    first, second = taught()[0].fitted, taught()[0].fitted
    assert first is not None
    assert second is not None
    assert first.to_bytes() == second.to_bytes()


def test_labels_that_flip_teach_nothing() -> None:
    """Where labels have nothing to do with texts, it is no better than chance by its own account."""
    said, _ = texts(800)
    labels = [("no", "yes")[k] for k in np.random.default_rng(5).integers(0, 2, 800)]
    learner = Learner(Shelf(800, lambda at: [said[k] for k in at.tolist()]))
    told = learner.teach(np.arange(400), labels[:400])
    assert told is not None
    assert learner.fitted is not None
    right = np.array(learner.fitted.labels)[told.label] == labels[:400]
    assert right.mean() < 0.62


@pytest.mark.parametrize("kinds", [1, 3, 7])
def test_one_label_or_many(kinds: int) -> None:
    """It says the only label there is, or chooses among many, also where one was seen but once."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, kinds, 500)
    said = [f"topic{k} word{rng.integers(50)} word{rng.integers(50)}" for k in label]
    names = [f"label {k}" for k in label]
    names[0] = "label 0" if kinds == 1 else "seen once"
    learner = Learner(Shelf(500, lambda at: [said[k] for k in at.tolist()]))
    learner.teach(np.arange(300), names[:300])
    fresh = learner.said(np.arange(300, 500))
    assert learner.fitted is not None
    assert (np.array(learner.fitted.labels)[fresh.label] == names[300:]).mean() > 0.95
    assert np.isfinite(fresh.odds).all()


def test_more_labels_than_half_the_rows_are_no_reason_to_warn() -> None:
    """A table with hundreds of labels is an ordinary one: whoever runs it is told nothing of the library inside."""
    said = [f"word{row % 60} and word{row % 7}" for row in range(300)]
    learner = Learner(Shelf(300, lambda at: [said[k] for k in at]))
    assert learner.teach(np.arange(100), [f"label {row % 60}" for row in range(100)]) is not None


def test_rows_without_an_answer_teach_nothing() -> None:
    """Of them nothing is said, and where there is no answer at all there is no model."""
    said, labels = texts(300)
    learner = Learner(Shelf(300, lambda at: [said[k] for k in at.tolist()]))
    told = learner.teach(np.arange(100), [None, *labels[1:100]])
    assert told is not None
    assert told.label[0] == -1
    assert np.isnan(told.odds[0])
    assert learner.teach(np.arange(3), [None] * 3) is None
    assert learner.fitted is None


def test_it_is_kept_as_bytes_that_execute_nothing() -> None:
    """What is read says what was written; anything else is a `LedgerError` in one line."""
    fitted = taught()[0].fitted
    assert fitted is not None
    kept = fitted.to_bytes()
    again = Fitted.from_bytes(kept)
    assert again.digest == fitted.digest
    assert again.labels == fitted.labels
    other = kept.replace(FORMAT.encode(), b"smart-learned/999")
    for broken in (b"", kept[:-9], kept[:50], b"\x80\x04pickle", other):
        with pytest.raises(LedgerError, match="learned model"):
            Fitted.from_bytes(broken)


def test_decisions_take_the_most_likely_label() -> None:
    """The odds are those of the label against all others."""
    said = decided(np.array([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]]))
    assert said.label.tolist() == [1, 0]
    p = np.exp(2) / (np.exp(2) + np.exp(1) + 1)
    assert said.odds[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-6)


def test_nothing_heavy_is_loaded_without_it() -> None:
    """Who does not use it does not load scikit-learn, and what was fitted answers without it."""
    code = "import sys, smart_llm.cli, smart_llm.learned.model, smart_llm.api; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_number_of_threads_decides_nothing() -> None:
    """What linear algebra does with more of them has other last digits: another model, and then other decisions."""
    code = """
import hashlib, numpy as np
from smart_llm.learned.space import Space
rng = np.random.default_rng(1)
texts = [" ".join(f"w{int(k)}" for k in 3000 * rng.random(20) ** 3) for _ in range(1500)]
print(hashlib.blake2b(Space.of(texts, texts).topics.tobytes()).hexdigest())
"""
    found = set[str]()
    for threads in ("1", "2"):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        found.add(done.stdout)
    assert len(found) == 1
