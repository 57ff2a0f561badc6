"""Words and signs beside a numeral that make it another number, no number, or one that cannot be told.

As everywhere in reading, a word too many here costs a row that goes to the reference; a word too few, a wrong reading.
"""

from __future__ import annotations

import re

from smart_llm.tasks.numerals import SIGNS_OF_MONEY
from smart_llm.tasks.phrases import any_of, words

_MONTHS = """
    january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec
"""
_WORDS = """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
NUMBER_WORDS = any_of(
    rf"""
    {_WORDS} (?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-\w+ dozens? twice double triple half
    zwei drei vier fünf sechs sieben acht neun zehn deux trois quatre cinq huit neuf dix dos tres cuatro cinco seis
    siete ocho nueve diez
    """
)
"""Numbers in words: beside a numeral they are a second number."""

QUALIFIED = any_of(
    rf"""
    minus negative moins menos meno négatif negativo negativa negativ минус eksi loss(?:es)?(?:_of)? deficit(?:_of)?
    debt(?:_of)? shortfall(?:_of)? down overdrawn fell dropped lower_by
    (?:decreas|declin|drop|fall|fell|reduc|shrank)\w*_(?:of|by) least most more less fewer greater larger smaller
    higher lower under over above below beyond within almost nearly about around approximately approx approx\. roughly
    circa ca ca\. c\. some close_to near up_to until upwards_of exceed\w* between from minimum maximum min max
    just_over just_under another every each per order_of estimat\w*(?:_(?:is|at))? est est\. projected limit cap
    ceiling threshold short_by since before after top first last next bottom par nan inf n/a tbd error null undefined
    mindestens höchstens etwa ungefähr rund über unter mehr weniger fast knapp bis maximal minimal zirka gut
    plus environ près presque jusqu'à autour aproximadamente unos unas casi más hasta alrededor almeno quasi più fino
    cerca quase mais até pelo minstens ongeveer meer minder bijna hooguit około ponad prawie mniej więcej
    около примерно более менее больше меньше почти до свыше минимум максимум приблизительно third quarter thrice root
    squared? cubed? log ln sin cos tan sqrt factorial times percent_of
    one hundred thousand million billion dozen {_WORDS} {_MONTHS}
    """,
    "约 約 大约 大約 至少 最多 超过 超過 不到 近 将近 接近 以上 负 負 零下 マイナス およそ ほぼ"
    " 최소 최대 약 대략 거의 마이너스 영하 第 제",
)
_FILLERS = (
    r"(?:\s+(?:a|an|the|of|than|to|zu|or|equal|as|many|much|only|just|by|in|out|and|de|que|von|als|à|di|чем|не))*"
)
_BEFORE = re.compile(rf"(?:{QUALIFIED.pattern}){_FILLERS}[\s\"'*_`(:]*$")
_COMPARED = re.compile(
    r"(?:(?<!-)[<>]|[≤≥≦≧≲≳~∼≈≅≃≠±∓≪≫√∛^/|!¬#№&@+÷×−–—‒―﹣﹢⁻₋∞⌊⌈✗✘❌]|[<>!~≠]\s?=|&#?\w+;|\\[a-z]*\s*\{?)[\s\"'_`]*$"
)
_NAMED = any_of(
    r"""
    chapter section sec page pp? table figure fig step question problem exercise item line row column example part
    version volume vol paragraph appendix equation eq theorem note verse act scene rule phase stage type case test
    footnote ref no nos nr room apartment route highway flight gpt iphone windows article q
    """
)
_NAME = re.compile(rf"(?:{_NAMED.pattern})\.?\s?$")
_PROPER = re.compile(r"(?<![\w.])([A-Z][\w&.-]*)\s$")
_NO_NAME = frozenset(
    words(
        """
        a the this that it is are was were and or so in on at by for with of i he she we they you exactly only just
        precisely yes probably likely say total sum count answer result value number final price cost costs amount
        score age year years rating about usd eur gbp jpy chf inr cny rub rs r it's there thus hence therefore so has
        have had got equals makes gives paid sold
        """
    )
)
"""Words that may be written in capitals before a number which is then no part of a name."""
_SHORTHAND = re.compile(r"\s(?:[kb]|bn|mn|tn|mm|mio|mrd|cr|[MT])(?!\w)|\s[KBNSEW](?!\w)")

_CONNECTED = (
    r"[-−–—~/x×*·:÷^+&,;|.]|\+/-|to|through|thru|of|out\s+of|in|per|by|and|or|vs?\.?|versus|against|minus|plus|times|bis|à"
    r"|oder|ou|und|et"
)
_JOINED = re.compile(
    r"[\w¹²³⁰-⁹₀-₉!…‰′″±+~≈†‡§&\\|\u0300-\u036f]|[.,:]\w|/(?![a-z])|\s?[<>≤≥≠]|[ \t]+[-−]?\d|\.\."
    r"|\*\*?\d|[-−–](?!\w)|[-−–]\d"
    rf"|\s*(?:{_CONNECTED})\s*[-−]?[{SIGNS_OF_MONEY}]?\s?\d"
    r"|\s*[-−–]\s*$|\s*[⁄½⅓⅔¼¾⅕-⅞]|\s?(?:[±^÷√!]|\+/-)|-\s?(?:ish|fold|odd|plus|some\w*)(?!\w)"
)
_AFTER = any_of(
    rf"""
    a\.?m p\.?m o'?clock uhr bc bce ad ce dozens? score gross pairs? couples? lakhs? crores?
    tens hundreds? thousands? million\w* billion\w* trillion\w* mil mille tausend duizend mila tusen ribu juta mln mld
    mill?i[oó]n\w* millones milh\w+ miljo\w+ mily\w+ milliard\w* mrd mio tsd
    тыс\w* млн млрд миллион\w* миллиард\w*
    half halves thirds? quarters? fourths fifths sixths eighths tenths? hundredths? thousandths? squared cubed
    factorial times point_(?:\d|zero|one|two|three|four|five|six|seven|eight|nine)\w*
    or_(?:more|less|fewer|so|higher|lower|above|below|under|over|greater|better|worse|older|younger|later|earlier|thereabouts)
    or_(?:\w+_)?(?:maybe|perhaps) or_(?:one|two|three|four|five|six|seven|eight|nine|ten)
    and_(?:above|up|below|over|under|a|half|older|counting|change|more|one|two|three|four|five|six|seven|eight|nine|ten)
    at_(?:the_)?(?:very_)?(?:most|least) etc and_so_(?:on|forth) ungefähr circa etwa mindestens höchstens unter
    environ max maximum min minimum tops plus minus give_or_take less fewer approximately approx ish below above under
    over negative in_the_red in_debt loss deficit down short doubled halved tripled est estimated e\d*
    degrees?_(?:below|above|north|south|east|west) percentage_points?_(?:less|lower) one {_WORDS} {_MONTHS}
    oder_mehr oder_weniger et_plus ou_plus o_más is_(?:not|wrong|incorrect|false) isn't was_(?:not|wrong) wasn't
    would_be_wrong cannot can't not
    """,
    "万 亿 億 兆 千 百 十 만 억 천 백 半 割 成 折 倍 多 余 餘 几 幾 強 弱 以上 以下 左右 前後",
)
_NEAR = re.compile(
    r"(?<!\w)(?:at\s+(?:least|most)|(?:more|less|fewer|greater|higher|lower)\s+than|up\s+to|approximately|about|around|roughly"
    r"|nearly|almost|minus|below)(?:\s+[^\s\d.!?]+){0,3}\s*$"
)
"""A bound or an approximation that stands a few words before the numeral."""
_LATER = re.compile(
    r"(?:\s+[^\W\d_]+){1,2}\s+(?:or\s+(?:more|less|fewer|so|older|younger|higher|lower|later|earlier|better|worse|above|below"
    r"|over|under)|and\s+(?:up|above|over|below|under|older|counting)|at\s+(?:most|least)|max|maximum|min|minimum|tops"
    r"|give\s+or\s+take|less|fewer|below|short|plus|approximately|approx)(?!\w)"
)
"""A bound, an approximation or a sign that stands behind the unit."""
_FOLLOWED = re.compile(rf"[\s\"'*_`()°,-]*(?:{_AFTER.pattern})")
_CLOSED = re.compile(r"[\s\"'*_`%]*[^\W\d_]{0,12}[\s\"'*_`.]*(?:[)\]]|$)")


def is_name(before: str, after: str) -> bool:
    """Whether a numeral after these words is the name of something: step 3, page 12, Apollo 11. A word in capitals at
    the start of a sentence that goes on after the numeral is only that ("There 42 lived")."""
    if _NAME.search(before[-20:].lower()):
        return True
    proper = _PROPER.search(before[-40:])
    starts = proper and re.match(r"[.!?\n]?\s*$", before[-40:][: proper.start()][-2:])
    return bool(proper and proper[1].lower() not in _NO_NAME and not (starts and re.match(r"\s+\w", after)))


def is_qualified(before: str, after: str) -> bool:
    """Whether what stands directly before or after a numeral (with its unit) makes it another number. Both in lower
    case, but for the shorthands of thousands and millions, which have a case of their own."""
    if before.rstrip(" \"'*_`").endswith(("(", "[")) and _CLOSED.match(after):
        return True  # (5) is −5 to an accountant, [5] a footnote to a scholar
    if before.endswith((".", ",", "…")):
        return True
    before, low = before[-60:].lower(), after.lower()
    if _COMPARED.search(before) or _BEFORE.search(before) or _NEAR.search(before):
        return True
    return any(pattern.match(low) for pattern in (_JOINED, _FOLLOWED, _LATER)) or _SHORTHAND.match(after) is not None
