"""Voices and codes on the volume that nobody saved: refused, in bounded time and memory."""

import io
import json
import math
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higgs_worker.errors import DamagedVoice, UnknownVoice
from higgs_worker.voices.code_cache import CodeCache, content_key
from higgs_worker.voices.library import VoiceLibrary
from tests.fakes.library import WAV, file_of, make_wav
from tests.fakes.odd_files import ODD_FILES, in_time, put

MAX_MEMORY_BYTES = 20_000_000
BOMB = bytes(30_000_000)


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    """Return a library with two voices."""
    library = VoiceLibrary(tmp_path / "volume" / "voices")
    library.add("anna", WAV, "Text.")
    library.add("carl", WAV, "Text.")
    return library


def check_refused(library: VoiceLibrary) -> None:
    """Check that Anna is damaged, soon and without much memory, and Carl is not."""
    tracemalloc.start()
    try:
        with pytest.raises(DamagedVoice):
            in_time(lambda: library.get("anna"))
        assert [each.name for each in in_time(library.list)] == ["anna", "carl"]
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert library.get("carl").wav == WAV


@pytest.mark.parametrize("kind", sorted(ODD_FILES.keys() - {"absent"}))
def test_odd_files_are_damaged_voices(library: VoiceLibrary, tmp_path: Path, kind: str) -> None:
    """Whatever lies there, the others are found, and it can be replaced."""
    path = file_of(tmp_path, "anna")
    put(kind, path)
    check_refused(library)
    if not path.is_dir():
        library.add("anna", WAV, "New.", replace=True)
        assert library.get("anna").text == "New."


def test_no_voice_lies_elsewhere(library: VoiceLibrary, tmp_path: Path) -> None:
    """A link that leaves the directory is not followed, not even to a whole voice."""
    path = file_of(tmp_path, "anna")
    path.rename(tmp_path / "anna.zip")
    path.symlink_to(tmp_path / "anna.zip")
    check_refused(library)
    library.remove("anna")
    assert (tmp_path / "anna.zip").exists()
    with pytest.raises(UnknownVoice):
        library.get("anna")


ABOUT: dict[str, Any] = {
    "name": "anna",
    "text": "Text.",
    "description": None,
    "licence": None,
    "duration_s": 0.1,
    "created_at": "2026-01-01T00:00:00+00:00",
    "sha256": content_key(WAV),
}


def zipped(
    about: object = ABOUT, wav: bytes = WAV, *, kind: int = zipfile.ZIP_STORED, more: int = 0
) -> bytes:
    """Return a voice's file as others might write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        text = about if isinstance(about, str | bytes) else json.dumps(about)
        archive.writestr("voice.json", text)
        archive.writestr("voice.wav", wav)
        for number in range(more):
            archive.writestr(str(number), b"")
    return file.getvalue()


def lying(data: bytes, size: int, claimed: int) -> bytes:
    """Return a zip whose directory claims another size of a member."""
    return data.replace(struct.pack("<I", size), struct.pack("<I", claimed))


def with_zip64(data: bytes) -> bytes:
    """Return a zip whose last record is preceded by the place of another directory."""
    return data[:-22] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + data[-22:]


ODD_ZIPS: dict[str, Callable[[], bytes]] = {
    "compressed bomb": lambda: zipped(BOMB, kind=zipfile.ZIP_DEFLATED),
    "bomb that lies": lambda: lying(zipped(BOMB, kind=zipfile.ZIP_DEFLATED), len(BOMB), 100),
    "bzip2 bomb": lambda: lying(zipped(BOMB, kind=zipfile.ZIP_BZIP2), len(BOMB), 100),
    "many members": lambda: zipped(more=3000),
    "another directory": lambda: with_zip64(zipped()),
    "nested JSON": lambda: zipped("[" * 90_000),
    "long JSON": lambda: zipped(json.dumps(ABOUT) + " " * 200_000),
    "list": lambda: zipped([]),
    "NaN": lambda: zipped(ABOUT | {"duration_s": math.nan}),
    "true": lambda: zipped(ABOUT | {"duration_s": True}),
    "long": lambda: zipped(ABOUT | {"duration_s": 1e5}),
    "text": lambda: zipped(ABOUT | {"text": "x" * 2001}),
    "no text": lambda: zipped(ABOUT | {"text": " "}),
    "half a character": lambda: zipped(ABOUT | {"text": "\ud800"}),
    "control character": lambda: zipped(ABOUT | {"description": "\x1b[2J"}),
    "number": lambda: zipped(ABOUT | {"licence": 0}),
    "note": lambda: zipped(ABOUT | {"licence": "x" * 501}),
    "date": lambda: zipped(ABOUT | {"created_at": "x" * 10_000}),
    "another name": lambda: zipped(ABOUT | {"name": "bert"}),
}


def test_what_the_odd_ones_start_from_is_right(library: VoiceLibrary, tmp_path: Path) -> None:
    """So each is refused for what is odd in it."""
    file_of(tmp_path, "anna").write_bytes(zipped())
    assert library.get("anna").duration_s == 0.1


@pytest.mark.parametrize("kind", ODD_ZIPS)
def test_odd_zips_are_damaged_voices(library: VoiceLibrary, tmp_path: Path, kind: str) -> None:
    """They neither unfold nor reach a caller."""
    file_of(tmp_path, "anna").write_bytes(ODD_ZIPS[kind]())
    check_refused(library)
    assert library.list()[0].problem is not None


@pytest.mark.parametrize(
    "wav", [make_wav(4800), make_wav(rate=16_000), b"RIFF", WAV[:-2]], ids=lambda wav: len(wav)
)
def test_the_recording_is_what_was_saved(library: VoiceLibrary, tmp_path: Path, wav: bytes) -> None:
    """Another length, another format or none is refused, whatever its checksum says."""
    about = ABOUT | {"sha256": content_key(wav)}
    file_of(tmp_path, "anna").write_bytes(zipped(about, wav))
    check_refused(library)


@pytest.mark.parametrize("kind", [*ODD_FILES, "link"])
def test_odd_files_are_no_codes(tmp_path: Path, kind: str) -> None:
    """Codes are computed again, at once."""
    key, codes = content_key(b"recording"), np.zeros((10, 8), np.int16)
    CodeCache(tmp_path / "codes").store(key, "codec", codes)
    [path] = (tmp_path / "codes").iterdir()
    if kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        put(kind, path)
    cache = CodeCache(tmp_path / "codes")
    tracemalloc.start()
    try:
        assert in_time(lambda: cache.load(key, "codec")) is None
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
    finally:
        tracemalloc.stop()
    cache.store(key, "codec", codes)
    assert (CodeCache(tmp_path / "codes").load(key, "codec") is None) == (kind == "directory")
