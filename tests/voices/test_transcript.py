"""Transcripts beside their recordings: what nobody can say in the time, and what anybody may."""

import unicodedata

import pytest

from higgs_worker.text.duration import expected_duration_s
from higgs_worker.voices.transcript import find_mismatch

HONEST = {
    "English": ("The morning train was late again, so I sat down and read the paper twice.", 4.6),
    "English in figures": ("On 12 May 2026 at 9:30 we sold 1,250,000 tickets at $19.99 each.", 8.5),
    "an address": ("Write to anna.lee@example.com or see https://www.example.com/help?id=7.", 7.5),
    "German": ("Am Donnerstagnachmittag besuchten wir die Straßenbahnhaltestelle.", 4.4),
    "French": ("Nous avons marché le long du port jusqu'à ce que les lampes s'allument.", 4.1),
    "Spanish": ("Caminamos por el puerto hasta que se encendieron las luces de la ciudad.", 3.9),
    "Chinese": ("今天早上的火车又晚点了，我只好坐在窗边看报纸。", 5.0),
    "Chinese in figures": ("二楼有2026本书，电话是13800138000。", 7.0),
    "Korean": ("오늘 아침 기차가 또 늦어서 창가에 앉아 신문을 두 번 읽었습니다.", 4.8),
    "Japanese": ("今朝の電車はまた遅れたので、窓際に座って新聞を二回読みました。", 5.0),
    "kana": ("きょうはとてもいいてんきですね、さんぽにいきましょうか。", 3.9),
    "Russian": ("Утренний поезд снова опоздал, поэтому я сел у окна и читал газету.", 4.6),
    "Thai": ("เช้านี้รถไฟมาสายอีกแล้ว ฉันเลยนั่งอ่านหนังสือพิมพ์ริมหน้าต่าง", 4.5),
    "Vietnamese in parts": (
        unicodedata.normalize("NFD", "Chuyến tàu sáng nay lại trễ, nên tôi ngồi đọc báo."),
        3.4,
    ),
    "one word": ("Yes.", 1.0),
    "padded": ("Good evening, and welcome." + " " * 500 + "." * 500, 1.8),
}
"""By kind: what is said, and how long people take for it."""


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize("pace", [0.7, 1.0, 1.25])
def test_an_honest_pair_is_no_mismatch(kind: str, pace: float) -> None:
    """Spoken slowly, as usual or fast, in every language."""
    text, seconds = HONEST[kind]
    assert find_mismatch(text, seconds / pace) is None


@pytest.mark.parametrize("kind", HONEST)
def test_no_pace_of_people_is_called_impossible(kind: str) -> None:
    """A quarter of the pace with pauses, or twice the pace, is at most doubtful."""
    text, seconds = HONEST[kind]
    for factor in (0.5, 4):
        mismatch = find_mismatch(text, seconds * factor)
        assert mismatch is None or not mismatch.is_certain


SENTENCE = "The morning train was late again. "
"""Takes 2.4 s at a calm pace."""


@pytest.mark.parametrize(
    ("text", "recording_s", "is_certain"),
    [
        (SENTENCE * 50, 1.3, True),
        (SENTENCE * 4, 2.4, True),
        (SENTENCE * 4, 4.5, False),
        (SENTENCE, 12.0, False),
        (SENTENCE, 40.0, True),
        ("", 4.0, False),
        ("🙂", 60.0, True),
        ("今天早上的火车又晚点了。" * 10, 4.0, True),
        ("1234567890 " * 20, 8.0, True),
    ],
)
def test_what_cannot_be_is_certain(text: str, recording_s: float, is_certain: bool) -> None:
    """Both lengths are told, and what to do."""
    mismatch = find_mismatch(text, recording_s)
    assert mismatch is not None
    assert mismatch.is_certain is is_certain
    assert f"{recording_s:.1f} s" in str(mismatch)
    assert f"{mismatch.transcript_s:.1f} s" in str(mismatch)
    assert "send the transcript of exactly this recording" in str(mismatch)


def test_a_calm_pace_is_the_measure() -> None:
    """The bounds lie far from it on both sides."""
    assert expected_duration_s(SENTENCE) == pytest.approx(2.4, abs=0.1)
