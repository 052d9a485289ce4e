"""OpenAI's own package for JavaScript: `make test-clients` installs it."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.http_worker import ROOT, HttpWorker, decoded, is_same, is_speech, pcm_of
from tests.http.clients.recipes import recipes

MODULES = ROOT / ".clients" / "node_modules"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (MODULES.exists() and shutil.which("node")),
        reason="needs node and the packages of `make test-clients`",
    ),
]
TEXT = "Good morning to you."
STREAMED = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.env.HIGGS_API_KEY });
const speech = { model: "m", voice: "clara", input: "Good morning to you.", seed: 7 };
const reply = await client.audio.speech.create({ ...speech, response_format: "pcm" });
const pieces = [];
for await (const piece of reply.body) pieces.push(Buffer.from(piece));
const events = await client.audio.speech.create({
  ...speech, response_format: "pcm", stream_format: "sse",
});
const refused = await client.audio.speech.create({ ...speech, voice: "nobody" }).catch((e) => e);
const half = new AbortController();
const left = await client.audio.speech.create(
  { ...speech, response_format: "pcm" }, { signal: half.signal },
);
for await (const _ of left.body) break;
half.abort();
console.log(JSON.stringify({
  numPieces: pieces.length, audio: Buffer.concat(pieces).toString("hex"),
  events: await events.text(),
  refused: [refused.constructor.name, refused.status, refused.param, refused.code],
}));
"""


def run(script: str, directory: Path, key: str, *arguments: str) -> str:
    """Run a module with the packages; return what it prints."""
    (directory / "node_modules").symlink_to(MODULES)
    (directory / "script.mjs").write_text(script)
    environment = {"HIGGS_API_KEY": key, "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        ["node", "script.mjs", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_page_s_snippet(worker: HttpWorker, key: str, tmp_path: Path) -> None:
    """It writes a file of speech."""
    (script,) = recipes("OpenAI, JavaScript", worker.address)
    run(script, tmp_path, key)
    assert is_speech(decoded((tmp_path / "speech.mp3").read_bytes()), 1.04)


def test_streams_and_errors(worker: HttpWorker, key: str, tmp_path: Path) -> None:
    """Pieces and events hold the job's audio; an error has the field; one may leave midway."""
    told = json.loads(run(STREAMED, tmp_path, key, f"{worker.url}/v1"))
    expected = worker.job_pcm(TEXT, 7, voice="clara")
    assert told["numPieces"] > 1
    heard = pcm_of(bytes.fromhex(told["audio"]))
    assert is_same(heard, expected)
    *deltas, done = [line.removeprefix("data: ") for line in told["events"].split("\n\n") if line]
    audio = b"".join(base64.b64decode(json.loads(each)["audio"]) for each in deltas)
    assert np.array_equal(pcm_of(audio), heard)
    assert json.loads(done)["type"] == "speech.audio.done"
    assert told["refused"] == ["BadRequestError", 400, "voice", "unknown_voice"]
