"""Recordings that claim, or unpack to, far more than they are: at least one for every container.

Each is a small file, or one of the largest that a worker takes by default. Written by hand, because
no library writes them.
"""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import soundfile

MAX_BYTES = 10_000_000
"""What a worker takes by default."""

_TONE = (8000 * np.sin(np.arange(48_000) / 9)).astype(np.int16)
_HUGE = 0x7FFF_FFF0


def file_of(container: str, samples: np.ndarray = _TONE, rate: int = 24_000) -> bytes:
    """Return a file that libsndfile wrote."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container)
    return file.getvalue()


def _filled(head: bytes, part: bytes) -> bytes:
    """Repeat a part until the file is as large as it may be."""
    return head + part * ((MAX_BYTES - len(head)) // len(part))


# WAV, AIFF, CAF: chunks


def _riff(*chunks: bytes, form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body)) + body


def _chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body


def _format(codec: int = 1, channels: int = 1, align: int = 2, extra: bytes = b"") -> bytes:
    head = struct.pack("<HHIIHHH", codec, channels, 24_000, 48_000, align, 16, len(extra))
    return _chunk(b"fmt ", head + extra)


_WAV_DATA = _chunk(b"data", _TONE.tobytes())


def _aiff(*chunks: bytes) -> bytes:
    rate = bytes.fromhex("400dbb80000000000000")
    common = struct.pack(">hIh", 1, len(_TONE), 16) + rate
    sound = b"SSND" + struct.pack(">III", 8 + _TONE.nbytes, 0, 0) + _TONE.byteswap().tobytes()
    body = b"AIFF" + b"COMM" + struct.pack(">I", len(common)) + common + b"".join(chunks) + sound
    return b"FORM" + struct.pack(">I", len(body)) + body


def _caf(*chunks: bytes, codec: bytes = b"lpcm", packet: tuple[int, int] = (2, 1)) -> bytes:
    desc = struct.pack(">d4sIIIII", 24_000, codec, 2, *packet, 1, 16)
    head = b"caff\x00\x01\x00\x00desc" + struct.pack(">q", len(desc)) + desc
    data = b"data" + struct.pack(">qI", 4 + _TONE.nbytes, 0) + _TONE.tobytes()
    return head + b"".join(chunks) + data


def _caf_chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack(">q", len(body) if size is None else size) + body


# FLAC


def _flac(*blocks: tuple[int, bytes, int | None]) -> bytes:
    """Put metadata blocks (kind, body, claimed size) behind the first of a good file."""
    good = file_of("FLAC")
    metadata = b"".join(
        struct.pack(">I", kind << 24 | (len(body) if size is None else size)) + body
        for kind, body, size in blocks
    )
    return good[:4] + b"\x00" + good[5:42] + metadata + good[42:]


def _flac_of_hours(hours: int) -> bytes:
    data = bytearray(file_of("FLAC", np.zeros(hours * 3600 * 4000, np.int16), 4000))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the header no longer tells the length
    return bytes(data)


# MP3


def _id3(body: bytes, size: int | None = None) -> bytes:
    size = len(body) if size is None else size
    seven_bits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + seven_bits + body


def _id3_frame(name: bytes, body: bytes, size: int | None = None, flags: int = 0) -> bytes:
    size = len(body) if size is None else size
    seven_bits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return name + seven_bits + struct.pack(">H", flags) + body


def _packed_picture(unpacked: int) -> bytes:
    """A compressed frame: the claimed length of its content, and zeros."""
    claim = bytes(unpacked >> shift & 0x7F for shift in (21, 14, 7, 0))
    return _id3_frame(b"APIC", claim + zlib.compress(bytes(unpacked)), flags=0x09)


# Ogg


def _page(serial: int, packet: bytes, flags: int = 0, lacing: bytes | None = None) -> bytes:
    if lacing is None:
        lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    head = b"OggS\x00" + struct.pack("<BqIIIB", flags, 0, serial, 0, 0, len(lacing))
    page = bytearray(head + lacing + packet)
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 ^ _CRC[checksum >> 24 ^ byte]) & 0xFFFF_FFFF
    struct.pack_into("<I", page, 22, checksum)
    return bytes(page)


def _crc_of(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = value << 1 ^ (0x04C1_1DB7 if value & 0x8000_0000 else 0)
    return value & 0xFFFF_FFFF


_CRC = [_crc_of(each) for each in range(256)]
_OPUS = b"OpusHead\x01\x01\x00\x00" + struct.pack("<IHB", 24_000, 0, 0)
_TAGS = b"OpusTags" + struct.pack("<I", 0)


def _opus(*pages: bytes, tags: bytes = _TAGS + bytes(4)) -> bytes:
    return _page(1, _OPUS, flags=2) + _page(1, tags) + b"".join(pages)


# MP4


def _box(name: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I", 8 + len(body)) + name + body


def _full(name: bytes, *numbers: int, body: bytes = b"") -> bytes:
    return _box(name, bytes(4), struct.pack(f">{len(numbers)}I", *numbers), body)


_SAMPLES = len(_TONE)
_TABLES = MappingProxyType(
    {
        b"stts": (1, _SAMPLES, 1),
        b"stsc": (1, 1, _SAMPLES, 1),
        b"stsz": (2, _SAMPLES),
        b"stco": (1, 48),
    }
)


def _mp4(
    tables: Mapping[bytes, tuple[int, ...]] = MappingProxyType({}),
    num_tracks: int = 1,
    in_moov: bytes = b"",
    in_track: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    sound = struct.pack(">6xH8xHH4xI", 1, 1, 16, 24_000 << 16)
    stbl = _box(
        b"stbl",
        _full(b"stsd", 1, body=_box(b"sowt", sound)),
        *(_full(name, *numbers) for name, numbers in (_TABLES | tables).items()),
    )
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, 0, 24_000, _SAMPLES, body=bytes(4)),
        _full(b"hdlr", 0, body=b"soun" + bytes(13)),
        _box(b"minf", _full(b"smhd", 0), stbl),
    )
    tracks = (
        _box(b"trak", _full(b"tkhd", 0, 0, each + 1, 0, 2000, body=bytes(60)), in_track, media)
        for each in range(num_tracks)
    )
    return b"".join(
        (
            _box(b"ftyp", b"isom", bytes(4), b"isom"),
            _box(b"free", bytes(12)),
            _box(b"mdat", _TONE.tobytes()),
            _box(b"moov", _full(b"mvhd", 0, 0, 1000, 2000, body=bytes(80)), *tracks, in_moov),
            behind,
        )
    )


_FEW_SECONDS_MANY_SAMPLES: Mapping[bytes, tuple[int, ...]] = {
    b"stts": (1, 80_000_000, 2),
    b"stsc": (1, 1, 80_000_000, 1),
    b"stsz": (2, 80_000_000),
}


def _fragment(num_samples: int) -> bytes:
    header = _full(b"tfhd", 1)
    run = _full(b"trun", num_samples)
    return _box(b"moof", _full(b"mfhd", 1), _box(b"traf", header, run))


# Matroska


def _element(name: str, body: bytes, size: int | None = None) -> bytes:
    size = len(body) if size is None else size
    return bytes.fromhex(name) + (size | 1 << 56).to_bytes(8, "big") + body


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(4, "big"))


def _matroska(
    *,
    in_segment: bytes = b"",
    in_track: bytes = b"",
    num_tracks: int = 1,
    samples: bytes = _TONE.tobytes(),
) -> bytes:
    audio = _element("e1", _element("b5", struct.pack(">d", 24_000.0)) + _number("9f", 1))
    tracks = b"".join(
        _element(
            "ae",
            _number("d7", each + 1)
            + _number("73c5", each + 1)
            + _number("83", 2)
            + _element("86", b"A_PCM/INT/LIT")
            + audio
            + in_track,
        )
        for each in range(num_tracks)
    )
    block = b"\x81\x00\x00\x80" + samples
    cluster = _element("1f43b675", _number("e7", 0) + _element("a3", block))
    head = _element("1a45dfa3", _element("4282", b"matroska"))
    return head + _element("18538067", _element("1654ae6b", tracks) + in_segment + cluster)


def _nested(name: str, depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = _element(name, body)
    return body


def _packed(content: bytes) -> bytes:
    """A track's content encoding, and its private data, packed so."""
    encoding = _element("5034", _number("4254", 0))
    return _element("6d80", _element("6240", _number("5032", 3) + encoding)) + _element(
        "63a2", zlib.compress(content, 1)
    )


