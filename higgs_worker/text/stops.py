"""Full stops that end no sentence: abbreviations, initials, ordinals, by language.

When in doubt, a stop ends nothing: a sentence cut in two sounds wrong, two in one chunk do not.
Only one stop and its surroundings are examined; `split` divides the text.
"""

import re
from dataclasses import dataclass

from higgs_worker.text.language import primary_subtag


@dataclass(frozen=True, slots=True)
class StopRules:
    """Words that a language writes with a full stop: in lower case, without the last stop."""

    never: frozenset[str] = frozenset()
    """Never end a sentence: Mr. Smith, e.g. this."""
    before_number: frozenset[str] = frozenset()
    """Abbreviations only before a number: No. 5; elsewhere a word that may end a sentence."""
    seldom: frozenset[str] = frozenset()
    """May end a sentence: etc., Inc.; they do if one of `starters` follows."""
    starters: frozenset[str] = frozenset()
    """Words that are capitalised only at the start of a sentence."""
    has_ordinals: bool = False
    """Whether one or two digits, or a Roman numeral, with a stop are an ordinal: 3. Mai."""


def _rules(never: str, number: str, seldom: str, starters: str, ordinals: bool) -> StopRules:
    return StopRules(
        never=frozenset(never.split()),
        before_number=frozenset(number.split()),
        seldom=frozenset(seldom.split()),
        starters=frozenset(starters.split()),
        has_ordinals=ordinals,
    )


# fmt: off
_RULES = {
    "en": _rules(
        "mr mrs ms mx messrs dr prof st mt ft rev hon gen col maj capt cmdr lt sgt cpl pvt gov sen "
        "rep pres supt e.g i.e eg ie vs cf viz al approx est dept",
        "no nos p pp vol vols fig figs ch sec art ca c jan feb mar apr jun jul aug sep sept oct "
        "nov dec",
        "etc inc ltd co corp bros jr sr esq a.m p.m ph.d u.s.a ave blvd rd",
        "The A An He She It They We You I This That These Those There Here But And Or So Then When "
        "What Why How Who Where If In On At For After Before His Her Its Their Our My Your No Yes "
        "Not Now",
        False,
    ),
    "de": _rules(
        "hr hrn fr frl dr prof ing dipl mag st z.b d.h u.a bzw ca vgl evtl ggf inkl exkl zzgl sog "
        "gem bspw insb allg mind tel str geb gest verh zw ehem",
        "nr art abs s bd kap abb tab jg jan febr mär apr jun jul aug sept okt nov dez",
        "usw etc usf o.ä u.ä a.d jr sen co",
        "Der Die Das Er Sie Es Wir Ich Ihr Ein Eine Dieser Diese Dieses Dann Doch Aber Und Oder "
        "Wenn Als Da Hier Jetzt Was Wer Wie Wo Warum Im In Am An Auf Auch Nach Vor Nun So Nein Ja",
        True,
    ),
    "fr": _rules(
        "m mm mme mmes mlle mlles dr pr mgr st ste p.ex c.-à-d c.a.d cf env av apr ex",
        "no n art p pp vol chap fig t janv févr avr juil sept oct nov déc",
        "etc j.-c s.a",
        "Le La Les Un Une Des Il Elle Ils Elles On Nous Vous Je Tu Ce Cette Ces Mais Et Ou Donc "
        "Puis Quand Si Dans Pour Après Avant Son Sa Ses Leur Non Oui",
        False,
    ),
    "es": _rules(
        "sr sra srta sres dr dra d dña prof lic ing gral cap ud uds vd vds p.ej ej ee aprox cf av",
        "núm n art pág págs p pp vol cap fig tel",
        "etc uu s.a a.c d.c jr",
        "El La Los Las Un Una Él Ella Ellos Ellas Nosotros Yo Tú Esto Este Esta Eso Pero Y O "
        "Entonces Cuando Si En Por Para Después Antes Su Sus No Sí",
        False,
    ),
    "it": _rules(
        "sig sigg dott prof avv ing arch geom on st p.es es ecc.mo ca cfr",
        "n art pag pagg p pp vol cap fig tel",
        "ecc etc s.p.a s.r.l a.c d.c",
        "Il Lo La I Gli Le Un Una Lui Lei Loro Noi Voi Io Tu Questo Questa Ma E O Poi Quando Se "
        "In Per Dopo Prima Non No Sì",
        False,
    ),
    "pt": _rules(
        "sr sra srta dr dra prof profa eng d p.ex ex aprox cf av exmo exma",
        "n nº art pág págs p pp vol cap fig tel",
        "etc ltda s.a a.c d.c jr",
        "O A Os As Um Uma Ele Ela Eles Elas Nós Eu Tu Você Isto Isso Este Esta Mas E Ou Então "
        "Quando Se Em No Na Por Para Depois Antes Não Sim",
        False,
    ),
    "nl": _rules(
        "dhr mevr mw dr drs prof ir ing mr st bijv bv d.w.z o.a m.b.t i.p.v ca vgl evt resp incl "
        "excl",
        "nr art blz p pp dl hfst afb tel",
        "enz etc e.d jr co",
        "De Het Een Hij Zij Ze Wij We Ik Jij Je Dit Dat Deze Die Maar En Of Toen Dan Als In Op Na "
        "Voor Nu Hier Er Nee Ja",
        False,
    ),
    "ru": _rules(
        "ул пр просп пл пер обл р-н им проф акад доц д-р тов ср см напр т.е т.к т.н о св",
        "стр с рис табл гл ст п пп №",
        "г гг др т.д т.п руб коп тыс млн млрд",
        "Он Она Оно Они Мы Вы Я Ты Это Этот Эта Но И А Или Потом Когда Если В На После Затем Так "
        "Нет Да",
        False,
    ),
    "pl": _rules(
        "p pp dr prof mgr inż doc hab św ul al pl os gen płk kpt np tj tzn tzw ok m.in por",
        "nr s str art ust poz rys rozdz tel",
        "itd itp r w in",
        "On Ona Ono Oni My Wy Ja Ty To Ten Ta Ale I A Lub Potem Gdy Jeśli W Na Po Nie Tak",
        True,
    ),
    "sv": _rules(
        "hr dr prof t.ex bl.a d.v.s s.k fr.o.m t.o.m ca jfr resp inkl exkl",
        "nr s kap fig st tel",
        "etc osv m.m m.fl o.s.v",
        "Den Det De En Ett Han Hon Vi Jag Du Ni Men Och Eller Sedan När Om I På Efter Nu Här Nej "
        "Ja",
        False,
    ),
}
_WITH_ORDINALS = frozenset(
    ("cs", "da", "et", "fi", "hr", "hu", "is", "lv", "nb", "nn", "no", "sk", "sl", "sr", "tr")
)
# fmt: on

