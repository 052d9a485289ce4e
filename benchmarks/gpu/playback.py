"""A listener in real time: when its first PCM comes, and how often it has none left to play."""

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from higgs_worker.codec.thread import CodecThread
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.sequence import Submission

PATIENCE_S = 60.0


class Playback:
    """Plays a stream from its first PCM on."""

    def __init__(self, sample_rate: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start the clock.

        Args:
            sample_rate: of the PCM.
            clock: seconds.
        """
        self._clock = clock
        self._sample_rate = sample_rate
        self._started = clock()
        self._runs_out_at: float | None = None
        self._ended = threading.Event()
        self._error: Exception | None = None
        self.first_audio_s = float("nan")
        self.num_underruns = 0
        """Pieces that came after all before them had been played."""
        self.longest_silence_s = 0.0
        """Of the pauses before these pieces."""
        self.num_samples = 0

    def on_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Receive the next samples."""
        now = self._clock()
        if self._runs_out_at is None:
            self.first_audio_s = now - self._started
            self._runs_out_at = now
        elif now > self._runs_out_at:
            self.num_underruns += 1
            self.longest_silence_s = max(self.longest_silence_s, now - self._runs_out_at)
            self._runs_out_at = now
        self._runs_out_at += len(pcm) / self._sample_rate
        self.num_samples += len(pcm)

    def on_end(self, error: Exception | None) -> None:
        """Receive the end."""
        self._error = error
        self._ended.set()

    def wait(self) -> "Playback":
        """Wait for the end.

        Raises:
            TimeoutError: it did not come.
            RuntimeError: it came too early.
        """
        if not self._ended.wait(PATIENCE_S):
            raise TimeoutError(f"a stream did not end within {PATIENCE_S:.0f} s")
        if self._error is not None:
            raise RuntimeError("a stream failed") from self._error
        return self


def speak(
    engine: Engine, codec: CodecThread, submission: Submission, sample_rate: int, *, is_live: bool
) -> Playback:
    """Submit a sequence whose frames go to the codec, as `speech.attempt` does; does not wait."""
    playback = Playback(sample_rate)
    stream = codec.open(playback, is_live=is_live)

    def end(error: Exception | None) -> None:
        if error is None:
            codec.finish(stream)
        else:
            codec.drop(stream)
            playback.on_end(error)

    handle = engine.submit(
        submission,
        on_frames=lambda codes: codec.feed(stream, codes),
        num_first_frames=codec.num_first_frames,
    )
    handle.when_done(end)
    return playback
