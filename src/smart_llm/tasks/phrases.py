"""Words by which a reply takes back, doubts or qualifies what it says, in the languages models mostly answer in.

The readers of labels and numbers look for them beside an answer. No list of such words is ever complete, so the readers
do not rest on them alone: an answer is read only where it stands in a form that states it, and these words are a second
lock on that door. A word too many here costs a row that goes to the reference; a word too few, a wrong reading.
"""

from __future__ import annotations

import re

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Letters of scripts that put no space between words (Hangul attaches its particles), as a range."""


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def any_of(spaced: str, unspaced: str = "") -> re.Pattern[str]:
    """A pattern for any of these words (patterns, separated by white space; "_" stands for a space): as whole words,
    and, of scripts without spaces, wherever they stand. Meant for text in lower case with plain quote marks."""
    whole = "|".join(word.replace("_", r"\s+") for word in spaced.split())
    inner = "|".join(unspaced.split())
    return re.compile(rf"(?<!\w)(?:{whole})(?!\w)" + (f"|{inner}" if inner else ""))


DENIAL = any_of(
    r"""
    no not \w+n't never neither nor non cannot cant dont without hardly barely scarcely rarely seldom few unlike
    unlikely opposite contrary than instead opposed lack\w* far_from unable unclear unsure unknown uncertain
    undetermined undecided whether any anything anybody anyone nothing nobody none nowhere false\w* wrong\w*
    incorrect\w* inaccurate\w* untrue doubt\w* den(?:y|ies|ied|ying) fail\w* refus\w* reject\w* exclud\w*
    except(?:ing)? refut\w* contradict\w* disagree\w* dispute\w* rul\w+_out avoid\w* absent absence missing invalid\w*
    mistak\w* mislabel\w* misclassif\w* out_of_the_question too question\w* ironic\w* sarcas\w* supposed\w* alleged\w*
    invert\w* so-called pretend\w* lies? joke joking fake\w* ain't nope nah zero
    nicht kein\w* nie niemals weder ohne kaum nichts niemand falsch\w* unklar\w* statt anstatt sondern
    pas jamais aucun\w* ni rien sans guère faux fausse nullement
    nunca ning[uú]n\w* nada sin tampoco jamás falso falsa
    mai nessun\w* né nulla niente senza neppure nemmeno
    não nao nenhum\w* nem sem nada
    niet geen nooit noch zonder niets onjuist inte ej ingen inget aldrig ikke ingenting uten utan
    nie nigdy ani bez żad\w+ ne není nejsou nikdy žádn\w*
    не нет ни никогда ничего никак\w* без вряд неверн\w* ложн\w* ні немає нема
    değil hiç yok ei eivät älä nem nincs sem soha nu nici niciodată δεν μη μην όχι không chẳng tidak bukan tanpa
    jangan לא אין בלי لا ليس ليست لم لن غير بدون نه نیست नहीं मत न
    """,
    "不 非 没 沒 无 無 否 未 别 勿 莫 误 誤 错 錯 ない ません なく なし 않 아니 없 못 안_ ไม่ มิ",
)
"""Words that deny."""

CONDITION = any_of(
    r"""
    if unless assum\w+ provided depend\w* maybe perhaps possibly might could may either or versus vs only_when only_if
    but_for had_(?:i|he|she|it|they|we|you) were_(?:i|he|she|it|they|we|you)
    partial\w* partly in_part sometimes somewhat to_some_extent not_always would_have hypothetical\w* suppose guess
    wenn falls vielleicht möglicherweise oder entweder si peut-être ou soit quizás quizá o tal_vez forse oppure talvez
    misschien kanske måske если может возможно или либо lub może veya belki
    """,
    "如果 或 也许 可能 若 もし かもしれ 만약 또는",
)
"""Words that make what is said conditional or one of several possibilities."""

REPORTED = any_of(
    r"""
    (?<!i'd\s)(?<!i\swould\s)says? said claim\w* asks? asked want\w* suggests? suggested argu\w+ pretend\w* wonder\w*
    told tells? previous\w* former\w* earlier old original initial\w* other another alternative\w* second example\w*
    sample\w* e\.g e\.g\. such_as like imagine which what whose when user's human worst least next possible allowed
    user permitted expected
    andere\w* autre\w* otro otra altro altra outro outra другой
    """,
    "其他 其它 另 例 别的 別の 다른",
)
"""Words that say that an answer is somebody else's, an earlier or another one, or an example."""

_TURNS = any_of(
    r"""
    wait_(?:no|i|it|that|this|actually|let) hold_on hang_on hmm+ actually oops let_me_re\w+
    let_me_(?:think|look|check) or_(?:is|was|not) on_second_thoughts? (?:up)?on_(?:further_)?reflection upon_further
    or_rather mejor_dicho en_realidad na_verdade quer_dizer en_fait besser_gesagt moment_mal
    """,
    "等等 等一下 不对 不對 更正 待って 待った 訂正 잠깐 잠시만 정정",
)
_SHORT_TURNS = any_of(
    r"""
    wait sorry apologies correction edit update no not nope nah never_mind nevermind rather moment warte halt
    korrektur entschuldigung nein nicht attends attendez pardon plutôt non pas espera esperen perdón corrección
    aspetta anzi scusa scusate correzione aliás desculpe correção wacht correctie nee vänta vent rättelse rettelse nej
    czekaj przepraszam nie počkej подождите подожди постойте постой нет стоп точнее исправление извините bekle hayır
    düzeltme várj odota
    """,
    "不 不是 抱歉 いや いいえ すみません 아니 아니요 아뇨 죄송",
)
_START = r"(?:^|[.!?…;:(\[—–\n。！？；]|\s-\s)\s*(?:(?:oh|but|ah|well|hmm+|okay|ok|and|no)\b[,.…]*\s*)*"
_TURN = re.compile(
    rf"{_START}(?:{_TURNS.pattern})|(?:{_START}|[,，、]\s*)(?:{_SHORT_TURNS.pattern})(?=\s*(?:[,，、.。:!！?？…—–)]|$))"
)
_TAKEN_BACK = any_of(
    r"""
    reconsider\w* re-?evaluat\w* re-?think\w* re-?examin\w* second_thoughts? further_reflection
    closer_(?:look|inspection|reading) i_was_wrong i_made_(?:a|an)_(?:mistake|error) my_mistake my_bad i_misread
    i_meant i_take_(?:that|it)_back scratch_that strike_that changed?_my_(?:mind|answer) correct(?:ing)?_myself
    i_stand_corrected just_kidding kidding yeah,?_right as_if not_really
    (?:that|this|it)(?:(?:'s|_is|_was)_not|_isn't|_wasn't)_(?:right|correct|true) i(?:'m|_am)_lying
    that(?:'s|_is|_was)_(?:wrong|incorrect|false) (?:this|it)(?:'s|_is|_was)_(?:wrong|incorrect)
    (?:revised|corrected|updated)_answer instead_of_that never_mind
    ich_korrigiere nochmal_überleg\w* je_me_corrige je_me_suis_tromp\w* me_equivoqué me_corrijo mi_correggo
    mi_sbagliavo me_enganei ошиб\w+ пересмотр\w* на_самом_деле
    """,
    "重新考虑 重新考慮 我错了 我錯了 应该是 應該是 考え直 間違え やっぱり やはり 다시_생각",
)


def takes_back(text: str) -> bool:
    """Whether a text that follows an answer corrects or withdraws it."""
    return bool(_TURN.search(text) or _TAKEN_BACK.search(text))
