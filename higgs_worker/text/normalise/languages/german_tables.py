"""German words for currencies, units, magnitudes, symbols and abbreviations."""

from higgs_worker.text.normalise.locale import currencies, nouns

MONEY = currencies(
    """
    €, EUR | ein Euro | Euro | ein Cent | Cent
    $, US$, USD | ein Dollar | Dollar | ein Cent | Cent
    £, GBP | ein Pfund | Pfund | ein Penny | Pence
    ¥, JPY | ein Yen | Yen
    CHF | ein Franken | Franken | ein Rappen | Rappen
    ₩, KRW | ein Won | Won
    CNY | ein Yuan | Yuan
    """
)
UNITS = nouns(
    """
    km | ein Kilometer | Kilometer
    m | ein Meter | Meter
    cm | ein Zentimeter | Zentimeter
    mm | ein Millimeter | Millimeter
    km^2, qkm | ein Quadratkilometer | Quadratkilometer
    m^2, qm | ein Quadratmeter | Quadratmeter
    cm^2 | ein Quadratzentimeter | Quadratzentimeter
    m^3 | ein Kubikmeter | Kubikmeter
    cm^3 | ein Kubikzentimeter | Kubikzentimeter
    ha | ein Hektar | Hektar
    kg | ein Kilogramm | Kilogramm
    g | ein Gramm | Gramm
    mg | ein Milligramm | Milligramm
    t | eine Tonne | Tonnen
    l, L | ein Liter | Liter
    ml, mL | ein Milliliter | Milliliter
    km/h | ein Kilometer pro Stunde | Kilometer pro Stunde
    m/s | ein Meter pro Sekunde | Meter pro Sekunde
    h, Std. | eine Stunde | Stunden
    min, Min. | eine Minute | Minuten
    s, Sek. | eine Sekunde | Sekunden
    ms | eine Millisekunde | Millisekunden
    °C | ein Grad Celsius | Grad Celsius
    °F | ein Grad Fahrenheit | Grad Fahrenheit
    ° | ein Grad | Grad
    W | ein Watt | Watt
    kW | ein Kilowatt | Kilowatt
    MW | ein Megawatt | Megawatt
    kWh | eine Kilowattstunde | Kilowattstunden
    V | ein Volt | Volt
    A | ein Ampere | Ampere
    Hz | ein Hertz | Hertz
    kHz | ein Kilohertz | Kilohertz
    MHz | ein Megahertz | Megahertz
    GHz | ein Gigahertz | Gigahertz
    dB | ein Dezibel | Dezibel
    kJ | ein Kilojoule | Kilojoule
    kcal | eine Kilokalorie | Kilokalorien
    PS | ein P S | P S
    KB, kB | ein Kilobyte | Kilobyte
    MB | ein Megabyte | Megabyte
    GB | ein Gigabyte | Gigabyte
    TB | ein Terabyte | Terabyte
    ‰ | ein Promille | Promille
    """
)
WORDS = {
    "z.B.": "zum Beispiel",
    "z. B.": "zum Beispiel",
    "d.h.": "das heißt",
    "d. h.": "das heißt",
    "u.a.": "unter anderem",
    "u. a.": "unter anderem",
    "i.d.R.": "in der Regel",
    "i. d. R.": "in der Regel",
    "v.a.": "vor allem",
    "v. a.": "vor allem",
    "o.ä.": "oder ähnlich",
    "o. ä.": "oder ähnlich",
    "u.s.w.": "und so weiter",
    "usw.": "und so weiter",
    "usf.": "und so fort",
    "bzw.": "beziehungsweise",
    "ca.": "circa",
    "evtl.": "eventuell",
    "ggf.": "gegebenenfalls",
    "inkl.": "inklusive",
    "exkl.": "exklusive",
    "etc.": "et cetera",
    "vgl.": "vergleiche",
    "sog.": "sogenannt",
    "bspw.": "beispielsweise",
    "max.": "maximal",
    "min.": "minimal",
    "Dr.": "Doktor",
    "Prof.": "Professor",
    "Hr.": "Herr",
    "Fr.": "Frau",
    "St.": "Sankt",
    "Tel.": "Telefon",
    "Mio.": "Millionen",
    "Mrd.": "Milliarden",
    "Str.": "Straße",
    "str.": "straße",
    "Abb.": "Abbildung",
    "Abs.": "Absatz",
    "Jh.": "Jahrhundert",
    "geb.": "geboren",
}
MAGNITUDES = {
    "Tsd.": "tausend",
    "Tausend": "Tausend",
    "Million": "Million",
    "Millionen": "Millionen",
    "Mio.": "Millionen",
    "Mio": "Millionen",
    "Milliarde": "Milliarde",
    "Milliarden": "Milliarden",
    "Mrd.": "Milliarden",
    "Mrd": "Milliarden",
    "Billion": "Billion",
    "Billionen": "Billionen",
}
SINGULAR_MAGNITUDES = {
    "Million": "eine Million",
    "Millionen": "eine Million",
    "Milliarde": "eine Milliarde",
    "Milliarden": "eine Milliarde",
    "Billion": "eine Billion",
    "Billionen": "eine Billion",
}
SYMBOLS = {
    "&": "und",
    "+": "plus",
    "=": "gleich",
    "@": "at",
    "%": "Prozent",
    "§": "Paragraf",
    "°": "Grad",
    "±": "plus minus",
    "×": "mal",
    "÷": "durch",
    "≈": "ungefähr",
    "≠": "ungleich",
    "≤": "höchstens",
    "≥": "mindestens",
    "∞": "unendlich",
    "√": "Wurzel aus",
    "$": "Dollar",
    "€": "Euro",
    "£": "Pfund",
    "¥": "Yen",
    "→": "zu",
}
ADDRESS = {
    ".": "Punkt",
    "@": "at",
    "/": "Schrägstrich",
    ":": "Doppelpunkt",
    "-": "Minus",
    "_": "Unterstrich",
    "#": "Hashtag",
    "?": "Fragezeichen",
    "=": "gleich",
    "&": "und",
    "%": "Prozent",
    "+": "plus",
    "~": "Tilde",
    "v": "Version",
}
