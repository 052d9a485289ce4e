"""The lines of workers that nobody scrapes: the figures by their names, while something happens."""

import io
import json
import logging
import time
from contextlib import suppress
from typing import Any

import pytest

from higgs_worker import logs
from higgs_worker.metrics.catalogue import CATALOGUE
from higgs_worker.metrics.minute_log import MinuteLog
from higgs_worker.metrics.worker_metrics import WorkerMetrics

EVERY_S = 0.02


@pytest.fixture
def printed() -> io.StringIO:
    """What the log prints."""
    stream = io.StringIO()
    logs.setup("INFO", stream)
    return stream


def lines(printed: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines printed so far."""
    return [json.loads(each) for each in printed.getvalue().splitlines()]


def wait_for(printed: io.StringIO, num: int) -> None:
    """Wait until so many lines are printed."""
    end = time.monotonic() + 5
    while len(lines(printed)) < num:
        assert time.monotonic() < end
        time.sleep(EVERY_S / 4)


def test_a_line_has_the_figures_that_are_not_zero(printed: io.StringIO) -> None:
    """By the names of the catalogue; labels are keys, and of times there are two quantiles."""
    metrics = WorkerMetrics()
    with MinuteLog(metrics):
        metrics.requests.add("job", "ok")
        metrics.requests.add("job", "ok")
        metrics.requests.add("job", "no_sound")
        metrics.audio.add(amount=2.25)
        metrics.first_audio.record(0.2, "live")
        metrics.first_audio.record(2.0, "live")
    (line,) = lines(printed)
    assert line["message"] == "figures"
    assert line["higgs_requests_total"] == {"job/ok": 2, "job/no_sound": 1}
    assert line["higgs_audio_seconds_total"] == 2.25
    told = line["higgs_first_audio_seconds"]["live"]
    assert (told["count"], told["sum"]) == (2, 2.2)
    assert 0.15 < told["p50"] <= 0.2
    assert 1.5 < told["p95"] <= 2.5
    assert "higgs_retries_total" not in line
    names = {each.name for each in CATALOGUE}
    assert {name for name in line if name.startswith("higgs_")} <= names


def test_an_idle_worker_logs_nothing(printed: io.StringIO) -> None:
    """Neither from time to time nor at its end."""
    with MinuteLog(WorkerMetrics(), EVERY_S):
        time.sleep(5 * EVERY_S)
    assert lines(printed) == []


def test_one_line_per_time_in_which_something_happened(printed: io.StringIO) -> None:
    """What happened is told once, also if nothing follows; the last line has all of it."""
    metrics = WorkerMetrics()
    with MinuteLog(metrics, EVERY_S):
        metrics.characters.add(amount=5)
        wait_for(printed, 1)
        time.sleep(5 * EVERY_S)
        assert len(lines(printed)) == 1
        metrics.characters.add(amount=7)
        wait_for(printed, 2)
    assert [line["higgs_characters_total"] for line in lines(printed)] == [5, 12]


def test_the_end_has_a_line_of_its_own(printed: io.StringIO) -> None:
    """Also where the loop ends with an exception, as the SDK's local run does."""
    metrics = WorkerMetrics()
    with suppress(SystemExit), MinuteLog(metrics):
        metrics.underruns.add()
        raise SystemExit(0)
    assert [line["higgs_underruns_total"] for line in lines(printed)] == [1]


def test_the_log_is_quiet_below_info(printed: io.StringIO) -> None:
    """An operator who wants warnings alone gets no figures."""
    logging.getLogger(logs.LOGGER).setLevel(logging.WARNING)
    metrics = WorkerMetrics()
    with MinuteLog(metrics):
        metrics.underruns.add()
    assert lines(printed) == []
