"""English words for currencies, units, magnitudes and symbols."""

from higgs_worker.text.normalise.locale import currencies, nouns

MONEY = currencies(
    """
    $, US$, USD, U.S.$ | one dollar | dollars | one cent | cents
    €, EUR | one euro | euros | one cent | cents
    £, GBP | one pound | pounds | one penny | pence
    ¥, JPY, JP¥ | one yen | yen
    CN¥, CNY, RMB | one yuan | yuan
    ₩, KRW | one won | won
    ₹, INR | one rupee | rupees | one paisa | paise
    ₽, RUB | one ruble | rubles | one kopeck | kopecks
    ₺, TRY | one lira | lira
    ₫, VND | one dong | dong
    ₪, ILS | one shekel | shekels
    ₴, UAH | one hryvnia | hryvnias
    CHF | one Swiss franc | Swiss francs | one centime | centimes
    A$, AU$, AUD | one Australian dollar | Australian dollars | one cent | cents
    C$, CA$, CAD | one Canadian dollar | Canadian dollars | one cent | cents
    NZ$, NZD | one New Zealand dollar | New Zealand dollars | one cent | cents
    HK$, HKD | one Hong Kong dollar | Hong Kong dollars | one cent | cents
    S$, SGD | one Singapore dollar | Singapore dollars | one cent | cents
    SEK | one Swedish krona | Swedish kronor
    NOK | one Norwegian krone | Norwegian kroner
    DKK | one Danish krone | Danish kroner
    PLN | one zloty | zlotys
    MXN | one Mexican peso | Mexican pesos
    BRL, R$ | one Brazilian real | Brazilian reais
    ¢ | one cent | cents
    """
)
UNITS = nouns(
    """
    km | one kilometer | kilometers
    m | one meter | meters
    cm | one centimeter | centimeters
    mm | one millimeter | millimeters
    nm | one nanometer | nanometers
    μm | one micrometer | micrometers
    mi | one mile | miles
    ft, ft. | one foot | feet
    yd, yds | one yard | yards
    in. | one inch | inches
    km^2, sq km | one square kilometer | square kilometers
    m^2, sq m | one square meter | square meters
    cm^2 | one square centimeter | square centimeters
    mm^2 | one square millimeter | square millimeters
    ft^2, sq ft, sq. ft. | one square foot | square feet
    mi^2, sq mi | one square mile | square miles
    m^3 | one cubic meter | cubic meters
    cm^3, cc | one cubic centimeter | cubic centimeters
    ft^3, cu ft | one cubic foot | cubic feet
    ha | one hectare | hectares
    kg, kgs | one kilogram | kilograms
    g | one gram | grams
    mg | one milligram | milligrams
    μg, mcg | one microgram | micrograms
    lb, lbs, lb., lbs. | one pound | pounds
    oz, oz. | one ounce | ounces
    fl oz, fl. oz. | one fluid ounce | fluid ounces
    l, L | one liter | liters
    ml, mL | one milliliter | milliliters
    cl | one centiliter | centiliters
    gal, gal. | one gallon | gallons
    tbsp, tbsp. | one tablespoon | tablespoons
    tsp, tsp. | one teaspoon | teaspoons
    km/h, kph, kmh, kmph | one kilometer per hour | kilometers per hour
    mph, mi/h | one mile per hour | miles per hour
    m/s | one meter per second | meters per second
    m/s^2 | one meter per second squared | meters per second squared
    ft/s | one foot per second | feet per second
    mpg | one mile per gallon | miles per gallon
    kn | one knot | knots
    h, hr, hrs, hr., hrs. | one hour | hours
    min, mins | one minute | minutes
    s, sec, secs | one second | seconds
    ms | one millisecond | milliseconds
    μs | one microsecond | microseconds
    ns | one nanosecond | nanoseconds
    °C, ° C | one degree Celsius | degrees Celsius
    °F, ° F | one degree Fahrenheit | degrees Fahrenheit
    °, º | one degree | degrees
    W | one watt | watts
    kW | one kilowatt | kilowatts
    MW | one megawatt | megawatts
    GW | one gigawatt | gigawatts
    kWh | one kilowatt hour | kilowatt hours
    MWh | one megawatt hour | megawatt hours
    GWh | one gigawatt hour | gigawatt hours
    Wh | one watt hour | watt hours
    V | one volt | volts
    kV | one kilovolt | kilovolts
    mV | one millivolt | millivolts
    mA | one milliampere | milliamperes
    mAh | one milliampere hour | milliampere hours
    Hz | one hertz | hertz
    kHz | one kilohertz | kilohertz
    MHz | one megahertz | megahertz
    GHz | one gigahertz | gigahertz
    dB | one decibel | decibels
    J | one joule | joules
    kJ | one kilojoule | kilojoules
    cal | one calorie | calories
    kcal | one kilocalorie | kilocalories
    hp | one horsepower | horsepower
    Nm | one newton meter | newton meters
    Pa | one pascal | pascals
    hPa | one hectopascal | hectopascals
    kPa | one kilopascal | kilopascals
    psi | one pound per square inch | pounds per square inch
    rpm | one revolution per minute | revolutions per minute
    bpm | one beat per minute | beats per minute
    fps | one frame per second | frames per second
    dpi | one dot per inch | dots per inch
    ppm | one part per million | parts per million
    px | one pixel | pixels
    MP | one megapixel | megapixels
    KB, kB | one kilobyte | kilobytes
    MB | one megabyte | megabytes
    GB | one gigabyte | gigabytes
    TB | one terabyte | terabytes
    PB | one petabyte | petabytes
    KiB | one kibibyte | kibibytes
    MiB | one mebibyte | mebibytes
    GiB | one gibibyte | gibibytes
    kbps, kbit/s | one kilobit per second | kilobits per second
    Mbps, Mbit/s | one megabit per second | megabits per second
    Gbps, Gbit/s | one gigabit per second | gigabits per second
    MB/s | one megabyte per second | megabytes per second
    GB/s | one gigabyte per second | gigabytes per second
    mg/l, mg/L | one milligram per liter | milligrams per liter
    kg/m^3 | one kilogram per cubic meter | kilograms per cubic meter
    Ω | one ohm | ohms
    """
)
MAGNITUDES = {
    **{word: word for word in ("hundred", "thousand", "million", "billion", "trillion")},
    **dict.fromkeys(("k",), "thousand"),
    **dict.fromkeys(("m", "M", "mn", "mln", "mil"), "million"),
    **dict.fromkeys(("bn", "B", "bln"), "billion"),
    **dict.fromkeys(("tn", "T", "trn"), "trillion"),
}
SYMBOLS = {
    "&": "and",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "%": "percent",
    "§": "section",
    "°": "degrees",
    "±": "plus or minus",
    "×": "times",
    "÷": "divided by",
    "≈": "is about",
    "≠": "is not",
    "≤": "is at most",
    "≥": "is at least",
    "∞": "infinity",
    "√": "the square root of",
    "∑": "the sum of",
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "₩": "won",
    "₹": "rupees",
    "→": "to",
}
ADDRESS = {
    ".": "dot",
    "@": "at",
    "/": "slash",
    "\\": "backslash",
    ":": "colon",
    "-": "dash",
    "_": "underscore",
    "#": "hashtag",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
    "*": "star",
    "v": "version",
}
