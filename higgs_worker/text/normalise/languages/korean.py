"""Rules for Korean: numbers, dates, times and symbols.

Numbers are Sino-Korean, except that hours, people and things are counted with native ones up to 99.
"""

import re
from functools import cache

from higgs_worker.text.normalise import addresses, dates, quantities
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.locale import Locale, currencies, nouns
from higgs_worker.text.normalise.numerals import KOREAN_DIGITS, korean, native_korean
from higgs_worker.text.normalise.rule import START, Rule, listed, rule

_MONEY = currencies(
    """
    ₩, KRW, 원 | 일 원 | 원
    $, US$, USD, 달러 | 일 달러 | 달러
    €, EUR, 유로 | 일 유로 | 유로
    £, GBP, 파운드 | 일 파운드 | 파운드
    ¥, JPY, 엔 | 일 엔 | 엔
    CNY, 위안 | 일 위안 | 위안
    """
)
_UNITS = nouns(
    """
    km | 일 킬로미터 | 킬로미터
    m | 일 미터 | 미터
    cm | 일 센티미터 | 센티미터
    mm | 일 밀리미터 | 밀리미터
    km^2 | 일 제곱킬로미터 | 제곱킬로미터
    m^2 | 일 제곱미터 | 제곱미터
    m^3 | 일 세제곱미터 | 세제곱미터
    kg | 일 킬로그램 | 킬로그램
    g | 일 그램 | 그램
    mg | 일 밀리그램 | 밀리그램
    t | 일 톤 | 톤
    l, L | 일 리터 | 리터
    ml, mL | 일 밀리리터 | 밀리리터
    km/h | 시속 일 킬로미터 | 시속 {} 킬로미터
    m/s | 초속 일 미터 | 초속 {} 미터
    h | 한 시간 | 시간
    min | 일 분 | 분
    s | 일 초 | 초
    ms | 일 밀리초 | 밀리초
    °C | 섭씨 일 도 | 섭씨 {} 도
    °F | 화씨 일 도 | 화씨 {} 도
    ° | 일 도 | 도
    W | 일 와트 | 와트
    kW | 일 킬로와트 | 킬로와트
    kWh | 일 킬로와트시 | 킬로와트시
    V | 일 볼트 | 볼트
    Hz | 일 헤르츠 | 헤르츠
    kHz | 일 킬로헤르츠 | 킬로헤르츠
    MHz | 일 메가헤르츠 | 메가헤르츠
    GHz | 일 기가헤르츠 | 기가헤르츠
    dB | 일 데시벨 | 데시벨
    kcal | 일 킬로칼로리 | 킬로칼로리
    KB | 일 킬로바이트 | 킬로바이트
    MB | 일 메가바이트 | 메가바이트
    GB | 일 기가바이트 | 기가바이트
    TB | 일 테라바이트 | 테라바이트
    %p, %P | 일 퍼센트포인트 | 퍼센트포인트
    """
)
_MAGNITUDES = {
    large: large for large in ("천", "만", "억", "조", "백만", "천만", "십억", "백억", "천억")
}
_SYMBOLS = {
    "&": "앤드",
    "+": "더하기",
    "=": "는",
    "@": "골뱅이",
    "%": "퍼센트",
    "°": "도",
    "±": "플러스마이너스",
    "×": "곱하기",
    "÷": "나누기",
    "$": "달러",
    "€": "유로",
    "£": "파운드",
    "¥": "엔",
    "₩": "원",
}
_ADDRESS = {
    ".": "점",
    "@": "골뱅이",
    "/": "슬래시",
    ":": "콜론",
    "-": "대시",
    "_": "언더바",
    "#": "해시태그",
    "?": "물음표",
    "=": "이퀄",
    "&": "앤드",
    "%": "퍼센트",
    "+": "플러스",
    "~": "물결",
    "v": "버전",
}
_NATIVE_COUNTERS = listed(
    "시간 개(?!월) 명 살 마리 잔 송이 켤레 벌 그루 사람 번째 곳 군데 배 가지 달 자루 채 척 권 장 병 통"
)
_COUNTER = "|".join(_NATIVE_COUNTERS)


def _date(day: int, month: int, year: int, before: str) -> str:
    return f"{korean(year)}년 {_month(month)}월 {korean(day)}일"


def _month(month: int) -> str:
    return {6: "유", 10: "시"}.get(month) or korean(month)


def _hour(hour: int) -> str:
    return (native_korean(hour) if 1 <= hour <= 12 else None) or korean(hour)


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if hour > 24:
        return None
    said = f"{_hour(hour)} 시"
    if minute or second:
        said += f" {korean(minute)} 분"
    return f"{said} {korean(second)} 초" if second else said


def _counted(match: re.Match[str]) -> str | None:
    number = int(match[1])
    if number == 1 and match[2] == "번째":
        return "첫 번째"
    said = native_korean(number)
    return None if said is None else f"{said} {match[2]}"


def _phone(match: re.Match[str]) -> str:
    groups = re.findall("[0-9]+", match[0])
    return ", ".join(
        "".join("공" if digit == "0" else KOREAN_DIGITS[int(digit)] for digit in group)
        for group in groups
    )


def _fraction(above: int, below: int) -> str:
    return f"{korean(below)}분의 {korean(above)}"


def _own() -> tuple[Rule, ...]:
    return (
        *dates.rules(_date),
        rule("month", rf"{START}(6|10)[ ]?월", lambda m: f"{_month(int(m[1]))}월"),
        rule("phone", rf"{START}0[0-9]{{1,2}}-[0-9]{{3,4}}-[0-9]{{4}}(?![0-9-])", _phone),
        rule("time", rf"{START}([0-2]?[0-9]):([0-5][0-9])(?::([0-5][0-9]))?(?![:0-9])", _clock),
        rule("hour", rf"{START}([0-2]?[0-9])[ ]?시(?!간)", lambda m: f"{_hour(int(m[1]))} 시"),
        rule(
            "counted",
            rf"{START}(?<!제)(?<!제 )(?<![0-9][.,])(?<![-~])([0-9]{{1,2}})[ ]?({_COUNTER})",
            _counted,
        ),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1 대 \2"),
    )


@cache
def language_rules(region: str = "KR") -> LanguageRules:
    """Return the rules for Korean; the region makes no difference."""
    locale = Locale(
        cardinal=korean,
        digits=KOREAN_DIGITS,
        group_marks=",",
        decimal_mark=r"\.",
        point="점",
        minus="마이너스",
        plus="플러스",
        plus_minus="플러스마이너스",
        to="에서 ",
        percent="{} 퍼센트",
        money=_MONEY,
        units=_UNITS,
        magnitudes=_MAGNITUDES,
        fraction=_fraction,
        number_word="번호 {}",
        powers={"2": "{} 제곱", "3": "{} 세제곱", "n": "{}의 {} 제곱"},
        operators={
            "×": "곱하기",
            "*": "곱하기",
            "÷": "나누기",
            "/": "나누기",
            "<": "보다 작음",
            ">": "보다 큼",
        },
        symbols=_SYMBOLS,
        address=_ADDRESS,
        digit_gap="",
    )
    return LanguageRules(
        amounts=(
            quantities.time_ranges(locale),
            *_own(),
            *addresses.rules(locale),
            *quantities.rules(locale),
            *quantities.remainder(locale),
            *quantities.symbols(locale),
        )
    )
