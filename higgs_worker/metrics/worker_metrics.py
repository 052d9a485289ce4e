"""The figures of one worker, wherever they are counted.

What happens to requests is recorded here as it happens. The engine, the codec and the start have
numbers of their own, which are read when somebody asks. Knows neither Prometheus nor the log.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from higgs_worker.cold_start import ColdStart
from higgs_worker.engine.stats import EngineStats
from higgs_worker.metrics import catalogue
from higgs_worker.metrics.metric import Metric
from higgs_worker.metrics.tally import Distribution, Histogram, LabelValues, Tally

RequestKind = Literal["job", "http", "websocket"]
OK, CANCELLED = "ok", "cancelled"
"""Outcomes of requests beside the codes of errors."""

Values = Mapping[LabelValues, float | Distribution]
"""Of one metric."""


class WatchedEngine(Protocol):
    """What has an engine's numbers."""

    def stats(self) -> EngineStats:
        """Return them, in any thread, without waiting."""


class WatchedCodec(Protocol):
    """What has a codec's numbers."""

    @property
    def num_frames(self) -> int:
        """Frames decoded so far."""


class WorkerMetrics:
    """Counts what happens in one worker; parts record into its tallies and histograms."""

    def __init__(
        self, cold_start: ColdStart | None = None, num_running: Callable[[], int] = lambda: 0
    ) -> None:
        """Start at zero.

        Args:
            cold_start: of this worker; None: a new one.
            num_running: returns how many requests are under way.
        """
        self.cold_start = cold_start or ColdStart()
        self._num_running = num_running
        self._engine: WatchedEngine | None = None
        self._codec: WatchedCodec | None = None
        self.requests = Tally(catalogue.REQUESTS)
        self.first_audio = Histogram(catalogue.FIRST_AUDIO)
        self.queue = Histogram(catalogue.QUEUE)
        self.load_wait = Histogram(catalogue.LOAD_WAIT)
        self.rtf = Histogram(catalogue.RTF)
        self.audio = Tally(catalogue.AUDIO)
        self.characters = Tally(catalogue.CHARACTERS)
        self.underruns = Tally(catalogue.UNDERRUNS)
        self.underrun_seconds = Tally(catalogue.UNDERRUN_SECONDS)
        self.retries = Tally(catalogue.RETRIES)
        self.codes = Tally(catalogue.CODES)

    def watch(self, engine: WatchedEngine, codec: WatchedCodec) -> None:
        """Read the numbers of a loaded model from now on."""
        self._engine, self._codec = engine, codec

    def record_codes(self, is_known: bool) -> None:
        """Record that a recording's codes were looked up."""
        self.codes.add(_result(is_known))

    def read(self) -> Mapping[Metric, Values]:
        """Return all figures that there are by now, in the order of the catalogue."""
        recorded = [each for each in vars(self).values() if isinstance(each, Tally | Histogram)]
        found: dict[Metric, Values] = {each.metric: each.read() for each in recorded}
        found[catalogue.REQUESTS_RUNNING] = {(): self._num_running()}
        found[catalogue.COLD_START] = {
            (name.removesuffix("_s"),): seconds for name, seconds in self.cold_start.laps.items()
        }
        if self._engine is not None:
            found |= _engine_figures(self._engine.stats())
        if self._codec is not None:
            found[catalogue.FRAMES] = {(): self._codec.num_frames}
        return {each: found[each] for each in catalogue.CATALOGUE if each in found}


def _engine_figures(stats: EngineStats) -> dict[Metric, Values]:
    runner, memory = stats.runner, stats.runner.memory
    return {
        catalogue.SLOTS: {(): runner.num_slots},
        catalogue.SLOTS_USED: {(): stats.num_slots_used},
        catalogue.WAITING: {(): stats.num_waiting},
        catalogue.STEPS: {(): runner.num_steps},
        catalogue.PREFIXES: {
            (_result(True),): runner.num_prefix_hits,
            (_result(False),): runner.num_prefix_misses,
        },
        catalogue.GPU_MEMORY: {}
        if memory is None
        else {
            ("allocated",): memory.allocated_bytes,
            ("reserved",): memory.reserved_bytes,
            ("total",): memory.total_bytes,
        },
    }


def _result(is_hit: bool) -> str:
    return "hit" if is_hit else "miss"
