"""Read the bytes of an untrusted audio file as PCM.

The file's name is ignored, only a few containers and codecs are opened, and no reference to another
file is followed. Decoding stops at the longest duration that is allowed, whatever the header says.
Any problem is an `InvalidAudio` that says what to do. PyAV is imported when the first file is read.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higgs_worker.audio.shape import resample
from higgs_worker.errors import InvalidAudio

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

# FFmpeg's names of the containers. Nothing else is opened: no playlist, no picture, nothing that
# refers to other files.
_CONTAINERS = ("wav", "flac", "mp3", "ogg", "aac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_CODECS = (
    *("aac", "alac", "flac", "mp3", "mp3float", "opus", "vorbis"),
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    *("pcm_s16be", "pcm_alaw", "pcm_mulaw", "adpcm_ima_wav", "adpcm_ms"),
)
_OPTIONS = {
    "format_whitelist": ",".join(_CONTAINERS),
    "codec_whitelist": ",".join(_CODECS),
    "protocol_whitelist": "",
}
_WANTED = "send WAV, FLAC, MP3, Ogg (Opus or Vorbis), M4A/AAC or WebM"

_MAX_CHANNELS = 8
_MIN_RATE_HZ, _MAX_RATE_HZ = 4_000, 384_000
# Lossy codecs pad a file of exactly the longest duration by some frames.
_GRACE_S = 0.1
# The zero level and the full scale of integer samples.
_SCALES = {"uint8": (128, 128), "int16": (0, 1 << 15), "int32": (0, 1 << 31)}
# -60 dBFS: the noise of a quiet room is louder.
_SILENCE = 0.001


def read(data: bytes, *, sample_rate: int, min_s: float, max_s: float) -> NDArray[np.float32]:
    """Decode the first audio stream of a file, average its channels and resample it.

    Of a damaged or truncated file, the decodable part is returned. Floating-point files that exceed
    full scale are scaled down to it.

    Args:
        data: the file.
        sample_rate: of the result, in hertz.
        min_s: shortest duration that is accepted, in seconds.
        max_s: longest duration, in seconds; it bounds memory and time.

    Returns:
        `[S] float32`, mono, in [-1, 1].

    Raises:
        InvalidAudio: it is not audio, is silent, or is out of the bounds.
    """
    import av

    if not data:
        raise InvalidAudio("the audio is empty (0 bytes); send a file that holds sound")
    if data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise InvalidAudio(
            "this is a web page (HTML) and not audio; use the address of the audio file itself, "
            "one that opens without a login"
        )
    try:
        container = av.open(BytesIO(data), "r", options=dict(_OPTIONS), metadata_errors="replace")
    except av.FFmpegError as error:
        raise InvalidAudio(f"this is not audio that can be read; {_WANTED}") from error
    with container:
        samples, rate = _decode(container, max_s)
    duration_s = len(samples) / rate
    if duration_s < min_s:
        raise InvalidAudio(
            f"the audio is {duration_s:.2f} s long and at least {min_s:g} s are needed; send a "
            "longer recording",
            details={"duration_s": round(duration_s, 3), "min_s": min_s},
        )
    if not np.isfinite(samples).all():
        raise InvalidAudio(
            "the audio holds samples that are no numbers (NaN or infinite); export it again, "
            "as 16-bit WAV for example"
        )
    peak = float(np.abs(samples).max())
    if peak < _SILENCE:
        raise InvalidAudio("the audio is silent; send a recording in which somebody can be heard")
    if peak > 1:
        samples /= peak
    # Clipped, because the resampler overshoots full scale a little.
    samples = np.clip(resample(samples, rate, sample_rate), -1.0, 1.0)
    return samples


def _decode(container: "InputContainer", max_s: float) -> tuple[NDArray[np.float32], int]:
    """Return mono samples `[S] float32` and their rate in hertz.

    Raises:
        InvalidAudio: there are none, too many, or of a kind that is not accepted.
    """
    if not container.streams.audio:
        raise InvalidAudio(f"the file holds no audio stream; {_WANTED}")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.name not in _CODECS:
        name = "" if codec is None else f" ({codec.name})"
        raise InvalidAudio(f"the audio uses a codec that is not accepted{name}; {_WANTED}")
    pieces: list[NDArray[np.float32]] = []
    num_samples = rate = channels = 0
    for frame in _frames(container, stream):
        if not pieces:
            rate, channels = frame.sample_rate, frame.layout.nb_channels
            if not _MIN_RATE_HZ <= rate <= _MAX_RATE_HZ or not 1 <= channels <= _MAX_CHANNELS:
                raise InvalidAudio(
                    f"the audio has {channels} channels at {rate} Hz, and up to {_MAX_CHANNELS} "
                    f"at {_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz are accepted; convert it to mono at "
                    "24000 Hz"
                )
        elif (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
            raise InvalidAudio(
                "the audio changes its sample rate or channels midway; convert it to mono at "
                "24000 Hz"
            )
        pieces.append(_mono(frame))
        num_samples += frame.samples
        if num_samples > (max_s + _GRACE_S) * rate:
            raise _too_long(container, num_samples / rate, max_s)
    if not num_samples:
        raise InvalidAudio(
            "no sound could be decoded from the file; it is damaged or was cut short, so send it "
            "again whole"
        )
    return np.concatenate(pieces), rate


def _frames(container: "InputContainer", stream: "AudioStream") -> "Iterator[AudioFrame]":
    """Yield frames; skip a damaged packet, end where the container is damaged."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            yield from stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue


def _mono(frame: "AudioFrame") -> NDArray[np.float32]:
    """Return the mean of the channels, `[S] float32`; integers become [-1, 1]."""
    values = frame.to_ndarray()
    if frame.format.is_packed:
        values = values.reshape(-1, frame.layout.nb_channels).T
    middle, full_scale = _SCALES.get(values.dtype.name, (0, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # such samples are rejected later
        mono: NDArray[np.float64] = values.mean(axis=0, dtype=np.float64)
        return ((mono - middle) / full_scale).astype(np.float32)


def _too_long(container: "InputContainer", decoded_s: float, max_s: float) -> InvalidAudio:
    """Return the error; the header counts only if it, too, says that the audio is too long."""
    header_s = (container.duration or 0) / 1_000_000
    length_s = max(header_s, decoded_s)
    return InvalidAudio(
        f"the audio is {'' if header_s > decoded_s else 'over '}{length_s:.1f} s long and at most "
        f"{max_s:g} s are accepted; cut out the part in which the voice is clearest",
        details={"duration_s": round(length_s, 3), "max_s": max_s},
    )
