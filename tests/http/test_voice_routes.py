"""Voices over HTTP: heard, changed, and not found."""

import asyncio
import io
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from higgs_worker.voices.code_cache import content_key
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.library import make_wav
from tests.fakes.speeches import FixedService

VOICES = "/v1/audio/voices"
RECORDING = make_wav(24_000)
WORDS = "zebraVoiceQuagga"
"""The caller's; no line of the log may hold it."""

Test = Callable[[HttpServer], Awaitable[None]]


def run(volume: Path, test: Test) -> None:
    """Run a test of a server whose volume has the voice Anna."""
    VoiceLibrary(volume / "voices").add("Anna", RECORDING, "One word.", description="calm")

    async def serve() -> None:
        async with serving_http(volume) as server:
            await test(server)

    asyncio.run(serve())


# The recording


def test_a_recording_is_heard(tmp_path: Path) -> None:
    """A proper WAV, of the caller's voices and of those that are built in."""

    async def test(server: HttpServer) -> None:
        reply = await server.client.get(f"{VOICES}/anna/audio")
        assert reply.status_code == 200
        assert reply.content == RECORDING
        assert reply.headers["content-type"] == "audio/wav"
        assert reply.headers["content-length"] == str(len(RECORDING))
        assert reply.headers["cache-control"] == "private, no-cache"
        built_in = await server.client.get(f"{VOICES}/clara/audio")
        assert built_in.content == VoiceLibrary(tmp_path, presets=PRESETS).get("clara").wav
        with wave.open(io.BytesIO(built_in.content)) as file:
            assert file.getframerate() == 24_000

    run(tmp_path, test)


def test_a_recording_that_is_there_already_is_not_sent(tmp_path: Path) -> None:
    """As long as it is the same one; its tag follows from its content."""

    async def test(server: HttpServer) -> None:
        path = f"{VOICES}/Anna/audio"
        tag = (await server.client.get(path)).headers["etag"]
        assert tag == f'"{content_key(RECORDING)}"'
        for known, status in [
            (tag, 304),
            (f"W/{tag}", 304),
            (f'"other", {tag}', 304),
            ("*", 304),
            ('"other"', 200),
            ("", 200),
            (tag[1:-1], 200),
        ]:
            reply = await server.client.get(path, headers={"if-none-match": known})
            assert (reply.status_code, reply.headers["etag"]) == (status, tag), known
            assert reply.content == (b"" if status == 304 else RECORDING)
        await server.client.patch(f"{VOICES}/Anna", json={"name": "Hannah"})
        renamed = await server.client.get(f"{VOICES}/Hannah/audio", headers={"if-none-match": tag})
        assert renamed.status_code == 304
        other = make_wav(24_000, fill=9)
        VoiceLibrary(tmp_path / "voices").add("Hannah", other, "Another.", replace=True)
        replaced = await server.client.get(f"{VOICES}/Hannah/audio", headers={"if-none-match": tag})
        assert (replaced.status_code, replaced.content) == (200, other)

    run(tmp_path, test)


def test_a_recording_that_cannot_be_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown, impossible, damaged: each says so, and none of the caller's words is logged."""

    async def test(server: HttpServer) -> None:
        unknown = await server.client.get(f"{VOICES}/{WORDS}/audio")
        assert unknown.status_code == 404
        assert "GET /v1/audio/voices lists them" in unknown.json()["error"]["message"]
        impossible = await server.client.get(f"{VOICES}/{WORDS}.x/audio")
        assert impossible.status_code == 400
        (tmp_path / "voices" / "anna.zip").write_bytes(b"damaged")
        damaged = await server.client.get(f"{VOICES}/anna/audio")
        assert damaged.status_code == 500
        assert damaged.json()["error"]["code"] == "damaged_voice"
        assert "is damaged" in damaged.json()["error"]["message"]

    run(tmp_path, test)
    assert WORDS not in "".join(
        f"{each.getMessage()} {vars(each)}"
        for each in caplog.records
        if not each.name.startswith(("httpx", "httpcore"))
    )


# Changes


