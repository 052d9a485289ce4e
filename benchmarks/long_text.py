"""Long texts: chunks side by side against one after another, and how early the first sound comes.

    python -m benchmarks.long_text [--words 3000] [--repeats 3]

The embedded model; what it says of a text is about as long both ways, but not exactly, so time is
counted per second of audio. Ratios of the fastest runs, interleaved; the last line is JSON.
"""

import argparse
import asyncio
import json
import resource
import time
from contextlib import aclosing
from dataclasses import dataclass

from higgs_worker.api.request import SpeechRequest
from higgs_worker.load import DEMO_CHUNK_WORDS, load_model
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService

SENTENCE = "The morning train was late again, so we walked along the river to the old mill. "


@dataclass(frozen=True)
class Run:
    """One request that was spoken."""

    first_s: float
    total_s: float
    audio_s: float

    @property
    def rtf(self) -> float:
        """Seconds for a second of audio."""
        return self.total_s / self.audio_s


def speak(speaker: LoadedModel, text: str, *, context_chunks: int = 0) -> Run:
    """Speak a text to a live listener who never waits."""
    request = SpeechRequest.parse(
        {"text": text, "seed": 1, "retries": 0, "context_chunks": context_chunks},
        max_text_chars=10**6,
    )

    service = SpeechService(lambda: speaker, max_chunk_words=DEMO_CHUNK_WORDS)

    async def listen() -> Run:
        begun, first, num_samples = time.perf_counter(), 0.0, 0
        speech = await service.start(request)
        async with aclosing(aiter(speech)) as pieces:
            async for pcm in pieces:
                first = first or time.perf_counter() - begun
                num_samples += len(pcm)
        return Run(first, time.perf_counter() - begun, num_samples / speaker.sample_rate)

    return asyncio.run(listen())


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    speaker = load_model(Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "8"}))
    text = SENTENCE * round(options.words / len(SENTENCE.split()))
    speak(speaker, SENTENCE)  # warms up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alone, beside, one_by_one = [], [], []
    for _ in range(options.repeats):
        alone.append(speak(speaker, SENTENCE))
        beside.append(speak(speaker, text))
        one_by_one.append(speak(speaker, text, context_chunks=1))
    first = min(run.first_s for run in beside) / min(run.first_s for run in alone)
    ratio = min(run.rtf for run in one_by_one) / min(run.rtf for run in beside)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    audio_s = f"{beside[0].audio_s:.0f} s of audio side by side, {one_by_one[0].audio_s:.0f} s else"
    print(f"{options.words} words, {audio_s}, 8 slots")
    print(f"side by side against one after another: {ratio:.2f} times as fast")
    print(f"first sound of the long text: {first:.2f} times that of one sentence")
    print(f"memory at most {grown:.0f} MB above that before")
    print(json.dumps({"side_by_side": ratio, "first_sound": first, "grown_mb": grown}))


if __name__ == "__main__":
    main()
