"""What surrounds an answer in a model's reply, and how to take it off: thoughts, code fences, tags, statements.

Safe direction: where it is not clear which part is the answer, nothing is (None), and the row is deferred.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smart_llm.tasks.folding import INVISIBLE, typed
from smart_llm.tasks.phrases import CONDITION, DENIAL, REPORTED

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n(.*?)\n?[^\S\n]*```", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z][\w:-]*\s*/?>")
_NOTHING_SEEN = re.compile(rf"[\s{INVISIBLE}]*")
_KEY = (
    "answer|label|category|class|classification|sentiment|verdict|result|prediction|output|option|choice|conclusion|decision"
    "|antwort|ergebnis|stimmung|kategorie|klasse|réponse|résultat|catégorie|classe|étiquette|respuesta|resultado|etiqueta"
    "|categoría|clasificación|sentimiento|risposta|risultato|etichetta|categoria|resposta|antwoord|svar|odpowiedź|odpověď"
    "|ответ|результат|метка|категория|класс|відповідь|cevap|yanıt|jawaban|đáp án|câu trả lời|الإجابة|الجواب|תשובה|उत्तर"
)
_LABEL_KEY = (
    "grade|rating|score|level|rank|stars|polarity|topic|intent|stance|emotion|tone|mood|attitude|type|tag|status|language|genre"
    "|evaluation|assessment|judge?ment|relation|relationship|relevance|severity|priority|urgency|theme|subject|domain"
    "|bewertung|note|thema|sprache|note|avis|sujet|calificación|tema|voto|argomento|avaliação|оценка|тема|язык"
)
_KEY_UNSPACED = "答案|回答|结果|結果|标签|標籤|类别|類別|分类|分類|情感|答え|ラベル|判定|정답|답변|답|라벨|분류"
_IS = r"is|would be|ist|lautet|est|es|è|é|är|er|jest|je|это|adalah"


def _stating(keys: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?<!\w)(?:{keys})(?!\w)|{_KEY_UNSPACED})[\s*_`\"']*"
        rf"(?:(?P<sign>[:=：→]|->)|(?<!\w)(?:{_IS})(?!\w)\s*:?|[是为為はが는은]\s*[:：]?)"
        r"[^\S\n]*(?P<rest>[^\n]*(?:\n\s*[^\n]+)?)",
        re.IGNORECASE,
    )


_ANSWER = _stating(_KEY)
_LABEL = _stating(f"{_KEY}|{_LABEL_KEY}")
_NAME = re.compile(rf"(?<![^\W_])(?:{_KEY}|{_LABEL_KEY})(?![^\W_])|{_KEY_UNSPACED}")
_CLAUSE_START = re.compile(
    r"[.,;:!?()—\n。，；：！？*_#>\"'`|]|\s[-–]\s|\b(?:that|so|and|but|think|believe|say|conclude|dass|que)\b"
)
_LONGEST_PREFIX = 5
"""Words between the start of a clause and "answer": more is a sentence about something else."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What follows "answer:", "the label is" …: the rest of that line, or the next line where that is empty. signed:
    it stands after a colon or an arrow. start, end: its place in the text."""

    rest: str
    signed: bool
    start: int
    end: int


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
    """What the reply states as its answer, in order. "The wrong answer: x" and "if the label is x" state nothing.
    labels: "grade: x" and the like state an answer, too; of numbers, a text may state many scores on the way."""
    found, start = [], 0
    pattern = _LABEL if labels else _ANSWER
    while match := pattern.search(text, start):
        lines = [line.strip() for line in match["rest"].strip().split("\n")]
        start = match.start("rest") + match["rest"].index(lines[0]) + len(lines[0])
        if _leads(text[: match.start()]):
            found.append(Statement(lines[0], match["sign"] is not None, match.start(), start))
    return found


def is_key(name: str) -> bool:
    """Whether a name is one under which answers are given: "label", "Answer", "final_class"."""
    return _NAME.search(name.casefold()) is not None


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _leads(before: str) -> bool:
    """Whether what stands before "answer" in its clause only introduces it ("So my final answer: …")."""
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
