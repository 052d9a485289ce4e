"""`higgs-worker say`: speak a text into a file that grows as it is spoken."""

import argparse
import asyncio
import base64
import sys
from pathlib import Path
from typing import Any, get_args

from higgs_worker.api.request import Format, SpeechRequest
from higgs_worker.cli.bar import progress_bar
from higgs_worker.errors import InvalidRequest
from higgs_worker.settings import Settings
from higgs_worker.text import subtitles

_PLAIN = ("language", "scene", "seed", "retries", "speed", "chunk_words", "context_chunks")
"""Options that are fields of a request under the same name."""


def add_to(commands: Any) -> None:
    """Add the command and its options to a parser."""
    say = commands.add_parser("say", help="speak a text into a file that grows as it is spoken")
    say.add_argument("text", help="what to say; - reads it from standard input")
    say.add_argument("-o", "--output", type=Path, default=Path("out.wav"))
    say.add_argument("--format", choices=get_args(Format), help="default: from the file's name")
    say.add_argument("--voice", help="name of a voice")
    say.add_argument("--ref-audio", type=Path, help="recording of a voice")
    say.add_argument("--ref-text", help="what is said in the recording")
    say.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="NAME=VOICE",
        help="voice of [NAME] in a dialogue; may be repeated",
    )
    say.add_argument("--scene", help="setting and style")
    say.add_argument("--language", help="of the text, such as en or de-AT; default: detected")
    say.add_argument("--seed", type=int)
    say.add_argument("--speed", type=float)
    say.add_argument("--retries", type=int, help="how often a chunk that sounds wrong is redone")
    say.add_argument("--chunk-words", type=int)
    say.add_argument("--context-chunks", type=int)
    say.add_argument("--srt", type=Path, help="write subtitles to this file")
    say.add_argument("--vtt", type=Path, help="write WebVTT to this file")
    say.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Speak a text into a file and return where it is.

    Raises:
        WorkerError: it could not be spoken.
    """
    raw: dict[str, Any] = {
        "text": sys.stdin.read() if options.text == "-" else options.text,
        "format": options.format or options.output.suffix.removeprefix(".").lower() or "wav",
    }
    raw |= {key: getattr(options, key) for key in _PLAIN if getattr(options, key) is not None}
    if options.speaker:
        pairs = [pair.partition("=") for pair in options.speaker]
        raw["speakers"] = {name: voice or None for name, _, voice in pairs}
    if options.voice:
        raw["voice"] = options.voice
    elif options.ref_audio:
        raw["voice"] = {"audio": base64_of(options.ref_audio), "text": options.ref_text}
    request = SpeechRequest.parse(raw, max_text_chars=settings.max_text_chars)
    return asyncio.run(_speak(options, request, settings))


async def _speak(
    options: argparse.Namespace, request: SpeechRequest, settings: Settings
) -> dict[str, Any]:
    from higgs_worker.delivery.file import PathSink
    from higgs_worker.delivery.sink import deliver
    from higgs_worker.load import load_model, max_chunk_words
    from higgs_worker.speech.service import SpeechService

    service = SpeechService(lambda: load_model(settings), max_chunk_words=max_chunk_words(settings))
    speech = await service.start(request)
    sink = PathSink(options.output, request, speech.sample_rate)
    with sink, progress_bar("speaking") as draw:

        def show(fraction: float, doing: str = "") -> None:
            draw(fraction, f"{speech.num_samples / speech.sample_rate:.1f} s of audio")

        result = await deliver(speech, sink, show)
    for path, form in ((options.srt, subtitles.srt), (options.vtt, subtitles.vtt)):
        if path is not None:
            path.write_text(form(result.segments), encoding="utf-8")
    return {
        "path": str(options.output),
        "duration_s": round(result.duration_s, 3),
        "first_audio_s": round(result.timing.first_audio_s, 3),
        "total_s": round(result.timing.total_s, 3),
        "seed": result.seed,
        "finish_reason": result.finish_reason,
        "warnings": list(result.warnings),
    }


def base64_of(path: Path) -> str:
    """Return a file as base64.

    Raises:
        InvalidRequest: it cannot be read.
    """
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
