"""When each sentence of a request is heard: found in the sound of the chunks, one after another."""

from collections.abc import Sequence
from dataclasses import replace

from higgs_worker.api.result import Segment
from higgs_worker.audio import borders
from higgs_worker.audio.pcm import PCM
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.text.duration import expected_duration_s


class Timeline:
    """The segments of the chunks that were heard so far."""

    def __init__(self, plan: ChunkPlan, sample_rate: int, speed: float) -> None:
        """
        Args:
            plan: has the sentences.
            sample_rate: of the PCM, in hertz.
            speed: how much faster the audio is than the PCM.
        """
        self._plan = plan
        self._sample_rate = sample_rate
        self._speed = speed
        self._segments: dict[int, Segment] = {}
        """By the index of the sentence."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In order."""
        return tuple(self._segments.values())

    def add(self, chunk: Chunk, pcm: PCM, span: tuple[int, int], *, is_whole: bool) -> None:
        """Add the next chunk.

        Args:
            chunk: what it says.
            pcm: [S] float32, its sound; perhaps more than is heard of it.
            span: the samples of all PCM between which it is heard.
            is_whole: whether the sound has the whole text; else its end is missing.
        """
        start, end = span
        lengths = [expected_duration_s(part.text) for part in chunk.parts]
        if not is_whole:
            lengths = _first(lengths, len(pcm) / self._sample_rate)
        inner = [start + border for border in borders.align(pcm, self._sample_rate, lengths)]
        marks = [start, *(min(mark, end) for mark in inner), min(start + len(pcm), end)]
        is_cut = not is_whole or start + len(pcm) > end
        scale = 1 / (self._sample_rate * self._speed)
        for part, begins, ends in zip(chunk.parts, marks, marks[1:], strict=False):
            if is_cut and begins >= end:
                break  # not heard
            if part.sentence in self._segments:
                # The sentence began in an earlier chunk.
                earlier = self._segments[part.sentence]
                self._segments[part.sentence] = replace(earlier, end_s=ends * scale)
                continue
            sentence = self._plan.sentences[part.sentence]
            self._segments[part.sentence] = Segment(
                text=sentence.text,
                speaker=sentence.speaker,
                start_s=begins * scale,
                end_s=ends * scale,
                spoken=sentence.spoken if sentence.spoken != sentence.text else None,
            )


def _first(lengths: Sequence[float], seconds: float) -> list[float]:
    """Return the lengths that begin within so many seconds; the last one ends with them."""
    begun: list[float] = []
    for length in lengths:
        if seconds <= 0:
            break
        begun.append(min(length, seconds))
        seconds -= length
    return begun
