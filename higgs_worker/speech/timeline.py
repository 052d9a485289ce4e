"""When each sentence of a request is heard: found in the sound of the chunks, one after another.

The sound of a chunk tells its borders only once it is complete. Until then the sentences have the
times that follow from their texts.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from higgs_worker.api.result import Segment, SegmentUpdate
from higgs_worker.audio import borders
from higgs_worker.audio.pcm import PCM
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.text.duration import expected_duration_s


class Timeline:
    """The segments of the chunks that were heard so far, and news of them.

    Each sentence makes news four times at most, however many chunks it takes: a text of any length
    is told in a bounded multiple of itself. One thread may add while another one takes the news.
    """

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
        self._segments: list[Segment] = []
        """By the index of the sentence: each chunk goes on where the one before it ends."""
        self._news: deque[SegmentUpdate] = deque()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In order."""
        return tuple(self._segments)

    def expect(self, chunk: Chunk, span: tuple[int, int]) -> None:
        """Estimate when the sentences that begin in the next chunk are heard.

        Args:
            chunk: whose sound begins.
            span: the samples of all PCM between which it may be heard.
        """
        begins, limit = (self._seconds(each) for each in span)
        index = len(self._segments)
        for part in chunk.parts:
            if part.sentence == index and begins < limit:
                segment = self._with_length(self._segment(index, begins))
                segment = replace(segment, end_s=min(segment.end_s, limit))
                self._tell(index, segment, is_estimate=True)
                index += 1
            begins += expected_duration_s(part.text) / self._speed

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
        for part, begins, ends in zip(chunk.parts, marks, marks[1:], strict=False):
            if is_cut and begins >= end:
                break  # not heard
            goes_on = not (is_cut or part.is_end)
            began_before = part.sentence < len(self._segments)
            if not began_before:
                self._segments.append(self._segment(part.sentence, self._seconds(begins)))
            segment = replace(self._segments[part.sentence], end_s=self._seconds(ends))
            self._segments[part.sentence] = segment
            if not goes_on:
                self._tell(part.sentence, segment)
            elif not began_before:
                self._tell(part.sentence, self._with_length(segment), is_estimate=True)

    def finish(self) -> None:
        """Tell where the last sentence ended: the limit may have cut it between two chunks."""
        if self._segments:
            self._tell(len(self._segments) - 1, self._segments[-1])

    def take_news(self) -> list[SegmentUpdate]:
        """Return the segments whose times became known, or better, since the last call."""
        latest: dict[int, SegmentUpdate] = {}
        while self._news:
            update = self._news.popleft()
            latest[update.index] = update
        return list(latest.values())

    def _tell(self, index: int, segment: Segment, *, is_estimate: bool = False) -> None:
        self._news.append(SegmentUpdate(index, segment, is_estimate=is_estimate))

    def _segment(self, index: int, start_s: float) -> Segment:
        sentence = self._plan.sentences[index]
        return Segment(
            text=sentence.text,
            speaker=sentence.speaker,
            start_s=start_s,
            end_s=start_s,
            spoken=sentence.spoken if sentence.spoken != sentence.text else None,
        )

    def _with_length(self, segment: Segment) -> Segment:
        """Return a segment that is as long as its text, or longer if it is already."""
        length_s = expected_duration_s(segment.spoken or segment.text) / self._speed
        return replace(segment, end_s=max(segment.end_s, segment.start_s + length_s))

    def _seconds(self, sample: int) -> float:
        """Return when a sample of the PCM is heard."""
        return sample / (self._sample_rate * self._speed)


def _first(lengths: Sequence[float], seconds: float) -> list[float]:
    """Return the lengths that begin within so many seconds; the last one ends with them."""
    begun: list[float] = []
    for length in lengths:
        if seconds <= 0:
            break
        begun.append(min(length, seconds))
        seconds -= length
    return begun
