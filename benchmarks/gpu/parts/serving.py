"""Engine and codec together, each in its own thread, as a worker runs them."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.gpu.models import new_runner, random_decoder, random_model, text_prompt
from benchmarks.gpu.playback import Playback, speak
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import chosen
from higgs_worker.codec.streaming import StreamingDecoder
from higgs_worker.codec.thread import CodecThread
from higgs_worker.cuda import cuda_capture
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.sequence import Sampling, Submission

COUNTS = (1, 8, 32, 64)
NUM_ALONE = 10
"""Streams one after another, for the first audio of one."""
MAX_ALONE_FRAMES = 75
VOICE = 300
"""Positions that all prompts share."""
NUM_OWN = 60
STAGGER_S = 0.05


def throughput(scale: Scale) -> Iterator[dict[str, Any]]:
    """Engine and codec together, nobody listening"""
    with _Serving(scale) as serving:
        serving.speak(1, is_live=False)
        for count in _fitting(COUNTS, serving):
            started = time.perf_counter()
            played = serving.speak(count, is_live=False)
            took = time.perf_counter() - started
            audio_s = sum(each.num_samples for each in played) / serving.sample_rate
            yield {"streams": count, "audio_s": audio_s, "s": took, "audio_s_per_s": audio_s / took}
        yield {
            "streams": COUNTS[-1],
            "note": f"{serving.ready_s:.1f} s until ready; {serving.kernels}",
        }


def first_audio(scale: Scale) -> Iterator[dict[str, Any]]:
    """Live streams: first audio in ms; how many ran dry, how often, and for how long at most"""
    with _Serving(scale) as serving:
        serving.speak(1)  # saves the voice's prefix
        alone = [
            serving.speak(1, max_frames=MAX_ALONE_FRAMES)[0]
            for _ in range(2 if scale.is_rehearsal else NUM_ALONE)
        ]
        yield _live_row("one after another", alone)
        for count in _fitting(COUNTS[1:], serving):
            yield _live_row("at once", serving.speak(count))
        count = min(COUNTS[-1], serving.num_slots)
        yield _live_row("at once, again", serving.speak(count))
        stagger_s = 0.0 if scale.is_rehearsal else STAGGER_S
        yield _live_row(f"every {1e3 * stagger_s:.0f} ms", serving.speak(count, stagger_s))


class _Serving:
    """An engine and a codec of a scale that run until the block is left."""

    def __init__(self, scale: Scale) -> None:
        started = time.perf_counter()
        runner = new_runner(scale, random_model(scale), kernels="auto")
        self.num_slots = runner.num_slots
        self.sample_rate = scale.codec.codec.sample_rate
        self._num_frames = scale.num_frames
        self._voice = min(VOICE, 2 * scale.contexts[0])
        decoder = StreamingDecoder(
            random_decoder(scale), 2 * self.num_slots, capture=cuda_capture(scale.device)
        )
        self._engine, self._codec = Engine(runner), CodecThread(decoder)
        self._engine.wait_until_ready()
        self._codec.wait_until_ready()
        self.ready_s = time.perf_counter() - started
        self.kernels = chosen(runner)
        self._num_spoken = 0

    def __enter__(self) -> "_Serving":
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()
        self._codec.close()

    def speak(
        self,
        count: int,
        stagger_s: float = 0.0,
        *,
        is_live: bool = True,
        max_frames: int | None = None,
    ) -> list[Playback]:
        """Speak some streams of one voice and different texts, and wait for all."""
        playing = []
        for _ in range(count):
            self._num_spoken += 1
            submission = Submission(
                text_prompt(self._voice + NUM_OWN, seed=self._num_spoken, num_own=NUM_OWN),
                Sampling(seed=self._num_spoken),
                min(self._num_frames, max_frames or self._num_frames),
            )
            playing.append(
                speak(self._engine, self._codec, submission, self.sample_rate, is_live=is_live)
            )
            time.sleep(stagger_s)
        return [each.wait() for each in playing]


def _fitting(counts: Sequence[int], serving: _Serving) -> list[int]:
    return [count for count in counts if count <= serving.num_slots]


def _live_row(how: str, played: Sequence[Playback]) -> dict[str, Any]:
    first = 1e3 * np.array([each.first_audio_s for each in played])
    dry = [each for each in played if each.num_underruns]
    return {
        "streams": 1 if how == "one after another" else len(played),
        "started": how,
        "first_p50": float(np.percentile(first, 50)),
        "first_p95": float(np.percentile(first, 95)),
        "ran_dry": len(dry),
        "times": sum(each.num_underruns for each in dry),
        "silence_ms": 1e3 * max((each.longest_silence_s for each in dry), default=0.0),
    }


MEASUREMENTS = (throughput, first_audio)