_BEFORE = re.compile(r"[^\s\"'“”„«»‹›‘’(\[{<>/]*\Z")
_AFTER = re.compile(r"\w+")
_LETTERS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_LETTER_BEFORE = re.compile(r"(?<![^\W_])[^\W\d_]\.\s?\Z")
_ROMAN = re.compile(r"[IVXLCDM]{2,}")
LONGEST_WORD = 32
"""A longer run of characters before a stop is no abbreviation."""


def stop_rules(tag: str) -> StopRules:
    """Return the rules for a BCP-47 tag; an unknown language gets the English abbreviations."""
    subtag = primary_subtag(tag)
    if subtag in _RULES:
        return _RULES[subtag]
    english = _RULES["en"]
    return StopRules(english.never, english.before_number, has_ordinals=subtag in _WITH_ORDINALS)


def may_end_sentence(text: str, stop: int, following: int, rules: StopRules) -> bool:
    """Return whether the full stop text[stop] can end a sentence.

    Args:
        text: the whole text.
        stop: index of a single ".".
        following: index where the next word starts.
        rules: from `stop_rules`.
    """
    found = _BEFORE.search(text, max(0, stop - LONGEST_WORD), stop)
    word = found.group() if found else ""
    begin = stop - len(word)
    after = _AFTER.match(text, following, following + LONGEST_WORD)
    next_word = after.group() if after else ""
    key = word.lower()
    if word.isdecimal():
        is_ordinal = rules.has_ordinals and len(word) <= 2
        return not (is_ordinal or _begins_line(text, begin))
    if key in rules.never:
        return False
    if key in rules.before_number:
        if next_word[:1].isdecimal():
            return False
        if len(word) > 1:
            return True
    if _LETTERS.fullmatch(word):
        # z. B., p. ej., J. R. R.: one abbreviation, whatever follows.
        is_one_of_many = _LETTER_BEFORE.search(text, max(0, begin - 4), begin) is not None
        if len(word) == 1 and (word.islower() or is_one_of_many):
            return False
        return next_word in rules.starters
    if key in rules.seldom or (rules.has_ordinals and _ROMAN.fullmatch(word)):
        return next_word in rules.starters
    return True


def _begins_line(text: str, at: int) -> bool:
    """Return whether only spaces precede a position in its line, as in "1. First." """
    start = max(0, at - LONGEST_WORD)
    line = text.rfind("\n", start, at)
    return (line >= 0 or start == 0) and not text[max(line + 1, start) : at].strip()