def _laced() -> bytes:
    """A block of 256 frames whose lengths are deltas without end."""
    return _element("1f43b675", _element("a3", b"\x81\x00\x00\x86\xff" + b"\x01\xff" * 4000))


# The rest


def _boxes_in_boxes(depth: int) -> bytes:
    return b"".join(struct.pack(">I", 8 * (depth - each)) + b"udta" for each in range(depth))


def _packed_zeros(megabytes: int) -> bytes:
    return _packed(bytes(megabytes << 20))


_ADTS_EMPTY = bytes.fromhex("fff15040 00fffc")
_MP3_FRAME = b"\xff\xe3\x18\xc4" + bytes(20)

BOMBS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "wav: 4 GB of data": lambda: _riff(_format(), _chunk(b"data", bytes(9999), 0xFFFF_FFF0)),
        "wav: a format of 2 GB": lambda: _riff(_chunk(b"fmt ", bytes(999), _HUGE), _WAV_DATA),
        "wav: a list of 2 GB": lambda: _riff(
            _format(), _chunk(b"LIST", b"INFOINAM" + struct.pack("<I", _HUGE)), _WAV_DATA
        ),
        "wav: a million chunks": lambda: _filled(_riff(_format()), _chunk(b"junk", b"")),
        "wav: 65535 channels": lambda: _riff(_format(channels=65_535, align=65_535), _WAV_DATA),
        "wav: adpcm of 65535 bytes": lambda: _filled(
            _riff(_format(2, 8, 65_535, bytes(300))) + b"data\xff\xff\xff\xff", bytes(4096)
        ),
        "rf64: 2^62 bytes": lambda: _riff(
            _chunk(b"ds64", struct.pack("<QQQI", 2**62, 2**62, 2**62, 2**31)),
            _format(),
            _chunk(b"data", bytes(9999), 0xFFFF_FFFF),
            form=b"RF64",
        ),
        "aiff: a note of 2 GB": lambda: _aiff(b"ANNO" + struct.pack(">I", _HUGE)),
        "aiff: 900,000 notes": lambda: _aiff((b"ANNO" + struct.pack(">I", 2) + b"ab") * 900_000),
        "aiff: private data of 2 GB": lambda: _aiff(b"wave" + struct.pack(">I", _HUGE)),
        "caf: 2^60 packets": lambda: _caf(
            _caf_chunk(b"pakt", struct.pack(">qqii", 2**60, 2**60, 0, 0)),
            codec=b"alac",
            packet=(0, 4096),
        ),
        "caf: nine million packets": lambda: _caf(
            _caf_chunk(b"pakt", struct.pack(">qqii", 9_000_000, 2**40, 0, 0) + b"\x01" * 9_000_000),
            codec=b"alac",
            packet=(0, 4096),
        ),
        "caf: a cookie of 2 GB": lambda: _caf(_caf_chunk(b"kuki", b"", _HUGE)),
        "caf: a chunk of 2^62 bytes": lambda: _caf(_caf_chunk(b"free", b"", 2**62)),
        "flac: a picture of 16 MB": lambda: _flac((6, bytes(100), 0xFF_FFFF)),
        "flac: a picture of 4 GB inside": lambda: _flac(
            (6, struct.pack(">II", 3, 9) + b"image/png" + b"\xff" * 24, None)
        ),
        "flac: seek points of 16 MB": lambda: _flac((3, bytes(100), 0xFF_FFFF)),
        "flac: a million blocks": lambda: _flac(*[(1, b"", None)] * 1_000_000),
        "flac: 4 billion comments": lambda: _flac((4, struct.pack("<II", 0, 0xFFFF_FFFF), None)),
        "flac: six hours of silence": lambda: _flac_of_hours(6),
        "mp3: a tag of 256 MB": lambda: _id3(bytes(4000), 0xFFF_FFFF) + file_of("MP3"),
        "mp3: a picture of 256 MB": lambda: (
            _id3(_id3_frame(b"APIC", b"\x00image/png\x00\x03\x00", 0xFFF_FFFF), 0xFFF_FFFF)
            + file_of("MP3")
        ),
        "mp3: a picture unpacked to 100 MB": lambda: (
            _id3(_packed_picture(100_000_000)) + file_of("MP3")
        ),
        "mp3: 40 pictures unpacked to 20 MB": lambda: (
            _id3(_packed_picture(20_000_000) * 40) + file_of("MP3")
        ),
        "mp3: 600,000 frames of a tag": lambda: (
            _id3(_id3_frame(b"TXXX", b"\x00a\x00b") * 600_000) + file_of("MP3")
        ),
        "mp3: a million tags": lambda: _filled(b"", _id3(b"")) + file_of("MP3"),
        "mp3: frames without end": lambda: _filled(b"", _MP3_FRAME),
        "ogg: pages of no length": lambda: _filled(_opus(), _page(1, b"", lacing=b"")),
        "ogg: 30,000 streams": lambda: b"".join(
            _page(each, _OPUS, flags=2) for each in range(30_000)
        ),
        "ogg: a packet without end": lambda: _filled(
            _opus(), _page(1, bytes(65_025), flags=1, lacing=b"\xff" * 255)
        ),
        "ogg: 4 billion comments": lambda: _opus(
            tags=_TAGS + struct.pack("<II", 0xFFFF_FFFF, 0xFFFF_FFFF)
        ),
        "ogg: hours of Opus in silence": lambda: _filled(
            _opus(), _page(1, b"\x04" * 255, lacing=b"\x01" * 255)
        ),
        "aac: frames of no content": lambda: _filled(b"", _ADTS_EMPTY),
        "mp4: 80 million samples": lambda: _mp4(_FEW_SECONDS_MANY_SAMPLES),
        "mp4: 16 tracks of 80 million": lambda: _mp4(_FEW_SECONDS_MANY_SAMPLES, 16),
        "mp4: 4 billion chunks": lambda: _mp4({b"stsc": (0xFFFF_FFF0, 1, 1, 1)}),
        "mp4: 4 billion offsets": lambda: _mp4({b"stco": (0xFFFF_FFF0, 48)}),
        "mp4: 4 billion durations": lambda: _mp4({b"stts": (0xFFFF_FFF0, 1, 1)}),
        "mp4: 4 billion sizes": lambda: _mp4({b"stsz": (0, 0xFFFF_FFF0)}),
        "mp4: 4 billion shifts": lambda: _mp4({b"ctts": (1, 0xFFFF_FFF0, 1)}),
        "mp4: 4 billion edits": lambda: _mp4(
            in_track=_box(b"edts", _full(b"elst", 0xFFFF_FFF0, 1, 0, 1 << 16))
        ),
        "mp4: 10,000 tracks": lambda: _mp4(num_tracks=10_000),
        "mp4: boxes in boxes": lambda: _mp4(in_moov=_boxes_in_boxes(100_000)),
        "mp4: a packed moov of 4 GB": lambda: (
            _box(b"ftyp", b"isom", bytes(4))
            + _box(
                b"moov",
                _box(
                    b"cmov",
                    _box(b"dcom", b"zlib"),
                    _box(b"cmvd", struct.pack(">I", 0xFFFF_FFF0), zlib.compress(bytes(1000))),
                ),
            )
        ),
        "mp4: a fragment of 4 billion": lambda: _mp4(
            in_moov=_box(b"mvex", _full(b"trex", 1, 1, 1, 2, 0)), behind=_fragment(0xFFFF_FFF0)
        ),
        "mp4: a fragment of 80 million": lambda: _mp4(
            in_moov=_box(b"mvex", _full(b"trex", 1, 1, 1, 2, 0)), behind=_fragment(80_000_000)
        ),
        "mp4: an index of 4 billion": lambda: _mp4(behind=_full(b"sidx", 1, 1000, 0, 0, 0xFFFF)),
        "mp4: keys by the billion": lambda: _mp4(
            in_moov=_box(b"meta", bytes(4), _full(b"keys", 0x1FFF_FFFF))
        ),
        "matroska: a header of 2^55 bytes": lambda: _element("1a45dfa3", bytes(999), 2**55),
        "matroska: private data of 256 MB": lambda: _matroska(
            in_track=_element("63a2", b"", 0x0FFF_FFF0)
        ),
        "matroska: private data unpacked to 200 MB": lambda: _matroska(in_track=_packed_zeros(200)),
        "matroska: 10,000 tracks": lambda: _matroska(num_tracks=10_000),
        "matroska: 1000 mute tracks": lambda: _matroska(num_tracks=1000, samples=bytes(96_000)),
        "matroska: 150,000 cues": lambda: _matroska(
            in_segment=_element(
                "1c53bb6b",
                _element("bb", _number("b3", 1) + _element("b7", _number("f7", 1))) * 150_000,
            )
        ),
        "matroska: tags in tags": lambda: _matroska(
            in_segment=_element("1254c367", _element("7373", _nested("67c8", 20_000)))
        ),
        "matroska: 250,000 tags": lambda: _matroska(
            in_segment=_element(
                "1254c367", _element("7373", _element("67c8", _element("45a3", b"a"))) * 250_000
            )
        ),
        "matroska: lacing without end": lambda: _matroska(in_segment=_laced() * 1000),
        "amr: a frame in every byte": lambda: _filled(b"#!AMR\n", b"\x7c"),
        "amr: wide, a frame in every byte": lambda: _filled(b"#!AMR-WB\n", b"\x7c"),
    }
)
"""By name: what makes it. "Container: what it claims"."""
