"""Four hundred jobs on a platform that fails in every way it can, through the real SDK."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.control_plane import RESET, Beside, ControlPlane, Instead, Raw, Slow
from tests.fakes.delivery import SCRIPTED, Worker, leaked
from tests.serverless.test_takes import NO_JOBS

pytestmark = pytest.mark.long

NUM_WAVES, WAVE = 20, 20
WARM_UP = 10
"""Waves after which the memory that is kept for reuse is what it will be."""
MAX_KB_PER_JOB = 20
"""Were the inputs kept, it would be 35."""
SETTINGS = {
    "RUNPOD_LOG_LEVEL": "INFO",
    # Several polls bring the jobs of a wave, so most of the faults meet some.
    "HIGGS_CONCURRENCY": "6",
    # Else each thread keeps some megabytes, and which one gets them is chance.
    "MALLOC_ARENA_MAX": "1",
}
WORDS = ["the", "sun", "rises", "over", "a", "quiet", "sea", "and", "somebody", "sings", "of", "it"]

TAKE_FAULTS: tuple[Any, ...] = (
    500,
    503,
    RESET,
    Slow(0.3),
    Instead(b"<html>no JSON</html>", "text/html"),
    Instead(b""),
    Instead(b"[" * 9000 + b"]" * 9000),
    *(Instead(b"[%b]" % each) for each in NO_JOBS if len(each) < 1000),
    Beside(b", ".join(NO_JOBS)),
    Beside(times=2),
    Beside(times=3),
)
DONE_FAULTS: tuple[Any, ...] = (500, 429, RESET, Slow(0.5))
INVALID: tuple[Any, ...] = (
    None,
    {},
    {"text": 5},
    {"batch": [{"text": 5}] * 64},
    {"text": "Hi.", "api_key": "hunter2"},
    Raw('{"text": ' + "[" * 9000 + "]" * 9000 + "}"),
    Raw('{"text": [' + "0, " * 300_000 + "0]}"),
)


def valid(draw: random.Random, seed: int) -> dict[str, Any]:
    """Return a job of a few words, or of two texts."""
    texts = [{"text": " ".join(draw.choices(WORDS, k=draw.randint(2, 6))) + "."} for _ in range(2)]
    fields = {"seed": seed, "format": draw.choice(("wav", "mp3", "pcm"))}
    return ({"batch": texts} if draw.random() < 0.2 else texts[0]) | fields


def test_four_hundred_jobs_on_a_platform_that_fails(tmp_path: Path) -> None:
    """Each ends once, in the right state; memory and open files stay what they are."""
    draw = random.Random(20)
    statuses, resident_mb, num_files = Counter[str](), [], []
    with (
        ControlPlane(hold_s=2) as plane,
        Worker(plane, tmp_path, SCRIPTED, **SETTINGS) as worker,
    ):
        plane.wait(plane.run({"text": "Hello."}), 60)
        for wave in range(NUM_WAVES):
            is_valid = [draw.random() < 0.75 for _ in range(WAVE)]
            inputs = [
                valid(draw, WAVE * wave + number) if good else draw.choice(INVALID)
                for number, good in enumerate(is_valid)
            ]
            # The SDK waits five seconds after a take that is answered with 429.
            taken = [
                Beside(times=2),
                *draw.choices(TAKE_FAULTS, k=3),
                *([429] if wave % 5 == 4 else []),
            ]
            plane.fail("take-batch", *taken)
            plane.fail("take", *draw.choices((500, RESET, Instead(b"{}"), Instead(b"null")), k=2))
            plane.fail("stop", draw.choice((500, RESET, Instead(b"[]"), Instead(b"no JSON"))))
            plane.fail("done", *draw.choices(DONE_FAULTS, k=2))  # a third might lose a result
            jobs = plane.run_all(inputs)
            for job, good in zip(jobs, is_valid, strict=True):
                plane.wait(job, 60)
                assert job.status == ("COMPLETED" if good else "FAILED"), (
                    job.text[:300],
                    job.error,
                )
                statuses[job.status] += 1
            plane.wait_until(lambda: all(job.num_results == 1 for job in jobs))  # noqa: B023
            resident_mb.append(worker.resident_mb())
            num_files.append(worker.num_open_files())
        assert {job.num_results for job in plane.jobs.values()} == {1}
        assert worker.process.poll() is None
        assert leaked(plane, worker) == []
        told = worker.log.count("without a usable id"), worker.log.count("is here already")
    num_jobs = WAVE * np.arange(WARM_UP, NUM_WAVES)
    slope_kb = 1024 * float(np.polyfit(num_jobs, resident_mb[WARM_UP:], 1)[0])
    print(  # noqa: T201
        f"\n{dict(statuses)}; dropped elements were told {told} times; "
        f"{slope_kb:.1f} KB per job after {WARM_UP * WAVE} jobs, "
        f"at {[round(each) for each in resident_mb]} MB; open files {num_files}"
    )
    assert slope_kb < MAX_KB_PER_JOB
    assert max(num_files[WARM_UP:]) <= max(num_files[:WARM_UP]) + 2
