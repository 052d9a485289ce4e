"""The reference of a request's voice: its transcript and its codes.

A recording is downloaded, decoded and normalised once. Its codes are cached by content, in memory
and on the volume, so the second use of a voice decodes no audio and loads no encoder. Everything
here blocks; callers run it in a thread.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.audio import encode, read, shape
from higgs_worker.errors import InvalidAudio
from higgs_worker.voices.code_cache import content_key
from higgs_worker.voices.download import download
from higgs_worker.voices.library import SAMPLE_RATE, VoiceInfo, VoiceLibrary

log = logging.getLogger(__name__)

MIN_S = 1.0
"""The shortest recording; a shorter one describes a voice too poorly."""
MIN_SPEECH_S = 0.5
"""The least that must remain after silence at both ends is trimmed."""
LOUDNESS_LUFS = -23.0
"""The level of upstream's references."""
DOWNLOAD_TIMEOUT_S = 30.0

Encode = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""PCM [S] at SAMPLE_RATE -> codes [F, K]; may load an encoder first."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The part of a voice that a prompt needs."""

    text: str
    codes: NDArray[np.int64]
    """[F, K]."""


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
    allowed_hosts: frozenset[str] = frozenset()
    """See `download`."""

    def resolve(self, voice: VoiceSpec) -> Reference:
        """Return the reference of a request's voice.

        Raises:
            UnknownVoice: no voice has this name.
            UnusableReference: the recording cannot be downloaded or decoded from base64.
            InvalidAudio: the recording cannot serve as a voice.
        """
        if voice.name is not None:
            named = self.library.get(voice.name)
            return Reference(named.text, self._codes(named.wav, named.key))
        data = self._download(voice)
        return Reference(voice.text, self._codes(data, content_key(data)))

    def save(
        self,
        name: str,
        voice: VoiceSpec,
        *,
        description: str | None = None,
        licence: str | None = None,
        replace: bool = False,
    ) -> VoiceInfo:
        """Add a normalised recording to the library, and encode it at once.

        Args:
            name: see `VoiceLibrary.add`, also for the notes below.
            voice: the recording and its transcript.
            description: a note.
            licence: a note.
            replace: whether it may replace a voice of this name.

        Raises:
            InvalidRequest: the name, the text or the recording is wrong.
        """
        wav = encode.encode(self._normalise(self._download(voice)), SAMPLE_RATE, "wav")
        info = self.library.add(
            name, wav, voice.text, description=description, licence=licence, replace=replace
        )
        self._codes(wav, content_key(wav))
        return info

    def _download(self, voice: VoiceSpec) -> bytes:
        return download(
            voice.audio,
            max_bytes=self.max_bytes,
            timeout_s=DOWNLOAD_TIMEOUT_S,
            allowed_hosts=self.allowed_hosts,
        )

    def _codes(self, data: bytes, key: str) -> NDArray[np.int64]:
        codes = self.library.codes.load(key, self.codec_id)
        if codes is None:
            codes = self.encode(self._normalise(data)).astype(np.int16)
            self.library.codes.store(key, self.codec_id, codes)
            log.info("encoded a reference", extra={"num_frames": len(codes)})
        return codes.astype(np.int64)

    def _normalise(self, data: bytes) -> NDArray[np.float32]:
        """Return a recording as PCM [S]: mono, at SAMPLE_RATE, trimmed, at LOUDNESS_LUFS."""
        pcm = read.read(data, sample_rate=SAMPLE_RATE, min_s=MIN_S, max_s=self.max_s)
        pcm = shape.trim_silence(pcm, SAMPLE_RATE)
        if len(pcm) < MIN_SPEECH_S * SAMPLE_RATE:
            raise InvalidAudio(
                f"the reference audio holds {len(pcm) / SAMPLE_RATE:.1f} s of sound and needs "
                f"{MIN_SPEECH_S} s; send a recording with more speech in it"
            )
        return shape.match_loudness(pcm, SAMPLE_RATE, LOUDNESS_LUFS)
