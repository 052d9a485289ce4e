"""The file of one voice: a zip of `voice.json` and `voice.wav`.

The file's name is the voice's name in lower case, so that the file system itself refuses two names
that differ only in case. Whoever can write to the volume may have put anything in its place; so it
is read within bounds, and checked as strictly as what is saved.
"""

import io
import json
import os
import re
import struct
import wave
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from higgs_worker.errors import DamagedVoice, InvalidRequest, UnknownVoice
from higgs_worker.messages import check_readable
from higgs_worker.regular_file import open_regular
from higgs_worker.voices.code_cache import content_key

SAMPLE_RATE = 24_000
MAX_TEXT_CHARS = 2000
MAX_NOTE_CHARS = 500
MAX_WAV_BYTES = 10_000_000  # 3.5 minutes, far more than a voice needs
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Of a voice that is saved."""

_WORDS = {
    "text": ("transcript", MAX_TEXT_CHARS),
    "description": ("description", MAX_NOTE_CHARS),
    "licence": ("licence note", MAX_NOTE_CHARS),
}
"""By field: what errors call it, and its most characters."""
_MAX_JSON_BYTES = 100_000  # six bytes for each character of the longest texts are 18,000
_MAX_DIRECTORY_BYTES = 1000  # two members need 150
_MAX_FILE_BYTES = MAX_WAV_BYTES + _MAX_JSON_BYTES + 2 * _MAX_DIRECTORY_BYTES
_ZIP_END = struct.Struct("<4s4H2IH")  # the record that ends every zip without a comment
_ZIP64_LOCATOR_BYTES = 20
_CREATED_AT = re.compile(r"[0-9T:+.Z-]{10,40}", re.ASCII)
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")  # no file of Windows may have these names


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceInfo:
    """A voice without its recording."""

    name: str
    text: str
    """Transcript of the recording."""
    description: str | None
    licence: str | None
    duration_s: float
    created_at: str
    """UTC, ISO 8601."""
    preset: bool
    """Whether it is built in; then it can be neither changed nor replaced nor removed."""
    problem: str | None = None
    """Why the voice cannot be used; then only its name is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice(VoiceInfo):
    """A named reference."""

    wav: bytes
    """16-bit mono WAV at SAMPLE_RATE."""
    key: str
    """The key of its codes; see `content_key`."""

    @property
    def info(self) -> VoiceInfo:
        """The voice without its recording."""
        return VoiceInfo(**{each.name: getattr(self, each.name) for each in fields(VoiceInfo)})


_Info = TypeVar("_Info", bound=VoiceInfo)


def stem_of(name: str) -> str:
    """Return the name of a voice's file, the same for names that differ only in case."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise InvalidRequest(
            "the name of a voice is 1 to 64 letters (A-Z), digits, '-' and '_', and begins with a "
            f"letter or digit; {shown!r} is not"
        )
    if _RESERVED.fullmatch(name.lower()):
        raise InvalidRequest(f"{name!r} cannot be the name of a file everywhere; choose another")
    return name.lower()


def checked(info: _Info) -> _Info:
    """Return a voice with its words as they are saved, without spaces around them.

    Raises:
        InvalidRequest: there is no transcript, or something is unreadable or too long.
    """
    words: dict[str, Any] = {field: _checked_words(field, getattr(info, field)) for field in _WORDS}
    if words["text"] is None:
        raise InvalidRequest("a voice needs the transcript of its recording; send it as text")
    return replace(info, **words)


def _checked_words(field: str, value: str | None) -> str | None:
    what, max_chars = _WORDS[field]
    try:
        return check_readable((value or "").strip(), max_chars) or None
    except ValueError as error:
        raise InvalidRequest(f"the {what} of a voice {error}") from None


def duration_of(wav: bytes) -> float:
    """Return the length of a recording in seconds.

    Raises:
        InvalidRequest: it is no 16-bit mono WAV at SAMPLE_RATE, or too large, or not whole.
    """
    wanted = f"the recording of a voice must be a 16-bit mono WAV at {SAMPLE_RATE} Hz"
    if len(wav) > MAX_WAV_BYTES:
        raise InvalidRequest(
            f"{wanted} of at most {MAX_WAV_BYTES / 1e6:.0f} MB; send a shorter one"
        )
    try:
        with wave.open(io.BytesIO(wav), "rb") as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            num_samples = file.getnframes()
            whole = num_samples > 0 and len(file.readframes(num_samples)) == 2 * num_samples
    except (wave.Error, EOFError, ValueError) as error:
        raise InvalidRequest(f"{wanted}, and this is none") from error
    if kind != (1, 2, SAMPLE_RATE) or not whole:
        raise InvalidRequest(f"{wanted}, whole and not empty")
    return num_samples / SAMPLE_RATE


def pack(info: VoiceInfo, wav: bytes) -> bytes:
    """Return the bytes of a voice's file."""
    raw = asdict(info) | {"sha256": content_key(wav)}
    del raw["preset"], raw["problem"]  # properties of the place and the state, not of the voice
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("voice.json", json.dumps(raw, indent=1))
        archive.writestr("voice.wav", wav)
    return file.getvalue()


