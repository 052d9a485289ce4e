"""`higgs-worker voices`: add, list, show, update and remove the voices on the volume."""

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
    voices = commands.add_parser("voices", help="add, list, show, update and remove voices")
    actions = voices.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="save a recording as a voice")
    add.add_argument("name")
    add.add_argument("recording", type=Path)
    add.add_argument("--text", required=True, help="what is said in the recording")
    add.add_argument("--description")
    add.add_argument("--licence", help="whose voice it is and what it may be used for")
    add.add_argument("--replace", action="store_true")
    add.set_defaults(run=_add)
    update = actions.add_parser("update", help="change what is said of a voice")
    update.add_argument("name")
    update.add_argument("--name", dest="new_name", metavar="NAME", help="its new name")
    update.add_argument("--text", help="what is said in its recording")
    update.add_argument("--description", help="an empty one is removed")
    update.add_argument("--licence", help="an empty one is removed")
    update.set_defaults(run=_update)
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


def _update(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    saved = voice_library(settings).update(
        options.name,
        new_name=options.new_name,
        text=options.text,
        description=options.description,
        licence=options.licence,
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
