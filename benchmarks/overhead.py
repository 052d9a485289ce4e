"""What a job costs beside speaking it: `handler.py` and the real SDK against a stand-in platform.

    python -m benchmarks.overhead [--jobs 200] [--slots 16] [--json FILE]

Two figures. The overhead of one job: from the moment the platform handed it out to the moment it
had the result, less the time that the service itself took (`timing.total_s`); whatever the SDK and
the job's way in and out cost is in it. And the ratio of the same jobs sent one at a time to all of
them at once. The demo model is quick, so both say more about delivery than about speech; with the
real model the ratio is that of batching. The last line is one JSON document.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import environment
from tests.fakes.control_plane import ControlPlane, Job
from tests.fakes.delivery import HANDLER, Worker

WORDS = ("the", "sun", "rises", "over", "a", "quiet", "sea", "and", "somebody", "sings", "of", "it")


def inputs(count: int) -> list[dict[str, Any]]:
    """Return jobs of mixed length: two to thirty words, the same ones at every run."""
    draw = random.Random(7)
    texts = (" ".join(draw.choices(WORDS, k=draw.randint(2, 30))) for _ in range(count))
    return [{"text": f"{text}.", "seed": number} for number, text in enumerate(texts)]


def overhead_ms(job: Job) -> float:
    """Return what a job took beside speaking."""
    return 1000 * (job.ended - job.taken - job.output["timing"]["total_s"])


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the middle, the slow end and the worst."""
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
    }


def finished(plane: ControlPlane, job: Job) -> Job:
    """Wait for a job's result; ends the benchmark when it is none."""
    plane.wait(job, 600)
    if job.status != "COMPLETED":
        sys.exit(f"a job ended as {job.status}: {job.error}")
    return job


def measure(num_jobs: int, num_slots: int, directory: Path) -> dict[str, Any]:
    """Send the jobs one at a time, then at once, to one worker."""
    jobs = inputs(num_jobs)
    settings = {"HIGGS_MAX_SLOTS": str(num_slots)}
    with ControlPlane(hold_s=30) as plane, Worker(plane, directory, HANDLER, **settings) as worker:
        for job_input in jobs[:4]:  # what is warm afterwards is warm for both
            finished(plane, plane.run(job_input))
        started = time.perf_counter()
        alone = [finished(plane, plane.run(each)) for each in jobs]
        alone_s = time.perf_counter() - started
        resident_mb = worker.resident_mb()
        started = time.perf_counter()
        together = [finished(plane, job) for job in plane.run_all(jobs)]
        together_s = time.perf_counter() - started
        return {
            "num_jobs": num_jobs,
            "num_slots": num_slots,
            "audio_s": round(sum(job.output["audio"]["duration_s"] for job in alone), 1),
            "overhead_ms": percentiles([overhead_ms(job) for job in alone]),
            "overhead_together_ms": percentiles([overhead_ms(job) for job in together]),
            "gap_ms": percentiles(
                [1000 * (b.taken - a.ended) for a, b in itertools.pairwise(alone)]
            ),
            "one_at_a_time_s": round(alone_s, 2),
            "together_s": round(together_s, 2),
            "ratio": round(alone_s / together_s, 2),
            "resident_mb": [round(resident_mb, 1), round(worker.resident_mb(), 1)],
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Overhead of a job, and many at once.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--json", type=Path, help="also write the document here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = measure(options.jobs, options.slots, Path(directory))
    overhead, ratio = report["overhead_ms"], report["ratio"]
    print(f"overhead of a job: median {overhead['median']} ms, 95 % within {overhead['p95']} ms")
    print(f"{report['num_jobs']} jobs at once: {ratio} times as fast as one at a time")
    document = json.dumps({"environment": environment(), **report})
    if options.json:
        options.json.write_text(document + "\n")
    print(document)


if __name__ == "__main__":
    main()
