"""Named voices, stored on the volume for every worker that mounts it.

A voice is one file, written completely or not at all; `voice_file` knows what it holds. Codes lie
beside the voices, in a cache of their own.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from higgs_worker.atomic_file import remove_if, remove_stale_temporaries, write_atomic
from higgs_worker.errors import DamagedVoice, InvalidRequest, UnknownVoice, VolumeUnusable
from higgs_worker.voices.code_cache import CodeCache
from higgs_worker.voices.transcript import check_transcript
from higgs_worker.voices.voice_file import (
    NAME,
    Voice,
    VoiceInfo,
    checked,
    duration_of,
    pack,
    read_info,
    read_voice,
    stem_of,
)

PRESETS = Path(__file__).parent / "presets"
"""The built-in voices; training/presets.py makes them."""
MAX_VOICES = 1000

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class SavedVoice:
    """A voice as it was saved."""

    info: VoiceInfo
    warnings: tuple[str, ...]
    """What is doubtful about it, for the caller."""


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
        stem = stem_of(name)
        info = checked(
            VoiceInfo(
                name=name,
                text=text,
                description=description,
                licence=licence,
                duration_s=duration_of(wav),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                preset=False,
            )
        )
        self._refuse_preset(name, stem)
        way_out = None if replace else "ask for it to be replaced"
        path = self._directory / f"{stem}.zip"
        with _volume_errors():
            self._directory.mkdir(parents=True, exist_ok=True)
            remove_stale_temporaries(self._directory)
            present = _files(self._directory)
            if stem not in present and len(present) >= MAX_VOICES:
                raise InvalidRequest(f"there are {MAX_VOICES} voices already; remove one first")
            if stem in present:
                self._refuse_taken(name, path, way_out)
            try:
                write_atomic(path, pack(info, wav), replace=replace)
            except FileExistsError:  # another worker was faster
                self._refuse_taken(name, path, way_out)
        return info

    def get(self, name: str) -> Voice:
        """Return a voice with its recording.

        Raises:
            InvalidRequest: no voice can have this name.
            UnknownVoice: no voice has this name; the error suggests the nearest ones.
            DamagedVoice: its file has changed since it was written.
        """
        stem = stem_of(name)
        with suppress(UnknownVoice):
            return read_voice(self._directory / f"{stem}.zip", False)
        if stem in (presets := _files(self._presets)):
            return read_voice(presets[stem], True)
        raise self._unknown(name, stem)

    def list(self) -> tuple[VoiceInfo, ...]:
        """Return all voices, sorted by name; a damaged one has a `problem`."""
        found = {stem: (path, True) for stem, path in _files(self._presets).items()}
        found |= {stem: (path, False) for stem, path in _files(self._directory).items()}
        return tuple(read_info(*found[stem]) for stem in sorted(found))

    def taken_names(self) -> frozenset[str]:
        """Return the names of all voices, in small letters; no file is opened."""
        return frozenset(
            stem.lower() for stem in (*_files(self._presets), *_files(self._directory))
        )

    def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        text: str | None = None,
        description: str | None = None,
        licence: str | None = None,
    ) -> SavedVoice:
        """Change what is said of a voice, completely or not at all; its recording stays.

        What is None stays as well, and an empty note is removed. The codes, which belong to the
        recording, stay too.

        Args:
            name: of the voice.
            new_name: its new one, as in `add`; only its letters' case may differ.
            text: its transcript.
            description: a note.
            licence: a note.

        Raises:
            InvalidRequest: nothing is to be changed, a value is out of bounds, the new name is
                taken, or the voice is built in.
            InvalidAudio: the new transcript cannot be what is said in the recording.
            UnknownVoice: no voice has this name.
            DamagedVoice: its file has changed since it was written.
            VolumeUnusable: the volume cannot be written.
        """
        asked = {"name": new_name, "text": text, "description": description, "licence": licence}
        changes: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
        if not changes:
            raise InvalidRequest(
                "nothing is to be changed; of a voice, send a new name, text, description or "
                "licence"
            )
        stem = stem_of(name)
        new_stem = stem if new_name is None else stem_of(new_name)
        path = self._directory / f"{stem}.zip"
        try:
            voice = read_voice(path, False)
        except UnknownVoice:
            ways = "changed; save a recording of your own, under another name"
            raise self._not_own(name, stem, ways) from None
        changed = checked(replace(voice, **changes))
        is_new_text = changed.text != voice.text
        warnings = check_transcript(changed.text, voice.duration_s) if is_new_text else ()
        with _volume_errors():
            remove_stale_temporaries(self._directory)
            if new_stem != stem:
                self._rename(path, voice, self._directory / f"{new_stem}.zip", changed)
            elif changed != voice:
                _replace(path, voice, changed)
        return SavedVoice(changed.info, warnings)

    def remove(self, name: str) -> None:
        """Delete a voice and the codes of its recording.

        Raises:
            InvalidRequest: the voice is built in, or no voice can have this name.
            UnknownVoice: no voice has this name.
            VolumeUnusable: the volume cannot be written.
        """
        stem = stem_of(name)
        path = self._directory / f"{stem}.zip"
        key = None
        try:
            key = read_voice(path, False).key
        except DamagedVoice:
            pass
        except UnknownVoice:
            raise self._not_own(name, stem, "removed") from None
        with _volume_errors():
            try:
                path.unlink()
            except FileNotFoundError:  # another worker was faster; it may only have another name
                raise self._not_own(name, stem, "removed") from None
        if key is not None:
            self.codes.remove(key)

    def _rename(self, path: Path, voice: Voice, target: Path, changed: Voice) -> None:
        """Save a voice in another file, then remove its first one: a crash leaves both."""
        self._refuse_preset(changed.name, target.stem)
        way_out = "remove that one first"
        if target.stem in _files(self._directory):
            self._refuse_taken(changed.name, target, way_out)
        try:
            write_atomic(target, pack(changed.info, changed.wav), replace=False)
        except FileExistsError:  # another worker was faster
            self._refuse_taken(changed.name, target, way_out)
        try:
            if not remove_if(path, partial(_holds, voice=voice)):
                raise _changed_meanwhile(voice.name)
        except (OSError, InvalidRequest):
            remove_if(target, partial(_holds, voice=changed))
            raise

    def _refuse_preset(self, name: str, stem: str) -> None:
        if stem in _files(self._presets):
            raise InvalidRequest(f"{name!r} is the name of a built-in voice; choose another")

    def _refuse_taken(self, name: str, path: Path, way_out: str | None) -> None:
        """Refuse a name that another voice has; `way_out` None: unless it is exactly this one."""
        found = read_info(path, False)
        if found.problem is None and found.name != name:
            raise InvalidRequest(
                f"{name!r} is too near to the voice {found.name!r}; choose another name"
            )
        if way_out is not None:
            raise InvalidRequest(
                f"a voice named {name!r} exists; choose another name, or {way_out}"
            )

    def _not_own(self, name: str, stem: str, what: str) -> InvalidRequest:
        """Return why a voice that is not on the volume cannot be changed or removed."""
        if stem in _files(self._presets):
            return InvalidRequest(f"{name!r} is a built-in voice and cannot be {what}")
        return self._unknown(name, stem)

    def _unknown(self, name: str, stem: str) -> UnknownVoice:
        files = _files(self._presets) | _files(self._directory)
        near = difflib.get_close_matches(stem, files, n=_MAX_NAMED)
        shown = [read_info(files[each], False).name for each in near or sorted(files)[:_MAX_NAMED]]
        quoted = ", ".join(repr(each) for each in shown)
        hint = f"did you mean {quoted}?" if near else f"there are {quoted} and others"
        if not shown:
            hint = "none was saved yet"
        elif len(files) <= _MAX_NAMED:
            hint = f"known are {quoted}"
        return UnknownVoice(f"no voice is named {name!r}; {hint}", details={"known": shown})


def _files(directory: Path | None) -> dict[str, Path]:
    """Return the voices' files by stem; other files are ignored."""
    try:
        paths = () if directory is None else tuple(directory.glob("*.zip"))
    except OSError:
        return {}
    return {each.stem: each for each in paths if NAME.fullmatch(each.stem)}


def _replace(path: Path, voice: Voice, changed: Voice) -> None:
    """Replace a voice's file, unless another worker has replaced or removed it by then."""

    def check() -> None:
        if not _holds(path, voice):
            raise _changed_meanwhile(voice.name)

    write_atomic(path, pack(changed.info, changed.wav), replace=True, check=check)


def _holds(path: Path, voice: Voice) -> bool:
    """Return whether a file, whatever its name, is that of a voice as it was read or written."""
    try:
        return read_voice(path, False, stem=stem_of(voice.name)) == voice
    except (DamagedVoice, UnknownVoice):
        return False


def _changed_meanwhile(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"the voice {name!r} was changed, replaced or removed by somebody else at this moment; "
        "look at it, and send the change again"
    )


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
