"""After a run by script, the figures are exactly what happened."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.build import build
from higgs_worker.deadlines import Deadlines
from higgs_worker.metrics import catalogue
from higgs_worker.metrics.metric import Metric
from higgs_worker.metrics.tally import Distribution
from higgs_worker.metrics.worker_metrics import Values, WorkerMetrics
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.speech.service import SpeechService
from tests.fakes import toy_model
from tests.fakes.scripted_model import (
    AskedText,
    ScriptedAttempt,
    ScriptedEngine,
    code_of,
    says,
    scripted_model,
)
from tests.fakes.speeches import runner

TEXT = "One sentence that takes a while to say."
Script = Callable[[AskedText], ScriptedAttempt]


@dataclass
class ScriptedWorker:
    """A worker whose model speaks by script, put together as `build` does."""

    jobs: JobRunner
    metrics: WorkerMetrics
    engine: ScriptedEngine

    @classmethod
    def of(cls, script: Script | None = None, timeout_s: float | None = None) -> "ScriptedWorker":
        """Return one."""
        deadlines = Deadlines(timeout_s)
        metrics = WorkerMetrics(num_running=lambda: deadlines.num_running)
        model = scripted_model(script)
        jobs = runner(SpeechService(lambda: model, metrics=metrics), deadlines=deadlines)
        jobs = replace(jobs, responder=replace(jobs.responder, metrics=metrics))
        engine: Any = model.engine
        return cls(jobs, metrics, engine)

    async def run(self, **fields: Any) -> dict[str, Any]:
        """Run one job."""
        usual = {"text": TEXT, "retries": 0, "seed": 1}
        return await self.jobs.run({"id": "7", "input": usual | fields})

    async def stream(self, **fields: Any) -> None:
        """Run one job whose audio is streamed."""
        asked = {"text": TEXT, "retries": 0, "format": "pcm"} | fields
        async for _ in self.jobs.stream({"id": "8", "input": asked}):
            pass

    def figure(self, metric: Metric) -> Values:
        """Return the values of a figure."""
        return self.metrics.read()[metric]

    def count(self, metric: Metric, *labels: str) -> int:
        """Return how many values a histogram has."""
        found = self.figure(metric).get(labels)
        assert isinstance(found, Distribution | None)
        return 0 if found is None else found.count


def test_a_success_is_counted_once_with_all_that_it_took() -> None:
    """One job: its kind, its characters, its sound, its frames and its times."""
    worker = ScriptedWorker.of()
    output = asyncio.run(worker.run())
    assert worker.figure(catalogue.REQUESTS) == {("job", "ok"): 1}
    assert worker.figure(catalogue.CHARACTERS) == {(): len(TEXT)}
    (spoken_s,) = worker.figure(catalogue.AUDIO).values()
    assert spoken_s == pytest.approx(output["audio"]["duration_s"], abs=1e-3)
    assert worker.figure(catalogue.FRAMES) == {(): len(says(worker.engine.lines[0].text).codes)}
    first = worker.figure(catalogue.FIRST_AUDIO)[("whole",)]
    assert isinstance(first, Distribution)
    assert first.total == pytest.approx(output["timing"]["first_audio_s"], abs=1e-3)
    for metric in (catalogue.QUEUE, catalogue.LOAD_WAIT, catalogue.RTF):
        assert worker.count(metric) == 1
    assert worker.figure(catalogue.UNDERRUNS) == {(): 0}
    assert worker.figure(catalogue.RETRIES) == {}


def test_each_way_to_end_is_counted_by_its_name() -> None:
    """Errors by their codes, defects as internal errors, actions and lists as successes."""

    def script(line: AskedText) -> ScriptedAttempt:
        if line.text.startswith("Mute"):
            return ScriptedAttempt([0] * 50)
        if line.text.startswith("Defect"):
            raise RuntimeError("a defect")
        return says(line.text)

    worker = ScriptedWorker.of(script)

    async def run() -> None:
        for fields in ({}, {"text": "Mute."}, {"text": "Defect."}, {"text": ""}, {"no": 1}):
            await worker.run(**fields)
        await worker.stream(loudness_lufs=-20.0)
        await worker.stream()
        await worker.jobs.run({"id": "9", "input": {"action": "list_voices"}})
        await worker.jobs.run({"id": "9", "input": {"openai_route": "/v1/models"}})

    asyncio.run(run())
    assert worker.figure(catalogue.REQUESTS) == {
        ("job", "ok"): 4,
        ("job", "no_sound"): 1,
        ("job", "internal_error"): 1,
        ("job", "invalid_request"): 3,
    }
    assert worker.count(catalogue.FIRST_AUDIO, "whole") == 1
    assert worker.count(catalogue.FIRST_AUDIO, "live") == 1
    assert worker.count(catalogue.RTF) == 2


def test_the_texts_of_a_batch_count_one_by_one() -> None:
    """And a batch of which none could be spoken counts once more."""
    worker = ScriptedWorker.of()

    async def run() -> None:
        for texts in (["Hello.", "Goodbye.", ""], ["", ""]):
            batch = [{"text": text} for text in texts]
            await worker.jobs.run({"id": "7", "input": {"batch": batch}})

    asyncio.run(run())
    assert worker.figure(catalogue.REQUESTS) == {
        ("job", "ok"): 2,
        ("job", "invalid_request"): 3,
        ("job", "batch_failed"): 1,
    }


@pytest.mark.parametrize("route", ["run", "stream"])
def test_a_cancelled_request_is_counted_and_leaves_nothing(route: str) -> None:
    """While it runs it is in the gauges; afterwards slots and requests are as before."""
    worker = ScriptedWorker.of()

    async def run() -> None:
        worker.engine.hold = asyncio.Event()
        running = asyncio.create_task(getattr(worker, route)())
        while not worker.engine.num_live:
            await asyncio.sleep(0.001)
        assert worker.figure(catalogue.REQUESTS_RUNNING) == {(): 1}
        assert worker.figure(catalogue.SLOTS_USED) == {(): 1}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        while worker.engine.num_live:
            await asyncio.sleep(0.001)

    asyncio.run(run())
    assert worker.figure(catalogue.REQUESTS) == {("job", "cancelled"): 1}
    assert worker.figure(catalogue.REQUESTS_RUNNING) == {(): 0}
    assert worker.figure(catalogue.SLOTS_USED) == {(): 0}
    assert worker.figure(catalogue.CHARACTERS) == {(): 0}
    assert worker.count(catalogue.RTF) == 0


def test_a_late_request_is_counted_as_such() -> None:
    """The limit of time ends it, with its code."""
    worker = ScriptedWorker.of(timeout_s=0.05)

    async def run() -> None:
        worker.engine.hold = asyncio.Event()
        await worker.run()

    asyncio.run(run())
    assert worker.figure(catalogue.REQUESTS) == {("job", "deadline_exceeded"): 1}


def test_repeated_attempts_are_counted_by_what_was_wrong() -> None:
    """An attempt that is kept although it is bad was not repeated, and does not count."""

    def script(line: AskedText) -> ScriptedAttempt:
        wrong = [
            ScriptedAttempt([code_of(line.text)] * 3),
            ScriptedAttempt([code_of(line.text) + 400] * 60),
            ScriptedAttempt([0] * 50),
        ]
        return wrong[line.number] if line.number < 3 else says(line.text)

    worker = ScriptedWorker.of(script)
    asyncio.run(worker.run(retries=3))
    once = {("early_end",): 1, ("clipping",): 1, ("no_sound",): 1}
    assert worker.figure(catalogue.RETRIES) == once
    assert worker.figure(catalogue.REQUESTS) == {("job", "ok"): 1}
    given_up = ScriptedWorker.of(lambda line: ScriptedAttempt([code_of(line.text)] * 3))
    asyncio.run(given_up.run(retries=1))
    assert given_up.figure(catalogue.RETRIES) == {("early_end",): 1}


def test_a_listener_who_runs_dry_is_counted() -> None:
    """Two parts of 0.2 s, 0.35 s apart; whoever gets the whole sound at once hears no gap."""

    def script(line: AskedText) -> ScriptedAttempt:
        return ScriptedAttempt([code_of(line.text)] * 40, pause_s=0.35)

    async def listen(worker: ScriptedWorker, is_live: bool) -> None:
        fields = {"text": "It takes its time.", "speed": 4.0, "retries": 0}
        asked = SpeechRequest.parse(fields, max_text_chars=100)
        async for _ in await worker.jobs.responder.service.start(asked, is_live=is_live):
            pass

    async def run() -> None:
        await asyncio.gather(listen(live, True), listen(whole, False))

    live, whole = ScriptedWorker.of(script), ScriptedWorker.of(script)
    asyncio.run(run())
    assert live.figure(catalogue.UNDERRUNS) == {(): 1}
    (seconds,) = live.figure(catalogue.UNDERRUN_SECONDS).values()
    assert isinstance(seconds, float)
    assert seconds > 0.1
    assert whole.figure(catalogue.UNDERRUNS) == whole.figure(catalogue.UNDERRUN_SECONDS) == {(): 0}


@pytest.mark.slow
def test_the_numbers_of_a_real_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Slots, steps, frames, prefixes, codes and the start, of a model in the real architecture."""
    bounds = {"HIGGS_MAX_LENGTH": "1024", "HIGGS_MAX_SLOTS": "2", "HIGGS_VOLUME": str(tmp_path)}
    worker = build(Settings.from_env(toy_model.write_to(tmp_path) | bounds))
    metrics = worker.responder.metrics
    assert catalogue.SLOTS not in metrics.read()
    asked = {"text": "Hello.", "voice": "clara", "max_duration_s": 0.4, "retries": 0}

    async def run() -> None:
        for _ in range(3):
            assert "error" not in await worker.run({"id": "7", "input": asked})

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    found = metrics.read()
    assert found[catalogue.REQUESTS] == {("job", "ok"): 3}
    assert found[catalogue.SLOTS] == {(): 2}
    assert found[catalogue.SLOTS_USED] == found[catalogue.WAITING] == {(): 0}
    assert found[catalogue.PREFIXES] == {("hit",): 2, ("miss",): 1}
    assert found[catalogue.CODES] == {("hit",): 2, ("miss",): 1}
    assert found[catalogue.FRAMES] == {(): 3 * 10}
    # A column for each of ten frames and eight codebooks; two are prefilled, and the last round
    # ends behind them.
    (steps,) = found[catalogue.STEPS].values()
    assert isinstance(steps, int)
    assert 3 * 16 <= steps <= 3 * 24
    assert found[catalogue.GPU_MEMORY] == {}
    (told,) = (vars(each) for each in caplog.records if each.message == "cold start")
    assert {f"{part}_s" for (part,) in found[catalogue.COLD_START]} <= told.keys()
    assert found[catalogue.COLD_START][("total",)] == pytest.approx(told["total_s"], abs=1e-3)
