"""What Prometheus reads is what was counted, under the names of the catalogue and no others."""

import asyncio
import re

from prometheus_client.parser import text_string_to_metric_families

from higgs_worker.engine.stats import DeviceMemory, EngineStats, RunnerStats
from higgs_worker.errors import WorkerError
from higgs_worker.metrics.catalogue import CATALOGUE
from higgs_worker.metrics.exposition import Exposition
from higgs_worker.metrics.worker_metrics import CANCELLED, OK, WorkerMetrics
from tests.metrics.test_worker_metrics import TEXT, ScriptedWorker

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class CountedEngine:
    """An engine on a GPU, in the middle of its work."""

    num_frames = 1000

    def stats(self) -> EngineStats:
        """Return numbers that are all different."""
        memory = DeviceMemory(allocated_bytes=11, reserved_bytes=12, total_bytes=13)
        runner = RunnerStats(
            num_slots=4, num_steps=5, num_prefix_hits=6, num_prefix_misses=7, memory=memory
        )
        return EngineStats(num_slots_used=2, num_waiting=3, runner=runner)


def samples_of(metrics: WorkerMetrics) -> Samples:
    """Return the samples of an exposition by name and labels."""
    text, _ = Exposition(metrics).text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_numbers_of_the_engine_are_told() -> None:
    """Each under its own name."""
    metrics = WorkerMetrics()
    metrics.watch(CountedEngine(), CountedEngine())
    found = samples_of(metrics)
    assert found["higgs_slots", ()] == 4
    assert found["higgs_slots_used", ()] == 2
    assert found["higgs_sequences_waiting", ()] == 3
    assert found["higgs_decode_steps_total", ()] == 5
    assert found["higgs_frames_total", ()] == 1000
    assert found["higgs_prefix_cache_lookups_total", (("result", "hit"),)] == 6
    assert found["higgs_prefix_cache_lookups_total", (("result", "miss"),)] == 7
    for state, num_bytes in (("allocated", 11), ("reserved", 12), ("total", 13)):
        assert found["higgs_gpu_memory_bytes", (("state", state),)] == num_bytes


def test_a_histogram_has_what_lies_below_each_bound() -> None:
    """Buckets hold those below them too, and the last one all."""
    metrics = WorkerMetrics()
    for seconds in (0.05, 0.07, 2.0, 1000.0):
        metrics.first_audio.record(seconds, "live")
    found = samples_of(metrics)
    below = {
        float(bound): found["higgs_first_audio_seconds_bucket", (("le", bound), ("mode", "live"))]
        for bound in ("0.05", "0.1", "1.5", "2.5", "300.0", "+Inf")
    }
    assert list(below.values()) == [1, 2, 2, 3, 3, 4]
    assert found["higgs_first_audio_seconds_count", (("mode", "live"),)] == 4
    assert found["higgs_first_audio_seconds_sum", (("mode", "live"),)] == 1002.12


def test_the_process_is_told_beside_the_worker() -> None:
    """Memory and open files; and each worker has a registry of its own."""
    one, other = WorkerMetrics(), WorkerMetrics()
    one.requests.add("job", OK)
    assert samples_of(one)["process_resident_memory_bytes", ()] > 1e6
    assert samples_of(one)["process_open_fds", ()] > 0
    key = ("higgs_requests_total", (("kind", "job"), ("outcome", "ok")))
    assert samples_of(one)[key] == 1
    assert key not in samples_of(other)


def test_the_exposition_has_the_catalogue_and_its_type() -> None:
    """Names, types and meanings; the content type is that of Prometheus' text format."""
    metrics = WorkerMetrics()
    metrics.watch(CountedEngine(), CountedEngine())
    text, content_type = Exposition(metrics).text()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(text.decode())
        if family.name.startswith("higgs_")
    }
    assert found == {
        each.name.removesuffix("_total"): (each.kind, each.meaning) for each in CATALOGUE
    }


def test_no_label_holds_a_callers_word() -> None:
    """Texts, names and keys of callers are nowhere in it; outcomes are known beforehand."""
    words = ("Xylophone", "quokka", "zebra")
    worker = ScriptedWorker.of()

    async def run() -> None:
        await worker.run(text=f"{TEXT} {words[0]}")
        await worker.run(voice=words[1])
        await worker.run(**{words[2]: 1})
        await worker.run(text=f"[{words[1]}] {TEXT}", speakers={words[1]: words[2]})

    asyncio.run(run())
    text, _ = Exposition(worker.metrics).text()
    assert [word for word in words if word.lower() in text.decode().lower()] == []
    outcomes = set(re.findall(r'outcome="([^"]*)"', text.decode()))
    assert "internal_error" in outcomes  # this worker has no voices
    assert outcomes <= {OK, CANCELLED, *codes(WorkerError)}


def codes(error: type[WorkerError]) -> set[str]:
    """Return the codes of a class of errors and of those below it."""
    return {error.code}.union(*(codes(each) for each in error.__subclasses__()))


def test_names_follow_prometheus() -> None:
    """Base units, `_total` for what only grows, nothing twice, buckets that rise."""
    names = [each.name for each in CATALOGUE]
    assert len(names) == len(set(names))
    for each in CATALOGUE:
        assert re.fullmatch(r"higgs_[a-z_]+", each.name)
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert not re.search(r"_(ms|milliseconds|mb|kb|minutes|percent)\b", each.name)
        assert bool(each.buckets) == (each.kind == "histogram")
        assert list(each.buckets) == sorted(set(each.buckets))
        assert each.meaning.endswith(".")
