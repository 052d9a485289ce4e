"""Speech from an endpoint of this worker: one file without dependencies, to use or to copy.

from higgs_worker.client import Higgs

higgs = Higgs("your-endpoint-id")                  # the key comes from RUNPOD_API_KEY
speech = higgs.speak("The sun rises.", voice="clara", format="mp3")
open("sun.mp3", "wb").write(speech.audio)

for piece in higgs.stream("A longer text.", format="mp3"):   # where HIGGS_STREAM is true
    player.write(piece)
"""

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

BASE_URL = "https://api.runpod.ai/v2"
_RETRIED = (429, 500, 502, 503, 504)
_UNREACHABLE = (OSError, http.client.HTTPException)
_NUM_TRIES = 5
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


class HiggsError(Exception):
    """A request that failed; `code` is the worker's, or that of HTTP."""

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True)
class Speech:
    """What was said."""

    audio: bytes
    """A whole file, on streaming endpoints too."""
    output: dict[str, Any] = field(repr=False)
    """Everything else that the worker returned: segments, seed, warnings, timing."""


class Higgs:
    """One endpoint."""

    def __init__(
        self,
        endpoint: str,
        api_key: str | None = None,
        *,
        base_url: str = BASE_URL,
        timeout_s: float = 600.0,
    ) -> None:
        """
        Args:
            endpoint: its id.
            api_key: of the account; None takes RUNPOD_API_KEY.
            base_url: of the platform.
            timeout_s: for one text, a cold start included.

        Raises:
            HiggsError: there is no key.
        """
        # Not read by settings.py: callers copy this file, and have no worker.
        key = api_key or os.environ.get("RUNPOD_API_KEY")
        if not key:
            raise HiggsError("no_key", "set RUNPOD_API_KEY, or hand over api_key")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._url = f"{base_url}/{endpoint}"
        self._timeout_s = timeout_s

    def speak(self, text: str, **fields: Any) -> Speech:
        """Return a text as speech; the fields are those of docs/requests.md.

        Raises:
            HiggsError: it failed, or took too long and was cancelled.
        """
        job = self._call("run", {"input": {"text": text, **fields}})
        return _speech(self._pieces(job["id"]))

    def run(self, **fields: Any) -> dict[str, Any]:
        """Run any job, such as `batch` or an action, and return its output."""
        job = self._call("run", {"input": fields})
        return self._pieces(job["id"])[-1]

    def stream(self, text: str, **fields: Any) -> Generator[bytes, None, None]:
        """Yield the audio piece by piece while it is spoken; leaving early cancels the job.

        The pieces are for a player: joined, their header leaves the length open. An endpoint that
        does not stream yields one piece, at the end.
        """
        job = self._call("run", {"input": {"text": text, **fields}})
        is_silent = True
        try:
            for found in self._polled(job["id"], "stream"):
                for piece in found.get("stream", ()):
                    output = piece["output"]
                    if "error" in output:
                        raise _failure(output["error"], output)
                    if "base64" in output.get("audio", {}):
                        is_silent = False
                        yield base64.b64decode(output["audio"]["base64"])
        except (GeneratorExit, KeyboardInterrupt):
            self.cancel(job["id"])
            raise
        if is_silent:
            yield _speech(self._pieces(job["id"])).audio

    def cancel(self, job_id: str) -> None:
        """Cancel a job."""
        self._call(f"cancel/{job_id}", {})

    def _pieces(self, job_id: str) -> list[dict[str, Any]]:
        """Wait for a job and return its output; a streaming endpoint's is a list of pieces."""
        *_, found = self._polled(job_id, "status")
        output = found.get("output")
        pieces: list[Any] = output if isinstance(output, list) else [output]
        if not pieces or not pieces[-1]:
            raise HiggsError("lost", f"job {job_id} ended without output; see docs/delivery.md")
        return pieces

    def _polled(self, job_id: str, route: str) -> Iterator[dict[str, Any]]:
        """Yield the state of a job until it has ended."""
        begun, pause_s = time.monotonic(), 0.1
        while time.monotonic() - begun < self._timeout_s:
            found = self._call(f"{route}/{job_id}")
            yield found
            if found["status"] == "COMPLETED":
                return
            if found["status"] in _ENDED:
                found = self._call(f"status/{job_id}")
                error = found.get("error") or f"the job ended as {found['status']}"
                raise _failure(error, found.get("output"))
            time.sleep(pause_s)
            pause_s = min(2.0, 1.3 * pause_s)
        self.cancel(job_id)
        raise HiggsError("timeout", f"job {job_id} took longer than {self._timeout_s:g} s")

    def _call(self, path: str, body: Any = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers,
        )
        for tries_left in reversed(range(_NUM_TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                # A job that was sent twice is paid twice; 429 alone says that it was not taken.
                may_repeat = error.code in _RETRIED if path != "run" else error.code == 429
                if not may_repeat or not tries_left:
                    raise HiggsError(str(error.code), f"{path}: {error.reason}") from None
            except _UNREACHABLE as error:
                if path == "run" or not tries_left:
                    raise HiggsError("unreachable", f"{path}: {error}") from None
            time.sleep(2.0 ** (_NUM_TRIES - 1 - tries_left) / 2)
        raise AssertionError("the last try returns or raises")


def _speech(pieces: list[dict[str, Any]]) -> Speech:
    """Return the audio of a job's output, joined from its pieces or fetched from the bucket."""
    output = pieces[-1]
    found = [piece.get("audio", {}).get("base64") for piece in pieces]
    if any(found):
        audio = b"".join(base64.b64decode(each) for each in found if each)
        if head := output.get("audio", {}).get("file_head"):
            # Only the end could tell what the header of the file says.
            audio = base64.b64decode(head["base64"]) + audio[head["replaces_bytes"] :]
        return Speech(audio, output)
    place = output.get("audio", {})
    if not place.get("url"):
        if "key" not in place:
            raise HiggsError("not_kept", "the audio was too large to keep; use stream()", output)
        where = f"{place.get('bucket')}/{place['key']}"
        raise HiggsError("no_url", f"the audio is in the bucket, as {where}", output)
    try:
        with urllib.request.urlopen(place["url"], timeout=60) as answer:  # noqa: S310
            return Speech(answer.read(), output)
    except _UNREACHABLE as error:
        raise HiggsError("unreachable", f"{place['key']} in the bucket: {error}", output) from None


def _failure(error: Any, output: Any) -> HiggsError:
    """Return the error for the worker's `code: sentence`."""
    code, colon, message = str(error).partition(": ")
    details = output.get("details") if isinstance(output, dict) else None
    return HiggsError(code, message, details) if colon else HiggsError("failed", code, details)
