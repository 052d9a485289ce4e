"""Rules for Chinese: numbers, dates, times and symbols in Mandarin.

Years and telephone numbers are read digit by digit; 两 is used to count two things. The words are
in simplified characters.
"""

import re
from functools import cache

from higgs_worker.text.normalise import addresses, dates, quantities
from higgs_worker.text.normalise.language_rules import LanguageRules
from higgs_worker.text.normalise.locale import Locale, Money, Noun
from higgs_worker.text.normalise.numerals import CHINESE_DIGITS, chinese
from higgs_worker.text.normalise.rule import START, Rule, listed, rule


def _nouns(table: dict[str, str]) -> dict[str, Noun]:
    return {
        written: Noun(f"一{said}", said)
        for names, said in table.items()
        for written in names.split()
    }


_MONEY = {
    written: Money(noun)
    for written, noun in _nouns(
        {
            "¥ CNY RMB CN¥ 元": "元",
            "$ US$ USD 美元": "美元",
            "€ EUR 欧元": "欧元",
            "£ GBP 英镑": "英镑",
            "JPY 日元": "日元",
            "₩ KRW 韩元": "韩元",
            "HK$ HKD 港元": "港元",
            "NT$ TWD": "新台币",
        }
    ).items()
}
_UNITS = _nouns(
    {
        "km": "公里",
        "m": "米",
        "cm": "厘米",
        "mm": "毫米",
        "km^2": "平方公里",
        "m^2": "平方米",
        "m^3": "立方米",
        "kg": "公斤",
        "g": "克",
        "mg": "毫克",
        "t": "吨",
        "l L": "升",
        "ml mL": "毫升",
        "h": "小时",
        "min": "分钟",
        "s": "秒",
        "ms": "毫秒",
        "°C": "摄氏度",
        "°F": "华氏度",
        "°": "度",
        "W": "瓦",
        "kW": "千瓦",
        "kWh": "千瓦时",
        "V": "伏",
        "Hz": "赫兹",
        "kHz": "千赫",
        "MHz": "兆赫",
        "GHz": "吉赫",
        "dB": "分贝",
        "kcal": "千卡",
        "KB": "千字节",
        "MB": "兆字节",
        "GB": "吉字节",
        "TB": "太字节",
    }
) | {
    "km/h": Noun("每小时一公里", "每小时{}公里"),
    "m/s": Noun("每秒一米", "每秒{}米"),
}
_MAGNITUDES = {
    large: large
    for large in ("百", "千", "万", "百万", "千万", "亿", "十亿", "百亿", "千亿", "万亿")
}
_SYMBOLS = {
    "&": "和",
    "+": "加",
    "=": "等于",
    "@": "艾特",
    "%": "百分号",
    "°": "度",
    "±": "正负",
    "×": "乘",
    "÷": "除以",
    "≈": "约等于",
    "≠": "不等于",
    "≤": "小于等于",
    "≥": "大于等于",
    "$": "美元",
    "€": "欧元",
    "£": "英镑",
    "¥": "元",
    "→": "到",
}
_ADDRESS = {
    ".": "点",
    "@": "艾特",
    "/": "斜杠",
    ":": "冒号",
    "-": "杠",
    "_": "下划线",
    "#": "井号",
    "?": "问号",
    "=": "等于",
    "&": "和",
    "%": "百分号",
    "+": "加",
    "~": "波浪号",
    "v": "版本",
}
_MEASURE_WORDS = listed(
    "个 位 只 条 张 本 次 天 周 点 小时 分钟 秒 岁 名 家 台 辆 件 块 种 倍 层 斤 公斤 公里 米 人 年 头 匹 棵 朵 杯 瓶 碗 双 对 套 间 座 部 "
    "首 句 篇 封 把 支 根 片 颗 粒 滴 场 门 项 款 份 步 遍 趟 口 万 亿"
)


def _digits(text: str) -> str:
    return "".join(CHINESE_DIGITS[int(digit)] for digit in text)


def _two(number: int) -> str:
    return "两" if number == 2 else chinese(number)


def _date(day: int, month: int, year: int, before: str) -> str:
    return f"{_digits(str(year))}年{chinese(month)}月{chinese(day)}日"


def _clock(match: re.Match[str]) -> str | None:
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if hour > 24:
        return None
    said = f"{_two(hour)}点"
    if minute or second:
        said += f"{'零' if minute < 10 else ''}{chinese(minute) if minute else ''}分"
    return f"{said}{chinese(second)}秒" if second else said


def _own() -> tuple[Rule, ...]:
    return (
        *dates.rules(_date),
        rule(
            "years",
            rf"{START}([0-9]{{4}})[ ]?[-~至到][ ]?(?=[0-9]{{4}}[ ]?年)",
            lambda m: f"{_digits(m[1])}到",
        ),
        rule("year", rf"{START}([0-9]{{4}})[ ]?(?=年)", lambda m: _digits(m[1])),
        rule("mobile phone", r"(?<![0-9+])1[3-9][0-9]{9}(?![0-9])", lambda m: _digits(m[0])),
        rule("time", rf"{START}([0-2]?[0-9]):([0-5][0-9])(?::([0-5][0-9]))?(?![:0-9])", _clock),
        rule("ratio", rf"{START}([0-9]{{1,4}}):([0-9]{{1,4}})(?![0-9:])", r"\1比\2"),
        rule(
            "two of something",
            rf"{START}(?<![第0-9][.,])(?<![第十百~-])2(?=[ ]?(?:{'|'.join(_MEASURE_WORDS)}))",
            "两",
        ),
    )


@cache
def language_rules(region: str = "CN") -> LanguageRules:
    """Return the rules for Chinese; the region makes no difference."""
    locale = Locale(
        cardinal=chinese,
        digits=CHINESE_DIGITS,
        group_marks=",",
        decimal_mark=r"\.",
        point="点",
        minus="负",
        plus="正",
        plus_minus="正负",
        to="到",
        percent="百分之{}",
        money=_MONEY,
        units=_UNITS,
        magnitudes=_MAGNITUDES,
        fraction=lambda above, below: f"{chinese(below)}分之{chinese(above)}",
        number_word="第{}",
        powers={"2": "{}的平方", "3": "{}的立方", "n": "{}的{}次方"},
        operators={"×": "乘", "*": "乘", "÷": "除以", "/": "除以", "<": "小于", ">": "大于"},
        symbols=_SYMBOLS,
        address=_ADDRESS,
        word_gap="",
        digit_gap="",
        of_magnitude="{}{}".format,
        before_noun=lambda said: "两" if said == "二" else said,
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
