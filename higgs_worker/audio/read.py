"""Read the bytes of an untrusted audio file as PCM, in this process.

The file's name is ignored, only a few containers and codecs are opened, and no reference to another
file is followed. Decoding stops at the longest duration that is allowed, whatever the header says.
Any problem is an `InvalidAudio` that says what to do. PyAV is imported when the first file is read.

FFmpeg's demuxers believe what a header says about its tables, so a small file can take any amount
of memory and time. A worker therefore reads recordings through `RecordingReader`, which calls this
in a process of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from higgs_worker.audio.file_kind import FileKind, kind_of
from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.promise import promised_s
from higgs_worker.audio.track import AudioTrack
from higgs_worker.errors import InvalidAudio

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

# FFmpeg's names of the containers. Nothing else is opened: no playlist, no picture, nothing that
# refers to other files.
_CONTAINERS = (
    *("wav", "flac", "mp3", "ogg", "aac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"),
    *("aiff", "amr", "caf"),
)
_CODECS = (
    *("aac", "alac", "amrnb", "amrwb", "flac", "mp3", "mp3float", "opus", "vorbis"),
    *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    *("pcm_s8", "pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be"),
    *("pcm_alaw", "pcm_mulaw", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms"),
)
_OPTIONS = {
    "format_whitelist": ",".join(_CONTAINERS),
    "codec_whitelist": ",".join(_CODECS),
    "protocol_whitelist": "",
}
_WANTED = "send WAV, FLAC, MP3, Ogg (Opus or Vorbis), M4A/AAC, WebM, AIFF, CAF or AMR"

# A file that lacks a word lacks 0.3 s; what codecs pad is shorter. Headers of long files are less
# exact.
_LOST_S, _LOST_SHARE = 0.3, 0.02


def read(data: bytes, *, sample_rate: int, min_s: float, max_s: float) -> PCM:
    """Decode the first track that holds sound, mix its channels and resample it.

    Damaged packets are skipped. Floating-point files that exceed full scale are scaled down to it.

    Args:
        data: the file.
        sample_rate: of the result, in hertz.
        min_s: shortest duration that is accepted, in seconds.
        max_s: longest duration, in seconds; it bounds the memory and time of decoders, but not that
            of demuxers.

    Returns:
        `[S] float32`, mono, in [-1, 1].

    Raises:
        InvalidAudio: it is not audio, is silent, lacks a part, or is out of the bounds.
        MemoryError: there is not enough memory for it.
    """
    if not data:
        raise InvalidAudio("the audio is empty (0 bytes); send a file that holds sound")
    track = _first_with_sound(data, sample_rate, max_s)
    if track.duration_s < min_s:
        raise InvalidAudio(
            f"the audio is {track.duration_s:.2f} s long and at least {min_s:g} s are needed; send "
            "a longer recording",
            details={"duration_s": round(track.duration_s, 3), "min_s": min_s},
        )
    # The resampler overshoots full scale a little.
    return np.clip(track.mono(), -1.0, 1.0)


def _first_with_sound(data: bytes, sample_rate: int, max_s: float) -> AudioTrack:
    """Return the first track that is not silent, decoded.

    Raises:
        InvalidAudio: there is none.
    """
    is_silent = False
    for track in _tracks(data, sample_rate, max_s):
        if track.duration_s:
            if not track.is_silent():
                return track
            is_silent = True
    if is_silent:
        raise InvalidAudio("the audio is silent; send a recording in which somebody can be heard")
    raise InvalidAudio(
        "no sound could be decoded from the file; it is damaged or was cut short, so send it "
        "again whole"
    )


def _tracks(data: bytes, sample_rate: int, max_s: float) -> Iterator[AudioTrack]:
    """Yield all tracks whose codec is accepted, each decoded when it is asked for.

    Raises:
        InvalidAudio: there is none.
    """
    index, num_tracks = 0, 1
    while index < num_tracks:
        with _opened(data) as container:
            streams = _accepted(container)
            num_tracks = len(streams)
            track = _decode(data, container, streams[index], sample_rate, max_s)
        yield track
        index += 1


def _accepted(container: "InputContainer") -> "list[AudioStream]":
    """Return the audio streams whose codec is accepted.

    Raises:
        InvalidAudio: there is none.
    """
    # One whose codec FFmpeg does not know has no context.
    codecs = [each.codec_context and each.codec_context.name for each in container.streams.audio]
    if not codecs:
        raise InvalidAudio(f"the file holds no audio stream; {_WANTED}")
    if not set(codecs) & set(_CODECS):
        name = f" ({codecs[0]})" if codecs[0] else ""
        raise InvalidAudio(f"the audio uses a codec that is not accepted{name}; {_WANTED}")
    return [
        stream
        for stream, codec in zip(container.streams.audio, codecs, strict=True)
        if codec in _CODECS
    ]


def _decode(
    data: bytes,
    container: "InputContainer",
    stream: "AudioStream",
    sample_rate: int,
    max_s: float,
) -> AudioTrack:
    """Decode one of the audio streams.

    Raises:
        InvalidAudio: it is too long, of a kind that is not accepted, or lacks a part.
    """
    stream.codec_context.thread_count = 1
    header_s = (container.duration or 0) / 1_000_000
    track = AudioTrack(stream.codec_context.name, sample_rate, max_s, header_s)
    end_s = 0.0
    for frame in _frames(container, stream):
        track.feed(frame)
        if frame.time is not None:
            end_s = frame.time + frame.samples / frame.sample_rate
    track.finish()
    held_s = track.duration_s
    promise_s = promised_s(data, container, stream, held_s, end_s)
    if promise_s > held_s + max(_LOST_S, _LOST_SHARE * promise_s):
        raise InvalidAudio(
            f"the file says that it holds {promise_s:.1f} s of sound and {held_s:.1f} s are there; "
            "it is damaged or was cut short, so send it again whole",
            details={"duration_s": round(held_s, 3), "promised_s": round(promise_s, 3)},
        )
    return track


@contextmanager
def _opened(data: bytes) -> "Iterator[InputContainer]":
    import av

    try:
        container = av.open(BytesIO(data), "r", options=dict(_OPTIONS), metadata_errors="replace")
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise _unreadable(kind_of(data)) from error
    with container:
        yield container


def _unreadable(kind: FileKind | None) -> InvalidAudio:
    if kind is None:
        return InvalidAudio(f"this is not audio that can be read; {_WANTED}")
    if kind.is_taken:
        return InvalidAudio(
            f"this looks like {kind.name}, and it cannot be read: it is damaged or was cut short, "
            "so send it again whole, or export it as 16-bit WAV"
        )
    return InvalidAudio(f"this looks like {kind.name}, which is not taken; {kind.hint}{_WANTED}")


def _frames(container: "InputContainer", stream: "AudioStream") -> "Iterator[AudioFrame]":
    """Yield frames; skip a damaged packet, end where the container is damaged."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            return
        if packet is None:
            return
        try:
            yield from stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