@contextmanager
def _open_voice(
    path: Path, preset: bool, stem: str | None = None
) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """Open a voice's file and check its JSON; only the package's own files may be links."""
    stem = stem or path.stem
    try:
        with open_regular(path, _MAX_FILE_BYTES, follow_links=preset) as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                raw = json.loads(_member(archive, "voice.json", _MAX_JSON_BYTES))
                _check_fields(raw, stem)
                yield archive, raw
    except FileNotFoundError as error:
        raise UnknownVoice(f"there is no voice named {stem!r}") from error
    except Exception as error:  # zipfile raises a dozen classes for damaged files
        raise DamagedVoice(
            f"the file of the voice {stem!r} is damaged or was renamed; replace or remove it"
        ) from error


def _check_directory(file: BinaryIO) -> None:
    """Check that a zip ends as `pack` ends it: `zipfile` reads a directory of any length."""
    file.seek(-_ZIP_END.size, os.SEEK_END)
    signature, _, _, _, num_members, num_bytes, _, _ = _ZIP_END.unpack(file.read(_ZIP_END.size))
    if signature != b"PK\5\6" or num_members != 2 or num_bytes > _MAX_DIRECTORY_BYTES:
        raise ValueError
    file.seek(-_ZIP_END.size - _ZIP64_LOCATOR_BYTES, os.SEEK_END)
    if file.read(4) == b"PK\6\7":  # it would name another directory
        raise ValueError


def _check_fields(raw: Any, stem: str) -> None:
    """Check a voice's JSON as strictly as what becomes it is checked."""
    is_right = (
        stem_of(raw["name"]) == stem
        and all(_checked_words(each, raw[each]) == raw[each] for each in _WORDS)
        and raw["text"]
        and type(raw["duration_s"]) is float
        and 0 < raw["duration_s"] <= MAX_WAV_BYTES / (2 * SAMPLE_RATE)
        and _CREATED_AT.fullmatch(raw["created_at"])
    )
    if not is_right:
        raise ValueError


def _member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
        raise ValueError  # a compressed one can unfold to any size
    return archive.read(name)


def _info_fields(raw: dict[str, Any], preset: bool) -> dict[str, Any]:
    names = ("name", "text", "description", "licence", "duration_s", "created_at")
    return {each: raw[each] for each in names} | {"preset": preset}


def read_info(path: Path, preset: bool) -> VoiceInfo:
    """Return a voice without its recording; one that cannot be read has a `problem`.

    Args:
        path: of its file.
        preset: whether it is built in.
    """
    try:
        with _open_voice(path, preset) as (_, raw):
            return VoiceInfo(**_info_fields(raw, preset))
    except (DamagedVoice, UnknownVoice) as error:
        return VoiceInfo(
            name=path.stem,
            text="",
            description=None,
            licence=None,
            duration_s=0.0,
            created_at="",
            preset=preset,
            problem=error.message,
        )


def read_voice(path: Path, preset: bool, *, stem: str | None = None) -> Voice:
    """Return a voice with its recording.

    Args:
        path: of its file.
        preset: whether it is built in.
        stem: see `stem_of`; None: the file has its name.

    Raises:
        UnknownVoice: the file does not exist.
        DamagedVoice: it has changed since it was written.
    """
    with _open_voice(path, preset, stem) as (archive, raw):
        wav = _member(archive, "voice.wav", MAX_WAV_BYTES)
        if content_key(wav) != raw["sha256"] or duration_of(wav) != raw["duration_s"]:
            raise ValueError
        return Voice(**_info_fields(raw, preset), wav=wav, key=raw["sha256"])
