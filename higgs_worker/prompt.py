"""Text, voice and scene -> the prompt that the model was trained on.

Lays out upstream's chat format as text ids and reference codes. Text between two control tokens is
encoded in one piece, because the tokenizer splits words by what stands next to them. What callers
write is never read as a control token.
Source: boson-ai/higgs-audio `examples/generation.py`; transformers' Higgs Audio V2 chat template.
"""

from enum import StrEnum
from pathlib import Path

from tokenizers import Tokenizer

from higgs_worker.engine.config import SOURCE
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt, TextSegment
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound

INSTRUCTION = "Generate audio following instruction."


class Control(StrEnum):
    """The control tokens of the format."""

    BEGIN = "<|begin_of_text|>"
    HEADER_START = "<|start_header_id|>"
    HEADER_END = "<|end_header_id|>"
    END_OF_TURN = "<|eot_id|>"
    SCENE_START = "<|scene_desc_start|>"
    SCENE_END = "<|scene_desc_end|>"
    AUDIO_OUT_START = "<|audio_out_bos|>"
    AUDIO_END = "<|audio_eos|>"


Part = Control | str | AudioSegment


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

    def speech(self, text: str, scene: str | None) -> Prompt:
        """Let the model choose a voice.

        Args:
            text: what to say.
            scene: setting and style, or None for none.
        """
        return self._encode(self._system(scene), [*self._turn("user", text), *self._answer()])

    def clone(
        self, text: str, scene: str | None, *, reference_text: str, reference_codes: Codes
    ) -> Prompt:
        """Speak with the voice of a reference.

        Without a scene there is no system turn at all, as upstream has it.

        Args:
            text: what to say.
            scene: setting and style, or None for none.
            reference_text: what is said in the reference.
            reference_codes: [F, K], the reference itself.
        """
        return self._encode(
            [
                *(self._system(scene) if scene else [Control.BEGIN]),
                *self._turn("user", reference_text),
                *self._answer(),
                AudioSegment(reference_codes),
                Control.AUDIO_END,
                Control.END_OF_TURN,
            ],
            [*self._turn("user", text), *self._answer()],
        )

    def _system(self, scene: str | None) -> list[Part]:
        described: list[Part] = []
        if scene:
            described = ["\n\n", Control.SCENE_START, f"\n{neutral(scene)}\n", Control.SCENE_END]
        return [
            Control.BEGIN,
            *self._header("system"),
            INSTRUCTION,
            *described,
            Control.END_OF_TURN,
        ]

    def _turn(self, role: str, text: str) -> list[Part]:
        return [*self._header(role), neutral(text), Control.END_OF_TURN]

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


def neutral(text: str) -> str:
    """Trim, and take the control tokens apart that a caller wrote: `<|eot_id|>` is just text."""
    return text.strip().replace("<|", "< |").replace("|>", "| >")
