"""Ten thousand random jobs, each as the platform's JSON: one reply each, and no stall."""

import asyncio
import gc
import json
import math
import random
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higgs_worker.api.request import SpeechRequest, names_of
from higgs_worker.audio.reader import RecordingReader
from higgs_worker.serverless.limits import max_result_bytes
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.serverless.takes import read_jobs
from higgs_worker.speech.service import SpeechService
from higgs_worker.voices.actions import Actions
from higgs_worker.voices.library import VoiceLibrary
from higgs_worker.voices.references import References
from tests.fakes.loop_watch import LoopWatch
from tests.fakes.scripted_model import scripted_model
from tests.fakes.speeches import responder

pytestmark = pytest.mark.long

NUM_JOBS = 10_000
MAX_STALL_S = 0.1
MAX_TEXT_CHARS = 300
ACTIONS = ("list_voices", "save_voice", "update_voice", "delete_voice", "read", "info", "nfo")

TEXTS = (
    "Hello there.",
    "It costs 1,234.50 € at 12:30, [laugh] and no more.",
    "[Anna] Did you hear that? [Bert] No. [pause 300ms] What?",
    "[SPEAKER0] One. [SPEAKER1] Two.",
    "今天是2026年。你好！",
    "👩‍🚀 नमस्ते ‏שלום",
    "a" * 300,
    "One sentence. " * 5,
    "<|audio|> [Your Name] [text][1] **bold**",
)
VALID: dict[str, tuple[Any, ...]] = {
    "text": TEXTS,
    "scene": ("A hall.", None, ""),
    "voice": (None, {"description": "An old man."}),
    "speakers": ({}, {"Anna": None, "Bert": {"description": "tired"}}, {"SPEAKER0": None}),
    "dialogue": ("turns", "joint"),
    "language": (None, "en", "de-AT", "zh"),
    "normalise": (True, False),
    "strict_tags": (True, False),
    "chunk_words": (5, 100, 400),
    "context_chunks": (0, 1, 8),
    "retries": (0, 5),
    "timestamps": ("none", "sentence"),
    "seed": (0, 2**63 - 1, None),
    "max_duration_s": (0.2, 3.0, None),
    "format": ("wav", "mp3", "flac", "opus", "aac", "pcm", "ulaw", "alaw"),
    "sample_rate": (8000, 24000, 44100),
    "speed": (0.25, 1, 4.0),
    "loudness_lufs": (None, -23),
    "output": ("auto", "base64"),
}
HOSTILE_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "x" * 1025,
    "é" * 70_000,
    "{}",
    "\u202e",
    "http://127.0.0.1/a",
    "../a",
    "nan",
    "[" * 2000,
    "[pause 1e999s] a",
    "🤖" * 400,
)
NUMBERS = (0, -1, 1e-320, 2**63, 10**30, -(10**4200), 1e308, math.inf, -math.inf, math.nan, 0.5)
OTHER_KEYS = ("", "x", "sed", "Text", "__class__", "self", "k" * 300, "\ud800", "batch", "input")
VOICE_KEYS = ("audio", "text", "description", "name", "id")


class Caller:
    """Sends whatever comes to mind."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, level: int = 0) -> Any:
        """Return anything that JSON, or Python's JSON, can hold."""
        draw = self._random
        match draw.randrange(9 if level < 3 else 6):
            case 0 | 1:
                return draw.choice(NUMBERS)
            case 2 | 3:
                return draw.choice(HOSTILE_TEXTS + TEXTS)
            case 4:
                return draw.choice((None, True, False))
            case 5:
                return "".join(draw.choices(string.printable, k=draw.randrange(30)))
            case 6:
                return [self.value(level + 1) for _ in range(draw.choice((0, 1, 2, 30)))]
            case 7:
                return {self.key(): self.value(level + 1) for _ in range(draw.choice((0, 1, 5)))}
        nested: Any = draw.choice(NUMBERS)
        for _ in range(draw.choice((3, 30, 40, 900))):
            nested = [nested] if draw.random() < 0.5 else {self.key(): nested}
        return nested

    def key(self) -> str:
        """Return a field's name by any of its names, or another."""
        draw = self._random
        if draw.random() < 0.1:
            return draw.choice(
                (*OTHER_KEYS, "api_key", "hf_token") if draw.random() < 0.2 else OTHER_KEYS
            )
        if draw.random() < 0.1:
            return draw.choice(("voice_url", "ref_audio", "ref_text", *VOICE_KEYS))
        return draw.choice(names_of(draw.choice(list(SpeechRequest.model_fields))))

    def fields(self) -> dict[str, Any]:
        """Return a request, right in most of its fields and often in all."""
        draw = self._random
        fields = {}
        for name in draw.sample(list(VALID), draw.randrange(6)):
            fields[draw.choice(names_of(name))] = draw.choice(VALID[name])
        if draw.random() < 0.9:
            fields = {"text": draw.choice(TEXTS)} | fields
        for _ in range(draw.choice((0, 0, 0, 0, 1, 1, 2, 10))):
            fields[self.key()] = self.value()
        if draw.random() < 0.03:
            fields |= {f"key{number}": 0 for number in range(draw.choice((300, 30_000)))}
        return fields

    def input(self) -> Any:
        """Return what a job holds."""
        draw = self._random
        match draw.randrange(20):
            case 0:
                return self.value()
            case 1 | 2 | 3:
                count = draw.choice((0, 1, 2, 5, 64, 65)) if draw.random() < 0.3 else 2
                entries = [
                    self.fields() if draw.random() < 0.9 else self.value() for _ in range(count)
                ]
                beside = self.fields() if draw.random() < 0.3 else {}
                beside.pop("text", None)
                return beside | {"batch": entries if draw.random() < 0.95 else self.value()}
            case 4 | 5:
                action = draw.choice(ACTIONS)
                some = draw.sample(
                    ("name", "new_name", "audio", "text", "replace", "licence", "x"),
                    draw.randrange(5),
                )
                fields = self.fields() if action == "read" else {key: self.value() for key in some}
                return fields | {"action": action if draw.random() < 0.9 else self.value()}
            case 6 | 7:
                route = draw.choice(("/v1/audio/speech", "/v1/audio/voices", "/v1/models", "/v1/x"))
                body = {"model": "tts-1", "voice": draw.choice(("alloy", "nobody"))} | self.fields()
                return {
                    "openai_route": route if draw.random() < 0.9 else self.value(),
                    "openai_input": body if draw.random() < 0.9 else self.value(),
                }
        return self.fields()


