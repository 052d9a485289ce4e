"""Recordings of every kind that is taken, and how they get damaged."""

import io

import av
import numpy as np
import soundfile

from higgs_worker.audio.encode import encode
from higgs_worker.audio.shape import resample
from tests.audio.sounds import speech

SPEECH = speech(2.0, 24000)


def sound_file(
    pcm: np.ndarray, sample_rate: int = 24000, container: str = "WAV", subtype: str | None = None
) -> bytes:
    """Return a file that libsndfile wrote, which is not what reads it."""
    file = io.BytesIO()
    soundfile.write(file, pcm, sample_rate, format=container, subtype=subtype)
    return file.getvalue()


def muxed(container: str, codec: str | None, video: str | None = None, rate: int = 48000) -> bytes:
    """Return a file with `SPEECH`, black pictures, or both."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = []
        if video:
            pictures = output.add_stream(video, rate=10, pix_fmt="yuv420p", width=64, height=64)
            frames = [av.VideoFrame(64, 64, "yuv420p") for _ in range(20)]
            streams.append((pictures, frames))
        if codec:
            sound = output.add_stream(codec, rate=rate, layout="mono")
            sound.bit_rate = 12_200 if container == "amr" else 64_000
            pcm = resample(SPEECH, 24000, rate)[None]
            frame = av.AudioFrame.from_ndarray(pcm, format="flt", layout="mono")
            frame.sample_rate = rate
            streams.append((sound, [frame]))
        for stream, frames in streams:
            for frame in [*frames, None]:
                output.mux(stream.encode(frame))
    return file.getvalue()


def film(tracks: list[np.ndarray], container: str = "matroska", codec: str = "pcm_s16le") -> bytes:
    """Return a file with several tracks."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream(codec, rate=24000, layout="mono") for _ in tracks]
        for stream, pcm in zip(streams, tracks, strict=True):
            samples = (pcm * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 24000
            output.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


def mutated(data: bytes, chance: np.random.Generator) -> bytes:
    """Return `data` with bytes changed, lost or added, most of them in headers at both ends."""
    broken = bytearray(data)
    for _ in range(chance.integers(1, 12)):
        at = int(chance.integers(0, len(broken) + 1))
        match chance.integers(0, 5):
            case 0 | 1:
                at = min(at, int(chance.integers(0, 200)))
            case 2:
                at = max(at, len(broken) - int(chance.integers(0, 700)))
        match chance.integers(0, 5):
            case 0 | 1:
                broken[at : at + 1] = chance.bytes(1)
            case 2:
                broken[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
            case 3:
                broken[at:at] = chance.bytes(int(chance.integers(1, 50)))
            case 4:
                del broken[at : at + int(chance.integers(1, 50))]
    if chance.random() < 0.2:
        del broken[int(chance.integers(0, len(broken) + 1)) :]
    return bytes(broken)


VALID = {
    "wav": sound_file(SPEECH),
    "flac": sound_file(SPEECH, container="FLAC"),
    "mp3": sound_file(SPEECH, container="MP3"),
    "vorbis": sound_file(SPEECH, container="OGG", subtype="VORBIS"),
    "opus": sound_file(SPEECH, container="OGG", subtype="OPUS"),
    "aac": encode(SPEECH, 24000, "aac"),
    "m4a": muxed("ipod", "aac"),
    "webm": muxed("webm", "libopus"),
    "aiff": sound_file(SPEECH, container="AIFF"),
    "caf": sound_file(SPEECH, container="CAF"),
    "amr": muxed("amr", "libopencore_amrnb", rate=8000),
}
