"""Text, voices and scene -> the prompt that the model was trained on.

Lays out upstream's chat format as text ids and reference codes. Text between two control tokens is
encoded in one piece, because the tokenizer splits words by what stands next to them. What callers
write is never read as a control token. Knows the forms, not which one a request needs.
Source: boson-ai/higgs-audio `examples/generation.py` (`prepare_generation_context`); transformers'
Higgs Audio V2 chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tokenizers import Tokenizer

from higgs_worker.engine.config import SOURCE
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt, TextSegment
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound

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
    """Something that has been said: a recording, or a chunk that was generated before."""

    text: str
    codes: Codes
    """[F, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerProfile:
    """A speaker as the system turn introduces them: in words, or by a recording."""

    tag: str
    """SPEAKER0, SPEAKER1 …"""
    voice: str | Codes
    """A description, or codes [F, K]."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptContext:
    """What comes before the text: scene, speakers, and what was said."""

    scene: str | None = None
    profiles: Sequence[SpeakerProfile] = ()
    references: Sequence[PastTurn] = ()
    """Recordings whose voices are to be taken, as turns; the prefix that is kept ends here."""
    context: Sequence[PastTurn] = ()
    """What was said just before, oldest first."""
    is_dialogue: bool = False
    """Several speakers for whom no recording was given: upstream has another instruction there."""


class PromptBuilder:
    """Makes prompts with one checkpoint's tokenizer."""

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
        """Read `tokenizer.json`.

        Raises:
            WeightsNotFound: there is no such file.
            InvalidCheckpoint: it is not the tokenizer of this model.
        """
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise WeightsNotFound(f"{path} does not exist; the directory must hold {SOURCE}")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception for a bad file
            raise InvalidCheckpoint(f"{path} is damaged ({error}); fetch it again") from error
        return cls(tokenizer)

    def build(self, text: str, setting: PromptContext) -> Prompt:
        """Lay out one text to be spoken.

        Upstream's forms: (a) neither profiles nor references; (b) a reference; (c) profiles in a
        dialogue; (d) several references, tagged; (e) profiles by recording; (f) by description.
        There is no system turn when references are all there is to say.
        """
        has_system = setting.scene or setting.profiles or not setting.references
        shared: list[Part] = [Control.BEGIN]
        if has_system:
            shared = self._system(setting)
        for exchange in setting.references:
            shared += self._exchange(exchange)
        own: list[Part] = []
        for exchange in setting.context:
            own += self._exchange(exchange)
        return self._encode(shared, [*own, *self._turn("user", text), *self._answer()])

    def _system(self, setting: PromptContext) -> list[Part]:
        described: list[Part] = []
        if setting.scene:
            described += [escape_control_tokens(setting.scene), "\n"]
        if setting.scene and setting.profiles:
            described += ["\n"]
        for profile in setting.profiles:
            described += [f"{profile.tag}: ", *self._introduced(profile.voice), "\n"]
        if described:
            described = ["\n\n", Control.SCENE_START, "\n", *described, Control.SCENE_END]
        return [
            Control.BEGIN,
            *self._header("system"),
            DIALOGUE_INSTRUCTION if setting.is_dialogue else INSTRUCTION,
            *described,
            Control.END_OF_TURN,
        ]

    def _introduced(self, voice: str | Codes) -> list[Part]:
        if isinstance(voice, str):
            return [escape_control_tokens(voice)]
        return [Control.AUDIO_IN_START, AudioSegment(voice), Control.AUDIO_END]

    def _exchange(self, exchange: PastTurn) -> list[Part]:
        return [
            *self._turn("user", exchange.text),
            *self._answer(),
            AudioSegment(exchange.codes),
            Control.AUDIO_END,
            Control.END_OF_TURN,
        ]

    def _turn(self, role: str, text: str) -> list[Part]:
        return [*self._header(role), escape_control_tokens(text), Control.END_OF_TURN]

    def _answer(self) -> list[Part]:
        """Open the assistant's turn and force audio to start."""
        return [*self._header("assistant"), Control.AUDIO_OUT_START]

    def _header(self, role: str) -> list[Part]:
        return [Control.HEADER_START, role, Control.HEADER_END, "\n\n"]

    def _encode(self, shared: list[Part], own: list[Part]) -> Prompt:
        """Encode what many prompts share, and what is this one's own.

        The border is a control token, so both encode as they would together.
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
    """Trim, and take the control tokens apart that a caller wrote: `<|eot_id|>` is just text."""
    return text.strip().replace("<|", "< |").replace("|>", "| >")
