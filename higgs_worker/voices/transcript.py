"""Compare a transcript with its recording: whether anybody could say the one in the other's time.

Only the two lengths are known here, not the words. The bounds leave room for the fastest and the
slowest speakers of every language, and for an estimate that is wrong by half.
"""

import unicodedata
from dataclasses import dataclass

from higgs_worker.errors import InvalidAudio
from higgs_worker.text.duration import expected_duration_s
from higgs_worker.text.language import detect
from higgs_worker.text.normalise.normalise import normalise

HASTY, IMPOSSIBLE = 2.0, 4.0
"""Times the calm pace of `expected_duration_s`. Fast talkers reach twice, in syllables 9 a second;
four times are 18, and no tongue does more than 12."""
SLOW, LEFT_OUT = 3.0, 10.0
"""Times what the transcript takes, long pauses and a drawl included."""
SLOW_GRACE_S, LEFT_OUT_GRACE_S = 3.0, 10.0
"""Added to these: a pause or a laugh beside a few words is no fault."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A recording and a transcript that hardly belong together."""

    recording_s: float
    transcript_s: float
    """What it takes at a calm pace."""
    is_certain: bool
    """Whether it cannot be otherwise; else it is only doubtful."""

    def __str__(self) -> str:
        return (
            f"the recording of the voice lasts {self.recording_s:.1f} s without silent ends, and "
            f"its transcript takes about {self.transcript_s:.1f} s to say; send the transcript of "
            "exactly this recording, word for word"
        )


def find_mismatch(text: str, recording_s: float) -> Mismatch | None:
    """Return how a transcript and a recording differ; None if they can belong together.

    Args:
        text: the transcript.
        recording_s: length of the recording without silent ends.
    """
    # Numbers and symbols may be said in more ways than one: each bound is held against the reading
    # that fits it best.
    spoken = normalise(text, detect(text))
    written = " ".join(unicodedata.normalize("NFC", text).split())
    least_s, most_s = sorted(expected_duration_s(each) for each in (spoken, written))
    if least_s > HASTY * recording_s:
        return Mismatch(recording_s, least_s, least_s > IMPOSSIBLE * recording_s)
    if recording_s > SLOW * most_s + SLOW_GRACE_S:
        is_certain = recording_s > LEFT_OUT * most_s + LEFT_OUT_GRACE_S
        return Mismatch(recording_s, most_s, is_certain)
    return None


def check_transcript(text: str, recording_s: float) -> tuple[str, ...]:
    """Return a warning if a transcript hardly fits its recording; for the arguments, see above.

    Raises:
        InvalidAudio: it cannot be what is said in it.
    """
    mismatch = find_mismatch(text, recording_s)
    if mismatch is None:
        return ()
    if mismatch.is_certain:
        raise InvalidAudio(
            str(mismatch),
            details={
                "recording_s": round(mismatch.recording_s, 2),
                "transcript_s": round(mismatch.transcript_s, 2),
            },
        )
    return (str(mismatch),)
