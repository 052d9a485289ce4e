"""Make training sentences with a seeded grammar: free of copyright, and without end.

Everyday sentences of many shapes teach the rhythm. But a grammar's sentences can be guessed, and a
model that guesses does not learn to read. So most of the texts are a few words in random order.
Half of those words are among the 1,500 most common, the others come from a dictionary. Numbers are
words, as the worker's normaliser writes them.
"""

import random
import re
from collections.abc import Iterator, Sequence

from higgs_worker.text.normalise.rule import listed


def _phrases(text: str) -> list[str]:
    """Return the phrases of a table that is written as one string."""
    return text.split("|")


_NAMES = listed(
    "Anna Ben Clara David Emma Frank Grace Henry Isabel Jack Kate Liam Maria Noah Olivia Peter "
    "Ruth Sam Tina Victor Walter Alice George Helen James Laura Martin Nora Oscar Paula Robert "
    "Sarah Thomas Julia Simon Rachel Daniel Michael Susan Eric Linda Mark Jane Paul Rose Adam "
    "Lucy Hugo"
)
_PLACES = _phrases(
    "London|Paris|Boston|the city|the village|the market|the station|the library|the harbor|"
    "the park|the kitchen|the garden|the office|the school|the museum|the bridge|the beach|"
    "the mountains|the river|the old mill|the hospital|the airport|the church|the theater|"
    "the north|the south|Berlin|Madrid|Chicago|Canada|Italy|Japan|the corner|the shop|"
    "the bakery|the hotel|home|work"
)
_NOUNS = listed(
    "book letter house garden window table chair door street train boat car bicycle road bridge "
    "river lake mountain field forest tree flower bird dog cat horse fish cow sheep mouse child "
    "boy girl man woman friend teacher doctor farmer baker driver captain singer writer painter "
    "neighbor brother sister mother father uncle aunt cousin king queen picture song story film "
    "phone computer radio clock watch lamp fire bread cheese apple orange lemon cake soup tea "
    "coffee milk sugar salt plate cup glass bottle knife fork spoon box bag coat hat shoe shirt "
    "dress ring key coin ticket map paper pen pencil question answer problem idea plan dream "
    "voice sound noise word name number morning evening night day week month year summer winter "
    "spring autumn rain snow wind storm cloud sun moon star sky sea island ship plane engine "
    "wheel machine tool hammer rope wall floor roof room bed mirror stone rock sand wood metal "
    "gold silver color shape size price money market shop school class lesson game ball team "
    "player race war peace law city town village country world heart hand head eye ear nose mouth "
    "tooth arm leg foot finger shoulder knee skin bone blood"
)
_ADJECTIVES = listed(
    "old new young small large big little long short high low wide narrow deep warm cold hot cool "
    "dry wet dark bright light heavy soft hard loud quiet fast slow early late good bad better "
    "best happy sad angry kind strange simple easy difficult strong weak rich poor clean dirty "
    "fresh sweet sour bitter empty full open closed broken green red blue yellow white black "
    "brown gray gentle careful honest clever brave proud lonely famous modern ancient golden "
    "silent beautiful ugly thin thick round flat sharp smooth rough cheap expensive important "
    "useful dangerous safe possible perfect"
)
_PAST = listed(
    "saw found lost bought sold made took gave brought carried opened closed cleaned painted "
    "fixed broke dropped held wanted needed liked loved hated remembered forgot knew watched "
    "heard followed left passed reached touched moved pushed pulled turned washed cooked ate "
    "drank read wrote drew sent showed kept hid changed checked measured counted chose shared "
    "visited built planned missed"
)
_BASE = listed(
    "see find lose buy sell make take give bring carry open close clean paint fix break drop hold "
    "want need like love remember forget know watch hear follow leave pass reach touch move push "
    "pull turn wash cook eat drink read write draw send show keep hide change check measure count "
    "choose share"
)
_WENT = listed(
    "walked ran drove went came flew sailed travelled moved returned hurried wandered stayed "
    "waited worked lived slept sat stood played sang danced talked laughed met arrived"
)
_WHEN = _phrases(
    "today|yesterday|tomorrow|again|quickly|slowly|quietly|at once|at last|for a while|"
    "together|alone|in the morning|in the evening|at night|every day|last week|next year|"
    "before noon|after lunch|on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|"
    "on Saturday|on Sunday|in January|in February|in March|in April|in May|in June|in July|"
    "in August|in September|in October|in November|in December|as usual|without a word|"
    "with great care|in the rain|before the storm"
)
_NUMBERS = listed(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_UNITS = listed(
    "minutes hours days weeks years miles dollars people pages steps meters pounds times"
)
_COMMON = listed(
    "the of and to in is that it was for on are as with his they at be this from have or by one "
    "had not but what all were when we there can an your which their said if do will each about "
    "how up "
    "out them then she many some so these would other into has more her two like him see time "
    "could no make than first been its who now people my made over did down only way find use may "
    "water long little very after words called just where most know get through back much before "
    "go good new write our used me man too any day same right look think also around another came "
    "come work three must because does part even place well such here take why things help put "
    "years different away again off went number great tell men say small every found still "
    "between name should big under read last us left end along while might next sound below saw "
    "something thought both few those always looked show large often together asked don't going "
    "want school important until form food keep children feet land side without boy once animal "
    "life enough took four head above kind began almost live page got need far hand high year "
    "light country father let night picture being study second soon story since white ever paper "
    "hard near sentence better best across during today however sure knew it's try told young sun "
    "thing whole hear example heard several change answer room sea against top turned learn point "
    "city play toward five himself usually money seen didn't car morning i'm body upon family "
    "later turn move face door cut done group true half red fish plants living black eat short "
    "united run book gave order open ground cold really table remember tree course front american "
    "space inside ago sad early i'll learned brought close nothing though idea before lived "
    "became add become grow draw yet less wind behind cannot letter among able dog shown mean "
    "english rest perhaps certain six feel fire ready green yes built special ran full town "
    "complete oh person hot anything hold state list stood hundred ten fast felt kept notice "
    "can't strong voice probably area horse matter stand box start that's class piece surface "
    "river common stop am talk whether fine round dark past ball girl road blue instead either "
    "held already warm gone finally summer understand moon animals mind outside power problem "
    "longer winter deep heavy carefully follow beautiful everyone leave everything game system "
    "bring watch shell dry within floor ice ship themselves begin fact third quite carry distance "
    "although sat possible heart real simple snow rain suddenly leaves easy lay size wild weather "
    "miss pattern sky walked main someone center field stay itself boat question wide least tiny "
    "hour happened foot care low else gold build glass rock tall alone bottom walk check fall "
    "poor map friend language job music buy window mark heat grew listen ask single clear energy "
    "week explain lost spring travel wrote farm circle whose correct bed measure straight base "
    "mountain caught hair bird wood color war fly yourself seem thus square moment teacher happy "
    "bright sent present plan rather length speed machine information except figure you free fell "
    "suppose natural ocean government baby grass plane street couldn't reason difference maybe "
    "history mouth middle step child strange wish soil human trip woman eye milk choose north "
    "seven famous late pay sleep iron trouble store beside oil modern fun catch business reach "
    "lot won't case speak shape eight edge soft village object age minute wall meet record copy "
    "forest especially necessary he's unit flat direction south subject skin wasn't i've yellow "
    "party force test bad temperature pair ahead wrong practice sand tail wait difficult general "
    "cover material isn't thousand sign guess forward huge ride region nor period blood rich team "
    "corner cat amount garden led note various race bit result brother addition doesn't dead "
    "weight thin stone hit wife island we'll opposite born sense cattle million anyone rule "
    "science afraid women produce pull son meant broken interest chance thick sight pretty train "
    "fresh drive lead break sit bought radio method king similar return corn decide position bear "
    "hope song engine board control spread evening brown clean wouldn't section spent ring teeth "
    "quiet ancient stick afternoon silver nose century therefore level you'll death hole coast "
    "cross sharp fight capital fill deal patient busy enjoy dinner tomorrow breakfast kitchen "
    "sister please thank hello sorry welcome water's user system assistant forty thirty"
)
_MORE = listed(
    "pond hill drawer stopped cards worth lemons apples questions counted breakfast lunch supper "
    "cook cooking walking talking running reading writing playing singing dancing swimming "
    "sleeping eating drinking making taking giving coming going looking waiting working living "
    "thinking feeling trying using asking telling calling leaving moving turning starting "
    "stopping helping showing hearing closing opening falling growing raining snowing shining "
    "flying sitting standing holding likes loves wants needs knows thinks says makes takes gives "
    "comes goes looks waits works lives feels tries uses asks tells calls leaves moves turns "
    "starts stops helps shows hears plays opens closes falls grows rains snows shines flies sits "
    "stands holds runs walks talks reads writes sings dances swims sleeps eats drinks cooks buys "
    "sells finds loses keeps brings carries sends pays meets houses windows tables chairs doors "
    "streets trains boats bridges rivers lakes mountains fields forests trees flowers birds dogs "
    "cats horses cows boys girls friends teachers doctors farmers brothers sisters pictures songs "
    "stories films phones computers clocks lamps cakes plates cups glasses bottles bags coats "
    "hats shoes shirts keys tickets maps papers pens letters mornings nights months summers "
    "winters storms clouds stars islands ships planes wheels machines walls rooms stones games "
    "balls teams cities towns villages hearts hands heads eyes ears arms legs fingers shoulders "
    "sets rises set rise east west southern northern hello hi bye goodbye welcome please thanks "
    "yes no maybe okay today's tonight weekend monday tuesday wednesday thursday friday saturday "
    "sunday january february march april may june july august september october november december "
    "pocket basket ladder candle pillow blanket carpet corner curtain mirror ceiling cellar attic "
    "butter honey pepper onion potato tomato carrot cabbage mushroom banana cherry grape peach "
    "pear chicken turkey beef pork fish soup salad sandwich pizza pasta rice egg eggs cream "
    "chocolate cookie doctor nurse lawyer judge soldier sailor pilot actor artist author poet "
    "priest prince princess engine motor battery button screen camera camera's internet message "
    "email website model speech demo test sample sentence paragraph example minute second hourly "
    "daily weekly yearly quick brown fox jumps lazy over rabbit tiger lion elephant monkey snake "
    "spider bee butterfly eagle owl duck goose pig goat wolf bear deer whale shark shell coral "
    "wave tide beach coast harbor port anchor sail deck cabin crew storm thunder lightning fog "
    "mist frost heat breeze sunshine rainbow shadow darkness silence noise whisper shout scream "
    "laugh smile cry tears joy anger fear pride shame hope luck trust truth lie secret promise "
    "gift present prize reward cost bill bank cash price cheap sale customer service company "
    "manager office desk chair meeting report project plan schedule deadline budget profit loss "
    "growth trade export import tax law court police crime prison guard victim witness evidence "
    "doubt proof fact theory science physics chemistry biology history geography language grammar "
    "spelling poem novel chapter title library museum gallery concert theater stage drama comedy "
    "dance ballet opera piano guitar violin drum trumpet flute stop listen listening speak "
    "speaking speaks spoke spoken understand understands understood"
)

RARE = 0.5
"""Share of the words in random order that come from the dictionary."""

_SHAPES = (
    "{Name} {past} the {noun}.",
    "{Name} {past} the {adj} {noun} {when}.",
    "The {noun} is {adj}.",
    "The {adj} {noun} was very {adj}.",
    "The {noun} and the {noun} {went} {when}.",
    "{Name} {went} to {place} {when}.",
    "We {went} to {place}, and {Name} {past} a {noun}.",
    "I {past} a {adj} {noun} near {place}.",
    "Did you {base} the {noun}?",
    "Why did {Name} {base} the {adj} {noun}?",
    "Where is the {noun}?",
    "What do you {base} in {place}?",
    "Can you {base} my {noun}, please?",
    "How many {noun}s are there?",
    "There are {num} {noun}s in {place}.",
    "It took {num} {unit} to {base} the {noun}.",
    "{Name} is {num} years old.",
    "Please {base} the {noun} {when}.",
    "Don't {base} the {adj} {noun}!",
    "What a {adj} {noun}!",
    "They {past} it {when}.",
    "She said that the {noun} was {adj}.",
    "He {past} {num} {noun}s, but {Name} {past} only one.",
    "If you {base} the {noun}, I will {base} the {noun}.",
    "When the {noun} {went}, the {noun} was {adj}.",
    "The {noun} of the {noun} is {adj}, isn't it?",
    "Nobody {past} the {noun} because it was {adj}.",
    "My {noun} {went} from {place} to {place}.",
    "You should {base} your {noun} {when}.",
    "I think {Name} will {base} it {when}.",
    "Thank you, {Name}.",
    "Good morning, {Name}.",
    "Hello, {Name}, how are you {when}?",
    "Yes, I {past} it.",
    "No, we never {past} the {noun}.",
    "This {noun} costs {num} {unit}.",
    "The {adj}, {adj} {noun} {went} {when}.",
    "Between {place} and {place} there is a {adj} {noun}.",
    "It is {num} {unit} from here to {place}.",
    "Once there was a {adj} {noun} who {past} a {noun}.",
    "{Word}, {word} and {word}.",
    "The word is {word}.",
    "{Name} talked about {word} and {word}.",
    "A {word} {noun} is not a {word} {noun}.",
    "{Word} is {adj}, but {word} is {adj}.",
    "Have you heard of {word}?",
    "He wrote {word} {when}.",
    "{Word}!",
    "{Word} {word}.",
    "{Name} {Word} {past} the {word}.",
)


def _vocabulary() -> list[str]:
    """Return all words of the tables, each once, in lower case."""
    tables = (_NAMES, _PLACES, _NOUNS, _ADJECTIVES, _PAST, _BASE, _WENT, _WHEN, _NUMBERS, _UNITS)
    texts = [text for table in (*tables, _COMMON, _MORE, _SHAPES) for text in table]
    found = (
        word
        for text in texts
        for word in re.findall(r"[a-z']+", re.sub(r"{.*?}", " ", text).lower())
    )
    return sorted({word for word in found if word.strip("'")})


VOCABULARY = _vocabulary()


def sentences(words: Sequence[str], seed: int) -> Iterator[str]:
    """Yield sentences without end.

    Args:
        words: a dictionary's.
        seed: the same one gives the same sentences.
    """
    choose = random.Random(seed)
    while True:
        kind = choose.random()
        if kind < 0.65:
            num_words = choose.randint(1, 4) if kind < 0.4 else choose.randint(4, 9)
            yield _salad(num_words, words, choose)
            continue
        text = choose.choice(_SHAPES)
        if choose.random() < 0.15:
            second = choose.choice(_SHAPES)
            second = second[0].lower() + second[1:]
            text = text[:-1] + ", " + choose.choice(("and", "but", "so", "because")) + " " + second
        elif choose.random() < 0.1:
            text += " " + choose.choice(_SHAPES)
        yield _fill(text, words, choose)


def _salad(num_words: int, words: Sequence[str], choose: random.Random) -> str:
    """Return a text of unrelated words."""
    chosen = [_any_word(words, choose) for _ in range(num_words)]
    text = " ".join(word + "," if choose.random() < 0.06 else word for word in chosen[:-1])
    text = f"{text} {chosen[-1]}".strip()
    return text[0].upper() + text[1:] + choose.choice("....?!")


def _any_word(words: Sequence[str], choose: random.Random) -> str:
    return choose.choice(words if choose.random() < RARE else VOCABULARY)


def _fill(shape: str, words: Sequence[str], choose: random.Random) -> str:
    parts = []
    for index, piece in enumerate(shape.replace("}", "{").split("{")):
        parts.append(_choice(piece, words, choose) if index % 2 else piece)
    text = "".join(parts)
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return text[0].upper() + text[1:]


def _choice(kind: str, words: Sequence[str], choose: random.Random) -> str:
    if kind == "num":
        return _number(choose)
    if kind in ("word", "Word"):
        word = _any_word(words, choose)
        return word.capitalize() if kind == "Word" else word
    tables: dict[str, Sequence[str]] = {
        "Name": _NAMES,
        "place": _PLACES,
        "noun": _NOUNS,
        "adj": _ADJECTIVES,
        "past": _PAST,
        "base": _BASE,
        "went": _WENT,
        "when": _WHEN,
        "unit": _UNITS,
    }
    return choose.choice(tables[kind])


def _number(choose: random.Random) -> str:
    if choose.random() < 0.6:
        return choose.choice(_NUMBERS)
    if choose.random() < 0.5:
        return f"{choose.choice(_NUMBERS[-8:])} {choose.choice(_NUMBERS[:8])}"
    return f"{choose.choice(_NUMBERS[:8])} {choose.choice(('hundred', 'thousand'))}"
