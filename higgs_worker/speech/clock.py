"""When what happens to a request happened, and what its caller is told of that."""

import time
from dataclasses import dataclass

from higgs_worker.api.result import Timing


@dataclass(slots=True)
class Clock:
    """When things happened, on `time.perf_counter`, and how long they waited for what."""

    arrived: float
    queue_s: float = 0.0
    load_s: float = 0.0
    first_audio: float = 0.0
    last_audio: float = 0.0

    def timing(self, spoken_s: float) -> Timing:
        """Return where the time went.

        Args:
            spoken_s: seconds of PCM that were generated and heard.
        """
        started = self.arrived + self.queue_s + self.load_s
        return Timing(
            queue_s=self.queue_s,
            load_s=self.load_s,
            first_audio_s=self.first_audio - self.arrived,
            total_s=time.perf_counter() - self.arrived,
            rtf=(self.last_audio - started) / spoken_s,
        )
