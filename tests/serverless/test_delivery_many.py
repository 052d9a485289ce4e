"""Two hundred jobs through one worker: `handler.py`, the real SDK, the demo model."""

import base64
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.control_plane import ControlPlane, Job
from tests.fakes.delivery import HANDLER, Worker, leaked

pytestmark = pytest.mark.long

SENTENCE = "the sun rises over a quiet sea and somebody sings of it in an old and gentle voice"
RATE = 24_000
WORDS = SENTENCE.split()


def speech(number: int, draw: random.Random) -> dict[str, Any]:
    """Return a job that nobody else sends: two to forty words, one seed."""
    words = draw.choices(WORDS, k=draw.randint(2, 40))
    return {"text": f"{' '.join(words).capitalize()}.", "seed": number, "format": "pcm"}


def difference(one: Job, other: Job, num_samples: int | None = None) -> float:
    """Return how far two sounds are apart, in steps of 16 bits, over their first samples."""
    sounds = [base64.b64decode(each.output["audio"]["base64"]) for each in (one, other)]
    a, b = (np.frombuffer(each, "<i2").astype(int)[:num_samples] for each in sounds)
    return float(np.abs(a - b).max()) if len(a) == len(b) else np.inf


def test_two_hundred_jobs(tmp_path: Path) -> None:
    """Each ends once, in the right state, with its own audio; none is lost, memory is flat."""
    draw = random.Random(7)
    with (
        ControlPlane(hold_s=5) as plane,
        Worker(plane, tmp_path, HANDLER, HIGGS_MAX_SLOTS="8") as worker,
    ):
        inputs = [speech(number, draw) for number in range(200)]
        invalid, cancelled = range(0, 200, 20), range(10, 200, 20)
        for number in invalid:
            inputs[number]["temperature"] = "hot"
        for number in cancelled:
            # Too long to end before it is cancelled.
            inputs[number]["text"] = " ".join(WORDS * 40)
        jobs = plane.run_all(inputs)
        resident_mb = []
        for number, job in enumerate(jobs):
            if number in cancelled:
                # Some while they wait, some while they are spoken.
                if number % 40 == 10:
                    plane.wait_until(lambda: job.taken)  # noqa: B023
                    time.sleep(0.15)
                plane.cancel(job)
            else:
                plane.wait(job)
            if number in (120, 199):  # by the first, every slot has been used to its length
                resident_mb.append(worker.resident_mb())
        time.sleep(1)  # for results that must not come

        assert [job.status for job in jobs] == [
            "FAILED" if n in invalid else "CANCELLED" if n in cancelled else "COMPLETED"
            for n in range(200)
        ]
        assert [job.num_results for job in jobs] == [int(n not in cancelled) for n in range(200)]
        assert resident_mb[1] < 1.1 * resident_mb[0]

        spoken = [n for n in range(200) if n not in invalid and n not in cancelled]
        assert len({job.output["audio"]["sha256"] for job in map(jobs.__getitem__, spoken)}) == 180
        num_equal = 0
        checked = spoken[::6]
        for number in checked:
            alone = plane.wait(plane.run(inputs[number]))
            assert jobs[number].output["segments"] == alone.output["segments"]
            # Not to the bit: a batched matrix product rounds otherwise than a single one, and
            # once in a while that turns a draw, from where on the sound is another.
            assert difference(jobs[number], alone, num_samples=RATE) <= 4
            num_equal += difference(jobs[number], alone) <= 4
        assert num_equal > 0.8 * len(checked)
        assert leaked(plane, worker) == []
