"""What a numeral means: digits with their separators, and whether that can be told.

Certain, whatever the language: 1234 · 1234.5 · .5 · 0.125 · 1,234.50 · 1.234,50 · 1,234,567 · 1.234.567 · 1 234,5.

One separator before exactly three digits means thousands in one country and decimals in the next: 1,500 and 1.500. The
line lies here. Models write English and machine numbers unless something speaks against it, and real runs are full of
"1,234" and "3.142", so a comma is read as grouping and a point as a decimal one, unless

* the reply has words of another language, or a currency as it is written on the continent ("1,500 €", "1,500 kr");
* for a comma: a percent sign follows, for which thousands are unlikely;
* for a point: it is money (which has no third decimal), the third digit is a 0 (a decimal that nobody would write, but
  a common thousand), or a noun follows that is no unit ("1.234 people").

Then it cannot be told, and the contract is broken. Never read: 1,5 and 12,34 (a list, or a decimal comma).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation

from smart_llm.tasks.phrases import any_of, words

LARGEST_EXPONENT = 400  # beyond any quantity; keeps arithmetic on answers cheap
EXACT = Context(prec=100_000)
"""For what must not round: the usual context keeps 28 digits, and an identifier may have more."""
SPACES = " \u00a0\u202f\u2009"
SIGNS_OF_MONEY = "$€£¥₹₽₺₩₫₴₪฿₦"

UNITS = frozenset(
    words(
        """
        kg g mg µg μg ug lb lbs oz km cm mm µm μm nm mi ft in yd l ml cl dl gal ms µs μs us ns h hr hrs min mins sec
        secs hz khz mhz ghz mv kv ma kw kwh wh kj cal kcal pa kpa hpa mb gb tb kb bytes px pt pts rpm mph kph kmh
        bpm dpi ppm ppb db mol usd eur gbp jpy cny inr cad aud chf dollars dollar cents euros pounds yen yuan rupees
        percent degrees seconds second minutes minute hours hour days day weeks week months month years year meters
        metres kilometers kilometres miles feet inches liters litres grams kilograms points stars
        個 个 個人 人 円 元 歳 岁 年 日 本 枚 台 件 次 回 点 秒 天 名 位 块 只 개 명 년 원 살 점
        """
    )
)
"""What may follow a numeral without making it another number: the prompt sets the unit."""

_DECIMAL = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_ENGLISH = re.compile(r"\d{1,3}(?:,\d{3}){2,}(?:\.\d+)?|\d{1,3},\d{3}\.\d+")
_CONTINENTAL = re.compile(r"\d{1,3}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})")
_SPACED = re.compile(rf"\d{{1,3}}(?:([{SPACES}'])\d{{3}})(?:\1\d{{3}})*(?:[.,]\d+)?")
_EITHER = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_CODES = (
    r"(?:kr|sek|nok|dkk|chf|fr|zł|pln|kč|czk|ft|huf|lei|ron|руб\w*|rub|tl|try|r\$|brl|reais|rp|idr|vnd|đ|грн|лв)(?!\w)"
)
_CONTINENT_BEFORE = re.compile(rf"\W*(?:[₽₺₫₴]|{_CODES})")
_CONTINENT_AFTER = re.compile(rf"\W*(?:[€₽₺₫₴]|(?:eur|euro)(?!\w)|{_CODES})")
_MONEY_AFTER = re.compile(rf"\s?(?:[{SIGNS_OF_MONEY}]|(?:usd|eur|gbp|jpy|cad|aud|dollars?|euros?|pounds)(?!\w))")
_WORD = re.compile(r"[^\W\d_]+")
_OTHER_LANGUAGE = any_of(
    r"""
    der das und ist sind ein eine einen gibt für mit nicht im insgesamt antwort ergebnis etwa le les une des est sont
    et pour
    avec réponse résultat el los las una es son hay con para respuesta resultado il lo gli sono di risposta risultato
    um uma
    com resposta het een van zijn antwoord och det är svar jest odpowiedź ve bir cevap por unos
    """
)
_ENGLISH_WORDS = any_of(
    r"""
    the is are was were of to and in for on there it this that answer total result sum value number final about i have
    has
    they he she we so therefore equals cost costs price score
    """
)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A numeral in its place. digits: with separators. text: the whole reply. before, after: what surrounds it, with
    the currency. alone: it is all there is, or stands in a statement. exact: an exponent or a word such as million
    settles what a point means."""

    digits: str
    text: str
    before: str
    after: str
    alone: bool
    exact: bool


def plain(numeral: Numeral) -> str | None:
    """Digits without separators of thousands, with a decimal point; None where it cannot be told."""
    digits = numeral.digits
    if _EITHER.fullmatch(digits):
        told = _is_grouped(numeral) if "," in digits else numeral.exact or _is_decimal(numeral)
        return digits.replace(",", "") if told else None
    if _DECIMAL.fullmatch(digits):
        return digits
    if _ENGLISH.fullmatch(digits):
        return digits.replace(",", "")
    if _CONTINENTAL.fullmatch(digits):
        return digits.replace(".", "").replace(",", ".")
    if _SPACED.fullmatch(digits) and (numeral.alone or " " not in digits):
        return re.sub(rf"[{SPACES}']", "", digits).replace(",", ".")
    return None


def value(digits: str, exponent: int, *, negative: bool) -> Decimal | None:
    """The number of plain digits, times ten to the exponent; None where it is beyond any quantity."""
    try:
        found = EXACT.scaleb(Decimal(digits), exponent) if abs(exponent) <= LARGEST_EXPONENT else None
    except InvalidOperation:
        return None
    if found is None or abs(found.adjusted()) > LARGEST_EXPONENT:
        return None
    return found.copy_negate() if negative and found else found.copy_abs()


def is_english(text: str) -> bool:
    """Whether nothing speaks against English: no word of another language that is known, no other letters."""
    words = text.lower()
    return not _OTHER_LANGUAGE.search(words) and all(word.isascii() or word in UNITS for word in _WORD.findall(words))


def _is_grouped(numeral: Numeral) -> bool:
    after = numeral.after.lower()
    told = (
        _CONTINENT_BEFORE.match(numeral.before.lower()) or _CONTINENT_AFTER.match(after) or re.match(r"\s?[%‰]", after)
    )
    trailing_sign = re.match(rf"\s?[{SIGNS_OF_MONEY}]", after) and not numeral.before.strip()
    return not told and not trailing_sign and is_english(numeral.text)


def _is_decimal(numeral: Numeral) -> bool:
    if re.match(r"\s?%", numeral.after):
        return True
    if numeral.before.strip() or _MONEY_AFTER.match(numeral.after.lower()) or numeral.digits.endswith("0"):
        return False
    following = re.match(r"\s?([^\W\d_]+)", numeral.after.lower())
    if following and following[1] not in UNITS and not _ENGLISH_WORDS.fullmatch(following[1]):
        return False
    others = [word for word in _WORD.findall(numeral.text.lower()) if word not in UNITS]
    return not others or (is_english(numeral.text) and any(map(_ENGLISH_WORDS.fullmatch, others)))
