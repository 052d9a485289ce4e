"""Detect the language of a text by its script, then by its commonest words.

That is enough to choose how numbers and abbreviations are read and where sentences end. A text that
is short or unclear counts as English. Only the beginning of a long text is examined.
"""

import re
import unicodedata
from collections import Counter
from functools import cache

_MAX_CHARS = 20_000
_DEFAULT = "en"
_SYLLABLE = 3
"""How many letters of an alphabet one Chinese, Japanese or Korean character counts as."""
_MIN_SCORE = 1.5
_MIN_SHARE = 0.1
"""Share of its words that a text must have in common with a language."""
_MARGIN = 1.2
"""Factor by which the best score must exceed the next one."""

_SCRIPTS = {
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "THAI": "th",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "KHMER": "km",
    "LAO": "lo",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "LATIN": "latin",
}
_SYLLABIC = frozenset(("HANGUL", "HIRAGANA", "KATAKANA", "CJK"))
_OWN_LETTERS = {"ru": {"uk": "іїєґ"}, "ar": {"fa": "پچژگ", "ur": "ٹڈڑے"}}
"""Letters that distinguish another language of the same script."""

_WORDS = {
    "en": "the of and to in is that it was for on are with as his they be at this have from or had "
    "by not but what all were we when your can said there use an each which she do how their if "
    "will up about out them then these so some her would him has my you i he",
    "de": "der die das und ist nicht ein eine ich sie er es wir den dem des im mit auf für von zu "
    "auch sich als dass wie war aber oder wenn nur noch nach bei aus einen einer einem haben hat "
    "sind wird werden kann mehr über ihr mein dein was wer wo heute sehr am um guten "
    "morgen tag abend danke bitte geht dir mir kein keine gut hallo",
    "fr": "le la les et est un une des du en que qui dans pour pas sur ne se ce il elle nous vous je "
    "tu au aux avec plus sont être avoir fait mais ou où comme tout bien cette ces son sa ses leur "
    "par très aussi même c'est j'ai n'est d'un d'une l'on bonjour "
    "merci comment ça beaucoup salut oui non",
    "es": "el la los las y es un una de que en no se por con para su lo como más pero sus le ya o "
    "este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo "
    "nos está están del al yo tú él ella qué cómo hola gracias",
    "it": "il lo la gli le e è un una di che in non si per con su come più ma sono della del dei "
    "delle al alla nel nella questo questa anche ha ho hai io tu lui lei noi voi loro perché "
    "quando dove molto essere stato ciao grazie",
    "pt": "o a os as e é um uma de que em não se por com para seu sua como mais mas do da dos das no "
    "na nos nas ao à também já eu tu ele ela você nós muito está são foi ser ter há quando onde "
    "isso este esta obrigado olá",
    "nl": "de het een en van is dat niet in op te zijn met voor aan er maar om ook als bij dan nog "
    "wel naar uit ik je jij hij zij wij we ze mijn wat wie waar heeft hebben was werd worden kan "
    "deze dit door over geen goed",
    "sv": "och att det i en jag hon som han på den med var sig för så till är men ett om hade de av "
    "icke mig du henne då sin nu har inte hans honom skulle hennes där min man ej vid kunde något "
    "från ut när efter upp vi dem vara vad över än här",
    "da": "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om "
    "vi min havde ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her "
    "alle vil blev kunne når være noget",
    "pl": "i w na z się nie do to że jest o jak ale po co tak za od go czy by już tylko jego jej ich "
    "był była było są ma dla ten ta te może przez być ja ty my pan gdzie kiedy dzień dobry",
    "cs": "a se v na je že to s z do o k i ve za jsem by pro ale jako po jak co tak už nebo jsou byl "
    "byla být má jeho její od když ještě také který která dobrý den",
    "tr": "ve bir bu da de için ne ile mi ben sen o çok var ama daha gibi kadar sonra ki olarak olan "
    "değil her şey nasıl biz siz onlar merhaba iyi",
    "vi": "và của là có không cho được một trong với các những này để người đã từ khi tôi anh em "
    "chúng rất cũng thì như ở về xin chào",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada juga saya ke karena ada adalah "
    "kami kita mereka bisa atau sudah oleh apa anda seperti",
}
_LETTERS = {
    "de": "äöüß",
    "fr": "éèêçàùûîôœ",
    "es": "ñáéíóú¿¡",
    "it": "àèìòù",
    "pt": "ãõçáéê",
    "sv": "åäö",
    "da": "æøå",
    "pl": "ąćęłńśźż",
    "cs": "ěščřžýůť",
    "tr": "ğışçöü",
    "vi": "ăđơưạảấầẩậắằặẹẻếềểệịỉọỏốồổộớờởợụủứừửựỳ",
}
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def detect(text: str) -> str:
    """Return the primary tag of a text's language, such as "en"."""
    text = text[:_MAX_CHARS]
    scripts = _count_scripts(text)
    if not scripts:
        return _DEFAULT
    if scripts.get("ja", 0) * 10 >= scripts.get("zh", 0) and "ja" in scripts:
        scripts["ja"] += scripts.pop("zh", 0)
    language = max(scripts, key=lambda each: scripts[each])
    if language == "latin":
        return _by_words(text.lower().replace("’", "'"))
    for other, letters in _OWN_LETTERS.get(language, {}).items():
        if any(letter in text.lower() for letter in letters):
            return other
    return language


def primary_subtag(tag: str) -> str:
    """Return the language of a BCP-47 tag: "de" of "de-AT"."""
    return tag.replace("_", "-").partition("-")[0].lower()


def _count_scripts(text: str) -> Counter[str]:
    scripts: Counter[str] = Counter()
    for character, times in Counter(text).items():
        if character.isalpha():
            script = unicodedata.name(character, "").partition(" ")[0]
            language = _SCRIPTS.get(script)
            if language:
                scripts[language] += times * (_SYLLABLE if script in _SYLLABIC else 1)
    return scripts


def _by_words(text: str) -> str:
    words = Counter(_WORD.findall(text))
    letters = Counter(text)
    scores = {
        language: sum(words[word] / sharing for word, sharing in known.items() if word in words)
        + 0.5 * sum(letters[letter] for letter in _LETTERS.get(language, ""))
        for language, known in _vocabulary().items()
    }
    best, after = sorted(scores, key=lambda each: -scores[each])[:2]
    least = max(_MIN_SCORE, _MIN_SHARE * words.total())
    is_clear = scores[best] > _MARGIN * scores[after]
    return best if scores[best] >= least and is_clear else _DEFAULT


@cache
def _vocabulary() -> dict[str, dict[str, int]]:
    """Return the words of each language, with the number of languages that share each word."""
    sharing = Counter(word for words in _WORDS.values() for word in set(words.split()))
    return {
        language: {word: sharing[word] for word in words.split()}
        for language, words in _WORDS.items()
    }
