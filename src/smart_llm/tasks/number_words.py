"""Words and signs beside a numeral that make it another number, no number, or one that cannot be told.

As everywhere in reading, a word too many here costs a row that goes to the reference; a word too few, a wrong reading.
"""

from __future__ import annotations

import re

from smart_llm.tasks.numerals import SIGNS_OF_MONEY
from smart_llm.tasks.phrases import any_of

_MONTHS = """
    january february march april may june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
"""
_WORDS = """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
    twenty thirty forty fifty sixty seventy eighty ninety
"""
NUMBER_WORDS = any_of(
    rf"""
    {_WORDS} (?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-\w+ dozens? twice double triple half
    zwei drei vier fünf sechs sieben acht neun zehn deux trois quatre cinq huit neuf dix dos tres cuatro cinco seis siete ocho
    nueve diez
    """
)
"""Numbers in words: beside a numeral they are a second number."""

QUALIFIED = any_of(
    rf"""
    minus negative moins menos meno négatif negativo negativa negativ минус eksi
    loss(?:es)?_of deficit_of debt_of down overdrawn fell dropped lower_by (?:decreas|declin|drop|fall|fell|reduc|shrank)\w*_(?:of|by)
    least most more less fewer greater larger smaller higher lower under over above below beyond within almost nearly about
    around approximately approx approx\. roughly circa ca ca\. c\. some close_to near up_to until upwards_of exceed\w* between
    from minimum maximum min max just_over just_under another every each per order_of estimated?_at
    mindestens höchstens etwa ungefähr rund über unter mehr weniger fast knapp bis maximal minimal zirka gut
    plus environ près presque jusqu'à autour aproximadamente unos unas casi más hasta alrededor almeno quasi più fino
    cerca quase mais até pelo minstens ongeveer meer minder bijna hooguit około ponad prawie mniej więcej
    около примерно более менее больше меньше почти до свыше минимум максимум приблизительно
    third quarter thrice root squared? cubed? log ln sin cos tan sqrt factorial times percent_of
    one hundred thousand million billion dozen {_WORDS} {_MONTHS}
    """,
    "约 約 大约 大約 至少 最多 超过 超過 不到 近 将近 接近 以上 负 負 零下 マイナス およそ ほぼ 최소 최대 약 대략 거의 마이너스 영하 第 제",
)
_FILLERS = r"(?:\s+(?:a|an|the|of|than|to|or|equal|as|many|much|only|just|by|de|que|von|als|à|di|чем|не))*"
_BEFORE = re.compile(rf"(?:{QUALIFIED.pattern}){_FILLERS}[\s\"'*_`(:]*$")
_COMPARED = re.compile(r"(?:(?<!-)[<>]|[≤≥≦≧≲≳~∼≈≅≃≠±∓≪≫√∛^/|!¬#&@+÷×−–—]|[<>!~≠]\s?=|\\[a-z]*\s*\{?)[\s\"'_`]*$")
_NAMED = any_of(
    r"""
    chapter section sec page pp? table figure fig step question problem exercise item line row column example part version
    volume vol paragraph appendix equation eq theorem note verse act scene rule phase stage type case test footnote ref no nos
    nr room apartment route highway flight gpt iphone windows article q
    """
)
_NAME = re.compile(rf"(?:{_NAMED.pattern})\.?\s?$")
_SHORTHAND = re.compile(r"\s(?:[kb]|bn|mn|tn|mm|mio|mrd|cr|[MT])(?!\w)|\s[KB](?!\w)")

_JOINED = re.compile(
    r"[\w¹²³⁰-⁹₀-₉!…‰′″±+]|[.,:]\d|\.\.|\*\*?\d|[-−–](?!\w)|[-−–]\d"
    r"|\s*(?:[-−–—~/x×*·:÷^+&,;|]|\+/-|to|through|thru|of|out\s+of|in|per|by|and|or|vs\.?|versus|minus|plus|times|bis|à|oder|ou)"
    rf"\s*[-−]?[{SIGNS_OF_MONEY}]?\s?\d"
    r"|\s*[-−–]\s*$|\s*[⁄½⅓⅔¼¾⅕-⅞]|\s?(?:[±^÷√!]|\+/-)|-\s?(?:ish|fold|odd|plus|some)(?!\w)"
)
_AFTER = any_of(
    rf"""
    a\.?m p\.?m o'?clock uhr bc bce ad ce dozens? score gross pairs? couples? lakhs? crores?
    tens hundreds? thousands? million\w* billion\w* trillion\w* mil mille tausend duizend mila tusen milliard\w* mrd mio
    тыс\w* млн млрд миллион\w* миллиард\w*
    half halves thirds? quarters? fourths fifths sixths eighths tenths? hundredths? thousandths? squared cubed factorial times
    point_(?:\d|zero|one|two|three|four|five|six|seven|eight|nine)\w*
    or_(?:more|less|fewer|so|higher|lower|above|below|under|over|greater|better|worse|older|younger|later|earlier|thereabouts)
    or_(?:\w+_)?(?:maybe|perhaps) or_(?:one|two|three|four|five|six|seven|eight|nine|ten)
    and_(?:above|up|below|over|under|a|half|older|counting|change|more|one|two|three|four|five|six|seven|eight|nine|ten)
    at_(?:most|least) max maximum min minimum tops plus minus give_or_take less fewer approximately approx ish
    below above under over negative in_the_red degrees?_(?:below|above) percentage_points?_(?:less|lower) one {_WORDS} {_MONTHS}
    oder_mehr oder_weniger et_plus ou_plus o_más
    is_(?:not|wrong|incorrect|false) isn't was_(?:not|wrong) wasn't would_be_wrong cannot can't not
    """,
    "万 亿 億 兆 千 百 十 만 억 천 백 半 割 成 折 倍 多 余 餘 几 幾 強 弱 以上 以下 左右 前後",
)
_FOLLOWED = re.compile(rf"[\s\"'*_`)°,-]*(?:{_AFTER.pattern})")
_PARENTHESES = {"(": ")", "[": "]"}


def is_name(before: str) -> bool:
    """Whether a numeral after these words is the name of something: step 3, page 12. before: in lower case."""
    return _NAME.search(before[-20:]) is not None


def is_qualified(before: str, after: str) -> bool:
    """Whether what stands directly before or after a numeral (with its unit) makes it another number. Both in lower
    case, but for the shorthands of thousands and millions, which have a case of their own."""
    last, first = before.rstrip(" \"'*_`").rstrip()[-1:], after.lstrip(" \"'*_`")[:1]
    if last and _PARENTHESES.get(last) == first:
        return True  # (5) is −5 to an accountant, [5] a footnote to a scholar
    before, low = before[-60:].lower(), after.lower()
    if _COMPARED.search(before) or _BEFORE.search(before):
        return True
    return bool(_JOINED.match(low) or _FOLLOWED.match(low) or _SHORTHAND.match(after))
