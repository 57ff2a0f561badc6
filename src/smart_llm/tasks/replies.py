"""What surrounds an answer in a model's reply, and how to take it off: thoughts, code fences, tags, statements.

Safe direction: where it is not clear which part is the answer, nothing is (None), and the row is deferred.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smart_llm.tasks.folding import INVISIBLE, typed
from smart_llm.tasks.phrases import CONDITION, DENIAL, REPORTED, words

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n(.*?)\n?[^\S\n]*```", re.DOTALL)
_TAG = re.compile(r"</?(?!(?:s|del|strike|su[bp])\b)[A-Za-z][\w:-]*\s*/?>")  # but for what is struck out or raised
_NOTHING_SEEN = re.compile(rf"[\s{INVISIBLE}]*")
_KEYS = frozenset(
    words(
        """
        answer label category class classification sentiment verdict result prediction output option choice conclusion
        decision antwort ergebnis stimmung kategorie klasse réponse résultat catégorie classe étiquette respuesta
        resultado etiqueta categoría clasificación sentimiento risposta risultato etichetta categoria resposta antwoord
        svar odpowiedź odpověď ответ результат метка категория класс відповідь cevap yanıt jawaban án lời الإجابة الجواب
        תשובה उत्तर
        """
    )
)
"""Words that announce an answer (of Vietnamese ones the last syllable)."""
_LABEL_KEYS = _KEYS | frozenset(
    words(
        """
        grade rating score level rank stars polarity topic intent stance emotion tone mood attitude type tag status
        language genre analysis
        evaluation assessment judgement judgment relation relationship relevance severity risk final priority
        urgency theme subject domain bewertung note thema sprache avis sujet calificación tema argomento avaliação
        оценка тема язык
        """
    )
)
_UNSPACED_KEYS = "答案|回答|结果|結果|标签|標籤|类别|類別|分类|分類|情感|答え|ラベル|判定|정답|답변|답|라벨|분류"
_IS = r"is|would be|ist|lautet|est|es|è|é|är|er|jest|je|это|adalah"
_STATED = re.compile(
    rf"(?:(?<!\w)(?P<key>[\w\u0900-\u0dff]++)|(?:{_UNSPACED_KEYS}))[\s*_`\"']*+"
    rf"(?:(?P<sign>[:=：→]|->)|(?<!\w)(?:{_IS})(?!\w)\s*:?|(?<=\w)[是为為はが는은]\s*[:：]?)",
    re.IGNORECASE,
)
_UNSPACED_NAME = re.compile(rf"(?:{_UNSPACED_KEYS})$")
_CLAUSE_START = re.compile(
    r"[.,;:!?()—\n。，；：！？*_#>\"'`|]|\s[-–]\s|\b(?:that|so|and|but|think|believe|say|conclude|dass|que)\b"
)
_QUOTED = re.compile(r"[\w:]\s+[\"']$")
_NEXT_LINE = re.compile(r"\s*([^\n]*)")
_BEFORE = 300
"""Characters before "answer" that are looked at; a clause is shorter."""
_MANY = 64
"""Statements in one reply; more are noise, which states nothing."""
_LONGEST_PREFIX = 5
"""Words between the start of a clause and "answer": more is a sentence about something else."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What follows "answer:", "the label is" …: the rest of that line, or the next line where that is empty. start,
    end: its place in the text. own: what stands before it only introduces it, as in "so my final answer"; "the wrong
    answer" and "if the label is" do not."""

    rest: str
    start: int
    end: int
    own: bool


def spoken(text: str) -> str | None:
    """The reply without the model's thoughts; None where only thoughts are left, or text that is not Unicode.

    Some chat templates swallow the opening tag, so a closing tag alone ends the thoughts as well. Thoughts that never
    end mean that the reply was cut off before the answer.
    """
    if "<" in text:
        text = _THOUGHT_END.split(_THOUGHT.sub("", text))[-1]
        if _THOUGHT_START.search(text):
            return None
    text = text.strip()
    if text.isascii():
        return text or None
    return None if _NOTHING_SEEN.fullmatch(text) or not _encodable(text) else text


def fenced(text: str) -> list[str]:
    """The contents of the code fences in a reply, in order."""
    return [block.strip() for block in _FENCE.findall(text)]


def opened(text: str) -> str:
    """The reply with its code fences and tags opened: contents stay, each on lines of its own."""
    text = _FENCE.sub(r"\1", text) if "```" in text else text
    return (_TAG.sub("\n", text) if "<" in text else text).strip()


def statements(text: str, *, labels: bool = False) -> list[Statement]:
    """What the reply states as an answer, in order. labels: "grade: x" and the like state an answer, too; of numbers, a
    text may state many on the way."""
    found = []
    for match in _STATED.finditer(text):
        key = (match["key"] or "").lower()
        if key and not _announces(key, _LABEL_KEYS if labels and match["sign"] else _KEYS):
            continue
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        own = _leads(before + _UNSPACED_NAME.sub("", key if key not in _LABEL_KEYS else ""))
        rest = _NEXT_LINE.match(text, match.end())
        begin, end = rest.span(1) if rest else (len(text), len(text))
        found.append(Statement(text[begin:end].rstrip(), begin, end, own))
        if len(found) > _MANY:
            return [Statement("", 0, 0, own=False)]
    return found


def is_key(name: str) -> bool:
    """Whether a name is one under which answers are given: "label", "Answer", "final_class"."""
    return any(_announces(word, _LABEL_KEYS) for word in re.split(r"[\W_]+", name.lower()))


def _announces(word: str, keys: frozenset[str]) -> bool:
    return word in keys or _UNSPACED_NAME.search(word) is not None


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _leads(before: str) -> bool:
    """Whether what stands before "answer" in its clause only introduces it ("So my final answer: …")."""
    if _QUOTED.search(before[-20:]):
        return False
    sentence = typed(re.split(r"[.!?\n。！？]", before)[-1]).lower()
    clause = _CLAUSE_START.split(sentence)[-1]
    words = (DENIAL, CONDITION, REPORTED)
    return len(clause.split()) <= _LONGEST_PREFIX and not any(pattern.search(sentence) for pattern in words)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
