"""Text, voices and scene as the prompt that the model was trained on.

Lays out upstream's chat format as text ids and reference codes. Text between two control tokens is
encoded in one piece, because the tokenizer splits words by their neighbours. Text from callers is
never read as a control token.
Source: boson-ai/higgs-audio `examples/generation.py` (`prepare_generation_context`); transformers'
Higgs Audio V2 chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tokenizers import Tokenizer

from higgs_worker.checkpoint.file import read_file
from higgs_worker.engine.config import SOURCE
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt, TextSegment
from higgs_worker.errors import InvalidCheckpoint

MAX_TOKENIZER_BYTES = 50_000_000
"""Of `tokenizer.json`; those of Llama 3 have up to 17 MB."""

INSTRUCTION = "Generate audio following instruction."
DIALOGUE_INSTRUCTION = """You are an AI assistant designed to convert text into speech.
If the user's message includes a [SPEAKER*] tag, do not read out the tag and generate speech for \
the following text, using the specified voice.
If no speaker tag is present, select a suitable voice on your own."""


class Control(StrEnum):
    """The control tokens of the format."""

    BEGIN = "<|begin_of_text|>"
    HEADER_START = "<|start_header_id|>"
    HEADER_END = "<|end_header_id|>"
    END_OF_TURN = "<|eot_id|>"
    SCENE_START = "<|scene_desc_start|>"
    SCENE_END = "<|scene_desc_end|>"
    AUDIO_IN_START = "<|audio_bos|>"
    AUDIO_OUT_START = "<|audio_out_bos|>"
    AUDIO_END = "<|audio_eos|>"


Part = Control | str | AudioSegment


@dataclass(frozen=True, slots=True, eq=False)
class PastTurn:
    """A text and how it was spoken: a recording, or a chunk that was generated earlier."""

    text: str
    codes: Codes
    """[F, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerProfile:
    """How the system turn describes one speaker: in words, or by a recording."""

    tag: str
    """SPEAKER0, SPEAKER1 …"""
    voice: str | Codes
    """A description, or codes [F, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptContext:
    """What comes before the text: scene, speakers, and earlier turns."""

    scene: str | None = None
    profiles: Sequence[SpeakerProfile] = ()
    references: Sequence[PastTurn] = ()
    """Recordings whose voices are copied, as turns; the cached prefix ends after them."""
    context: Sequence[PastTurn] = ()
    """The chunks just before this one, oldest first."""
    is_dialogue: bool = False
    """Several speakers without a recording; upstream has another instruction for them."""


class PromptBuilder:
    """Builds prompts with one checkpoint's tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._controls: dict[Control, int] = {}
        for control in Control:
            token_id = tokenizer.token_to_id(control)
            if token_id is None:
                raise InvalidCheckpoint(
                    f"tokenizer.json has no {control} token; it belongs to another model"
                )
            self._controls[control] = token_id

    @classmethod
    def from_directory(cls, directory: Path) -> "PromptBuilder":
        """Return the builder for the `tokenizer.json` in a directory.

        Raises:
            WeightsNotFound: the file cannot be read.
            InvalidCheckpoint: it is not the tokenizer of this model.
        """
        path = directory / "tokenizer.json"
        data = read_file(path, SOURCE, MAX_TOKENIZER_BYTES)
        try:
            tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises a bare Exception for a bad file
            raise InvalidCheckpoint(f"{path} is damaged ({error}); fetch it again") from error
        return cls(tokenizer)

    def build(self, text: str, context: PromptContext) -> Prompt:
        """Return the prompt for one text.

        Upstream has six forms: (a) neither profiles nor references; (b) one reference; (c) profiles
        in a dialogue; (d) several references, tagged; (e) profiles by recording; (f) profiles by
        description. Without scene and profiles, references need no system turn.
        """
        has_system = context.scene or context.profiles or not context.references
        shared: list[Part] = [Control.BEGIN]
        if has_system:
            shared = self._system(context)
        for turn in context.references:
            shared += self._past_turn(turn)
        own: list[Part] = []
        for turn in context.context:
            own += self._past_turn(turn)
        return self._encode(shared, [*own, *self._turn("user", text), *self._answer()])

    def _system(self, context: PromptContext) -> list[Part]:
        described: list[Part] = []
        if context.scene:
            described += [escape_control_tokens(context.scene), "\n"]
        if context.scene and context.profiles:
            described += ["\n"]
        for profile in context.profiles:
            described += [f"{profile.tag}: ", *self._voice(profile.voice), "\n"]
        if described:
            described = ["\n\n", Control.SCENE_START, "\n", *described, Control.SCENE_END]
        return [
            Control.BEGIN,
            *self._header("system"),
            DIALOGUE_INSTRUCTION if context.is_dialogue else INSTRUCTION,
            *described,
            Control.END_OF_TURN,
        ]

    def _voice(self, voice: str | Codes) -> list[Part]:
        if isinstance(voice, str):
            return [escape_control_tokens(voice)]
        return [Control.AUDIO_IN_START, AudioSegment(voice), Control.AUDIO_END]

    def _past_turn(self, turn: PastTurn) -> list[Part]:
        return [
            *self._turn("user", turn.text),
            *self._answer(),
            AudioSegment(turn.codes),
            Control.AUDIO_END,
            Control.END_OF_TURN,
        ]

    def _turn(self, role: str, text: str) -> list[Part]:
        return [*self._header(role), escape_control_tokens(text), Control.END_OF_TURN]

    def _answer(self) -> list[Part]:
        """Return the start of the assistant's turn; its last token makes the model speak."""
        return [*self._header("assistant"), Control.AUDIO_OUT_START]

    def _header(self, role: str) -> list[Part]:
        return [Control.HEADER_START, role, Control.HEADER_END, "\n\n"]

    def _encode(self, shared: list[Part], own: list[Part]) -> Prompt:
        """Encode the part that many prompts share and the part of this one alone.

        They meet at a control token, so both encode as they would in one piece.
        """
        prefix, rest = self._segments(shared), self._segments(own)
        return Prompt((*prefix, *rest), num_shared=len(prefix))

    def _segments(self, parts: list[Part]) -> list[TextSegment | AudioSegment]:
        segments: list[TextSegment | AudioSegment] = []
        ids: list[int] = []
        text = ""

        def flush_text() -> None:
            nonlocal text
            if text:
                ids.extend(self._tokenizer.encode(text, add_special_tokens=False).ids)
                text = ""

        for part in parts:
            if isinstance(part, Control):
                flush_text()
                ids.append(self._controls[part])
            elif isinstance(part, AudioSegment):
                flush_text()
                segments += [TextSegment(tuple(ids)), part]
                ids = []
            else:
                text += part
        flush_text()
        return [*segments, TextSegment(tuple(ids))]


def escape_control_tokens(text: str) -> str:
    """Return the text trimmed, with control tokens broken up: `<|eot_id|>` is only text then."""
    return text.strip().replace("<|", "< |").replace("|>", "| >")
