"""Measure the codec from codes to PCM: pieces, rows, its share of the time, the first sound.

    python -m benchmarks.codec [--quick] [--codecs demo,real] [--full] [--json FILE]

Prints tables while it runs; the last line is one JSON document with all results. What they mean:
docs/performance.md. `real` has the published codec's sizes with random weights. `--full` measures
it beside the real language model's sizes (11 GB of memory); otherwise the share is the demo's.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import ours
from benchmarks.gpu.scale import REAL
from benchmarks.measure import Comparison, environment, interleave, mean_step
from benchmarks.measure import timed as seconds
from benchmarks.models import GREEDY, NUM_PROMPT_IDS, SIZES
from higgs_worker import demo
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from higgs_worker.codec.piece_schedule import MAX_PIECE_FRAMES
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from higgs_worker.codec.thread import CodecStream, CodecThread
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Prompt, Submission, TextSegment

DEMO = Path(demo.__file__).parent
MAX_LENGTH = 512
PROMPT = Prompt((TextSegment(tuple(range(NUM_PROMPT_IDS))),))
PIECES = (1, 2, 4, 8, 16, 24)
ROWS = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class CodecPlan:
    """How much to measure of one codec."""

    num_frames: int
    repeats: int


PLANS = {"demo": CodecPlan(num_frames=240, repeats=7), "real": CodecPlan(num_frames=72, repeats=6)}
QUICK = CodecPlan(num_frames=24, repeats=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements that the command line selects."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {
        "benchmark": "codec",
        "environment": environment(),
        "quick": options.quick,
        "pieces": [],
        "rows": [],
        "share": [],
    }
    print(f"{options.threads} thread(s)")
    for name in options.codecs:
        plan = QUICK if options.quick else PLANS[name]
        decoder = _decoder(name)
        report["pieces"] += _measure_pieces(name, decoder, plan)
        report["rows"] += _measure_rows(name, decoder, plan)
    plan = QUICK if options.quick else PLANS["demo"]
    report["share"] += _measure_share("demo", _demo_model(), _decoder("demo"), plan)
    if options.full:
        model = ours.random_model(SIZES["full"].config(), MAX_LENGTH, torch.bfloat16)
        plan = QUICK if options.quick else CodecPlan(num_frames=72, repeats=3)
        report["share"] += _measure_share("full", model, _decoder("real"), plan)
        del model
    report["first_audio"] = _measure_first_audio(3 if options.quick else 10)
    document = json.dumps(report)
    if options.json:
        options.json.write_text(document + "\n")
    print(document)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def codec_names(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(PLANS):
            raise argparse.ArgumentTypeError(f"no such codec: {', '.join(sorted(unknown))}")
        return names

    parser = argparse.ArgumentParser(description="Measure the codec's decoder.")
    parser.add_argument("--codecs", type=codec_names, default=["demo", "real"])
    parser.add_argument("--quick", action="store_true", help="one second of audio, one run each")
    parser.add_argument("--full", action="store_true", help="the share beside the real model, too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the JSON document here")
    return parser.parse_args(arguments)


def _decoder(name: str) -> CodecDecoder:
    if name == "demo":
        return load_decoder(DEMO / "codec", ours.CPU)[0]
    torch.manual_seed(0)
    return CodecDecoder(REAL.codec.codec).requires_grad_(False).eval()


def _demo_model() -> LanguageModel:
    config, weights, _ = load(
        DEMO / "model", device=ours.CPU, number_format=NumberFormat(torch.float32)
    )
    return LanguageModel(config, weights, MAX_LENGTH)


def _codes(count: int, num_frames: int) -> NDArray[np.int64]:
    """Draw codes [B, F, K]."""
    return np.random.default_rng(0).integers(0, 1024, (count, num_frames, 8))


def _whole(decoder: CodecDecoder, codes: NDArray[np.int64]) -> None:
    with torch.inference_mode():
        decoder(torch.from_numpy(codes).transpose(1, 2))


def _streamed(streaming: StreamingDecoder, codes: NDArray[np.int64], size: int) -> None:
    """Decode [B, F, K] piece by piece, to the end."""
    for stream in range(len(codes)):
        streaming.open(stream)
    for first in range(0, codes.shape[1], size):
        is_last = first + size >= codes.shape[1]
        streaming.advance(
            [
                CodecPiece(stream, each[first : first + size], is_last=is_last)
                for stream, each in enumerate(codes)
            ]
        )


def _measure_pieces(name: str, decoder: CodecDecoder, plan: CodecPlan) -> list[dict[str, Any]]:
    """Time one stream in pieces of each size against the whole decode; the tail is included."""
    print(f"\n{name}: {plan.num_frames} frames of one stream, time against the whole decode")
    print(f"{'frames a piece':<16}{'whole ms':>10}{'ms':>9}{'fastest':>9}{'pairs':>8}{'range':>16}")
    codes = _codes(1, plan.num_frames)
    streaming = StreamingDecoder(decoder, 1)
    cases: dict[str, Callable[[], float]] = {
        "whole": lambda: seconds(partial(_whole, decoder, codes))
    }
    cases |= {
        str(size): partial(seconds, partial(_streamed, streaming, codes, size)) for size in PIECES
    }
    runs = interleave(cases, plan.repeats)
    whole = runs.pop("whole")
    rows = []
    for size, times in runs.items():
        # How much longer the pieces take than the whole decode.
        result = Comparison.of(times, whole)
        low, high = result.ratio_range
        print(
            f"{size:<16}{min(whole) * 1e3:>10.1f}{min(times) * 1e3:>9.1f}"
            f"{result.ratio_fastest:>9.2f}{result.ratio_median:>8.2f}"
            f"{f'{low:.2f} to {high:.2f}':>16}",
            flush=True,
        )
        rows.append(
            {
                "codec": name,
                "piece_frames": int(size),
                "whole_ms": min(whole) * 1e3,
                "streamed_ms": min(times) * 1e3,
                "ratio_fastest": result.ratio_fastest,
                "ratio_median": result.ratio_median,
                "ratio_range": result.ratio_range,
            }
        )
    return rows


def _measure_rows(name: str, decoder: CodecDecoder, plan: CodecPlan) -> list[dict[str, Any]]:
    """Time streams that share calls against the same streams one after the other."""
    num_frames = min(plan.num_frames, 2 * MAX_PIECE_FRAMES)
    print(f"\n{name}: {num_frames} frames of 8 streams in pieces, one by one against together")
    print(f"{'frames a piece':<16}{'one by one':>12}{'together':>10}{'fastest':>9}{'range':>16}")
    codes = _codes(8, num_frames)
    streaming = StreamingDecoder(decoder, 8)
    rows = []
    for size in (8, MAX_PIECE_FRAMES):

        def one_by_one(size: int = size) -> None:
            for each in codes:
                _streamed(streaming, each[None], size)

        runs = interleave(
            {
                "one by one": partial(seconds, one_by_one),
                "together": partial(seconds, partial(_streamed, streaming, codes, size)),
            },
            max(1, plan.repeats // 2),
        )
        result = Comparison.of(*runs.values())
        low, high = result.ratio_range
        print(
            f"{size:<16}{result.base * 1e3:>12.1f}{result.ours * 1e3:>10.1f}"
            f"{result.ratio_fastest:>9.2f}{f'{low:.2f} to {high:.2f}':>16}",
            flush=True,
        )
        rows.append(
            {
                "codec": name,
                "piece_frames": size,
                "one_by_one_ms": result.base * 1e3,
                "together_ms": result.ours * 1e3,
                "ratio_fastest": result.ratio_fastest,
                "ratio_range": result.ratio_range,
            }
        )
    return rows


def _measure_share(
    name: str, model: LanguageModel, decoder: CodecDecoder, plan: CodecPlan
) -> list[dict[str, Any]]:
    """Time the codec beside the decode steps that generate its frames; prefill excluded."""
    num_steps = min(16, plan.num_frames)
    print(f"\n{name}: ms per frame of the whole batch, and the codec's share of both together")
    print(f"{'batch':<16}{'steps':>10}{'codec':>9}{'share':>9}")
    rows = []
    for batch in ROWS:
        prompts = [PROMPT] * batch
        runner = ours.runner(model, batch, MAX_LENGTH)
        streaming = StreamingDecoder(decoder, batch)
        codes = _codes(batch, plan.num_frames)

        def steps(runner: Runner = runner, prompts: Any = prompts) -> float:
            readings = ours.decode(runner, prompts, GREEDY, num_steps, time.perf_counter)
            return mean_step(readings)

        def pieces(
            streaming: StreamingDecoder = streaming, codes: NDArray[np.int64] = codes
        ) -> float:
            took = seconds(partial(_streamed, streaming, codes, MAX_PIECE_FRAMES))
            return took / plan.num_frames

        runs = interleave({"steps": steps, "codec": pieces}, plan.repeats)
        step_s, codec_s = (min(times) for times in runs.values())
        share = codec_s / (step_s + codec_s)
        print(f"{batch:<16}{step_s * 1e3:>10.2f}{codec_s * 1e3:>9.2f}{share:>9.0%}", flush=True)
        rows.append(
            {
                "model": name,
                "batch": batch,
                "step_ms": step_s * 1e3,
                "codec_ms": codec_s * 1e3,
                "codec_share": share,
            }
        )
    return rows


class _CountingRunner(Runner):
    """A runner that counts its steps."""

    num_steps = 0

    def step(self) -> None:
        """Run one step."""
        super().step()
        self.num_steps += 1


class _TimingListener:
    """A listener that records when the first samples come, and when the last."""

    def __init__(self) -> None:
        self.first_s = self.end_s = 0.0
        self.ended = threading.Event()

    def on_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Record the time of the first samples."""
        self.first_s = self.first_s or time.perf_counter()

    def on_end(self, error: Exception | None) -> None:
        """Record the time of the end."""
        if error is not None:
            raise error
        self.end_s = time.perf_counter()
        self.ended.set()


