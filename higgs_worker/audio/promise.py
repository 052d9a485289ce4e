"""How much sound the header of a recording promises, so that half an upload can be told.

Ogg, AAC, AMR and streams promise nothing: FFmpeg only estimates their duration.
"""

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

# Whoever writes a stream does not know its length, and writes two or four gigabytes, give or take a
# header. No such file can be sent to a worker.
_ENDLESS_BYTES = 0x7F00_0000
_MAX_CHUNKS = 1000
# An MP3's first frame tells how many follow; it is behind the tags, whose length stands in 7-bit
# bytes, and shorter than this.
_MAX_MP3_FRAME_BYTES = 2881


def promised_s(
    data: bytes,
    container: "InputContainer",
    stream: "AudioStream",
    decoded_s: float,
    end_s: float,
) -> float:
    """Return the seconds that the header promises; 0: none that could be believed.

    Args:
        data: the file.
        container: the file, opened.
        stream: the stream that was decoded.
        decoded_s: how much it gave, in seconds.
        end_s: where it ended by its own clock, in seconds.
    """
    of_stream_s = float((stream.duration or 0) * (stream.time_base or 0))
    match container.format.name:
        case "wav" if data[:4] == b"RIFF":
            promise_s = decoded_s * _share(data, "<4sI", 12)
        case "caf":
            promise_s = decoded_s * _share(data, ">4sq", 8)
        case "mp3":
            promise_s = of_stream_s if _counts_frames(data) else 0.0
        case "wav" | "flac" | "aiff" | "mov,mp4,m4a,3gp,3g2,mj2":
            promise_s = of_stream_s
        case "matroska,webm" if len(container.streams) == 1:
            # It is where the longest track ends, and the recorder may have left out pauses.
            promise_s = (container.duration or 0) / 1_000_000 - max(0.0, end_s - decoded_s)
        case _:
            promise_s = 0.0
    is_endless = promise_s * len(data) > _ENDLESS_BYTES * max(decoded_s, 1e-3)
    return 0.0 if is_endless else promise_s


def _share(data: bytes, layout: str, start: int) -> float:
    """Return the bytes of sound that are promised, per byte that is there.

    Args:
        data: a file of chunks.
        layout: of a chunk's name and size, for `struct`.
        start: of the first chunk.
    """
    head = struct.Struct(layout)
    for _ in range(_MAX_CHUNKS):
        if start + head.size > len(data):
            break
        name, size = head.unpack_from(data, start)
        start += head.size
        if name == b"data":
            held = len(data) - start
            return float(size / held) if size > held > 0 else 1.0
        start += size + (size & 1 if layout[0] == "<" else 0)
        if size < 0:
            break
    return 1.0


def _counts_frames(data: bytes) -> bool:
    """Return whether an MP3's first frame tells how many follow."""
    start = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        size = 0
        for byte in data[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size
    return re.search(rb"Xing|Info|VBRI", data[start : start + _MAX_MP3_FRAME_BYTES]) is not None
