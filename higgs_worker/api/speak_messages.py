"""The messages of Deepgram's `speak` websocket, both ways. Audio travels beside them, as bytes.

{"type": "Speak", "text": "…"}   {"type": "Flush"}   {"type": "Clear"}   {"type": "Close"}
{"type": "Metadata", …}   {"type": "Flushed", "sequence_id": 0}   {"type": "Cleared", …}
{"type": "Warning", "description": "…", "code": "…"}   {"type": "Error", …}
Source: https://developers.deepgram.com/reference/text-to-speech/speak-streaming
"""

import difflib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.errors import InvalidRequest, WorkerError
from higgs_worker.messages import MAX_QUOTED, check_readable, quote

CHARS_PER_CHAR = 12
"""JSON may write a character as two escapes of six each."""
_ENVELOPE_CHARS = 1000
"""For what stands around a text."""
_MAX_DESCRIPTION = 2000


@dataclass(frozen=True, slots=True)
class Speak:
    """Say this after what was sent before. It need not be whole words."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusedSpeak:
    """A Speak whose text cannot be spoken; nothing else is wrong."""

    problem: str


@dataclass(frozen=True, slots=True)
class Flush:
    """What was sent ends here; tell when it has been said."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget what was sent and has not been said."""


@dataclass(frozen=True, slots=True)
class Close:
    """Say the rest, then close."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Only tell that the caller is there."""


Message = Speak | RefusedSpeak | Flush | Clear | Close | KeepAlive
_COMMANDS: Mapping[str, Message] = {
    "Flush": Flush(),
    "Clear": Clear(),
    "Close": Close(),
    "KeepAlive": KeepAlive(),
}
_TYPES = ("Speak", *_COMMANDS)


def max_message_chars(max_text_chars: int) -> int:
    """Return how long a message may be whose text has at most so many characters."""
    return CHARS_PER_CHAR * max_text_chars + _ENVELOPE_CHARS


def parse_message(frame: str | bytes, *, max_text_chars: int) -> Message:
    """Validate what a caller sent.

    Args:
        frame: one frame, text or binary.
        max_text_chars: of the text of a Speak.

    Raises:
        InvalidRequest: it is no message of this protocol.
    """
    if isinstance(frame, bytes):
        raise InvalidRequest("a binary frame came; messages are JSON in text frames")
    if len(frame) > (limit := max_message_chars(max_text_chars)):
        raise InvalidRequest(
            f"a message of {len(frame)} characters came and at most {limit} are read; send a text "
            "in several"
        )
    try:
        raw = json.loads(frame)
    except (ValueError, RecursionError):
        raise InvalidRequest(
            'a message must be JSON such as {"type": "Speak", "text": "Hello."}, not '
            + quote(frame)
        ) from None
    if not isinstance(raw, dict):
        raise InvalidRequest(f'a message must be an object with "type", not {quote(raw)}')
    kind = raw.pop("type", None)
    if kind not in _TYPES:
        near = difflib.get_close_matches(str(kind)[:MAX_QUOTED].title(), _TYPES, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_TYPES)}"
        raise InvalidRequest(f'no message has the "type" {quote(kind)}; {advice}')
    if kind == "Speak":
        return _parse_speak(raw, max_text_chars)
    if raw:
        raise InvalidRequest(f'{kind} has no field but "type", and came with {quote(min(raw))}')
    return _COMMANDS[kind]


def _parse_speak(raw: Mapping[str, Any], max_text_chars: int) -> Speak | RefusedSpeak:
    text = raw.get("text")
    if unknown := [key for key in raw if key != "text"]:
        return RefusedSpeak(
            f'Speak has the fields "type" and "text", not {quote(unknown[0])}; it was left out'
        )
    if not isinstance(text, str):
        return RefusedSpeak(
            "Speak came without a text"
            if text is None
            else f"text must be a string, not {quote(text)}"
        )
    try:
        return Speak(check_readable(text, max_text_chars))
    except ValueError as error:
        return RefusedSpeak(f"text {error}")


def metadata(request_id: str, voice: str, model: str) -> str:
    """Return the message that opens a conversation.

    Args:
        request_id: as the log calls it.
        voice: who speaks.
        model: the model and its revision.
    """
    return _to_json(
        "Metadata",
        request_id=request_id,
        model_name=voice,
        model_version=model,
        model_uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{model}/{voice}")),
    )


def flushed(sequence_id: int) -> str:
    """Return that all audio of a Flush has been sent; they are counted from 0."""
    return _to_json("Flushed", sequence_id=sequence_id)


def cleared(sequence_id: int) -> str:
    """Return that no audio from before a Clear follows; they are counted from 0."""
    return _to_json("Cleared", sequence_id=sequence_id)


def warning(description: str, code: str) -> str:
    """Return that something is not as asked, and that the conversation goes on."""
    description = description[:_MAX_DESCRIPTION]
    # Older clients, LiveKit's among them, read the names that Deepgram had before.
    return _to_json(
        "Warning", description=description, code=code, warn_msg=description, warn_code=code
    )


def error(problem: WorkerError) -> str:
    """Return why the conversation ends."""
    return _to_json("Error", description=problem.message[:_MAX_DESCRIPTION], code=problem.code)


def _to_json(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})