class _TimingFeed:
    """Feeds frames to the codec, and records when there are enough for the first samples."""

    def __init__(self, codec: CodecThread, stream: CodecStream, runner: _CountingRunner) -> None:
        self.stream = stream
        self.num_steps, self.first_s = 0, 0.0
        self._codec, self._runner = codec, runner
        self._num_frames = 0

    def __call__(self, codes: NDArray[np.int64]) -> None:
        """Receive the next frames [F, K]."""
        self._num_frames += len(codes)
        if not self.first_s and self._num_frames >= self._codec.num_first_frames:
            self.num_steps, self.first_s = self._runner.num_steps, time.perf_counter()
        self._codec.feed(self.stream, codes)


def _measure_first_audio(repeats: int) -> dict[str, Any]:
    """Count steps and seconds until the first final samples, through engine and codec."""
    num_frames = 250
    runner = _CountingRunner(_demo_model(), num_slots=1, max_length=MAX_LENGTH)
    codec = CodecThread(StreamingDecoder(_decoder("demo"), 1))
    runs: dict[str, list[float]] = {"frames": [], "first": [], "whole": []}
    steps = set()
    with Engine(runner) as engine:
        for index in range(repeats + 1):
            listener = _TimingListener()
            feed = _TimingFeed(codec, codec.open(listener), runner)
            runner.num_steps = 0
            started = time.perf_counter()
            handle = engine.submit(
                Submission(PROMPT, GREEDY, num_frames),
                on_frames=feed,
                num_first_frames=codec.num_first_frames,
            )
            handle.result()
            codec.finish(feed.stream)
            listener.ended.wait()
            if index:  # the first one warms up
                steps.add(feed.num_steps)
                runs["frames"].append(feed.first_s - started)
                runs["first"].append(listener.first_s - started)
                runs["whole"].append(listener.end_s - started)
    codec.close()
    fastest = {name: min(times) * 1e3 for name, times in runs.items()}
    print(
        f"\ndemo: first audio after the prefill and {max(steps)} steps; {fastest['first']:.1f} ms, "
        f"of which the codec {fastest['first'] - fastest['frames']:.1f}; all of "
        f"{num_frames / 25:.0f} s after {fastest['whole']:.0f} ms"
    )
    return {
        "model": "demo",
        "num_steps": max(steps),
        "first_frames_ms": fastest["frames"],
        "first_audio_ms": fastest["first"],
        "whole_ms": fastest["whole"],
        "num_frames": num_frames,
    }


if __name__ == "__main__":
    main()
