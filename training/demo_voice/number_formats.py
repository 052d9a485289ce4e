"""Compare number formats by what is heard: the embedded model says the same sentences in each.

    .venv/bin/uv pip install -c requirements-dev.lock -e '.[training]'
    python -m training.demo_voice.number_formats     # 200 sentences, some 40 minutes on two cores

Each sentence has a seed of its own, the same in every format, and no second attempt, so that no
fault is mended before it is counted. The sentences are those of `word_errors.py`, which the
recipe's grammar cannot make, and others of that grammar.
"""

import argparse
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from training.demo_voice import text
from training.demo_voice.word_errors import (
    SENTENCES,
    UNCOMMON,
    Recording,
    num_errors,
    speak,
    transcribe,
    words,
)

MAX_LENGTH_RATIO = 1.75
"""A sentence that takes more than this times its shortest length among the formats is a runaway.
Of 60 sentences in float32 and int8 none differed by more than 8 %."""
MIN_WORDS, GRAMMAR_SEED = 5, 77
"""Of the grammar's sentences: a single word says little; a seed that no training used."""
NUM_AT_ONCE = 20
"""Sentences after which there is something to be read."""


@dataclass(slots=True)
class Heard:
    """What was heard in one format."""

    said: list[str] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[int]:
        """Wrong words of each sentence."""
        return list(map(num_errors, self.said, self.transcripts))

    @property
    def error_rate(self) -> float:
        """Wrong words per word."""
        return sum(self.errors) / sum(len(words(each)) for each in self.said)


def sentences(count: int) -> list[str]:
    """Return sentences, the same ones each time."""
    others = (each for each in text.sentences(text.VOCABULARY, GRAMMAR_SEED) if _is_long(each))
    return list(itertools.islice(itertools.chain(SENTENCES, UNCOMMON, others), count))


def _is_long(sentence: str) -> bool:
    return len(words(sentence)) >= MIN_WORDS


def listen(dtypes: Sequence[str], count: int) -> Iterator[dict[str, Heard]]:
    """Speak and transcribe; yields all that was heard so far, by format, from time to time."""
    heard = {dtype: Heard() for dtype in dtypes}
    texts, seeds = sentences(count), range(1, count + 1)
    for first in range(0, count, NUM_AT_ONCE):
        part = slice(first, first + NUM_AT_ONCE)
        for dtype, each in heard.items():
            recordings = speak(texts[part], seeds[part], dtype=dtype, retries=0)
            each.said += texts[part]
            each.recordings += recordings
            each.transcripts += map(transcribe, recordings)
        yield heard


def num_runaways(lengths: Sequence[Sequence[float]]) -> list[int]:
    """Return the number of runaways of each format.

    Args:
        lengths: per format, the length of each sentence in seconds.
    """
    shortest = [min(each) for each in zip(*lengths, strict=True)]
    return [
        sum(own > MAX_LENGTH_RATIO * least for own, least in zip(each, shortest, strict=True))
        for each in lengths
    ]


def table(heard: dict[str, Heard]) -> str:
    """Return a row for each format; the first is what the others are compared with."""
    first = next(iter(heard.values()))
    runaways = num_runaways([[r.length_s for r in each.recordings] for each in heard.values()])
    rows = [
        f"{len(first.said)} sentences, {sum(len(words(each)) for each in first.said)} words",
        "",
        "| format | word error rate | more wrong words | runaways | faults | sound s |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for (dtype, each), runaway in zip(heard.items(), runaways, strict=True):
        more = [own - other for own, other in zip(each.errors, first.errors, strict=True)]
        deviation = statistics.pstdev(more) * math.sqrt(len(more))
        faults = sum(bool(recording.faults) for recording in each.recordings)
        length_s = sum(recording.length_s for recording in each.recordings)
        rows.append(
            f"| {dtype} | {each.error_rate:.1%} | {sum(more)} ± {deviation:.0f} | {runaway} "
            f"| {faults} | {length_s:.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Print a table after each group of sentences, and at the end every fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int8"])
    options = parser.parse_args()
    heard: dict[str, Heard] = {}
    for heard in listen(options.dtypes, options.sentences):
        print(table(heard), flush=True)
    for dtype, each in heard.items():
        for said, recording in zip(each.said, each.recordings, strict=True):
            if recording.faults:
                print(f"{dtype}: {said!r}: {'; '.join(recording.faults)}")


if __name__ == "__main__":
    main()