def code_of(output: dict[str, Any], text: bytes) -> str:
    """Return how a job ended, after a look at its reply."""
    assert "\x00" not in output.get("error", ""), text[:2000]
    for each in output.get("batch", []):
        assert each.get("code") != "internal_error", (text[:2000], each)
        assert len(json.dumps(each)) < 1500 or "audio" in each
    if "error" in output:
        assert output["error"].startswith(f"{output['code']}: ")
        assert len(json.dumps(output)) < 100_000
        return str(output["code"])
    kinds = {"audio", "batch", "voices", "voice", "deleted", "worker", "object", "sentences"}
    (kind,) = kinds & output.keys()
    return f"answered with {kind}"


def worker(directory: Path) -> JobRunner:
    """Return a worker with a scripted model, and voices in a directory."""
    library = VoiceLibrary(directory / "voices")
    references = References(
        library,
        lambda pcm: np.zeros((25, 8), np.int64),
        "codec",
        max_s=60,
        max_bytes=10_000_000,
        read=RecordingReader().read,
    )
    service = SpeechService(lambda: replace(scripted_model(), references=references))
    answers = replace(
        responder(service), actions=Actions(library, lambda: references, model="scripted")
    )
    return JobRunner(answers, max_text_chars=MAX_TEXT_CHARS)


def test_ten_thousand_random_jobs(tmp_path: Path) -> None:
    """Each gets one reply that can be posted, none of them a defect; how they end is printed."""
    caller, codes, stalls_s = Caller(20), Counter[str](), [0.0]

    async def run_all() -> None:
        runner, watch = worker(tmp_path), LoopWatch()
        for number in range(NUM_JOBS):
            prefix = "sync-" if number % 2 else ""
            asked = {"id": f"{prefix}{number}", "input": caller.input()}
            text = json.dumps(asked, ensure_ascii=number % 3 > 0).encode("utf-8", "surrogatepass")
            await asyncio.sleep(0.002)
            watch.longest_s()  # what the test itself took
            jobs = await asyncio.to_thread(read_jobs, b"[%b, null]" % text)
            (job,) = jobs
            output = await runner.run(job)
            await asyncio.sleep(0.002)
            stall_s = watch.longest_s()
            if stall_s > stalls_s[-1]:
                stalls_s.append(stall_s)
                print(f"{1000 * stall_s:.0f} ms: {text[:200]!r} {str(output.get('error'))[:200]}")  # noqa: T201
            code = code_of(output, text)
            assert code != "internal_error", text[:2000]
            posted = json.dumps({"output": output}, ensure_ascii=False, allow_nan=False).encode()
            assert len(posted) <= max_result_bytes(job["id"])
            codes[code] += 1

    gc.collect()
    gc.freeze()
    asyncio.run(run_all())
    for code, count in codes.most_common():
        print(f"{count:6} {code}")  # noqa: T201
    print(f"longest stall {1000 * stalls_s[-1]:.0f} ms")  # noqa: T201
    assert codes.total() == NUM_JOBS
    assert codes["answered with audio"] > NUM_JOBS / 10
    assert stalls_s[-1] < MAX_STALL_S
