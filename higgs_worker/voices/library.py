"""Named voices, stored on the volume for every worker that mounts it.

A voice is one zip of `voice.json` and `voice.wav`, written completely or not at all. The file's
name is the voice's name in lower case, so that the file system itself refuses two names that differ
only in case. Codes lie beside the voices, in a cache of their own.
"""

import difflib
import io
import json
import os
import re
import struct
import wave
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from higgs_worker.atomic_file import remove_stale_temporaries, write_atomic
from higgs_worker.errors import DamagedVoice, InvalidRequest, UnknownVoice, VolumeUnusable
from higgs_worker.messages import check_readable
from higgs_worker.regular_file import open_regular
from higgs_worker.voices.code_cache import CodeCache, content_key

SAMPLE_RATE = 24_000
PRESETS = Path(__file__).parent / "presets"
"""The built-in voices; training/presets.py makes them."""
MAX_VOICES = 1000
MAX_TEXT_CHARS = 2000
MAX_NOTE_CHARS = 500
MAX_WAV_BYTES = 10_000_000  # 3.5 minutes, far more than a voice needs

_MAX_NAMED = 5
_MAX_JSON_BYTES = 100_000  # six bytes for each character of the longest texts are 18,000
_MAX_DIRECTORY_BYTES = 1000  # two members need 150
_MAX_FILE_BYTES = MAX_WAV_BYTES + _MAX_JSON_BYTES + 2 * _MAX_DIRECTORY_BYTES
_ZIP_END = struct.Struct("<4s4H2IH")  # the record that ends every zip without a comment
_ZIP64_LOCATOR_BYTES = 20
_CREATED_AT = re.compile(r"[0-9T:+.Z-]{10,40}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Of a voice that is saved."""
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
    """Whether it is built in; then it can be neither replaced nor removed."""
    problem: str | None = None
    """Why the voice cannot be used; then only its name is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice(VoiceInfo):
    """A named reference."""

    wav: bytes
    """16-bit mono WAV at SAMPLE_RATE."""
    key: str
    """The key of its codes; see `content_key`."""


class VoiceLibrary:
    """Voices by name; names that differ only in case are the same name."""

    def __init__(self, directory: Path, *, presets: Path | None = None) -> None:
        """
        Args:
            directory: for the voices; it need not exist.
            presets: a directory of built-in voices, which is only read.
        """
        self.codes = CodeCache(directory / "codes")
        self._directory = directory
        self._presets = presets

    def add(
        self,
        name: str,
        wav: bytes,
        text: str,
        *,
        description: str | None = None,
        licence: str | None = None,
        replace: bool = False,
    ) -> VoiceInfo:
        """Save a voice, completely or not at all.

        Args:
            name: 1 to 64 letters, digits, "-" and "_", beginning with a letter or digit.
            wav: 16-bit mono WAV at SAMPLE_RATE.
            text: its transcript, up to MAX_TEXT_CHARS.
            description: up to MAX_NOTE_CHARS.
            licence: whose voice it is and what it may be used for, up to MAX_NOTE_CHARS.
            replace: whether it may replace a voice of exactly this name.

        Raises:
            InvalidRequest: a value is out of bounds, or the name is taken.
            VolumeUnusable: the volume cannot be written.
        """
        stem = _stem(name)
        info = VoiceInfo(
            name=name,
            text=_check_text("transcript", text, MAX_TEXT_CHARS) or "",
            description=_check_text("description", description, MAX_NOTE_CHARS),
            licence=_check_text("licence note", licence, MAX_NOTE_CHARS),
            duration_s=_duration_s(wav),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            preset=False,
        )
        if not info.text:
            raise InvalidRequest("a voice needs the transcript of its recording; send it as text")
        if stem in _files(self._presets):
            raise InvalidRequest(f"{name!r} is the name of a built-in voice; choose another")
        path = self._directory / f"{stem}.zip"
        with _volume_errors():
            self._directory.mkdir(parents=True, exist_ok=True)
            remove_stale_temporaries(self._directory)
            present = _files(self._directory)
            if stem not in present and len(present) >= MAX_VOICES:
                raise InvalidRequest(f"there are {MAX_VOICES} voices already; remove one first")
            if stem in present:
                self._refuse_taken(name, path, replace)
            try:
                write_atomic(path, _zip(info, wav), replace=replace)
            except FileExistsError:  # another worker was faster
                self._refuse_taken(name, path, replace)
        return info

    def get(self, name: str) -> Voice:
        """Return a voice with its recording.

        Raises:
            InvalidRequest: no voice can have this name.
            UnknownVoice: no voice has this name; the error suggests the nearest ones.
            DamagedVoice: its file has changed since it was written.
        """
        stem = _stem(name)
        with suppress(UnknownVoice):
            return _read_voice(self._directory / f"{stem}.zip", False)
        if stem in (presets := _files(self._presets)):
            return _read_voice(presets[stem], True)
        raise self._unknown(name, stem)

    def list(self) -> tuple[VoiceInfo, ...]:
        """Return all voices, sorted by name; a damaged one has a `problem`."""
        found = {stem: (path, True) for stem, path in _files(self._presets).items()}
        found |= {stem: (path, False) for stem, path in _files(self._directory).items()}
        return tuple(_read_info(*found[stem]) for stem in sorted(found))

    def taken_names(self) -> frozenset[str]:
        """Return the names of all voices, in small letters; no file is opened."""
        return frozenset(
            stem.lower() for stem in (*_files(self._presets), *_files(self._directory))
        )

    def remove(self, name: str) -> None:
        """Delete a voice and the codes of its recording.

        Raises:
            InvalidRequest: the voice is built in, or no voice can have this name.
            UnknownVoice: no voice has this name.
            VolumeUnusable: the volume cannot be written.
        """
        stem = _stem(name)
        path = self._directory / f"{stem}.zip"
        key = None
        try:
            key = _read_voice(path, False).key
        except DamagedVoice:
            pass
        except UnknownVoice:
            if stem in _files(self._presets):
                raise InvalidRequest(
                    f"{name!r} is a built-in voice and cannot be removed"
                ) from None
            raise self._unknown(name, stem) from None
        with _volume_errors():
            path.unlink(missing_ok=True)
        if key is not None:
            self.codes.remove(key)

    def _refuse_taken(self, name: str, path: Path, replace: bool) -> None:
        found = _read_info(path, False)
        if found.problem is None and found.name != name:
            raise InvalidRequest(
                f"{name!r} is too near to the voice {found.name!r}; choose another name"
            )
        if not replace:
            raise InvalidRequest(
                f"a voice named {name!r} exists; choose another name, or ask for it to be replaced"
            )

    def _unknown(self, name: str, stem: str) -> UnknownVoice:
        files = _files(self._presets) | _files(self._directory)
        near = difflib.get_close_matches(stem, files, n=_MAX_NAMED)
        shown = [_read_info(files[each], False).name for each in near or sorted(files)[:_MAX_NAMED]]
        quoted = ", ".join(repr(each) for each in shown)
        hint = f"did you mean {quoted}?" if near else f"there are {quoted} and others"
        if not shown:
            hint = "none was saved yet"
        elif len(files) <= _MAX_NAMED:
            hint = f"known are {quoted}"
        return UnknownVoice(f"no voice is named {name!r}; {hint}", details={"known": shown})


def _stem(name: str) -> str:
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


def _check_text(what: str, value: str | None, max_chars: int) -> str | None:
    try:
        return check_readable((value or "").strip(), max_chars) or None
    except ValueError as error:
        raise InvalidRequest(f"the {what} of a voice {error}") from None


def _duration_s(wav: bytes) -> float:
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


def _files(directory: Path | None) -> dict[str, Path]:
    """Return the voices' files by stem; other files are ignored."""
    try:
        paths = () if directory is None else tuple(directory.glob("*.zip"))
    except OSError:
        return {}
    return {each.stem: each for each in paths if NAME.fullmatch(each.stem)}


def _zip(info: VoiceInfo, wav: bytes) -> bytes:
    raw = asdict(info) | {"sha256": content_key(wav)}
    del raw["preset"], raw["problem"]  # properties of the place and the state, not of the voice
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("voice.json", json.dumps(raw, indent=1))
        archive.writestr("voice.wav", wav)
    return file.getvalue()


@contextmanager
def _volume_errors() -> Iterator[None]:
    """Turn errors of the volume into `VolumeUnusable`."""
    try:
        yield
    except OSError as error:
        raise VolumeUnusable(
            f"the voice library cannot be written ({error.strerror or error}); make its volume "
            "writable and see that it is not full"
        ) from error


@contextmanager
def _open_voice(path: Path, preset: bool) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """Open a voice's file and check its JSON; only the package's own files may be links."""
    try:
        with open_regular(path, _MAX_FILE_BYTES, follow_links=preset) as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                raw = json.loads(_member(archive, "voice.json", _MAX_JSON_BYTES))
                _check_fields(raw, path.stem)
                yield archive, raw
    except FileNotFoundError as error:
        raise UnknownVoice(f"there is no voice named {path.stem!r}") from error
    except Exception as error:  # zipfile raises a dozen classes for damaged files
        raise DamagedVoice(
            f"the file of the voice {path.stem!r} is damaged or was renamed; replace or remove it"
        ) from error


def _check_directory(file: BinaryIO) -> None:
    """Check that a zip ends as `_zip` ends it: `zipfile` reads a directory of any length."""
    file.seek(-_ZIP_END.size, os.SEEK_END)
    signature, _, _, _, num_members, num_bytes, _, _ = _ZIP_END.unpack(file.read(_ZIP_END.size))
    if signature != b"PK\5\6" or num_members != 2 or num_bytes > _MAX_DIRECTORY_BYTES:
        raise ValueError
    file.seek(-_ZIP_END.size - _ZIP64_LOCATOR_BYTES, os.SEEK_END)
    if file.read(4) == b"PK\6\7":  # it would name another directory
        raise ValueError


def _check_fields(raw: Any, stem: str) -> None:
    """Check a voice's JSON as strictly as `VoiceLibrary.add` checks what becomes it."""
    limits = {"text": MAX_TEXT_CHARS, "description": MAX_NOTE_CHARS, "licence": MAX_NOTE_CHARS}
    is_right = (
        _stem(raw["name"]) == stem
        and all(_check_text(each, raw[each], most) == raw[each] for each, most in limits.items())
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


def _read_info(path: Path, preset: bool) -> VoiceInfo:
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


def _read_voice(path: Path, preset: bool) -> Voice:
    with _open_voice(path, preset) as (archive, raw):
        wav = _member(archive, "voice.wav", MAX_WAV_BYTES)
        if content_key(wav) != raw["sha256"] or _duration_s(wav) != raw["duration_s"]:
            raise ValueError
        return Voice(**_info_fields(raw, preset), wav=wav, key=raw["sha256"])
