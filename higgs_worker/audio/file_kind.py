"""What a file looks like by its first bytes, so that a refusal can name it. No more is decided."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file, in words that fit behind "this looks like"."""

    name: str
    hint: str = ""
    """What to do, before it is said which kinds are taken."""
    is_taken: bool = False
    """Whether such files are read."""


_AUDIO_ADDRESS = "use the address of the audio file itself, one that opens without a login; "
_SERVERS_ANSWER = "a server's error may look so; see what its address gives; "

# In this order. Letters in texts match in either case.
_KINDS = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"(RIFF|RF64)....WAVE", FileKind("WAV", is_taken=True)),
        (rb"fLaC", FileKind("FLAC", is_taken=True)),
        (rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", FileKind("MP3", is_taken=True)),
        (rb"OggS", FileKind("Ogg", is_taken=True)),
        (rb"\xff[\xf0\xf1\xf8\xf9]", FileKind("AAC", is_taken=True)),
        (rb"\x1aE\xdf\xa3", FileKind("Matroska or WebM", is_taken=True)),
        (rb"FORM....AIF[FC]", FileKind("AIFF", is_taken=True)),
        (rb"caff", FileKind("CAF", is_taken=True)),
        (rb"#!AMR", FileKind("AMR", is_taken=True)),
        (rb"....ftypaax", FileKind("a protected audio book (AAX)")),
        (rb"....ftyp(avif|avis|hei[cx]|mif1|msf1)", FileKind("a picture")),
        # The first box of an MP4 need not be `ftyp`.
        (rb"....(ftyp|moov|mdat|free|skip|wide|styp)", FileKind("MP4 or M4A", is_taken=True)),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileKind("WMA or WMV (ASF)")),
        (rb"RIFF....AVI ", FileKind("AVI")),
        (rb"FLV\x01", FileKind("Flash video")),
        (rb"\.RMF", FileKind("RealAudio")),
        (rb"RIFF....RMID|MThd", FileKind("MIDI (notes without sound)")),
        (rb"riff\x2e\x91\xcf\x11", FileKind("Wave64")),
        (rb"\.snd", FileKind("AU")),
        (rb"MAC ", FileKind("Monkey's Audio (APE)")),
        (rb"wvPk", FileKind("WavPack")),
        (rb"TTA[12]", FileKind("True Audio (TTA)")),
        (rb"DSD |FRM8", FileKind("DSD")),
        (rb"\x02?#!SILK", FileKind("SILK (a chat's voice message)")),
        (rb"G.{187}G", FileKind("an MPEG transport stream")),
        (rb"\x00\x00\x01\xba", FileKind("an MPEG programme stream")),
        (
            rb"\x89PNG|\xff\xd8\xff|GIF8|BM....\x00\x00\x00\x00|II\*\x00|MM\x00\*|RIFF....WEBP",
            FileKind("a picture"),
        ),
        (rb"%PDF", FileKind("a PDF document")),
        (rb"PK\x03\x04|PK\x05\x06", FileKind("a ZIP archive or an office document")),
        (
            rb"\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ|\x28\xb5\x2f\xfd",
            FileKind("a packed file", "unpack it; "),
        ),
        (rb"\x7fELF|MZ", FileKind("a program")),
        (rb"(?i)(\xef\xbb\xbf)?\s*(#EXTM3U|\[playlist\]|ffconcat)", FileKind("a playlist")),
        (
            rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)",
            FileKind("a web page (HTML)", _AUDIO_ADDRESS),
        ),
        (rb"(?i)(\xef\xbb\xbf)?\s*<svg", FileKind("a picture")),
        (rb"(\xef\xbb\xbf)?\s*<", FileKind("XML", _SERVERS_ANSWER)),
        (rb"(\xef\xbb\xbf)?\s*[{\[]", FileKind("JSON", _SERVERS_ANSWER)),
        (
            rb"data:audio|UklGR|T2dnUw|SUQz|ZkxhQ|//[uv][\w+/]{30}",
            FileKind("base64", "it was encoded twice, so encode the file once; "),
        ),
    )
)


def kind_of(data: bytes) -> FileKind | None:
    """Return the kind of a file; None: unknown."""
    head = data[:1024]
    return next((kind for pattern, kind in _KINDS if pattern.match(head)), None)
