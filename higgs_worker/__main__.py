"""The command line: speak to a file, and keep voices.

    higgs-worker say "Hello." -o hello.wav
    higgs-worker voices add Anna recording.wav --text "What is said in it."

Exit code 0, 1 (it failed) or 2 (wrong use). Results go to stdout, as JSON with `--json`; the log
and errors go to stderr.
"""

import argparse
import asyncio
import base64
import json
import sys
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np

from higgs_worker import logs
from higgs_worker.errors import InvalidRequest, WorkerError
from higgs_worker.schema import Format, SpeechRequest, VoiceChoice
from higgs_worker.settings import Settings
from higgs_worker.voices import VoiceLibrary


def main(argv: list[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = _parser().parse_args(argv)
    try:
        settings = Settings.from_env()
        logs.setup(settings.log_level)
        outcome = options.run(options, settings)
    except WorkerError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(outcome, indent=2) if options.json else _in_words(outcome))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="higgs-worker", description="Higgs Audio V2 speech.")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    say = commands.add_parser("say", help="speak a text into a file that grows as it is spoken")
    say.add_argument("text")
    say.add_argument("-o", "--output", type=Path, default=Path("out.wav"))
    say.add_argument("--format", choices=get_args(Format), help="default: from the file's name")
    say.add_argument("--voice", help="name of a voice")
    say.add_argument("--ref-audio", type=Path, help="recording of a voice")
    say.add_argument("--ref-text", help="what is said in the recording")
    say.add_argument("--scene")
    say.add_argument("--seed", type=int)
    say.set_defaults(run=_say)

    voices = commands.add_parser("voices", help="keep voices on the volume")
    actions = voices.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="save a recording as a voice")
    add.add_argument("name")
    add.add_argument("recording", type=Path)
    add.add_argument("--text", required=True, help="what is said in the recording")
    add.add_argument("--description")
    add.add_argument("--licence", help="whose voice it is and what it may be used for")
    add.add_argument("--replace", action="store_true")
    add.set_defaults(run=_add_voice)
    actions.add_parser("list", help="show all voices").set_defaults(run=_list_voices)
    for action, run in (("show", _show_voice), ("remove", _remove_voice)):
        one = actions.add_parser(action)
        one.add_argument("name")
        one.set_defaults(run=run)
    return parser


def _say(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "text": options.text,
        "format": options.format or options.output.suffix.removeprefix(".").lower() or "wav",
    }
    raw |= {key: getattr(options, key) for key in ("scene", "seed") if getattr(options, key)}
    if options.voice:
        raw["voice"] = options.voice
    elif options.ref_audio:
        raw["voice"] = {"audio": _base64(options.ref_audio), "text": options.ref_text}
    request = SpeechRequest.parse(raw, max_text_chars=settings.max_text_chars)
    return asyncio.run(_speak_into(options.output, request, settings))


async def _speak_into(path: Path, request: SpeechRequest, settings: Settings) -> dict[str, Any]:
    from higgs_worker.audio import encode
    from higgs_worker.build import load_speaker
    from higgs_worker.service import SpeechService, finish

    speech = await SpeechService(lambda: load_speaker(settings)).start(request)
    encoder = encode.StreamEncoder(request.format, speech.speaker.sample_rate)
    heard = []
    with path.open("wb") as file:
        async with aclosing(aiter(speech)) as pieces:
            async for pcm in pieces:
                heard.append(pcm)
                file.write(encoder.feed(pcm))
                file.flush()
    # What a stream cannot know when it begins (its length, say) is known now.
    audio = finish(np.concatenate(heard), speech.speaker.sample_rate, request)
    path.write_bytes(audio)
    result = speech.result(audio)
    return {
        "path": str(path),
        "duration_s": round(result.duration_s, 3),
        "first_audio_s": round(result.timing.first_audio_s, 3),
        "total_s": round(result.timing.total_s, 3),
        "seed": result.seed,
        "finish_reason": result.finish_reason,
        "warnings": list(result.warnings),
    }


def _add_voice(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from higgs_worker.build import load_references

    voice = VoiceChoice(audio=_base64(options.recording), text=options.text)
    summary = load_references(settings).save(
        options.name,
        voice,
        description=options.description,
        licence=options.licence,
        replace=options.replace,
    )
    return asdict(summary)


def _list_voices(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    return {"voices": [asdict(summary) for summary in _library(settings).list()]}


def _show_voice(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    voice = _library(settings).get(options.name)
    return {key: value for key, value in asdict(voice).items() if key != "wav"}


def _remove_voice(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    _library(settings).remove(options.name)
    return {"removed": options.name}


def _library(settings: Settings) -> VoiceLibrary:
    return VoiceLibrary(settings.volume / "voices")


def _base64(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error


def _in_words(outcome: dict[str, Any]) -> str:
    if "voices" in outcome:
        lines = [
            f"{each['name']}  {each['duration_s']:.1f} s  {each['problem'] or each['text']}"
            for each in outcome["voices"]
        ]
        return "\n".join(lines) or "no voices yet; add one with: higgs-worker voices add"
    if "path" in outcome:
        spoken = f"{outcome['path']}: {outcome['duration_s']:.2f} s of audio in "
        return "\n".join([f"{spoken}{outcome['total_s']:.2f} s", *outcome["warnings"]])
    return "\n".join(f"{key}: {value}" for key, value in outcome.items() if value is not None)


if __name__ == "__main__":
    sys.exit(main())
