"""The reference of a request's voice: its transcript and its codes.

A recording is downloaded, decoded and prepared once. Its codes are cached by content, in memory and
on the volume, so the second use of a voice decodes no audio and loads no encoder. The library holds
recordings that are prepared already. Everything here blocks; callers run it in a thread.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.audio import encode, recording
from higgs_worker.audio.pcm import PCM
from higgs_worker.voices.code_cache import content_key
from higgs_worker.voices.download import download
from higgs_worker.voices.library import SavedVoice, VoiceLibrary
from higgs_worker.voices.transcript import check_transcript, find_mismatch
from higgs_worker.voices.voice_file import SAMPLE_RATE

log = logging.getLogger(__name__)

MIN_S = 1.0
"""The shortest recording; a shorter one describes a voice too poorly."""
LOUDNESS_LUFS = -23.0
"""The level of upstream's references."""
FRAME_RATE = 25
"""Frames of codes per second."""
DOWNLOAD_TIMEOUT_S = 30.0

Encode = Callable[[PCM], NDArray[np.int64]]
"""PCM [S] at SAMPLE_RATE -> codes [F, K]; may load an encoder first."""

Read = Callable[..., PCM]
"""A function like `audio.read.read`."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The part of a voice that a prompt needs."""

    text: str
    codes: NDArray[np.int64]
    """[F, K]."""
    warnings: tuple[str, ...] = ()
    """What is doubtful about it, for the caller."""


@dataclass(frozen=True, slots=True)
class References:
    """Finds voices, and encodes new ones."""

    library: VoiceLibrary
    encode: Encode
    codec_id: str
    """The codec that the codes belong to, with its revision."""
    max_s: float
    """The longest recording."""
    max_bytes: int
    """The largest recording."""
    read: Read
    """Decodes strangers' recordings: `RecordingReader.read`."""
    allowed_hosts: frozenset[str] = frozenset()
    """See `download`."""
    on_lookup: Callable[[bool], None] = lambda _: None
    """Is told of each recording whether its codes were known."""

    def resolve(self, voice: VoiceSpec) -> Reference:
        """Return the reference of a request's voice.

        Raises:
            UnknownVoice: no voice has this name.
            UnusableReference: the recording cannot be downloaded or decoded from base64.
            InvalidAudio: the recording cannot serve as a voice, or the transcript is not its own.
        """
        if voice.name is not None:
            named = self.library.get(voice.name)
            mismatch = find_mismatch(named.text, named.duration_s)
            # Not refused: it may be older than this comparison, and whoever asks for it by its
            # name cannot mend it.
            warnings = (f"the voice {named.name!r}: {mismatch}",) if mismatch else ()
            return Reference(named.text, self._stored_codes(named.wav, named.key), warnings)
        codes = self._codes(self._download(voice))
        # Compared after encoding: codes that are cached already come without their sound.
        return Reference(voice.text, codes, check_transcript(voice.text, len(codes) / FRAME_RATE))

    def save(
        self,
        name: str,
        voice: VoiceSpec,
        *,
        description: str | None = None,
        licence: str | None = None,
        replace: bool = False,
    ) -> SavedVoice:
        """Add a recording to the library, prepared, and encode it at once.

        Args:
            name: see `VoiceLibrary.add`, also for the notes below.
            voice: the recording and its transcript.
            description: a note.
            licence: a note.
            replace: whether it may replace a voice of this name.

        Raises:
            InvalidRequest: the name, the text or the recording is wrong.
        """
        pcm = self._prepare(self._download(voice))
        warnings = check_transcript(voice.text, len(pcm) / SAMPLE_RATE)
        wav = encode.encode(pcm, SAMPLE_RATE, "wav")
        info = self.library.add(
            name, wav, voice.text, description=description, licence=licence, replace=replace
        )
        self._stored_codes(wav, content_key(wav))
        return SavedVoice(info, warnings)

    def _download(self, voice: VoiceSpec) -> bytes:
        return download(
            voice.audio,
            max_bytes=self.max_bytes,
            timeout_s=DOWNLOAD_TIMEOUT_S,
            allowed_hosts=self.allowed_hosts,
        )

    def _codes(self, data: bytes) -> NDArray[np.int64]:
        """Return the codes of a caller's recording."""
        codec_id = f"{self.codec_id}, prepared {recording.VERSION}"
        return self._cached(content_key(data), codec_id, lambda: self._prepare(data))

    def _stored_codes(self, wav: bytes, key: str) -> NDArray[np.int64]:
        """Return the codes of a recording of the library, where all are prepared."""

        def pcm() -> PCM:
            return self.read(
                wav, sample_rate=SAMPLE_RATE, min_s=recording.MIN_SPEECH_S, max_s=self.max_s
            )

        return self._cached(key, f"{self.codec_id}, as stored", pcm)

    def _cached(self, key: str, codec_id: str, pcm: Callable[[], PCM]) -> NDArray[np.int64]:
        codes = self.library.codes.load(key, codec_id)
        self.on_lookup(codes is not None)
        if codes is None:
            codes = self.encode(pcm()).astype(np.int16)
            self.library.codes.store(key, codec_id, codes)
            log.info("encoded a reference", extra={"num_frames": len(codes)})
        return codes.astype(np.int64)

    def _prepare(self, data: bytes) -> PCM:
        pcm = self.read(data, sample_rate=SAMPLE_RATE, min_s=MIN_S, max_s=self.max_s)
        return recording.prepare(pcm, SAMPLE_RATE, LOUDNESS_LUFS)