def test_a_voice_is_changed(tmp_path: Path) -> None:
    """Its name, its transcript, its notes: what is sent, and nothing else."""

    async def test(server: HttpServer) -> None:
        before = VoiceLibrary(tmp_path / "voices").get("Anna")
        changes = {"name": "Hannah", "text": "Two words.", "licence": "CC0", "description": None}
        reply = await server.client.patch(f"{VOICES}/anna", json=changes)
        assert reply.status_code == 200
        told = reply.json()
        assert (told["id"], told["name"], told["object"]) == ("Hannah", "Hannah", "audio.voice")
        assert told["voice"]["text"] == "Two words."
        assert told["voice"]["licence"] == "CC0"
        assert told["voice"]["description"] is None
        assert told["voice"]["created_at"] == before.created_at
        assert told["warnings"] == []
        assert (await server.client.patch(f"{VOICES}/anna", json=changes)).status_code == 404
        assert VoiceLibrary(tmp_path / "voices").get("Hannah").wav == RECORDING

    run(tmp_path, test)


WRONG_CHANGES: tuple[tuple[str, object, int, str], ...] = (
    ("anna", {}, 400, "nothing is to be changed; send any of name, text, description, licence"),
    ("anna", {"new_name": "x"}, 400, "'new_name' of a voice cannot be changed, only name"),
    ("anna", {"action": "delete_voice"}, 400, "'action' of a voice cannot be changed"),
    ("anna", {"audio": "AAAA"}, 400, "'audio' of a voice cannot be changed"),
    ("anna", {"name": None}, 400, "name must be a string, not null"),
    ("anna", {"text": ""}, 400, "needs the transcript"),
    ("anna", {"text": "No one says so many words in one second. " * 9}, 400, "transcript"),
    ("anna", {"name": "clara"}, 400, "'clara' is the name of a built-in voice"),
    ("anna", {"name": "a b"}, 400, "name of a voice is"),
    ("anna", {"api_key": "x"}, 400, "credentials do not belong"),
    ("anna", [], 400, "the body must be an object, not a list"),
    ("clara", {"text": "Mine."}, 400, "built-in voice and cannot be changed"),
    ("nobody", {"text": "Mine."}, 404, "no voice is saved under this name"),
    ("a.b", {"text": "Mine."}, 400, "name of a voice is"),
)


def test_wrong_changes_are_refused(tmp_path: Path) -> None:
    """The error says what is wrong, and the voice stays as it is."""

    async def test(server: HttpServer) -> None:
        for name, body, status, message in WRONG_CHANGES:
            reply = await server.client.patch(f"{VOICES}/{name}", json=body)
            assert reply.status_code == status, reply.text
            assert message in reply.json()["error"]["message"]
        assert VoiceLibrary(tmp_path / "voices").get("Anna").text == "One word."

    run(tmp_path, test)


def test_a_body_that_is_to_save_a_voice_can_do_nothing_else(tmp_path: Path) -> None:
    """What names another action is an unknown field like any other."""

    async def test(server: HttpServer) -> None:
        for action in ("delete_voice", "list_voices", "save_voice"):
            reply = await server.client.post(VOICES, json={"action": action, "name": "Anna"})
            assert reply.status_code == 400, reply.text
        assert VoiceLibrary(tmp_path / "voices").get("Anna").text == "One word."

    run(tmp_path, test)


# A reading


def test_a_text_is_read(tmp_path: Path) -> None:
    """With and without `input` around it; nothing is spoken, and errors are those of a speech."""
    service = FixedService()

    async def serve() -> None:
        async with serving_http(tmp_path, service) as server:
            ask = {"action": "read", "input": "It costs $5.", "response_format": "pcm"}
            for body in (ask, {"input": ask}):
                reply = await server.client.post("/v1/speech", json=body)
                assert reply.status_code == 200
                (sentence,) = reply.json()["sentences"]
                assert sentence["spoken"] == "It costs five dollars."
            wrong = await server.client.post("/v1/speech", json=ask | {"speed": 9, "x": 1})
            assert wrong.status_code == 400
            problems = wrong.json()["error"]["details"]["errors"]
            assert [each["field"] for each in problems] == ["x", "speed"]

    asyncio.run(serve())
    assert "It costs $5." not in [each.text for each in service.requests]
