"""The start's line in the log, and whether the model is loaded before the first job."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from higgs_worker.build import is_to_preload
from higgs_worker.cold_start import ColdStart, process_age_s
from higgs_worker.settings import Settings


def test_a_process_knows_its_age() -> None:
    """As the kernel counts it, interpreter and imports included."""
    begun = time.time()
    code = "from higgs_worker.cold_start import process_age_s; print(process_age_s())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.01 < float(done.stdout) <= time.time() - begun + 0.05
    assert process_age_s() > float(done.stdout)


@pytest.mark.parametrize(
    ("preload", "model", "expected"),
    [
        ("auto", "demo", True),
        ("auto", "bosonai/none-such", False),
        ("auto", "no model at all", False),
        ("always", "bosonai/none-such", True),
        ("never", "demo", False),
    ],
)
def test_when_the_model_is_loaded(tmp_path: Path, preload: str, model: str, expected: bool) -> None:
    """`auto` looks whether the weights are there, and asks nobody."""
    settings = {"HIGGS_PRELOAD": preload, "HIGGS_MODEL": model, "HIGGS_VOLUME": str(tmp_path)}
    assert is_to_preload(Settings.from_env(settings)) is expected


def test_waiting_for_the_first_job_is_no_part_of_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A model that was there before anybody asked; and one line is enough."""
    cold_start = ColdStart()
    with caplog.at_level(logging.INFO):
        cold_start.loaded()
        cold_start.spoke(time.perf_counter() + 1000, 0.5)
        cold_start.spoke(time.perf_counter() + 2000, 0.5)
    (told,) = (vars(each) for each in caplog.records if each.message == "cold start")
    assert told["idle_s"] == pytest.approx(1000, abs=1)
    assert told["total_s"] == pytest.approx(told["ready_s"] + 0.5, abs=0.01)
    assert told["ready_s"] >= process_age_s() - 1


def test_a_job_that_waits_for_the_model_is_a_part_of_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its own time overlaps the load's."""
    cold_start = ColdStart()
    began = time.perf_counter() - 3
    with caplog.at_level(logging.INFO):
        cold_start.loaded()
        cold_start.spoke(began, 3.5)
    (told,) = (vars(each) for each in caplog.records if each.message == "cold start")
    assert told["idle_s"] == 0
    assert told["total_s"] == pytest.approx(told["ready_s"] + 0.5, abs=0.01)
