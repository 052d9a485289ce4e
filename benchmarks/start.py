"""From the start of a process to the first sound: where the time goes, and against a plain start.

    python -m benchmarks.start [--repeats 5]

Runs `handler.py` in fresh processes on the embedded model, with the files in the page cache; the
plain start imports what a straightforward worker imports (runpod, torch, transformers) and reads
the same weights with `load_file`, and speaks nothing. Medians; the last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
JOB = {"id": "1", "input": {"text": "Hello there.", "max_duration_s": 1.0}}
PLAIN = """
import runpod, torch, transformers
from transformers import HiggsAudioV2ForConditionalGeneration, HiggsAudioV2TokenizerModel
from safetensors.torch import load_file
for kind in ("model", "codec"):
    load_file(f"{ROOT}/higgs_worker/demo/{kind}/model.safetensors")
""".replace("{ROOT}", str(ROOT))


def start(directory: str) -> dict[str, float]:
    """Start a worker with one job and return its laps."""
    done = subprocess.run(
        [sys.executable, "handler.py", "--test_input", json.dumps(JOB), "--rp_log_level", "ERROR"],
        env={"HIGGS_MODEL": "demo", "HIGGS_VOLUME": directory},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [each for each in (done.stdout + done.stderr).splitlines() if '"cold start"' in each]
    told = json.loads(lines[0])
    return {name: value for name, value in told.items() if name.endswith("_s")}


def plain_start() -> float:
    """Return the seconds of a plain start."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", PLAIN], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ours, plain = [], []
    with tempfile.TemporaryDirectory() as directory:
        start(directory)  # fills the page cache
        for _ in range(options.repeats):
            ours.append(start(directory))
            plain.append(plain_start())
    laps = {name: statistics.median(each[name] for each in ours) for name in ours[0]}
    for name, seconds in laps.items():
        print(f"{name.removesuffix('_s'):<12}{seconds:>8.3f} s")
    ratio = statistics.median(plain) / laps["total_s"]
    print(
        f"plain start {statistics.median(plain):>8.3f} s, {ratio:.2f} times ours to the first sound"
    )
    print(json.dumps({"benchmark": "start", "laps": laps, "plain_s": statistics.median(plain)}))


if __name__ == "__main__":
    main()
