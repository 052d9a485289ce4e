"""The voice that a request asks for: its transcript and its codes.

A recording is fetched, read and brought into shape once; its codes are kept by content, in memory
and on the volume, so the second use of a voice reads no audio and loads no encoder. Everything here
blocks; callers run it in a thread. Knows no prompt and no engine.
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
"""Less says too little of a voice."""
MIN_SPEECH_S = 0.5
"""What must remain without the silence at the ends."""
LOUDNESS_LUFS = -23.0
"""The level that upstream brings its references to."""
FETCH_TIMEOUT_S = 30.0

Encode = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""PCM [S] at SAMPLE_RATE -> codes [F, K]; may load an encoder first."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a prompt needs of a voice."""

    text: str
    codes: NDArray[np.int64]
    """[F, K]."""


@dataclass(frozen=True, slots=True)
class References:
    """Finds voices, and makes the codes of new ones."""

    library: VoiceLibrary
    encode: Encode
    codec_id: str
    """The codec that the codes are of."""
    max_s: float
    max_bytes: int
    allowed_hosts: frozenset[str] = frozenset()

    def resolve(self, voice: VoiceSpec) -> Reference:
        """Find the voice of a request.

        Raises:
            UnknownVoice: no voice has this name.
            UnusableReference: the recording cannot be had.
            InvalidAudio: it is none that can serve.
        """
        if voice.name is not None:
            named = self.library.get(voice.name)
            return Reference(named.text, self._codes(named.wav, named.key))
        data = self._fetch(voice)
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
        """Add a recording to the library, in shape, and make its codes at once.

        Raises:
            InvalidRequest: name, text or recording is wrong.
        """
        wav = encode.encode(self._prepared(self._fetch(voice)), SAMPLE_RATE, "wav")
        summary = self.library.add(
            name, wav, voice.text, description=description, licence=licence, replace=replace
        )
        self._codes(wav, content_key(wav))
        return summary

    def _fetch(self, voice: VoiceSpec) -> bytes:
        return download(
            voice.audio,
            max_bytes=self.max_bytes,
            timeout_s=FETCH_TIMEOUT_S,
            allowed_hosts=self.allowed_hosts,
        )

    def _codes(self, data: bytes, key: str) -> NDArray[np.int64]:
        codes = self.library.codes.load(key, self.codec_id)
        if codes is None:
            codes = self.encode(self._prepared(data)).astype(np.int16)
            self.library.codes.store(key, self.codec_id, codes)
            log.info("encoded a reference", extra={"num_frames": len(codes)})
        return codes.astype(np.int64)

    def _prepared(self, data: bytes) -> NDArray[np.float32]:
        """Read a recording: mono, at our rate, without silence at its ends, at one level."""
        pcm = read.read(data, sample_rate=SAMPLE_RATE, min_s=MIN_S, max_s=self.max_s)
        pcm = shape.trim_silence(pcm, SAMPLE_RATE)
        if len(pcm) < MIN_SPEECH_S * SAMPLE_RATE:
            raise InvalidAudio(
                f"the reference audio holds {len(pcm) / SAMPLE_RATE:.1f} s of sound and needs "
                f"{MIN_SPEECH_S} s; send a recording with more speech in it"
            )
        return shape.match_loudness(pcm, SAMPLE_RATE, LOUDNESS_LUFS)
