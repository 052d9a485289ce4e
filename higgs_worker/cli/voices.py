"""`higgs-worker voices`: add, list, show and remove the voices on the volume."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.cli.say import base64_of
from higgs_worker.reference_voices import ReferenceVoices, voice_library
from higgs_worker.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    voices = commands.add_parser("voices", help="add, list, show and remove voices on the volume")
    actions = voices.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="save a recording as a voice")
    add.add_argument("name")
    add.add_argument("recording", type=Path)
    add.add_argument("--text", required=True, help="what is said in the recording")
    add.add_argument("--description")
    add.add_argument("--licence", help="whose voice it is and what it may be used for")
    add.add_argument("--replace", action="store_true")
    add.set_defaults(run=_add)
    actions.add_parser("list", help="show all voices").set_defaults(run=_list)
    for action, run in (("show", _show), ("remove", _remove)):
        one = actions.add_parser(action)
        one.add_argument("name")
        one.set_defaults(run=run)


def _add(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    voice = VoiceSpec(audio=base64_of(options.recording), text=options.text)
    saved = (
        ReferenceVoices(settings)
        .load()
        .save(
            options.name,
            voice,
            description=options.description,
            licence=options.licence,
            replace=options.replace,
        )
    )
    return asdict(saved.info) | {"warnings": list(saved.warnings)}


def _list(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    return {"voices": [asdict(summary) for summary in voice_library(settings).list()]}


def _show(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    voice = voice_library(settings).get(options.name)
    return {key: value for key, value in asdict(voice).items() if key != "wav"}


def _remove(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    voice_library(settings).remove(options.name)
    return {"removed": options.name}
